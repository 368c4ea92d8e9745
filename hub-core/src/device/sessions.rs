//! Connections: how a device comes, is taken over, subscribes, and goes.

use super::cache::Cached;
use super::effect::{Answer, Effects, LifecycleKind, Said};
use super::events::{Transition, needs_twin, presence_changed};
use super::follow::Following;
use super::input::Arrival;
use super::job::{After, Job};
use super::{Busy, Device, LINK_GONE, Online};
use crate::delivery::Offered;
use crate::envelope::EventSource;
use crate::error::{CloseReason, DisconnectCause};
use crate::frame::{Interest, Outbound, Subscriptions};
use crate::hello::{Grant, Refusal, SessionMode, Welcome};
use crate::id::{CallId, Epoch, LinkId, Tag};
use crate::inbox::Post;
use crate::route::Presence;
use crate::security::{self, Registered};
use crate::session::Session;
use crate::store::{Change, DocumentRef, Key};
use crate::twin::Notices;

impl Device {
    pub(super) fn connect(
        &mut self,
        call: CallId,
        link: LinkId,
        arrival: Box<Arrival>,
        fx: &mut Effects,
    ) {
        let guard = match self.may_connect(&arrival) {
            Ok(guard) => guard,
            Err(_) if self.doubts() => {
                let job = Job::Connect { call, link, arrival, gone: None };
                return self.jobs.push_front(job);
            }
            Err(refusal) => return fx.answer(call, Answer::Refused(refusal)),
        };
        let before = self.documents.session.get();
        let present = arrival.session == SessionMode::Persistent
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
        // Whoever held the connection before lets it go.
        let change = self.tell(change, |of, _| Post::Changed(of));
        let change = change.and(self.presence(Transition {
            presence: Presence::Connected,
            generation: arrival.grant.generation,
            epoch: session.epoch,
            at: self.now,
        }));
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

    /// What a connect or disconnect adds to its change. Where a route looks at the twin for that, the
    /// change holds only if the twin is still as it was looked at.
    pub(super) fn presence(&self, transition: Transition) -> Change {
        let twin = needs_twin(&self.setup.routing, EventSource::ConnectionState)
            .then(|| self.documents.twin.known())
            .flatten();
        let event =
            presence_changed(&self.setup, &self.address, transition, twin.map(|(_, twin)| twin));
        match twin {
            // Also where there is no event: with another twin there might be one.
            Some((version, _)) => {
                event.require(&DocumentRef::new(Key::twin(&self.address), version))
            }
            None => event,
        }
    }

    /// The session after a link of this epoch has gone, and what it held made visible. Claims are
    /// given back as a kindness: after a conflict the lock's end does it.
    pub(super) fn left(
        &self,
        epoch: Epoch,
        generation: u64,
        released: &[Offered],
        heard: u64,
    ) -> (Change, After) {
        let mut change = Change::new();
        let mut after = After::Released;
        if let Cached::Known(version, session) = &self.documents.session
            && self.is_live(epoch)
        {
            let session = session.disconnected(self.now);
            change = change.write(&Key::session(&self.address), Some(*version), session.encode());
            change = change.and(self.presence(Transition {
                presence: Presence::Disconnected,
                generation,
                epoch,
                at: self.now,
            }));
            change = change.and(self.heard_at_end(generation, heard));
            after = After::Left { session: Box::new(session) };
        }
        // What this link held, and what was sent while it was taken for the live one, is for the
        // connection that took over.
        change = self.tell(change, |of, _| Post::Mail(of));
        if self.rounds == 0 {
            change = change.and(self.give_back(released));
        }
        (change, after)
    }

    pub(super) fn subscribe(&mut self, job: Job, fx: &mut Effects) {
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
            let (calls, over) = self.methods.listening(self.now);
            self.dispatch(calls, fx);
            Self::end(over, fx);
        }
        if begins(Interest::Messages) {
            self.mailbox.stir();
        }
        if begins(Interest::DesiredProperties) {
            self.listens(fx);
        }
    }

    /// Whether the store's session is that of this epoch, here. Epochs alone do not tell: those of a
    /// device that was deleted and made anew begin again.
    pub(super) fn is_live(&self, epoch: Epoch) -> bool {
        let session = self.documents.session.get();
        session.is_some_and(|session| {
            session.epoch == epoch && session.node.as_ref() == Some(&self.setup.node)
        })
    }

    /// A link goes on with a newer grant. What it was granted for must be what is registered now.
    pub(super) fn renew(&mut self, link: LinkId, grant: Grant, fx: &mut Effects) {
        let Some(online) = self.online.as_mut().filter(|online| online.link == link) else {
            return;
        };
        online.grant = grant;
        self.enqueue(Job::Review { fresh: false }, fx);
    }

    /// Whoever is connected: may they still be?
    pub(super) fn review(&mut self, fx: &mut Effects) {
        let Some(online) = &self.online else { return };
        let valid = security::still_valid(&online.grant, self.documents.identity.get());
        if let Err(reason) = valid {
            return self.close(reason, fx);
        }
        if !self.is_live(online.epoch) {
            self.close(CloseReason::TakenOver, fx);
        }
        // Whatever woke us may also have left a message, or a notice.
        self.mailbox.stir();
        if self.subscribed(Interest::DesiredProperties) {
            self.enqueue(Job::CatchUp, fx);
        }
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
        let mut following = Following::default();
        if let Some(old) = self.online.take() {
            // A device of the same id that was made anew has nothing of what the old one had.
            if old.grant.generation == arrival.grant.generation {
                following = old.following.after();
            }
            fx.said.push(Said::Close(old.link, CloseReason::TakenOver));
            let cause = DisconnectCause::Closed(CloseReason::TakenOver);
            fx.tell(LifecycleKind::Disconnected(old.epoch, cause));
            Self::end(self.methods.link_lost(), fx);
            let released = self.mailbox.released();
            if !released.is_empty() {
                self.jobs.push_front(Job::Release(released));
            }
        }
        self.methods.linked(session.epoch);
        self.online = Some(Online {
            link,
            epoch: session.epoch,
            subscriptions: session.subscriptions,
            stored: session.stored,
            grant: arrival.grant.clone(),
            notices: Notices::default(),
            following,
        });
        fx.tell(LifecycleKind::Connected(session.epoch));
        let welcome = Welcome {
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
            let (calls, over) = self.methods.listening(self.now);
            self.dispatch(calls, fx);
            Self::end(over, fx);
        }
        self.mailbox.stir();
        if subscriptions.has(Interest::DesiredProperties) {
            self.listens(fx);
        }
    }

    /// The hub ends the connection.
    pub(super) fn close(&mut self, reason: CloseReason, fx: &mut Effects) {
        if let Some(link) = self.online.as_ref().map(|online| online.link) {
            fx.said.push(Said::Close(link, reason));
            self.leave(link, DisconnectCause::Closed(reason), fx);
        }
    }

    pub(super) fn leave(&mut self, link: LinkId, cause: DisconnectCause, fx: &mut Effects) {
        self.leave_early(link, cause, fx);
        if !self.is_current(link) {
            return;
        }
        let Some(online) = self.online.take() else { return };
        Self::end(self.methods.link_lost(), fx);
        fx.tell(LifecycleKind::Disconnected(online.epoch, cause));
        self.seek();
        let released = self.mailbox.released();
        let (epoch, generation) = (online.epoch, online.grant.generation);
        let heard = online.following.sure();
        self.enqueue(Job::Leave { epoch, generation, cause, released, heard }, fx);
    }

    /// A link may go before its connect is done. One in hand may be durable already: it is done,
    /// and left at once.
    fn leave_early(&mut self, link: LinkId, cause: DisconnectCause, fx: &mut Effects) {
        let in_hand = self.busy != Busy::No;
        let of = |job: &Job| matches!(job, Job::Connect { link: l, .. } if *l == link);
        let Some(at) = self.jobs.iter().position(of) else { return };
        if at == 0 && in_hand {
            if let Some(Job::Connect { gone, .. }) = self.jobs.front_mut() {
                *gone = Some(cause);
            }
        } else if let Some(Job::Connect { call, .. }) = self.jobs.remove(at) {
            fx.answer(call, Answer::Refused(Refusal::Unavailable(LINK_GONE)));
        }
    }
}
