//! Jobs: done one at a time and in order, decided again on what was read anew when a change is
//! refused.

use super::cache::{Documents, Slot};
use super::effect::{Answer, Effects, Said};
use super::job::{After, By, Found, Job};
use super::room::Room;
use super::{Busy, Device};
use crate::delivery::Offered;
use crate::error::{CloseReason, ErrorKind, HubError};
use crate::frame::Outbound;
use crate::hello::Refusal;
use crate::store::{Ask, Change, Outcome, QueueId, Record};

impl Device {
    pub(super) fn enqueue(&mut self, job: Job, fx: &mut Effects) {
        // What ends something must always get in; what can be tried again is refused.
        let sheds = matches!(
            job,
            Job::Connect { .. }
                | Job::Subscribe { .. }
                | Job::Report { .. }
                | Job::GetTwin { .. }
                | Job::Ask { .. }
                | Job::Call(_)
                | Job::Notice { .. }
                | Job::Settle { by: By::Call(_), .. }
        );
        if sheds && self.jobs.len() >= self.setup.limits.device_inbox_max {
            let error = HubError::new(ErrorKind::Throttled, "too much is waiting for this device");
            fx.tally.turned_away += 1;
            match job {
                Job::Connect { call, .. } => fx.answer(
                    call,
                    Answer::Refused(Refusal::Unavailable("too much is waiting for this device")),
                ),
                Job::Ask { call, .. } | Job::Settle { by: By::Call(call), .. } => {
                    fx.fail(call, error);
                }
                Job::Call(patient) => fx.fail(patient.caller, error),
                Job::Report { link, tag, .. } => fx.refuse_report(link, tag, error),
                Job::Subscribe { link, tag, .. } | Job::GetTwin { link, tag } => {
                    fx.say(link, Outbound::Refused(tag, error));
                }
                _ => {}
            }
            return;
        }
        self.jobs.push_back(job);
    }

    /// Does jobs until one has to wait.
    pub(super) fn advance(&mut self, fx: &mut Effects) {
        while self.busy == Busy::No {
            let Some(job) = self.jobs.front() else { return };
            let missing: Vec<Slot> =
                job.needs(&self.setup).filter(|slot| !self.documents.is_known(*slot)).collect();
            if !missing.is_empty() {
                let asks = missing.iter().map(|slot| Documents::ask(*slot, &self.address));
                fx.reads.extend(asks);
                self.busy = Busy::Reading(missing);
                return;
            }
            let Some(job) = self.jobs.pop_front() else { return };
            if !std::mem::take(&mut self.again) {
                self.rounds = 0;
                self.mute_feedback = false;
                self.mute_posts = false;
                self.room = None;
                self.mute_configuring = false;
            }
            self.decide(job, fx);
            self.fresh = false;
        }
    }

    /// Whether a refusal has to wait. What is cached may be outdated: only what was read for this
    /// very job refuses it, and until then the job is decided again.
    pub(super) fn doubts(&mut self) -> bool {
        if !self.fresh {
            self.documents.forget();
        }
        !self.fresh
    }

    pub(super) fn loaded(&mut self, records: Vec<Option<Record>>, fx: &mut Effects) {
        match std::mem::replace(&mut self.busy, Busy::No) {
            Busy::Reading(slots) => {
                let mut readable = true;
                let needs = self.jobs.front();
                let needs = needs.map_or(0, |job| job.needs(&self.setup).count());
                self.fresh = slots.len() == needs;
                for (slot, record) in slots.into_iter().zip(records) {
                    readable &= self.documents.load(slot, record).is_ok();
                }
                if !readable {
                    self.give_up("a stored document cannot be read", ErrorKind::Internal, fx);
                }
            }
            Busy::ReadingItem => {
                let item = records.into_iter().next().flatten();
                let offered = match item {
                    Some(Record::Item(item)) => Offered::from_item(&item, &self.setup.limits),
                    _ => None,
                };
                if let Some(Job::Settle { found, .. }) = self.jobs.front_mut() {
                    *found =
                        offered.map_or(Found::Nothing, |(offered, _)| Found::Item(offered.into()));
                }
            }
            Busy::MakingRoom(queue, _) => self.room = Some(Box::new(Room::of(queue, &records))),
            // An answer to a question nobody asked changes nothing.
            busy => self.busy = busy,
        }
    }

    pub(super) fn read_again(&mut self, fx: &mut Effects) {
        match (&self.busy, self.jobs.front()) {
            (Busy::Reading(slots), _) => {
                let asks = slots.iter().map(|slot| Documents::ask(*slot, &self.address));
                fx.reads.extend(asks);
            }
            (Busy::ReadingItem, Some(Job::Settle { token, .. })) => {
                fx.reads.push(Ask::Item(QueueId::mailbox(&self.address), token.sequence));
            }
            (Busy::MakingRoom(queue, items), _) => {
                let asks = Room::asks(queue, *items, &self.setup.limits);
                fx.reads.extend(asks.into_iter().flatten());
            }
            _ => {}
        }
    }

    pub(super) fn write(&mut self, job: Job, change: Change, after: After, fx: &mut Effects) {
        let change = match &self.room {
            None => change,
            Some(room) => match room.make(change, &self.setup.limits) {
                Ok(change) => change,
                Err(more) => {
                    let queue = room.queue().clone();
                    self.make_room(job, &queue, Some(more), fx);
                    return;
                }
            },
        };
        self.jobs.push_front(job);
        self.busy = Busy::Writing(after);
        fx.change = Some(change);
    }

    pub(super) fn outcome(&mut self, outcome: Outcome, fx: &mut Effects) {
        let Busy::Writing(after) = std::mem::replace(&mut self.busy, Busy::No) else { return };
        let Some(job) = self.jobs.pop_front() else { return };
        match outcome {
            Outcome::Committed(issued) => {
                self.committed(job, after, &issued, fx);
            }
            Outcome::Conflict => self.conflict(job, fx),
            Outcome::Full(queue) => self.full(job, &queue, fx),
        }
    }

    /// Ends the job in hand with an error, so that the next can begin.
    pub(super) fn give_up(&mut self, message: &'static str, kind: ErrorKind, fx: &mut Effects) {
        self.again = false;
        let error = HubError::new(kind, message);
        match self.jobs.pop_front() {
            Some(Job::Connect { call, .. }) => {
                fx.answer(call, Answer::Refused(Refusal::Unavailable(message)));
            }
            Some(Job::Ask { call, .. } | Job::Took { call, .. }) => fx.fail(call, error),
            Some(Job::Call(patient)) => fx.fail(patient.caller, error),
            Some(Job::Report { link, tag, .. }) => fx.refuse_report(link, tag, error),
            Some(Job::Subscribe { link, tag, .. } | Job::GetTwin { link, tag }) => {
                fx.say(link, Outbound::Refused(tag, error));
            }
            Some(Job::Settle { by, .. }) => Self::answer_settle(by, Err(error), fx),
            Some(Job::Seek) => self.seek(),
            Some(Job::Telemetry(sent)) => {
                // Not acknowledged, so not lost: the peer sends it again when it comes back.
                for one in sent {
                    fx.said.push(Said::Close(one.link, CloseReason::Internal));
                }
            }
            Some(
                Job::Leave { .. }
                | Job::Bury(_)
                | Job::Release(_)
                | Job::Recall { .. }
                | Job::Notice { .. }
                | Job::Review { .. },
            )
            | None => {}
            Some(Job::CatchUp) => self.cannot_follow(fx),
        }
    }
}
