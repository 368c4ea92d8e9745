//! Messages to the device: claimed, offered, received, settled, given back and buried.

use std::time::Duration;

use super::effect::{Answer, Effects, Purpose};
use super::input::Request;
use super::job::{After, By, Found, Job, Taking};
use super::{Busy, CLAIM_RETRY, Device, PURGE_STEP};
use crate::delivery::{self, MessageOutcome, Offered, Verdict};
use crate::envelope::Message;
use crate::error::{ErrorKind, HubError};
use crate::frame::{Interest, LockToken, Outbound};
use crate::id::CallId;
use crate::inbox::Post;
use crate::store::{Ask, Change, Claim, Item, Marks, Op, QueueId, QueueKind, Scope};
use crate::time::Timestamp;

impl Device {
    /// A back end's message, in one with another change if there is one.
    pub(super) fn send(
        &mut self,
        call: CallId,
        message: Message,
        also: Option<Box<Change>>,
        fx: &mut Effects,
    ) {
        let request = |message, also| match also {
            None => Request::Send(message),
            Some(also) => Request::SendWith(message, also),
        };
        let Some((generation, guard)) = self.enabled() else {
            return self.not_found(call, request(message, also), fx);
        };
        let (now, limits) = (self.now, &self.setup.limits);
        match delivery::accept(&self.address, generation, message.clone(), now, limits) {
            Err(error) => fx.fail(call, error),
            Ok(push) => {
                let after = After::Sent { expiry: push.deadline };
                let mut change = also.as_deref().cloned().unwrap_or_default();
                change = change.require(&guard).push(push);
                // A link here hears of it at once. One that has been taken over passes it
                // on when it leaves, so that it need not be asked of every message.
                if self.online.is_none() {
                    change = self.require_session(change);
                }
                let change = self.tell(change, |of, _| Post::Mail(of));
                self.write(Job::Ask { call, request: request(message, also) }, change, after, fx);
            }
        }
    }

    /// Asks for messages, if somebody listens and has room.
    pub(super) fn fetch(&mut self, fx: &mut Effects) {
        if !self.subscribed(Interest::Messages) {
            return;
        }
        let Some(link) = self.online.as_ref().map(|online| online.link) else { return };
        let limit = self.mailbox.wants(self.setup.limits.offer_window);
        if limit > 0 {
            self.claim(Purpose::Offer(link), self.now, limit, self.setup.limits.c2d_lock, fx);
        }
    }

    pub(super) fn claim(
        &self,
        purpose: Purpose,
        at: Timestamp,
        limit: u32,
        lock: Duration,
        fx: &mut Effects,
    ) {
        let scope = Scope::Queue(QueueId::mailbox(&self.address));
        let hide_until = self.now.after(lock);
        fx.claims.push((purpose, at, Claim { scope, limit, hide_until }));
    }

    pub(super) fn claimed(
        &mut self,
        purpose: Purpose,
        limit: u32,
        items: Vec<Item>,
        fx: &mut Effects,
    ) {
        match purpose {
            Purpose::Offer(link) => {
                if !self.is_current(link) {
                    // The link left meanwhile. What was fetched for it goes back.
                    self.mailbox.claimed(&[], 1, self.now, &self.setup.limits);
                    return self.release(&items, fx);
                }
                let judged = self.mailbox.claimed(&items, limit, self.now, &self.setup.limits);
                let mut dead = Vec::new();
                for claimed in judged {
                    match claimed.verdict {
                        Verdict::Offer => {
                            fx.say(link, Outbound::Offer(Box::new(claimed.delivery)));
                        }
                        Verdict::Dead(outcome) => dead.push((claimed.offered, outcome)),
                    }
                }
                self.bury(dead, fx);
            }
            Purpose::Job => self.took(limit, items, fx),
        }
    }

    pub(super) fn claim_failed(&mut self, purpose: Purpose, fx: &mut Effects) {
        match purpose {
            Purpose::Offer(_) => self.mailbox.claim_failed(self.now.after(CLAIM_RETRY)),
            Purpose::Job if self.busy == Busy::Claiming => {
                self.busy = Busy::No;
                self.again = false;
                if let Some(Job::Ask { call, .. } | Job::Took { call, .. }) = self.jobs.pop_front()
                {
                    let error =
                        HubError::new(ErrorKind::Unavailable, "the store cannot be reached");
                    fx.fail(call, error);
                }
            }
            Purpose::Job => {}
        }
    }

    pub(super) fn overdue(&mut self, items: &[Item], fx: &mut Effects) {
        let limits = &self.setup.limits;
        let (mut dead, mut alive) = (Vec::new(), Vec::new());
        for item in items {
            match Offered::from_item(item, limits) {
                Some((offered, _)) if item.deadline <= self.now => {
                    dead.push((offered, MessageOutcome::Expired));
                }
                Some((offered, _)) => alive.push(offered),
                None => {}
            }
        }
        self.bury(dead, fx);
        if !alive.is_empty() {
            self.enqueue(Job::Release(alive), fx);
        }
    }

    fn bury(&mut self, dead: Vec<(Offered, MessageOutcome)>, fx: &mut Effects) {
        if !dead.is_empty() {
            self.enqueue(Job::Bury(dead), fx);
        }
    }

    fn release(&mut self, items: &[Item], fx: &mut Effects) {
        let limits = &self.setup.limits;
        let offered: Vec<_> = items
            .iter()
            .filter_map(|item| Offered::from_item(item, limits).map(|(offered, _)| offered))
            .collect();
        if !offered.is_empty() {
            self.enqueue(Job::Release(offered), fx);
        }
    }

    pub(super) fn settle(&mut self, job: Job, fx: &mut Effects) {
        let Job::Settle { by, token, disposition, found } = &job else { return };
        let lost = || HubError::new(ErrorKind::MessageLockLost, "the lock on the message is lost");
        if token.until <= self.now {
            return Self::answer_settle(*by, Err(lost()), fx);
        }
        let held = self.mailbox.held(token, self.now).cloned();
        let offered = match (held, found) {
            (Some(offered), _) => offered,
            (None, Found::Item(offered))
                if offered.at.version() == token.version && offered.until == token.until =>
            {
                (**offered).clone()
            }
            (None, Found::NotYet) => {
                let token = *token;
                return self.read_item(job, &token, fx);
            }
            (None, _) => return Self::answer_settle(*by, Err(lost()), fx),
        };
        let limits = &self.setup.limits;
        let settled =
            delivery::settle(&self.address, &self.audible(offered), *disposition, self.now, limits);
        let after =
            After::Settled { outcome: settled.outcome, feedback: makes_feedback(&settled.change) };
        self.write(job, settled.change, after, fx);
    }

    /// Without feedback, if the queue for it was full: a message must not stay for want of a
    /// place to say that it went.
    fn audible(&self, mut offered: Offered) -> Offered {
        if self.mute_feedback {
            offered.feedback = None;
        }
        offered
    }

    /// Most messages whose life ends in one change: their letters must all find room.
    pub(super) fn ends_max(&self) -> u32 {
        match self.setup.limits.dead_letters_max {
            0 => PURGE_STEP,
            letters => letters.min(PURGE_STEP),
        }
    }

    pub(super) fn bury_now(&mut self, mut dead: Vec<(Offered, MessageOutcome)>, fx: &mut Effects) {
        let most = usize::try_from(self.ends_max()).unwrap_or(usize::MAX);
        if dead.len() > most {
            let rest = dead.split_off(most);
            self.jobs.push_front(Job::Bury(rest));
        }
        let mut change = Change::new();
        for (offered, outcome) in &dead {
            let offered = self.audible(offered.clone());
            let settled =
                delivery::finish(&self.address, &offered, *outcome, self.now, &self.setup.limits);
            change = change.and(settled.change);
        }
        let after = After::Buried { feedback: makes_feedback(&change) };
        self.write(Job::Bury(dead), change, after, fx);
    }

    pub(super) fn give_back(&self, offered: &[Offered]) -> Change {
        offered.iter().fold(Change::new(), |change, offered| {
            let marks = Marks::new(&[offered.delivery_count]).unwrap_or_default();
            change.retime(&offered.at, delivery::AT_ONCE, marks)
        })
    }

    /// What a receive or a purge has claimed becomes a job of its own.
    fn took(&mut self, limit: u32, items: Vec<Item>, fx: &mut Effects) {
        if self.busy != Busy::Claiming {
            return self.release(&items, fx);
        }
        self.busy = Busy::No;
        let (call, taking) = match self.jobs.pop_front() {
            Some(Job::Ask { call, request: Request::Receive(lock) }) => {
                (call, Taking::Receive(lock))
            }
            Some(Job::Ask { call, request: Request::Purge }) => (call, Taking::Purge(0)),
            Some(Job::Took { call, taking, .. }) => (call, taking),
            Some(other) => return self.jobs.push_front(other),
            None => return,
        };
        self.jobs.push_front(Job::Took { call, taking, limit, items });
    }

    pub(super) fn received(&mut self, call: CallId, lock: u64, items: &[Item], fx: &mut Effects) {
        let judged =
            items.first().and_then(|item| delivery::judge(item, self.now, &self.setup.limits));
        let Some(claimed) = judged else { return fx.answer(call, Answer::Received(None)) };
        match claimed.verdict {
            Verdict::Offer => {
                // A device that also listens hears of it when the lock ends.
                self.mailbox.look_at(claimed.offered.until);
                fx.answer(call, Answer::Received(Some(Box::new(claimed.delivery))));
            }
            Verdict::Dead(outcome) => {
                // Bury it first, then look for the next one.
                self.jobs.push_front(Job::Ask { call, request: Request::Receive(lock) });
                self.jobs.push_front(Job::Bury(vec![(claimed.offered, outcome)]));
            }
        }
    }

    pub(super) fn purge_taken(
        &mut self,
        call: CallId,
        before: u64,
        limit: u32,
        items: Vec<Item>,
        fx: &mut Effects,
    ) {
        if items.is_empty() {
            return fx.answer(call, Answer::Purged(before));
        }
        let limits = &self.setup.limits;
        let mut change = Change::new();
        for item in &items {
            change = match Offered::from_item(item, limits) {
                Some((offered, _)) => {
                    let offered = self.audible(offered);
                    let end = MessageOutcome::Purged;
                    change.and(
                        delivery::finish(&self.address, &offered, end, self.now, limits).change,
                    )
                }
                None => change.settle(&item.at),
            };
        }
        let job = Job::Took { call, taking: Taking::Purge(before), limit, items };
        self.write(job, change, After::Purged, fx);
    }

    pub(super) fn purge_on(&mut self, call: CallId, purged: u64, fx: &mut Effects) {
        let (taking, limit) = (Taking::Purge(purged), self.ends_max());
        self.jobs.push_front(Job::Took { call, taking, limit, items: Vec::new() });
        self.busy = Busy::Claiming;
        self.claim(Purpose::Job, Timestamp::MAX, limit, self.setup.limits.c2d_lock, fx);
    }

    pub(super) fn answer_settle(by: By, result: Result<(), HubError>, fx: &mut Effects) {
        match (by, result) {
            (By::Call(call), Ok(())) => fx.answer(call, Answer::Done),
            (By::Call(call), Err(error)) => fx.fail(call, error),
            (By::Link(link, Some(tag)), Ok(())) => fx.say(link, Outbound::Receipt(tag)),
            (By::Link(link, Some(tag)), Err(error)) => {
                fx.say(link, Outbound::Refused(tag, error));
            }
            (By::Link(_, None), _) => {}
        }
    }

    fn read_item(&mut self, job: Job, token: &LockToken, fx: &mut Effects) {
        self.jobs.push_front(job);
        self.busy = Busy::ReadingItem;
        fx.reads.push(Ask::Item(QueueId::mailbox(&self.address), token.sequence));
    }
}

fn makes_feedback(change: &Change) -> bool {
    let is_record =
        |op: &Op| matches!(op, Op::Push(push) if push.queue.kind == QueueKind::FeedbackPending);
    change.ops().iter().any(is_record)
}
