//! Messages from the peer, put together from their parts.

use super::link::{LinkKey, Partial};
use super::session::no_session;
use super::{Endpoint, Happening, Turn};
use crate::codec::{Role, Transfer};
use crate::problem::{AmqpError, condition};

impl Endpoint {
    pub(super) fn transfer(
        &mut self,
        channel: u16,
        transfer: &Transfer<'_>,
        payload: &[u8],
        turn: &mut Turn,
    ) -> Result<(), AmqpError> {
        let session = self.sessions.get_mut(&channel).ok_or_else(no_session)?;
        if session.ended {
            return Ok(());
        }
        if session.incoming_left == 0 {
            let why = AmqpError::new(condition::WINDOW, "more transfers than the window takes");
            self.end_session(channel, &why, turn);
            return Ok(());
        }
        session.incoming_left -= 1;
        session.next_incoming_id = session.next_incoming_id.wrapping_add(1);
        let Some(key) = session.handles.get(&transfer.handle).copied() else {
            self.unattached(channel, turn);
            return Ok(());
        };
        if let Err(why) = self.part(key, transfer, payload, turn) {
            self.fault(key, &why, turn);
        }
        self.widen(channel, turn);
        Ok(())
    }

    fn part(
        &mut self,
        key: LinkKey,
        transfer: &Transfer<'_>,
        payload: &[u8],
        turn: &mut Turn,
    ) -> Result<(), AmqpError> {
        let Some(link) = self.links.get_mut(&key) else { return Ok(()) };
        if link.is_ended() {
            return Ok(());
        }
        if link.peer == Role::Receiver || !link.is_live() {
            return Err(AmqpError::new(condition::NOT_ALLOWED, "a message on the wrong link"));
        }
        let begun = link.partial.take();
        let before = begun.as_ref().map_or(0, |partial| partial.payload.len());
        self.partial_bytes = self.partial_bytes.saturating_sub(before);
        if begun.is_none() {
            if link.credit == 0 {
                return Err(AmqpError::new(condition::TRANSFER_LIMIT, "a message without credit"));
            }
            link.credit -= 1;
            link.delivery_count = link.delivery_count.wrapping_add(1);
        }
        if transfer.aborted {
            return Ok(());
        }
        let mut partial = match begun {
            Some(partial) => partial,
            None => Box::new(Partial {
                delivery: transfer.delivery_id.ok_or_else(|| {
                    AmqpError::new(condition::INVALID_FIELD, "a message without a delivery id")
                })?,
                settled: false,
                payload: Vec::new(),
            }),
        };
        partial.settled |= transfer.settled.unwrap_or(false);
        if partial.payload.len().saturating_add(payload.len()) > link.message_max {
            return Err(AmqpError::new(
                condition::MESSAGE_SIZE,
                format!("a message has more than {} bytes", link.message_max),
            ));
        }
        partial.payload.extend_from_slice(payload);
        if transfer.more {
            self.partial_bytes = self.partial_bytes.saturating_add(partial.payload.len());
            if self.partial_bytes > self.limits.partial_bytes_max {
                self.partial_bytes -= partial.payload.len();
                return Err(AmqpError::new(
                    condition::RESOURCE_LIMIT,
                    "too much of unfinished messages on the connection",
                ));
            }
            link.partial = Some(partial);
            return Ok(());
        }
        let Partial { delivery, settled, payload } = *partial;
        turn.happened.push(Happening::Message { link: key, delivery, settled, payload });
        Ok(())
    }
}
