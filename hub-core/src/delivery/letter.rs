//! Dead letters: messages whose life is over, kept with the cause.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{AT_ONCE, MessageOutcome};
use crate::envelope::{Message, Stored};
use crate::id::{Address, SequenceNumber};
use crate::limits::Limits;
use crate::store::{Item, Push, QueueId};
use crate::time::Timestamp;

/// What is needed of a message to keep it when it is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LetterSeed {
    pub(crate) expiry: Timestamp,
    /// The message as it lies in its queue.
    pub(crate) body: Bytes,
}

/// A message that was not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Whose message it was.
    pub of: Address,
    /// Its number among the dead letters of that identity; later ones are greater.
    pub number: SequenceNumber,
    /// How its life ended: never `Completed`.
    pub cause: MessageOutcome,
    /// When it ended.
    pub at: Timestamp,
    /// Until when the letter is kept.
    pub kept_until: Timestamp,
    /// How often it had been given back.
    pub delivery_count: u8,
    /// The place it had in the queue of messages.
    pub sequence: SequenceNumber,
    /// When it expired or would have.
    pub expiry: Timestamp,
    /// The whole message.
    pub message: Stored,
}

const FORMAT: u8 = 1;
/// What stands before the message.
const HEAD: usize = 27;

impl DeadLetter {
    /// What keeps a message, beside the step that ends its life.
    pub(super) fn push(
        address: &Address,
        (sequence, delivery_count): (SequenceNumber, u8),
        seed: &LetterSeed,
        cause: MessageOutcome,
        now: Timestamp,
        limits: &Limits,
    ) -> Push {
        let mut body = BytesMut::with_capacity(HEAD + seed.body.len());
        body.put_u8(FORMAT);
        body.put_u8(code(cause));
        body.put_u8(delivery_count);
        body.put_u64_le(now.as_millis());
        body.put_u64_le(sequence.0);
        body.put_u64_le(seed.expiry.as_millis());
        body.put_slice(&seed.body);
        Push {
            queue: QueueId::dead_letters(address),
            capacity: limits.dead_letters_max,
            visible: AT_ONCE,
            deadline: now.after(limits.dead_letter_retention),
            body: body.freeze(),
        }
    }

    /// Reads an item of a queue of dead letters. `None` if it is of no known format.
    #[must_use]
    pub fn from_item(item: &Item) -> Option<Self> {
        let of = Address::parse(&item.at.queue().id).ok()?;
        let mut body = item.body.clone();
        if body.len() < HEAD || body.get_u8() != FORMAT {
            return None;
        }
        Some(Self {
            of,
            number: item.at.sequence(),
            cause: cause(body.get_u8())?,
            delivery_count: body.get_u8(),
            at: Timestamp::from_millis(body.get_u64_le()),
            kept_until: item.deadline,
            sequence: SequenceNumber(body.get_u64_le()),
            expiry: Timestamp::from_millis(body.get_u64_le()),
            message: Stored::decode(body)?,
        })
    }

    /// The message to send again: the old body, properties and wish for feedback, with this expiry
    /// (`None`: the default time to live).
    #[must_use]
    pub fn replay(&self, expiry: Option<Timestamp>) -> Message {
        let Stored { ack, properties, body, .. } = self.message.clone();
        Message { ack, expiry, properties, body }
    }
}

/// As it is stored; never changes.
fn code(cause: MessageOutcome) -> u8 {
    match cause {
        MessageOutcome::Completed => 0,
        MessageOutcome::Rejected => 1,
        MessageOutcome::Expired => 2,
        MessageOutcome::DeliveryCountExceeded => 3,
        MessageOutcome::Purged => 4,
    }
}

fn cause(stored: u8) -> Option<MessageOutcome> {
    [
        MessageOutcome::Rejected,
        MessageOutcome::Expired,
        MessageOutcome::DeliveryCountExceeded,
        MessageOutcome::Purged,
    ]
    .into_iter()
    .find(|cause| code(*cause) == stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Ack;
    use crate::store::Version;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn letter(outcome: MessageOutcome) -> Item {
        let message = Message::new("body").with_property("k", "v").with_message_id("m1");
        let stored = Stored {
            ack: Ack::Full,
            enqueued: NOW,
            generation: 7,
            properties: message.properties,
            body: message.body,
        };
        let seed = LetterSeed { expiry: NOW, body: stored.encode() };
        let address = Address::parse("d1/m1").unwrap();
        let limits = Limits { dead_letters_max: 3, ..Limits::default() };
        let from = (SequenceNumber(5), 2);
        let push = DeadLetter::push(&address, from, &seed, outcome, NOW, &limits);
        assert_eq!((push.capacity, push.visible), (3, AT_ONCE));
        push.item(SequenceNumber(9), Version(1))
    }

    #[test]
    fn a_letter_comes_back_and_makes_the_message_anew() {
        for outcome in [
            MessageOutcome::Rejected,
            MessageOutcome::Expired,
            MessageOutcome::DeliveryCountExceeded,
            MessageOutcome::Purged,
        ] {
            let letter = DeadLetter::from_item(&letter(outcome)).unwrap();
            assert_eq!((letter.cause, letter.delivery_count), (outcome, 2));
            assert_eq!((letter.number, letter.sequence), (SequenceNumber(9), SequenceNumber(5)));
            assert_eq!(letter.kept_until, NOW.after(Limits::default().dead_letter_retention));
            let again = letter.replay(None);
            assert_eq!(
                (again.ack, again.expiry, again.message_id()),
                (Ack::Full, None, Some("m1"))
            );
            assert_eq!(&again.body[..], b"body");
        }
    }

    #[test]
    fn what_is_no_letter_is_none() {
        let good = letter(MessageOutcome::Expired);
        for cut in 0..HEAD + 22 {
            let cut = Item { body: good.body.slice(..cut), ..good.clone() };
            assert_eq!(DeadLetter::from_item(&cut), None);
        }
        // Completed messages have no letters.
        let mut body = good.body.to_vec();
        body[1] = 0;
        assert_eq!(DeadLetter::from_item(&Item { body: body.into(), ..good }), None);
    }
}
