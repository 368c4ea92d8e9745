//! All that a device and a hub say to each other, in no protocol's words.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::envelope::Stored;
use crate::error::{CloseReason, HubError};
use crate::id::{SequenceNumber, Tag};
use crate::store::{Entries, Version};
use crate::time::Timestamp;

/// What a device may listen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Interest {
    /// Cloud-to-device messages.
    Messages = 0,
    /// Direct methods.
    Methods = 1,
    /// Answers to twin requests.
    TwinResponses = 2,
    /// Changes of desired properties.
    DesiredProperties = 3,
    /// Inputs of a module. Granted, nothing is ever delivered.
    Inputs = 4,
}

impl Interest {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Messages, Self::Methods, Self::TwinResponses, Self::DesiredProperties, Self::Inputs];
}

/// How surely something is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Guarantee {
    /// At most once: done when written (MQTT QoS 0).
    AtMostOnce = 1,
    /// At least once: done when the device says so (MQTT QoS 1).
    AtLeastOnce = 2,
}

/// What a session is subscribed to, and how surely.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Subscriptions(u16);

impl Subscriptions {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// The guarantee of an interest, if it is subscribed.
    #[must_use]
    pub fn get(self, interest: Interest) -> Option<Guarantee> {
        match self.0 >> (2 * interest as u8) & 3 {
            1 => Some(Guarantee::AtMostOnce),
            2 => Some(Guarantee::AtLeastOnce),
            _ => None,
        }
    }

    /// Whether an interest is subscribed.
    #[must_use]
    pub fn has(self, interest: Interest) -> bool {
        self.get(interest).is_some()
    }

    /// With this interest subscribed at this guarantee, whatever it was before.
    #[must_use]
    pub fn with(self, interest: Interest, guarantee: Guarantee) -> Self {
        Self(self.without(interest).0 | (guarantee as u16) << (2 * interest as u8))
    }

    /// Without this interest.
    #[must_use]
    pub fn without(self, interest: Interest) -> Self {
        Self(self.0 & !(3 << (2 * interest as u8)))
    }

    /// Whether nothing is subscribed.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As stores keep it.
    #[must_use]
    pub fn to_bits(self) -> u16 {
        self.0
    }

    /// From what [`Subscriptions::to_bits`] gave; unknown bits are dropped.
    #[must_use]
    pub fn from_bits(bits: u16) -> Self {
        Interest::ALL
            .into_iter()
            .fold(Self::NONE, |found, interest| Self(found.0 | bits & (3 << (2 * interest as u8))))
    }
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = Interest::ALL.into_iter().filter_map(|i| self.get(i).map(|g| (i, g)));
        f.debug_map().entries(set).finish()
    }
}

/// The proof of having received a message: which one, which delivery of it, and until when it is
/// locked. Opaque to adapters, which carry its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockToken {
    /// The message's place in its queue.
    pub sequence: SequenceNumber,
    /// The claim that this is.
    pub version: Version,
    /// When the lock ends.
    pub until: Timestamp,
}

/// 48 hex digits: safe in a URL, an `ETag` and a header.
impl fmt::Display for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}{:016x}", self.sequence.0, self.version.0, self.until.as_millis())
    }
}

/// A text that is no lock token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a lock token")]
pub struct BadLockToken;

impl std::str::FromStr for LockToken {
    type Err = BadLockToken;

    fn from_str(text: &str) -> Result<Self, BadLockToken> {
        let part = |at: usize| {
            let digits = text.get(at..at + 16)?;
            let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(digits, 16).ok())?
        };
        match (text.len(), part(0), part(16), part(32)) {
            (48, Some(sequence), Some(version), Some(until)) => Ok(Self {
                sequence: SequenceNumber(sequence),
                version: Version(version),
                until: Timestamp::from_millis(until),
            }),
            _ => Err(BadLockToken),
        }
    }
}

/// What a receiver did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It is done.
    Complete,
    /// Give it back to the queue; counts as a delivery.
    Abandon,
    /// It can never be done: dead-letter it.
    Reject,
}

/// A cloud-to-device message on its way to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What proves its receipt.
    pub token: LockToken,
    /// The message.
    pub message: Stored,
    /// When it expires.
    pub expiry: Timestamp,
    /// Deliveries that were given back so far.
    pub delivery_count: u8,
    /// Whether it was handed out before.
    pub redelivered: bool,
}

/// What a device says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// Events for the log. Answered by one [`Outbound::Receipt`] when all of them are durable.
    Telemetry(Tag, Entries),
    /// What became of a delivered message. Answered by a receipt if there is a tag.
    Settle(Option<Tag>, LockToken, Disposition),
    /// A patch of the reported properties, as JSON text; conditional on their version if one is
    /// given. Answered by [`Outbound::Reported`] or [`Outbound::Refused`].
    Report(Tag, Bytes, Option<u64>),
    /// Asks for the twin. Answered by [`Outbound::Twin`] or [`Outbound::Refused`].
    GetTwin(Tag),
    /// The answer to a direct method: the call, the device's status, and a payload that is JSON
    /// or empty.
    Reply(MethodRef, i32, Bytes),
    /// The peer has acknowledged [`Outbound::Desired`] of this version. Not answered. For protocols that
    /// have such a thing; without it a device that reconnects is told more than it needs, where it is
    /// told what it may have missed.
    Heard(u64),
    /// Subscribes. Answered by a receipt, after which deliveries may begin.
    Subscribe(Tag, Vec<(Interest, Guarantee)>),
    /// Ends subscriptions. Answered by a receipt.
    Unsubscribe(Tag, Vec<Interest>),
}

/// A direct method call as its link knows it. Not used again on a later link of the identity: a
/// protocol that carries it whole cannot take a late answer for one to another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodRef(pub u64);

/// What a hub says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outbound {
    /// What was tagged so is done, and durable.
    Receipt(Tag),
    /// What was tagged so is refused.
    Refused(Tag, HubError),
    /// A cloud-to-device message.
    Offer(Box<Delivery>),
    /// Desired properties changed: their new version, and the patch as JSON text with `$version`.
    Desired(u64, Bytes),
    /// A direct method: its name and its payload, always JSON text.
    Call(MethodRef, Arc<str>, Bytes),
    /// The twin as the device may see it, as JSON text.
    Twin(Tag, Bytes),
    /// Reported properties are patched and have this version.
    Reported(Tag, u64),
    /// The connection is over. Nothing follows.
    Close(CloseReason),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_a_small_map() {
        let none = Subscriptions::NONE;
        let some = none
            .with(Interest::Methods, Guarantee::AtLeastOnce)
            .with(Interest::Methods, Guarantee::AtMostOnce)
            .with(Interest::Inputs, Guarantee::AtLeastOnce);
        assert_eq!(some.get(Interest::Methods), Some(Guarantee::AtMostOnce));
        assert_eq!(some.get(Interest::Inputs), Some(Guarantee::AtLeastOnce));
        assert!(!some.has(Interest::Messages));
        assert_eq!(Subscriptions::from_bits(some.to_bits()), some);
        assert!(some.without(Interest::Methods).without(Interest::Inputs).is_empty());
    }

    #[test]
    fn a_lock_token_prints_and_parses_back() {
        let token = LockToken {
            sequence: SequenceNumber(3),
            version: Version(u64::MAX),
            until: Timestamp::from_millis(17),
        };
        assert_eq!(token.to_string().parse(), Ok(token));
        for bad in ["", "lock-1", &"g".repeat(48), &"é".repeat(24), &"+".repeat(48)] {
            assert_eq!(bad.parse::<LockToken>(), Err(BadLockToken));
        }
    }
}
