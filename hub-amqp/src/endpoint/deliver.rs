//! Messages to the peer, cut into as many parts as its frames need, and what became of them.

use super::link::{LinkKey, Rest};
use super::session::no_session;
use super::{Disposed, Endpoint, Happening, Turn};
use crate::codec::{self, Disposition, Role, State, TRANSFER_OVERHEAD, TransferHead};
use crate::problem::AmqpError;

impl Endpoint {
    /// Whether a message may be sent on a link now.
    #[must_use]
    pub fn can_send(&self, key: LinkKey) -> bool {
        self.links.get(&key).is_some_and(|link| {
            link.is_live()
                && link.peer == Role::Receiver
                && link.credit > 0
                && link.rest.is_none()
                && self.sessions.get(&link.channel).is_some_and(|session| session.outgoing_left > 0)
        }) && self.is_live()
    }

    /// Sends a message on a link, if it may be sent now. Gives its number in its session.
    ///
    /// What the session's window has no room for follows when it has.
    pub fn send(
        &mut self,
        key: LinkKey,
        payload: &[u8],
        settled: bool,
        turn: &mut Turn,
    ) -> Option<u32> {
        if !self.can_send(key) {
            return None;
        }
        let link = self.links.get_mut(&key)?;
        let session = self.sessions.get_mut(&link.channel)?;
        let delivery = session.next_delivery;
        session.next_delivery = delivery.wrapping_add(1);
        link.credit -= 1;
        link.delivery_count = link.delivery_count.wrapping_add(1);
        let tag = delivery.to_be_bytes();
        if !settled {
            session.unsettled.insert(delivery, key);
        }
        let room = self.frame_max.saturating_sub(TRANSFER_OVERHEAD);
        if payload.len() <= room {
            session.outgoing_left -= 1;
            session.next_outgoing_id = session.next_outgoing_id.wrapping_add(1);
            let head = TransferHead {
                handle: link.handle,
                delivery_id: delivery,
                tag: &tag,
                settled,
                more: false,
            };
            codec::transfer(&mut turn.wire, link.channel, &head, payload);
        } else {
            let payload = payload.to_vec();
            link.rest = Some(Box::new(Rest { delivery, tag, settled, payload, sent: 0 }));
            self.resume(key, turn);
        }
        Some(delivery)
    }

    /// Sends what is left of a message, as far as the window goes.
    pub(super) fn resume(&mut self, key: LinkKey, turn: &mut Turn) {
        let room = self.frame_max.saturating_sub(TRANSFER_OVERHEAD);
        let Some(link) = self.links.get_mut(&key) else { return };
        let Some(session) = self.sessions.get_mut(&link.channel) else { return };
        let Some(mut rest) = link.rest.take() else { return };
        while session.outgoing_left > 0 {
            let left = rest.payload.get(rest.sent..).unwrap_or(&[]);
            let (part, later) = left.split_at_checked(room).unwrap_or((left, &[]));
            session.outgoing_left -= 1;
            session.next_outgoing_id = session.next_outgoing_id.wrapping_add(1);
            let head = TransferHead {
                handle: link.handle,
                delivery_id: rest.delivery,
                tag: &rest.tag,
                settled: rest.settled,
                more: !later.is_empty(),
            };
            codec::transfer(&mut turn.wire, link.channel, &head, part);
            rest.sent += part.len();
            if later.is_empty() {
                return;
            }
        }
        link.rest = Some(rest);
    }

    pub(super) fn disposition(
        &mut self,
        channel: u16,
        disposition: &Disposition<'_>,
        turn: &mut Turn,
    ) -> Result<(), AmqpError> {
        let session = self.sessions.get_mut(&channel).ok_or_else(no_session)?;
        // What the peer says as a sender is that it has forgotten what the hub settled already.
        if disposition.role == Role::Sender {
            return Ok(());
        }
        let outcome = match disposition.state {
            State::Accepted => Disposed::Accepted,
            State::Rejected(_) => Disposed::Rejected,
            State::Released | State::Modified => Disposed::Released,
            // Settled without a word is the default outcome: released.
            State::Other if disposition.settled => Disposed::Released,
            State::Other => return Ok(()),
        };
        // Only what is unsettled is looked at, however wide the range.
        let (first, width) = (disposition.first, disposition.last.wrapping_sub(disposition.first));
        let within = |id: &u32| id.wrapping_sub(first) <= width;
        let named: Vec<u32> = if width == 0 {
            session.unsettled.contains_key(&first).then_some(first).into_iter().collect()
        } else {
            session.unsettled.keys().copied().filter(within).collect()
        };
        for delivery in named {
            if let Some(link) = session.unsettled.remove(&delivery) {
                let wants_answer = !disposition.settled;
                let disposed = Happening::Disposed { link, delivery, outcome, wants_answer };
                turn.happened.push(disposed);
            }
        }
        Ok(())
    }
}
