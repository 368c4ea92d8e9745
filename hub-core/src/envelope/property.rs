//! Properties of a message: a fixed vocabulary of system properties, and whatever the
//! application adds.

use bytes::{BufMut, Bytes, BytesMut};

/// A property with a meaning to the hub or to Azure's SDKs.
///
/// Source of the vocabulary: the IoT Hub message format. The discriminant is what stores persist;
/// it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum SystemProperty {
    /// `message-id`: chosen by the sender, at most 128 characters.
    MessageId = 2,
    /// `correlation-id`: free text.
    CorrelationId = 3,
    /// `user-id`: free text; the hub's name on messages the hub made.
    UserId = 4,
    /// `to`: the path of the target.
    To = 5,
    /// `content-type` of the body.
    ContentType = 6,
    /// `content-encoding`: the body's character set.
    ContentEncoding = 7,
    /// `absolute-expiry-time`, as the sender wrote it. The hub does not act on it in telemetry.
    ExpiryTime = 8,
    /// `iothub-creation-time-utc`: when the device made the message.
    CreationTime = 9,
    /// `iothub-outputname`: the output of a module.
    OutputName = 10,
    /// `iothub-interface-id`: marks messages of a security agent.
    InterfaceId = 11,
    /// `dt-subject`: the component that sent it.
    Subject = 12,
    /// `iothub-message-schema`.
    MessageSchema = 13,
    /// `Diagnostic-Id`: trace id of the sender.
    DiagnosticId = 14,
    /// `Correlation-Context`: trace context of the sender.
    DiagnosticContext = 15,
    /// `iothub-ack`: what feedback the sender of a cloud-to-device message wants.
    Ack = 16,
}

impl SystemProperty {
    /// All of them, by discriminant.
    pub const ALL: [Self; 15] = [
        Self::MessageId,
        Self::CorrelationId,
        Self::UserId,
        Self::To,
        Self::ContentType,
        Self::ContentEncoding,
        Self::ExpiryTime,
        Self::CreationTime,
        Self::OutputName,
        Self::InterfaceId,
        Self::Subject,
        Self::MessageSchema,
        Self::DiagnosticId,
        Self::DiagnosticContext,
        Self::Ack,
    ];

    /// The name back ends read it by in the event log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageId => "message-id",
            Self::CorrelationId => "correlation-id",
            Self::UserId => "user-id",
            Self::To => "to",
            Self::ContentType => "content-type",
            Self::ContentEncoding => "content-encoding",
            Self::ExpiryTime => "absolute-expiry-time",
            Self::CreationTime => "iothub-creation-time-utc",
            Self::OutputName => "iothub-outputname",
            Self::InterfaceId => "iothub-interface-id",
            Self::Subject => "dt-subject",
            Self::MessageSchema => "iothub-message-schema",
            Self::DiagnosticId => "Diagnostic-Id",
            Self::DiagnosticContext => "Correlation-Context",
            Self::Ack => "iothub-ack",
        }
    }

    /// The property with this name in the event log.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|p| *p as u8 == code)
    }
}

/// One property as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property<'a> {
    /// A system property and its value.
    System(SystemProperty, &'a str),
    /// An application property; no value where the wire had a bare key.
    Application(&'a str, Option<&'a str>),
}

const APPLICATION: u8 = 0;
const APPLICATION_BARE: u8 = 1;

/// The properties of a message, in their encoded form: cheap to keep, copied as bytes, decoded only
/// where somebody asks.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Properties(Bytes);

impl Properties {
    /// From an encoded form that this type wrote before. Anything else yields what can be read.
    #[must_use]
    pub fn from_encoded(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The encoded form.
    #[must_use]
    pub fn as_encoded(&self) -> &Bytes {
        &self.0
    }

    /// All properties in the order they were added, duplicates included.
    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    /// The last value of a system property.
    #[must_use]
    pub fn system(&self, wanted: SystemProperty) -> Option<&str> {
        self.iter().fold(None, |found, property| match property {
            Property::System(name, value) if name == wanted => Some(value),
            _ => found,
        })
    }

    /// Application properties, one per name: of names that differ only in case, the last wins.
    #[must_use]
    pub fn application(&self) -> Vec<(&str, Option<&str>)> {
        let mut found: Vec<(&str, Option<&str>)> = Vec::new();
        for property in self.iter() {
            if let Property::Application(key, value) = property {
                match found.iter_mut().find(|(k, _)| k.eq_ignore_ascii_case(key)) {
                    Some(slot) => *slot = (key, value),
                    None => found.push((key, value)),
                }
            }
        }
        found
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<Property<'a>> for Properties {
    fn from_iter<I: IntoIterator<Item = Property<'a>>>(iter: I) -> Self {
        let mut out = BytesMut::new();
        for property in iter {
            write(&mut out, property);
        }
        Self(out.freeze())
    }
}

/// Appends one property to an encoded block. Returns its [`size`].
pub(crate) fn write(out: &mut impl BufMut, property: Property<'_>) -> usize {
    match property {
        Property::System(name, value) => {
            out.put_u8(name as u8);
            write_text(out, value);
        }
        Property::Application(key, None) => {
            out.put_u8(APPLICATION_BARE);
            write_text(out, key);
        }
        Property::Application(key, Some(value)) => {
            out.put_u8(APPLICATION);
            write_text(out, key);
            write_text(out, value);
        }
    }
    size(property)
}

/// How many bytes a property counts for in size limits: the value of a system property, name and
/// value of an application property.
pub(crate) fn size(property: Property<'_>) -> usize {
    match property {
        Property::System(_, value) => value.len(),
        Property::Application(key, value) => key.len() + value.map_or(0, str::len),
    }
}

pub(crate) fn write_text(out: &mut impl BufMut, text: &str) {
    let mut len = text.len();
    while len >= 0x80 {
        out.put_u8((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.put_u8(len as u8);
    out.put_slice(text.as_bytes());
}

pub(crate) fn read_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let mut len = 0_usize;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let text = from.get(..len)?;
            *from = from.get(len..)?;
            return std::str::from_utf8(text).ok();
        }
    }
    None
}

/// Reads an encoded block. Ends at the first byte it does not understand.
#[derive(Debug, Clone)]
pub struct Iter<'a>(&'a [u8]);

impl<'a> Iter<'a> {
    pub(super) fn new(encoded: &'a [u8]) -> Self {
        Self(encoded)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        let (code, mut rest) = self.0.split_first().map(|(code, rest)| (*code, rest))?;
        let first = read_text(&mut rest);
        let property = match (code, first) {
            (APPLICATION, Some(key)) => {
                read_text(&mut rest).map(|value| Property::Application(key, Some(value)))
            }
            (APPLICATION_BARE, Some(key)) => Some(Property::Application(key, None)),
            (code, Some(value)) => {
                SystemProperty::from_code(code).map(|name| Property::System(name, value))
            }
            (_, None) => None,
        };
        self.0 = if property.is_some() { rest } else { &[] };
        property
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_codes_are_unique() {
        for (i, a) in SystemProperty::ALL.into_iter().enumerate() {
            assert_eq!(SystemProperty::from_name(a.name()), Some(a));
            assert_eq!(SystemProperty::from_code(a as u8), Some(a));
            assert!((a as u8) > APPLICATION_BARE);
            for b in SystemProperty::ALL.into_iter().skip(i + 1) {
                assert!(a as u8 != b as u8 && a.name() != b.name());
            }
        }
    }

    #[test]
    fn of_names_that_differ_in_case_the_last_wins() {
        let properties: Properties = [
            Property::Application("Key", Some("1")),
            Property::Application("other", None),
            Property::Application("key", Some("2")),
        ]
        .into_iter()
        .collect();
        assert_eq!(properties.application(), vec![("key", Some("2")), ("other", None)]);
    }

    proptest! {
        #[test]
        fn encoding_is_the_identity(
            pairs in prop::collection::vec((0_usize..17, ".{0,200}", ".{0,20}"), 0..20),
        ) {
            let properties: Vec<Property<'_>> = pairs
                .iter()
                .map(|(kind, a, b)| match kind {
                    15 => Property::Application(b, Some(a)),
                    16 => Property::Application(b, None),
                    i => Property::System(SystemProperty::ALL[*i], a),
                })
                .collect();
            let encoded: Properties = properties.iter().copied().collect();
            prop_assert_eq!(encoded.iter().collect::<Vec<_>>(), properties);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Properties::from_encoded(bytes.into()).iter().count();
        }
    }
}
