//! What follows when the store has answered.

use super::Device;
use super::cache::Cached;
use super::effect::{Answer, Effects, LifecycleKind, Said};
use super::input::Request;
use super::job::{After, Found, Job, Taking};
use crate::delivery::MessageOutcome;
use crate::error::{ErrorKind, HubError};
use crate::store::{Issued, QueueId, QueueKind};

impl Device {
    pub(super) fn committed(&mut self, job: Job, after: After, issued: &Issued, fx: &mut Effects) {
        match (job, after) {
            (Job::Connect { call, link, arrival, gone }, After::Connected { session, present }) => {
                let now = *session.clone();
                self.documents.session = Cached::Known(issued.version, session);
                self.connected(call, link, *arrival, &now, present, fx);
                match gone {
                    None => self.serve(now.subscriptions, fx),
                    Some(cause) => self.leave(link, cause, fx),
                }
            }
            (Job::Leave { .. }, After::Left { session }) => {
                self.documents.session = Cached::Known(issued.version, session);
                // It may have been written, too.
                self.documents.known = Cached::Unknown;
            }
            (Job::Subscribe { link, tag, .. }, After::Subscribed { session, subscriptions }) => {
                self.documents.session = Cached::Known(issued.version, session);
                self.subscribed_now(link, tag, subscriptions, fx);
            }
            (Job::Telemetry(sent), After::Routed) => Self::routed(sent, fx),
            (Job::Report { link, tag, .. }, After::Reported { version }) => {
                self.twin_is(issued);
                self.reported(link, tag, version, fx);
            }
            (Job::Settle { by, token, .. }, After::Settled { outcome, feedback }) => {
                let sequence = token.sequence;
                self.mailbox.forget(sequence, token.version);
                self.mailbox.stir();
                Self::answer_settle(by, Ok(()), fx);
                if let Some(outcome) = outcome {
                    fx.tell(LifecycleKind::Settled(sequence, outcome));
                }
                if feedback {
                    fx.said.push(Said::FeedbackMade);
                }
            }
            (Job::Bury(dead), After::Buried { feedback }) => {
                for (offered, outcome) in dead {
                    fx.tell(LifecycleKind::Settled(offered.at.sequence(), outcome));
                }
                if feedback {
                    fx.said.push(Said::FeedbackMade);
                }
            }
            (Job::Leave { .. } | Job::Release(_), After::Released) => self.mailbox.stir(),
            (Job::Ask { call, .. }, After::Sent { expiry }) => {
                let sequence = issued.sequences.first().copied().unwrap_or_default();
                fx.answer(call, Answer::Sent(super::Sent { sequence, expiry }));
                self.mailbox.stir();
            }
            (Job::Ask { call, .. }, After::TwinWritten { notice }) => {
                self.twin_is(issued);
                if let Some(twin) = self.documents.twin.get() {
                    fx.answer(call, Answer::Twin(Box::new(twin.clone())));
                }
                if let Some((version, patch)) = notice {
                    self.notice(version, patch, fx);
                }
            }
            (Job::CatchUp, After::Followed(followed)) => {
                let known = Box::new(followed.known.clone());
                self.documents.known = Cached::Known(issued.version, known);
                self.followed(*followed, fx);
            }
            (Job::GetTwin { link, tag }, After::Remembered(known)) => {
                self.documents.known = Cached::Known(issued.version, known.clone());
                self.remembered(link, tag, *known, fx);
            }
            (Job::Call(patient), After::CallSent { holder }) => {
                self.call_sent(patient, holder, issued);
            }
            (Job::Recall { caller, .. }, After::Recalled) => self.recalled(caller, fx),
            (Job::Ask { call, .. }, After::Repaired { session, epoch }) => {
                self.documents.session = Cached::Known(issued.version, session);
                self.repaired(epoch, fx);
                fx.answer(call, Answer::Done);
            }
            (Job::Took { call, taking: Taking::Purge(before), limit, items }, After::Purged) => {
                for item in &items {
                    self.mailbox.gone(item.at.sequence());
                    let end = MessageOutcome::Purged;
                    fx.tell(LifecycleKind::Settled(item.at.sequence(), end));
                }
                fx.said.push(Said::FeedbackMade);
                let removed = u64::try_from(items.len()).unwrap_or(u64::MAX);
                let purged = before.saturating_add(removed);
                if removed < u64::from(limit) {
                    fx.answer(call, Answer::Purged(purged));
                } else {
                    self.purge_on(call, purged, fx);
                }
            }
            // A change is written only together with what follows it.
            (job, after) => debug_assert!(false, "no continuation for {job:?} after {after:?}"),
        }
    }

    fn twin_is(&mut self, issued: &Issued) {
        if let Cached::Known(version, _) = &mut self.documents.twin {
            *version = issued.version;
        }
    }

    /// Somebody else wrote first: what was read is forgotten, and the same job decided again.
    pub(super) fn conflict(&mut self, job: Job, fx: &mut Effects) {
        self.documents.forget();
        self.rounds = self.rounds.saturating_add(1);
        let again = self.rounds <= self.setup.limits.conflict_rounds_max;
        let made_room = self.room.take().is_some();
        match job {
            // What was to give way may be gone, and all else still hold.
            Job::Settle { by, token, disposition, .. } if made_room && again => {
                self.again = true;
                let found = Found::NotYet;
                self.jobs.push_front(Job::Settle { by, token, disposition, found });
            }
            Job::Bury(dead) if made_room && again => {
                self.again = true;
                self.jobs.push_front(Job::Bury(dead));
            }
            // The guard of a settlement is the claim itself: it is not the latest any more.
            Job::Settle { by, token, .. } => {
                self.mailbox.forget(token.sequence, token.version);
                let lost =
                    HubError::new(ErrorKind::MessageLockLost, "the lock on the message is lost");
                Self::answer_settle(by, Err(lost), fx);
            }
            // One of many was settled by somebody else: try each alone, and the one is found.
            Job::Bury(dead) if dead.len() > 1 => {
                for one in dead.into_iter().rev() {
                    self.jobs.push_front(Job::Bury(vec![one]));
                }
            }
            Job::Release(offered) if offered.len() > 1 => {
                for one in offered.into_iter().rev() {
                    self.jobs.push_front(Job::Release(vec![one]));
                }
            }
            // It was claimed: the other node has the call.
            Job::Bury(_) | Job::Release(_) | Job::Recall { .. } => {}
            Job::Took { call, taking: Taking::Purge(purged), .. } if again => {
                self.again = true;
                self.purge_on(call, purged, fx);
            }
            // Nobody waits for a link to leave, so nobody would ask again. Events are not refused
            // because the twin they are routed by does not hold still.
            job if again || matches!(job, Job::Leave { .. } | Job::Telemetry(_)) => {
                self.again = true;
                self.jobs.push_front(job);
            }
            job => {
                self.jobs.push_front(job);
                let message = "others changed the same record too often";
                self.give_up(message, ErrorKind::Busy, fx);
            }
        }
    }

    /// A queue had no room.
    pub(super) fn full(&mut self, job: Job, queue: &QueueId, fx: &mut Effects) {
        if queue.kind == QueueKind::Mailbox
            && let Job::Ask { call, request: Request::Send(_) | Request::SendWith(..) } = job
        {
            let limit = self.setup.limits.c2d_depth_max;
            return fx.fail(
                call,
                HubError::new(
                    ErrorKind::QueueFull,
                    format!("the queue of {} holds {limit} messages, its limit", self.address),
                ),
            );
        }
        if queue.kind == QueueKind::Inbox {
            return match job {
                Job::Call(patient) => fx.fail(
                    patient.caller,
                    HubError::new(ErrorKind::Throttled, "the device's node takes nothing more"),
                ),
                // Done all the same, and found by polling. A twin was changed in place.
                job => {
                    self.documents.forget();
                    (self.mute_posts, self.again) = (true, true);
                    self.jobs.push_front(job);
                }
            };
        }
        if queue.kind == QueueKind::Configure {
            // A sweep finds the twin. It was changed in place.
            self.documents.forget();
            (self.mute_configuring, self.again) = (true, true);
            return self.jobs.push_front(job);
        }
        let Some(job) = self.make_room(job, queue, None, fx) else { return };
        // No room for the feedback: the message goes all the same.
        self.mute_feedback = true;
        self.again = true;
        match job {
            Job::Settle { by, token, disposition, .. } => {
                let found = Found::NotYet;
                self.jobs.push_front(Job::Settle { by, token, disposition, found });
            }
            job @ (Job::Bury(_) | Job::Took { .. }) => self.jobs.push_front(job),
            job => {
                self.jobs.push_front(job);
                // A twin was changed in place.
                self.documents.forget();
                self.give_up("a queue is full", ErrorKind::QueueFull, fx);
            }
        }
    }
}
