//! Events: what stands in the log, and how it gets there.

use bytes::{BufMut, Bytes};

use super::property::{self, Properties, Property, SystemProperty};
use super::view::EventView;
use crate::id::{Address, Partition, SequenceNumber};
use crate::store::{Entries, Entry};
use crate::time::Timestamp;

/// Who vouched for the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AuthScope {
    /// A shared access policy of the hub.
    Hub = 0,
    /// The device's own credential.
    Device = 1,
    /// The module's own credential.
    Module = 2,
}

/// How the sender proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AuthType {
    /// A shared access signature.
    Sas = 0,
    /// A certificate whose thumbprint is registered.
    X509Thumbprint = 1,
    /// A certificate of a registered authority.
    X509Authority = 2,
    /// The application that embeds the hub.
    InProcess = 3,
}

/// How a sender was authenticated; stamped on every event, never taken from the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthMethod {
    /// Who vouched.
    pub scope: AuthScope,
    /// How it was proved.
    pub kind: AuthType,
}

impl AuthMethod {
    /// The text that back ends find in `iothub-connection-auth-method`.
    #[must_use]
    pub fn to_json(self) -> &'static str {
        match (self.scope, self.kind) {
            (AuthScope::Hub, AuthType::Sas) => {
                r#"{"scope":"hub","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
            }
            (AuthScope::Device, AuthType::Sas) => {
                r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
            }
            (AuthScope::Module, AuthType::Sas) => {
                r#"{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
            }
            (AuthScope::Module, AuthType::X509Thumbprint) => {
                r#"{"scope":"module","type":"x509","issuer":"iothub","acceptingIpFilterRule":null}"#
            }
            (_, AuthType::X509Thumbprint) => {
                r#"{"scope":"device","type":"x509","issuer":"iothub","acceptingIpFilterRule":null}"#
            }
            (AuthScope::Module, AuthType::X509Authority) => {
                r#"{"scope":"module","type":"x509","issuer":"external","acceptingIpFilterRule":null}"#
            }
            (_, AuthType::X509Authority) => {
                r#"{"scope":"device","type":"x509","issuer":"external","acceptingIpFilterRule":null}"#
            }
            (_, AuthType::InProcess) => {
                r#"{"scope":"hub","type":"sas","issuer":"inProcess","acceptingIpFilterRule":null}"#
            }
        }
    }

    fn code(self) -> u8 {
        (self.scope as u8) << 4 | self.kind as u8
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        let scope = match code >> 4 {
            0 => AuthScope::Hub,
            1 => AuthScope::Device,
            2 => AuthScope::Module,
            _ => return None,
        };
        let kind = match code & 0xf {
            0 => AuthType::Sas,
            1 => AuthType::X509Thumbprint,
            2 => AuthType::X509Authority,
            3 => AuthType::InProcess,
            _ => return None,
        };
        Some(Self { scope, kind })
    }
}

/// What kind of event it is. The discriminant is what stores persist; it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum EventSource {
    /// A message of a device or module.
    Telemetry = 0,
    /// A twin was patched or replaced.
    TwinChange = 1,
    /// An identity was created or deleted.
    DeviceLifecycle = 2,
    /// A device connected or disconnected.
    ConnectionState = 3,
    /// A digital twin was patched or replaced.
    DigitalTwinChange = 4,
    /// The part of a job that concerns one device began or ended.
    JobLifecycle = 5,
}

impl EventSource {
    /// All of them, by discriminant.
    pub const ALL: [Self; 6] = [
        Self::Telemetry,
        Self::TwinChange,
        Self::DeviceLifecycle,
        Self::ConnectionState,
        Self::DigitalTwinChange,
        Self::JobLifecycle,
    ];

    /// The text that back ends find in `iothub-message-source`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry",
            Self::TwinChange => "twinChangeEvents",
            Self::DeviceLifecycle => "deviceLifecycleEvents",
            Self::ConnectionState => "deviceConnectionStateEvents",
            Self::DigitalTwinChange => "digitalTwinChangeEvents",
            Self::JobLifecycle => "deviceJobLifecycleEvents",
        }
    }

    /// The text that a route names it by.
    #[must_use]
    pub const fn routing_name(self) -> &'static str {
        match self {
            Self::Telemetry => "DeviceMessages",
            Self::TwinChange => "TwinChangeEvents",
            Self::DeviceLifecycle => "DeviceLifecycleEvents",
            Self::ConnectionState => "DeviceConnectionStateEvents",
            Self::DigitalTwinChange => "DigitalTwinChangeEvents",
            Self::JobLifecycle => "DeviceJobLifecycleEvents",
        }
    }

    /// The source that a route, or `iothub-message-source`, calls so, in whatever case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let called = |known: &str| known.eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(|source| called(source.name()) || called(source.routing_name()))
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|source| *source as u8 == code)
    }
}

/// The first byte of an encoded event.
pub(super) const FORMAT: u8 = 1;

/// What the hub stamps on every event of one connection: who sent it and how that was proved.
///
/// Kept encoded, so that stamping a message is one copy.
#[derive(Clone, PartialEq, Eq)]
pub struct Stamp(Bytes);

impl Stamp {
    /// The stamp of a sender.
    #[must_use]
    pub fn new(
        source: EventSource,
        sender: &Address,
        generation: &str,
        auth: Option<AuthMethod>,
        model: Option<&str>,
    ) -> Self {
        let mut out = Vec::with_capacity(64);
        out.put_u8(FORMAT);
        out.put_u8(source as u8);
        out.put_u8(auth.map_or(u8::MAX, AuthMethod::code));
        property::write_text(&mut out, sender.as_str());
        property::write_text(&mut out, generation);
        property::write_text(&mut out, model.unwrap_or(""));
        Self(out.into())
    }

    /// Bytes it adds to each event.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a stamp names at least its sender.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stamp({} bytes)", self.0.len())
    }
}

/// Why a message was not taken into a batch. The batch is as it was before the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message has {bytes} bytes, the limit is {limit}")]
pub struct TooLarge {
    /// Size of the message, by the documented accounting.
    pub bytes: usize,
    /// The limit it broke.
    pub limit: usize,
}

/// Events on their way to the log, encoded one behind the other.
///
/// An adapter keeps one of these, fills it while it parses what a peer sent, and hands over all of
/// it at once. Memory is reused from batch to batch.
#[derive(Debug, Default)]
pub struct EventBatch {
    arena: Vec<u8>,
    ends: Vec<u32>,
}

impl EventBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message: its properties in order, then its body. `limit` is the largest size
    /// by the hub's accounting: body, values of system properties, names and values of
    /// application properties.
    ///
    /// # Errors
    /// [`TooLarge`] when the message is larger than `limit`.
    pub fn push<'a>(
        &mut self,
        stamp: &Stamp,
        properties: impl IntoIterator<Item = Property<'a>>,
        body: &[u8],
        limit: usize,
    ) -> Result<(), TooLarge> {
        let start = self.arena.len();
        self.arena.put_slice(&stamp.0);
        let length_at = self.arena.len();
        self.arena.put_u32_le(0);
        let mut bytes = body.len();
        for property in properties {
            bytes = bytes.saturating_add(property::write(&mut self.arena, property));
        }
        let end = self.arena.len().saturating_add(body.len());
        let (true, Ok(end), Ok(block)) =
            (bytes <= limit, u32::try_from(end), u32::try_from(self.arena.len() - length_at - 4))
        else {
            self.arena.truncate(start);
            return Err(TooLarge { bytes, limit });
        };
        if let Some(slot) = self.arena.get_mut(length_at..length_at + 4) {
            slot.copy_from_slice(&block.to_le_bytes());
        }
        self.arena.put_slice(body);
        self.ends.push(end);
        Ok(())
    }

    /// How many events it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of its events.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Bytes of each of its events.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = usize> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let sizes = starts.zip(&self.ends).map(|(start, end)| end.saturating_sub(start));
        sizes.map(|size| usize::try_from(size).unwrap_or(usize::MAX))
    }

    /// Takes the events out, exactly sized, and leaves the batch empty with its memory.
    #[must_use]
    pub fn take(&mut self) -> Entries {
        let entries = Entries::from_slice(Bytes::copy_from_slice(&self.arena), &self.ends);
        self.arena.clear();
        self.ends.clear();
        // One burst must not pin its memory to a connection for ever.
        self.arena.shrink_to(64 * 1024);
        self.ends.shrink_to(256);
        entries.unwrap_or_default()
    }
}

/// An event as a back end reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The partition it stands in.
    pub partition: Partition,
    /// Its place there.
    pub sequence: SequenceNumber,
    /// When the hub accepted it.
    pub enqueued: Timestamp,
    /// What kind of event it is.
    pub source: EventSource,
    /// Who sent it.
    pub sender: Address,
    /// The generation id of the sender's identity.
    pub generation: String,
    /// How the sender was authenticated; absent on events the hub made.
    pub auth: Option<AuthMethod>,
    /// The model the connection announced.
    pub model: Option<String>,
    /// Its properties.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
}

impl Event {
    /// Reads a log entry. `None` if the entry is not an event of a known format.
    #[must_use]
    pub fn decode(partition: Partition, entry: &Entry) -> Option<Self> {
        let view = EventView::parse(&entry.body)?;
        Some(Self {
            partition,
            sequence: entry.sequence,
            enqueued: entry.at,
            source: view.source,
            sender: Address::parse(view.sender).ok()?,
            generation: view.generation.to_owned(),
            auth: view.auth,
            model: view.model.map(str::to_owned),
            properties: Properties::from_encoded(entry.body.slice_ref(view.properties)),
            body: entry.body.slice_ref(view.body),
        })
    }

    /// The value of a system property that the sender set.
    #[must_use]
    pub fn system(&self, property: SystemProperty) -> Option<&str> {
        self.properties.system(property)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        let auth = AuthMethod { scope: AuthScope::Device, kind: AuthType::Sas };
        let sender = Address::parse("d1/m1").unwrap();
        Stamp::new(EventSource::Telemetry, &sender, "637", Some(auth), Some("dtmi:x;1"))
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut batch = EventBatch::new();
        let properties = [
            Property::System(SystemProperty::MessageId, "m"),
            Property::Application("k", Some("v")),
        ];
        batch.push(&stamp(), properties, b"hello", 100).unwrap();
        batch.push(&stamp(), [], b"", 100).unwrap();
        let entries = batch.take();
        assert!(batch.is_empty() && entries.len() == 2);
        let at = Timestamp::from_millis(5);
        let entry = Entry { sequence: SequenceNumber(7), at, body: entries.get(0).unwrap() };
        let event = Event::decode(Partition(3), &entry).unwrap();
        assert_eq!(event.properties.iter().collect::<Vec<_>>(), properties);
        assert_eq!((&event.body[..], event.sender.as_str()), (&b"hello"[..], "d1/m1"));
        assert_eq!((event.generation.as_str(), event.model.as_deref()), ("637", Some("dtmi:x;1")));
        assert_eq!(event.auth.map(|a| a.scope), Some(AuthScope::Device));
        let empty = Entry { sequence: SequenceNumber(8), at, body: entries.get(1).unwrap() };
        let empty = Event::decode(Partition(3), &empty).unwrap();
        assert!(empty.body.is_empty() && empty.properties.is_empty());
    }

    #[test]
    fn the_size_is_body_values_and_application_names() {
        let mut batch = EventBatch::new();
        let properties = [
            Property::System(SystemProperty::MessageId, "12345"),
            Property::Application("abc", Some("de")),
        ];
        let refused = batch.push(&stamp(), properties, b"xyz", 12);
        assert_eq!(refused, Err(TooLarge { bytes: 13, limit: 12 }));
        assert!(batch.is_empty() && batch.bytes() == 0);
        assert!(batch.push(&stamp(), properties, b"xyz", 13).is_ok());
    }

    #[test]
    fn a_source_is_found_by_each_of_its_names() {
        for (code, source) in EventSource::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, code);
            for name in [source.name(), source.routing_name(), &source.name().to_uppercase()] {
                assert_eq!(EventSource::from_name(name), Some(source), "{name}");
            }
        }
        assert_eq!(EventSource::from_name("Invalid"), None);
    }

    #[test]
    fn a_foreign_entry_is_not_an_event() {
        for body in [&b""[..], b"\x02", b"\x01\x00", b"\x01\x00\x00\x05ab", b"\x01\x99\xff"] {
            let entry = Entry {
                sequence: SequenceNumber(1),
                at: Timestamp::ZERO,
                body: Bytes::copy_from_slice(body),
            };
            assert_eq!(Event::decode(Partition(0), &entry), None);
        }
    }
}
