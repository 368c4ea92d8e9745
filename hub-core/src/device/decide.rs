//! What each job comes to, once what it needs has been read.

use std::time::Duration;

use bytes::Bytes;

use super::cache::Cached;
use super::effect::{Answer, Effects, Purpose};
use super::input::{Arrival, Request};
use super::job::{After, By, Found, Job, Taking};
use super::{Busy, Device, LINK_GONE, PURGE_STEP};
use crate::delivery::{self, MessageOutcome, Offered, Verdict};
use crate::error::{CloseReason, DisconnectCause, ErrorKind, HubError};
use crate::frame::{Interest, Outbound, Subscriptions};
use crate::hello::Refusal;
use crate::id::{CallId, Epoch, LinkId, Tag};
use crate::security::{self, Registered};
use crate::session::Session;
use crate::store::{Change, DocumentRef, Item, Key, Marks};
use crate::time::Timestamp;
use crate::twin::{Patch, ServicePatch, TwinChange};

impl Device {
    pub(super) fn decide(&mut self, job: Job, fx: &mut Effects) {
        match job {
            Job::Connect { call, gone: Some(_), .. } => {
                fx.answer(call, Answer::Refused(Refusal::Unavailable(LINK_GONE)));
            }
            Job::Connect { call, link, arrival, gone: None } => {
                self.connect(call, link, arrival, fx);
            }
            Job::Leave { epoch, cause, released } => {
                let (change, after) = self.left(epoch, &released);
                if change.is_empty() {
                    return;
                }
                self.write(Job::Leave { epoch, cause, released }, change, after, fx);
            }
            Job::Subscribe { link, tag, add, remove } => {
                self.subscribe(Job::Subscribe { link, tag, add, remove }, fx);
            }
            Job::Report { .. } => self.report(job, fx),
            Job::GetTwin { link, tag } => self.get_twin(link, tag, fx),
            Job::Settle { .. } => self.settle(job, fx),
            Job::Bury(dead) => self.bury_now(dead, fx),
            Job::Release(offered) => {
                let change = self.give_back(&offered);
                self.write(Job::Release(offered), change, After::Released, fx);
            }
            Job::Ask { call, request } => self.request(call, request, fx),
            Job::Took { call, taking: Taking::Receive(lock), items, .. } => {
                self.received(call, lock, &items, fx);
            }
            Job::Took { call, taking: Taking::Purge(before), limit, items } => {
                self.purge_taken(call, before, limit, items, fx);
            }
            Job::Review { fresh: false } => {
                self.documents.forget();
                self.jobs.push_front(Job::Review { fresh: true });
            }
            Job::Review { fresh: true } => self.review(fx),
        }
    }

    fn connect(&mut self, call: CallId, link: LinkId, arrival: Box<Arrival>, fx: &mut Effects) {
        let guard = match self.may_connect(&arrival) {
            Ok(guard) => guard,
            Err(_) if self.doubts() => {
                let job = Job::Connect { call, link, arrival, gone: None };
                return self.jobs.push_front(job);
            }
            Err(refusal) => return fx.answer(call, Answer::Refused(refusal)),
        };
        let before = self.documents.session.get();
        let present = arrival.session == crate::hello::SessionMode::Persistent
            && before.is_some_and(|session| session.stored);
        let session = before.cloned().unwrap_or_default().connected(
            &self.setup.node,
            arrival.session,
            arrival.model.clone(),
            self.now,
        );
        let change = Change::new().require(&guard).write(
            &Key::session(&self.address),
            self.documents.session.version(),
            session.encode(),
        );
        let after = After::Connected { session: Box::new(session), present };
        self.write(Job::Connect { call, link, arrival, gone: None }, change, after, fx);
    }

    fn may_connect(&self, arrival: &Arrival) -> Result<DocumentRef, Refusal> {
        let unknown = || Refusal::Unknown(self.address.clone());
        let identity = self.documents.identity.get().ok_or_else(unknown)?;
        if identity.generation() != arrival.grant.generation {
            return Err(unknown());
        }
        if !identity.is_enabled() {
            return Err(Refusal::Disabled(self.address.clone()));
        }
        self.documents.identity.at(Key::identity(&self.address)).ok_or_else(unknown)
    }

    /// The identity, as long as it is there and enabled, to be required by a change.
    fn enabled(&self) -> Option<(u64, DocumentRef)> {
        let identity = self.documents.identity.get().filter(|identity| identity.is_enabled())?;
        let guard = self.documents.identity.at(Key::identity(&self.address))?;
        Some((identity.generation(), guard))
    }

    /// The session after a link of this epoch has gone, and what it held made visible. Claims are
    /// given back as a kindness: after a conflict the lock's end does it.
    fn left(&self, epoch: Epoch, released: &[Offered]) -> (Change, After) {
        let mut change = Change::new();
        let mut after = After::Released;
        if let Cached::Known(version, session) = &self.documents.session
            && self.is_live(epoch)
        {
            let session = session.disconnected(self.now);
            change = change.write(&Key::session(&self.address), Some(*version), session.encode());
            after = After::Left { session: Box::new(session) };
        }
        if self.rounds == 0 {
            change = change.and(self.give_back(released));
        }
        (change, after)
    }

    fn give_back(&self, offered: &[Offered]) -> Change {
        offered.iter().fold(Change::new(), |change, offered| {
            let marks = Marks::new(&[offered.delivery_count]).unwrap_or_default();
            change.retime(&offered.at, delivery::AT_ONCE, marks)
        })
    }

    fn subscribe(&mut self, job: Job, fx: &mut Effects) {
        let Job::Subscribe { link, tag, add, remove } = &job else { return };
        let (link, tag) = (*link, *tag);
        let Some(online) = self.online.as_ref().filter(|online| online.link == link) else {
            return;
        };
        let mut subscriptions: Subscriptions = online.subscriptions;
        for (interest, guarantee) in add {
            subscriptions = subscriptions.with(*interest, *guarantee);
        }
        for interest in remove {
            subscriptions = subscriptions.without(*interest);
        }
        if !online.stored || subscriptions == online.subscriptions {
            return self.subscribed_now(link, tag, subscriptions, fx);
        }
        let live = self.is_live(online.epoch);
        let Some((version, session)) = self.documents.session.known().filter(|_| live) else {
            // Another node has taken over; its document must not be touched.
            return self.close(CloseReason::TakenOver, fx);
        };
        let session = Session { subscriptions, active: self.now, ..session.clone() };
        let change =
            Change::new().write(&Key::session(&self.address), Some(version), session.encode());
        let after = After::Subscribed { session: Box::new(session), subscriptions };
        self.write(job, change, after, fx);
    }

    pub(super) fn subscribed_now(
        &mut self,
        link: LinkId,
        tag: Tag,
        subscriptions: Subscriptions,
        fx: &mut Effects,
    ) {
        let Some(online) = self.online.as_mut().filter(|online| online.link == link) else {
            return;
        };
        let before = std::mem::replace(&mut online.subscriptions, subscriptions);
        fx.say(link, Outbound::Receipt(tag));
        let begins = |interest| subscriptions.has(interest) && !before.has(interest);
        if begins(Interest::Methods) {
            let calls = self.methods.listening(self.now);
            self.dispatch(calls, fx);
        }
        if begins(Interest::Messages) {
            self.mailbox.stir();
        }
    }

    fn report(&mut self, job: Job, fx: &mut Effects) {
        let Job::Report { link, epoch, tag, patch, if_version } = &job else { return };
        let (link, tag) = (*link, *tag);
        let session = self.documents.session.at(Key::session(&self.address));
        let twin = self.documents.twin.at(Key::twin(&self.address));
        let (Some(session), Some(guard)) = (session, twin) else {
            if self.doubts() {
                return self.jobs.push_front(job);
            }
            return fx.refuse_report(link, tag, HubError::not_found(&self.address));
        };
        if !self.is_live(*epoch) {
            if self.doubts() {
                return self.jobs.push_front(job);
            }
            // Taken over, perhaps on another node: an older link writes nothing.
            if self.is_current(link) {
                self.close(CloseReason::TakenOver, fx);
            }
            return;
        }
        let Cached::Known(_, twin) = &mut self.documents.twin else { return };
        let limits = &self.setup.limits;
        let changed = Patch::parse(patch, limits)
            .and_then(|parsed| twin.report(&parsed, *if_version, self.now, limits));
        match changed {
            Ok(change) if !change.is_empty() => {
                // The twin is changed in place; until the outcome is known nobody reads it,
                // and a refusal forgets it.
                let after = After::Reported { version: twin.reported_version() };
                let change = Change::new().require(&session).replace(&guard, twin.encode());
                self.write(job, change, after, fx);
            }
            // Nothing will be written, so no guard would tell that this is outdated.
            _ if !self.fresh => {
                self.documents.forget();
                self.jobs.push_front(job);
            }
            Ok(_) => {
                let version = twin.reported_version();
                self.reported(link, tag, version, fx);
            }
            Err(error) => fx.refuse_report(link, tag, error.into()),
        }
    }

    /// Whether the store's session is that of this epoch, here. Epochs alone do not tell: those of a
    /// device that was deleted and made anew begin again.
    fn is_live(&self, epoch: Epoch) -> bool {
        let session = self.documents.session.get();
        session.is_some_and(|session| {
            session.epoch == epoch && session.node.as_ref() == Some(&self.setup.node)
        })
    }

    pub(super) fn reported(&self, link: LinkId, tag: Tag, version: u64, fx: &mut Effects) {
        fx.tally.reports += 1;
        // Answers go only to a session that listens for them; a stock client that does not
        // would take them for something else.
        if self.subscribed(Interest::TwinResponses) {
            fx.say(link, Outbound::Reported(tag, version));
        } else {
            fx.say(link, Outbound::Receipt(tag));
        }
    }

    fn get_twin(&mut self, link: LinkId, tag: Tag, fx: &mut Effects) {
        if !self.fresh {
            // No guard would tell that the cached one is outdated.
            self.documents.twin = Cached::Unknown;
            return self.jobs.push_front(Job::GetTwin { link, tag });
        }
        match self.documents.twin.get() {
            _ if !self.subscribed(Interest::TwinResponses) => {
                fx.say(link, Outbound::Receipt(tag));
            }
            Some(twin) => fx.say(link, Outbound::Twin(tag, twin.device_view())),
            None => fx.say(link, Outbound::Refused(tag, HubError::not_found(&self.address))),
        }
    }

    fn settle(&mut self, job: Job, fx: &mut Effects) {
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

    fn bury_now(&mut self, dead: Vec<(Offered, MessageOutcome)>, fx: &mut Effects) {
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

    fn request(&mut self, call: CallId, request: Request, fx: &mut Effects) {
        match request {
            Request::Send(message) => {
                let Some((generation, guard)) = self.enabled() else {
                    return self.not_found(call, Request::Send(message), fx);
                };
                let accepted = delivery::accept(
                    &self.address,
                    generation,
                    message.clone(),
                    self.now,
                    &self.setup.limits,
                );
                match accepted {
                    Err(error) => fx.fail(call, error),
                    Ok(push) => {
                        let after = After::Sent { expiry: push.deadline };
                        let change = Change::new().require(&guard).push(push);
                        let job = Job::Ask { call, request: Request::Send(message) };
                        self.write(job, change, after, fx);
                    }
                }
            }
            Request::Invoke(method) if self.enabled().is_none() => {
                self.not_found(call, Request::Invoke(method), fx);
            }
            Request::Invoke(method) => self.invoke(call, method, fx),
            Request::PatchTwin(patch, if_match) => {
                self.write_twin(call, patch, if_match, false, fx);
            }
            Request::ReplaceTwin(patch, if_match) => {
                self.write_twin(call, patch, if_match, true, fx);
            }
            Request::Receive(lock_ms) => {
                let lock = Duration::from_millis(lock_ms);
                self.jobs.push_front(Job::Ask { call, request: Request::Receive(lock_ms) });
                self.busy = Busy::Claiming;
                self.claim(Purpose::Job, self.now, 1, lock, fx);
            }
            Request::Purge => {
                self.jobs.push_front(Job::Ask { call, request: Request::Purge });
                self.busy = Busy::Claiming;
                self.claim(
                    Purpose::Job,
                    Timestamp::MAX,
                    PURGE_STEP,
                    self.setup.limits.c2d_lock,
                    fx,
                );
            }
            Request::Settle(token, disposition) => {
                let by = By::Call(call);
                let job = Job::Settle { by, token, disposition, found: Found::NotYet };
                self.settle(job, fx);
            }
        }
    }

    fn not_found(&mut self, call: CallId, request: Request, fx: &mut Effects) {
        if self.doubts() {
            return self.jobs.push_front(Job::Ask { call, request });
        }
        fx.fail(call, HubError::not_found(&self.address));
    }

    fn write_twin(
        &mut self,
        call: CallId,
        patch: ServicePatch,
        if_match: Option<String>,
        replace: bool,
        fx: &mut Effects,
    ) {
        let request = |patch, if_match| match replace {
            true => Request::ReplaceTwin(patch, if_match),
            false => Request::PatchTwin(patch, if_match),
        };
        let guard = self.documents.twin.at(Key::twin(&self.address));
        let (Cached::Known(_, twin), Some(guard), Some(_)) =
            (&mut self.documents.twin, guard, self.documents.identity.get())
        else {
            return self.not_found(call, request(patch, if_match), fx);
        };
        let (now, limits) = (self.now, &self.setup.limits);
        let etag = if_match.as_deref();
        let result = if replace {
            twin.replace(&patch, etag, now, limits)
        } else {
            twin.patch(&patch, etag, now, limits)
        };
        match result {
            Ok(change) if !change.is_empty() => {
                let after = After::TwinWritten { notice: notice_of(&change) };
                let write = Change::new().replace(&guard, twin.encode());
                let request = request(patch, if_match);
                self.write(Job::Ask { call, request }, write, after, fx);
            }
            // Nothing will be written, so no guard would tell that this is outdated.
            _ if !self.fresh => {
                self.documents.forget();
                let request = request(patch, if_match);
                self.jobs.push_front(Job::Ask { call, request });
            }
            Ok(_) => fx.answer(call, Answer::Twin(twin.clone())),
            Err(error) => fx.fail(call, error.into()),
        }
    }

    /// What a receive or a purge has claimed becomes a job of its own.
    pub(super) fn took(&mut self, limit: u32, items: Vec<Item>, fx: &mut Effects) {
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

    fn received(&mut self, call: CallId, lock: u64, items: &[Item], fx: &mut Effects) {
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

    fn purge_taken(
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

    /// Whoever is connected: may they still be?
    fn review(&mut self, fx: &mut Effects) {
        let Some(online) = &self.online else { return };
        let valid = security::still_valid(&online.grant, self.documents.identity.get());
        if let Err(reason) = valid {
            return self.close(reason, fx);
        }
        if !self.is_live(online.epoch) {
            self.close(CloseReason::TakenOver, fx);
        }
        // Whatever woke us may also have left a message.
        self.mailbox.stir();
    }

    /// A new connection is durable: it takes the place of the old one.
    pub(super) fn connected(
        &mut self,
        call: CallId,
        link: LinkId,
        arrival: Arrival,
        session: &Session,
        present: bool,
        fx: &mut Effects,
    ) {
        if let Some(old) = self.online.take() {
            fx.said.push(super::Said::Close(old.link, CloseReason::TakenOver));
            let cause = DisconnectCause::Closed(CloseReason::TakenOver);
            fx.tell(super::LifecycleKind::Disconnected(old.epoch, cause));
            Self::end(self.methods.link_lost(), fx);
            let released = self.mailbox.released();
            if !released.is_empty() {
                self.jobs.push_front(Job::Release(released));
            }
        }
        self.methods.linked(session.epoch);
        self.online = Some(super::Online {
            link,
            epoch: session.epoch,
            subscriptions: session.subscriptions,
            stored: session.stored,
            grant: arrival.grant.clone(),
        });
        fx.tell(super::LifecycleKind::Connected(session.epoch));
        let welcome = crate::hello::Welcome {
            link,
            epoch: session.epoch,
            session_present: present,
            subscriptions: session.subscriptions,
            grant: arrival.grant,
        };
        fx.answer(call, Answer::Welcome(Box::new(welcome)));
    }

    /// A new connection is there to be served by what its session is subscribed to.
    pub(super) fn serve(&mut self, subscriptions: Subscriptions, fx: &mut Effects) {
        if subscriptions.has(Interest::Methods) {
            let calls = self.methods.listening(self.now);
            self.dispatch(calls, fx);
        }
        self.mailbox.stir();
    }
}

fn makes_feedback(change: &Change) -> bool {
    change.ops().iter().any(|op| matches!(op, crate::store::Op::Push(_)))
}

fn notice_of(change: &TwinChange) -> Option<(u64, Bytes)> {
    change.desired_notice().map(|notice| (notice.version, notice.body))
}
