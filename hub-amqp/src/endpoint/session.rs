//! Sessions: they begin, they end, and all links of one end with it.

use std::collections::BTreeMap;

use super::link::LinkKey;
use super::{Endpoint, Happening, Turn};
use crate::codec::{self, Begin};
use crate::problem::{AmqpError, condition};

/// A session.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Its links.
    pub(super) handles: BTreeMap<u32, LinkKey>,
    /// The highest handle that the peer knows.
    pub(super) handle_max: u32,
    /// The id of the next transfer from the peer.
    pub(super) next_incoming_id: u32,
    /// How many transfers the peer may still send.
    pub(super) incoming_left: u32,
    /// The id of the next transfer to the peer.
    pub(super) next_outgoing_id: u32,
    /// How many transfers the peer still takes.
    pub(super) outgoing_left: u32,
    /// The number of the next delivery to the peer: one counter for all links.
    pub(super) next_delivery: u32,
    /// Deliveries that the peer has said nothing of.
    pub(super) unsettled: BTreeMap<u32, LinkKey>,
    /// The hub has ended it, and waits for the peer's end.
    pub(super) ended: bool,
}

/// What the hub says of its own side. It sends only what the peer's window lets it.
pub(super) const OUTGOING_WINDOW: u32 = 65_535;

impl Endpoint {
    pub(super) fn begin(
        &mut self,
        channel: u16,
        begin: &Begin,
        turn: &mut Turn,
    ) -> Result<(), AmqpError> {
        if begin.remote_channel.is_some() {
            return Err(AmqpError::new(condition::ILLEGAL_STATE, "the hub has begun no session"));
        }
        if channel > self.limits.channel_max {
            return Err(AmqpError::new(condition::NOT_ALLOWED, "the channel is too high"));
        }
        if self.sessions.contains_key(&channel) {
            return Err(AmqpError::new(condition::ILLEGAL_STATE, "the channel has a session"));
        }
        let window = self.limits.incoming_window;
        let handle_max = u32::try_from(self.limits.links_max.saturating_sub(1)).unwrap_or(u32::MAX);
        let session = Session {
            handle_max: handle_max.min(begin.handle_max),
            next_incoming_id: begin.next_outgoing_id,
            incoming_left: window,
            outgoing_left: begin.incoming_window,
            ..Session::default()
        };
        self.sessions.insert(channel, session);
        codec::begin(&mut turn.wire, channel, window, OUTGOING_WINDOW, handle_max);
        Ok(())
    }

    pub(super) fn ended(&mut self, channel: u16, turn: &mut Turn) -> Result<(), AmqpError> {
        let session = self.sessions.remove(&channel).ok_or_else(no_session)?;
        if !session.ended {
            codec::end(&mut turn.wire, channel, None);
        }
        self.forget_links(&session, turn);
        Ok(())
    }

    /// The hub ends a session.
    pub(super) fn end_session(&mut self, channel: u16, why: &AmqpError, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(&channel).filter(|session| !session.ended) else {
            return;
        };
        let over = std::mem::replace(session, Session { ended: true, ..Session::default() });
        tracing::debug!(channel, condition = why.condition, "amqp session ended");
        codec::end(&mut turn.wire, channel, Some(why));
        self.forget_links(&over, turn);
    }

    fn forget_links(&mut self, session: &Session, turn: &mut Turn) {
        for key in session.handles.values() {
            if let Some(link) = self.links.remove(key) {
                self.partial_bytes = self.partial_bytes.saturating_sub(link.partial_bytes());
                turn.happened.push(Happening::Gone(*key));
            }
        }
    }
}

pub(super) fn no_session() -> AmqpError {
    AmqpError::new(condition::ILLEGAL_STATE, "the channel has no session")
}
