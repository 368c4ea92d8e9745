//! Links: asked for, accepted or refused, and gone.

use super::session::no_session;
use super::{Endpoint, Happening, Turn};
use crate::codec::{self, Attach, AttachReply, Detach, LazyAttach, Performative, Role};
use crate::problem::{AmqpError, condition};

/// Names a link of a connection. Not used again for a later one, as handles are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey(pub(super) u64);

/// Where a link stands.
#[derive(Debug)]
enum State {
    /// Asked for: the attach as it came.
    Asked(Box<[u8]>),
    /// Accepted.
    Live,
    /// The hub has ended it, and waits for the peer's detach.
    Ended,
}

/// A message to the peer of which a part is still to be sent.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) delivery: u32,
    pub(super) tag: [u8; 4],
    pub(super) settled: bool,
    pub(super) payload: Vec<u8>,
    pub(super) sent: usize,
}

/// A message from the peer of which more is to come.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) delivery: u32,
    pub(super) settled: bool,
    pub(super) payload: Vec<u8>,
}

/// A link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) channel: u16,
    pub(super) handle: u32,
    /// Which end the peer is.
    pub(super) peer: Role,
    state: State,
    /// How many deliveries the sender has made.
    pub(super) delivery_count: u32,
    /// How many it may still make.
    pub(super) credit: u32,
    /// The peer wants credit that cannot be used to be used up.
    pub(super) draining: bool,
    pub(super) rest: Option<Box<Rest>>,
    pub(super) partial: Option<Box<Partial>>,
    /// Largest message that the hub takes on it.
    pub(super) message_max: usize,
}

impl Link {
    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    pub(super) fn asked(&self) -> Option<Attach<'_>> {
        match &self.state {
            State::Asked(body) => match codec::performative(body) {
                Ok(Performative::Attach(attach)) => attach.read().ok(),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn partial_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.payload.len())
    }
}

impl Endpoint {
    pub(super) fn attach(
        &mut self,
        channel: u16,
        attach: &LazyAttach<'_>,
        body: &[u8],
        turn: &mut Turn,
    ) -> Result<(), AmqpError> {
        let attach = attach.read()?;
        let session = self.sessions.get_mut(&channel).ok_or_else(no_session)?;
        if session.ended {
            return Ok(());
        }
        let problem = if attach.handle > session.handle_max {
            Some(AmqpError::new(condition::NOT_ALLOWED, "the handle is too high"))
        } else if session.handles.contains_key(&attach.handle) {
            Some(AmqpError::new(condition::HANDLE_IN_USE, "the handle has a link"))
        } else if self.links.len() >= self.limits.links_max {
            Some(AmqpError::new(condition::RESOURCE_LIMIT, "the connection has too many links"))
        } else {
            None
        };
        if let Some(problem) = problem {
            self.end_session(channel, &problem, turn);
            return Ok(());
        }
        self.last_key += 1;
        let key = LinkKey(self.last_key);
        session.handles.insert(attach.handle, key);
        let link = Link {
            channel,
            handle: attach.handle,
            peer: attach.role,
            state: State::Asked(body.into()),
            delivery_count: 0,
            credit: 0,
            draining: false,
            rest: None,
            partial: None,
            message_max: 0,
        };
        self.links.insert(key, link);
        turn.happened.push(Happening::Asked(key));
        Ok(())
    }

    /// Accepts a link. Of a link on which the peer sends, `message_max` is the largest message that
    /// is taken; credit is granted with [`Endpoint::grant`]. `settles` says that what the hub sends
    /// on it is settled when it is sent.
    ///
    /// Says whether there was such a link to accept.
    pub fn accept(
        &mut self,
        key: LinkKey,
        message_max: usize,
        settles: bool,
        turn: &mut Turn,
    ) -> bool {
        let Some(link) = self.links.get_mut(&key) else { return false };
        let Some(attach) = link.asked() else { return false };
        let message_max = message_max.max(1);
        let (role, snd_settle_mode, rcv_settle_mode) = match attach.role {
            // The hub settles what it receives at once, when it settles.
            Role::Sender => (Role::Receiver, attach.snd_settle_mode, 0),
            Role::Receiver if settles => (Role::Sender, 1, 0),
            Role::Receiver => (Role::Sender, 0, attach.rcv_settle_mode.min(1)),
        };
        let reply = AttachReply {
            name: attach.name,
            handle: link.handle,
            role,
            snd_settle_mode,
            rcv_settle_mode,
            source: attach.source.map(|source| source.raw),
            target: attach.target.map(|target| target.raw),
            max_message_size: u64::try_from(message_max).unwrap_or(u64::MAX),
        };
        codec::attach(&mut turn.wire, link.channel, &reply);
        link.state = State::Live;
        link.message_max = message_max;
        true
    }

    /// Refuses a link: it is attached without source and target, and detached (§2.6.3).
    pub fn refuse(&mut self, key: LinkKey, why: &AmqpError, turn: &mut Turn) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let Some(attach) = link.asked() else { return };
        let role = match attach.role {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        };
        let reply = AttachReply {
            name: attach.name,
            handle: link.handle,
            role,
            snd_settle_mode: attach.snd_settle_mode.min(2),
            rcv_settle_mode: attach.rcv_settle_mode.min(1),
            // The end that the hub would have been is null, the peer's own is echoed.
            source: attach.source.filter(|_| role == Role::Receiver).map(|source| source.raw),
            target: attach.target.filter(|_| role == Role::Sender).map(|target| target.raw),
            max_message_size: 0,
        };
        codec::attach(&mut turn.wire, link.channel, &reply);
        codec::detach(&mut turn.wire, link.channel, link.handle, Some(why));
        tracing::debug!(condition = why.condition, reason = %why.description, "amqp link refused");
        link.state = State::Ended;
    }

    /// Ends a link from the hub's side. It is not heard of again.
    pub fn detach(&mut self, key: LinkKey, why: Option<&AmqpError>, turn: &mut Turn) {
        let Some(link) = self.links.get_mut(&key) else { return };
        match link.state {
            State::Ended => {}
            State::Asked(_) => {
                let why = why.cloned();
                let why = why.unwrap_or_else(|| {
                    AmqpError::new(condition::DETACH_FORCED, "the link is not served any more")
                });
                self.refuse(key, &why, turn);
            }
            State::Live => {
                codec::detach(&mut turn.wire, link.channel, link.handle, why);
                link.state = State::Ended;
                link.rest = None;
                self.partial_bytes = self.partial_bytes.saturating_sub(link.partial_bytes());
                link.partial = None;
                let channel = link.channel;
                if let Some(session) = self.sessions.get_mut(&channel) {
                    session.unsettled.retain(|_, of| *of != key);
                }
            }
        }
    }

    pub(super) fn detached(
        &mut self,
        channel: u16,
        detach: &Detach<'_>,
        turn: &mut Turn,
    ) -> Result<(), AmqpError> {
        let session = self.sessions.get_mut(&channel).ok_or_else(no_session)?;
        if session.ended {
            return Ok(());
        }
        let Some(key) = session.handles.remove(&detach.handle) else {
            self.unattached(channel, turn);
            return Ok(());
        };
        session.unsettled.retain(|_, of| *of != key);
        let Some(link) = self.links.remove(&key) else { return Ok(()) };
        self.partial_bytes = self.partial_bytes.saturating_sub(link.partial_bytes());
        if !link.is_ended() {
            codec::detach(&mut turn.wire, channel, link.handle, None);
            turn.happened.push(Happening::Gone(key));
        }
        Ok(())
    }

    /// The peer has named a handle that has no link.
    pub(super) fn unattached(&mut self, channel: u16, turn: &mut Turn) {
        let why = AmqpError::new(condition::UNATTACHED, "the handle has no link");
        self.end_session(channel, &why, turn);
    }

    /// The peer broke the rules of a link: the link ends.
    pub(super) fn fault(&mut self, key: LinkKey, why: &AmqpError, turn: &mut Turn) {
        self.detach(key, Some(why), turn);
        turn.happened.push(Happening::Gone(key));
    }
}

/// A key for tests of other modules.
#[cfg(test)]
pub(crate) fn link_key(number: u64) -> LinkKey {
    LinkKey(number)
}
