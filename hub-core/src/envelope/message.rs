//! Cloud-to-device messages: what a back end sends and a device receives.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::property::{Properties, Property, SystemProperty};
use crate::time::Timestamp;

/// What feedback the sender of a cloud-to-device message wants (`iothub-ack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Ack {
    /// None. The default.
    #[default]
    None = 0,
    /// Only when it was completed.
    Positive = 1,
    /// Only when it was dead-lettered or purged.
    Negative = 2,
    /// Both.
    Full = 3,
}

impl Ack {
    /// The wire's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }

    /// Parses the wire's word, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Positive, Self::Negative, Self::Full]
            .into_iter()
            .find(|ack| ack.name().eq_ignore_ascii_case(text))
    }
}

/// A cloud-to-device message as its sender gives it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// What feedback is wanted.
    pub ack: Ack,
    /// When it expires; `None` is the hub's default time to live.
    pub expiry: Option<Timestamp>,
    /// Its properties. `To`, `ExpiryTime` and `Ack` in here are ignored: the hub derives them.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
}

impl Message {
    /// A message with a body and nothing else.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Sets the message id, by which feedback is correlated.
    #[must_use]
    pub fn with_message_id(self, id: &str) -> Self {
        self.with(Property::System(SystemProperty::MessageId, id))
    }

    /// Asks for feedback.
    #[must_use]
    pub fn with_ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }

    /// Sets the instant after which it is not delivered any more.
    #[must_use]
    pub fn with_expiry(mut self, expiry: Timestamp) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// Adds an application property.
    #[must_use]
    pub fn with_property(self, name: &str, value: &str) -> Self {
        self.with(Property::Application(name, Some(value)))
    }

    /// Adds a property.
    #[must_use]
    pub fn with(mut self, property: Property<'_>) -> Self {
        self.properties = self.properties.iter().chain([property]).collect();
        self
    }

    /// The message id, if it has one.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.properties.system(SystemProperty::MessageId)
    }

    /// Its size by the hub's accounting: body, values of system properties, names and values of
    /// application properties.
    #[must_use]
    pub fn size(&self) -> usize {
        let properties = self.properties.iter().map(|property| match property {
            Property::System(_, value) => value.len(),
            Property::Application(name, value) => name.len() + value.map_or(0, str::len),
        });
        self.body.len() + properties.sum::<usize>()
    }
}

const FORMAT: u8 = 1;

/// A message as it lies in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What feedback is wanted.
    pub ack: Ack,
    /// When the hub accepted it.
    pub enqueued: Timestamp,
    /// The generation id of the target's identity when it was sent.
    pub generation: u64,
    /// Its properties.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
}

impl Stored {
    /// The body of its queue item.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let properties = self.properties.as_encoded();
        let mut out = BytesMut::with_capacity(22 + properties.len() + self.body.len());
        out.put_u8(FORMAT);
        out.put_u8(self.ack as u8);
        out.put_u64_le(self.enqueued.as_millis());
        out.put_u64_le(self.generation);
        out.put_u32_le(u32::try_from(properties.len()).unwrap_or(u32::MAX));
        out.put_slice(properties);
        out.put_slice(&self.body);
        out.freeze()
    }

    /// Reads the body of a queue item. `None` if it is of no known format.
    #[must_use]
    pub fn decode(mut body: Bytes) -> Option<Self> {
        if body.len() < 22 || body.get_u8() != FORMAT {
            return None;
        }
        let ack = match body.get_u8() {
            0 => Ack::None,
            1 => Ack::Positive,
            2 => Ack::Negative,
            3 => Ack::Full,
            _ => return None,
        };
        let enqueued = Timestamp::from_millis(body.get_u64_le());
        let generation = body.get_u64_le();
        let length = usize::try_from(body.get_u32_le()).ok()?;
        if length > body.len() {
            return None;
        }
        let properties = Properties::from_encoded(body.split_to(length));
        Some(Self { ack, enqueued, generation, properties, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_message_comes_back() {
        let message = Message::new("body").with_message_id("m1").with_property("k", "v");
        assert_eq!(message.size(), 4 + 2 + 2);
        let stored = Stored {
            ack: Ack::Full,
            enqueued: Timestamp::from_millis(9),
            generation: 637,
            properties: message.properties.clone(),
            body: message.body.clone(),
        };
        assert_eq!(Stored::decode(stored.encode()), Some(stored));
        assert_eq!(Stored::decode(Bytes::from_static(b"\x01")), None);
        assert_eq!(Stored::decode(Bytes::from(vec![1; 22])), None);
    }

    #[test]
    fn ack_words_are_read_in_any_case() {
        assert_eq!(Ack::parse("Full"), Some(Ack::Full));
        assert_eq!(Ack::parse("maybe"), None);
    }
}
