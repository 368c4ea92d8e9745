//! Publishes of QoS 1 to the device that it has not acknowledged.

use std::collections::VecDeque;

use hub_core::frame::LockToken;

use crate::codec::PacketId;

/// What a packet id in flight stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// A cloud-to-device message: its acknowledgement completes it.
    Message(LockToken),
    /// Desired properties of this version: the device has them when it acknowledges them.
    Desired(u64),
    /// Anything else: its acknowledgement frees the id and means no more.
    Other,
}

/// The packet ids in flight, in the order they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Flight {
    sent: VecDeque<(PacketId, Sent)>,
    /// How far ids for all but messages have counted down.
    down: u16,
}

impl Flight {
    /// How many are in flight.
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// The id for a cloud-to-device message.
    ///
    /// It follows from the message's place in its queue, so that a redelivery has the id of the
    /// first delivery without the hub keeping ids between connections. The same message may be in
    /// flight already, when its lock ran out: then the new token replaces the old one, and one
    /// acknowledgement completes it.
    pub(super) fn message(&mut self, token: LockToken) -> PacketId {
        let wanted = (token.sequence.0.wrapping_sub(1) % u64::from(u16::MAX)) as u16 + 1;
        let wanted = PacketId::new(wanted).unwrap_or(PacketId::MIN);
        let same = |sent: &Sent| matches!(sent, Sent::Message(t) if t.sequence == token.sequence);
        if let Some((id, sent)) = self.sent.iter_mut().find(|(_, sent)| same(sent)) {
            *sent = Sent::Message(token);
            return *id;
        }
        let id = if self.is_free(wanted) { wanted } else { self.free_id() };
        self.sent.push_back((id, Sent::Message(token)));
        id
    }

    /// The id for anything else.
    pub(super) fn other(&mut self, sent: Sent) -> PacketId {
        let id = self.free_id();
        self.sent.push_back((id, sent));
        id
    }

    fn is_free(&self, id: PacketId) -> bool {
        self.sent.iter().all(|(taken, _)| *taken != id)
    }

    /// Counts down from the top, because messages count up from the bottom. There always is one:
    /// far fewer than 65535 are in flight.
    fn free_id(&mut self) -> PacketId {
        loop {
            self.down = match self.down {
                0 | 1 => u16::MAX,
                n => n - 1,
            };
            match PacketId::new(self.down) {
                Some(id) if self.is_free(id) || self.len() >= usize::from(u16::MAX) => return id,
                _ => {}
            }
        }
    }

    /// The device has acknowledged an id. Nothing is in flight under it if it was acknowledged
    /// before, or belongs to an earlier connection.
    pub(super) fn acknowledged(&mut self, id: PacketId) -> Option<Sent> {
        let at = self.sent.iter().position(|(sent, _)| *sent == id)?;
        let (_, sent) = self.sent.remove(at)?;
        if self.sent.is_empty() {
            self.sent = VecDeque::new();
        }
        Some(sent)
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> Vec<u16> {
        self.sent.iter().map(|(id, _)| id.get()).collect()
    }
}

#[cfg(test)]
mod tests {
    use hub_core::id::SequenceNumber;
    use hub_core::store::Version;
    use hub_core::time::Timestamp;

    use super::*;

    fn token(sequence: u64, version: u64) -> LockToken {
        LockToken {
            sequence: SequenceNumber(sequence),
            version: Version(version),
            until: Timestamp::ZERO,
        }
    }

    #[test]
    fn a_message_keeps_its_id_and_ids_never_collide() {
        let mut flight = Flight::default();
        assert_eq!(flight.message(token(1, 1)).get(), 1);
        assert_eq!(flight.other(Sent::Other).get(), 65535);
        assert_eq!(flight.message(token(65535, 2)).get(), 65534);
        assert_eq!(flight.message(token(65536, 3)).get(), 65533);
        // The lock of the first has run out, and it is delivered again.
        assert_eq!(flight.message(token(1, 9)).get(), 1);
        assert_eq!(flight.len(), 4);
        let id = PacketId::new(1).unwrap();
        assert_eq!(flight.acknowledged(id), Some(Sent::Message(token(1, 9))));
        assert_eq!(flight.acknowledged(id), None);
        assert_eq!(flight.message(token(u64::MAX, 1)).get(), 65535 - 3);
        assert_eq!(flight.message(token(0, 1)).get(), (u64::MAX % 65535) as u16 + 1);
    }

    #[test]
    fn ids_in_flight_are_skipped_when_counting_comes_round() {
        let mut flight = Flight::default();
        assert_eq!(flight.message(token(65534, 1)).get(), 65534);
        let ids: Vec<u16> = (0..3).map(|_| flight.other(Sent::Other).get()).collect();
        assert_eq!(ids, [65535, 65533, 65532]);
        flight.down = 2;
        assert_eq!(flight.other(Sent::Other).get(), 1);
        assert_eq!(flight.other(Sent::Other).get(), 65531);
    }
}
