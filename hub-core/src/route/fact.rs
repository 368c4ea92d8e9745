//! Events that the hub makes itself: how what happened is written down.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::envelope::{EventBatch, EventSource, Property, Stamp, SystemProperty};
use crate::id::{Address, Epoch};
use crate::store::Entries;
use crate::time::Timestamp;

/// Something that happened to an identity.
///
/// Source: the non-telemetry event schemas of IoT Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact<'f> {
    /// What kind of event it becomes.
    pub source: EventSource,
    /// Whom it happened to.
    pub address: &'f Address,
    /// What happened, as back ends find it in `opType`.
    pub op: &'static str,
    /// When.
    pub at: Timestamp,
    /// Tells it from all else of this kind that happens to this identity: a version, or an epoch.
    pub number: u64,
    /// What happened in detail: JSON text.
    pub body: Bytes,
}

/// The application property of an event whose body was left out.
pub const OMITTED: &str = "iothub-body-omitted";

impl Fact<'_> {
    /// The text that back ends find in `iothub-message-schema`.
    #[must_use]
    pub const fn schema(&self) -> &'static str {
        match self.source {
            EventSource::Telemetry => "",
            EventSource::TwinChange => "twinChangeNotification",
            EventSource::DeviceLifecycle => "deviceLifecycleNotification",
            EventSource::ConnectionState => "deviceConnectionStateNotification",
            EventSource::DigitalTwinChange => "digitalTwinChangeNotification",
            EventSource::JobLifecycle => "deviceJobLifecycleNotification",
        }
    }

    const fn content_type(&self) -> &'static str {
        match self.source {
            EventSource::DigitalTwinChange => "application/json-patch+json",
            _ => "application/json",
        }
    }

    /// The event's own name, as back ends find it in `correlation-id`: 32 hex digits made of what
    /// it says, so that a decision that is repeated gives the same event.
    #[must_use]
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update([self.source as u8]);
        hash.update(self.address.as_str());
        hash.update([0]);
        hash.update(self.op);
        hash.update(self.number.to_le_bytes());
        hash.update(self.at.as_millis().to_le_bytes());
        let digest = hash.finalize();
        let mut id = String::with_capacity(32);
        for byte in digest.iter().take(16) {
            use std::fmt::Write as _;
            // Writing to memory cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        id
    }

    /// The event, encoded. A body with which it would be larger than `limit` is left out, and a
    /// property [`OMITTED`] says so: a change never lacks its event, and what is too large to be
    /// sent can be read where it is.
    pub(super) fn encode(&self, hub: &str, limit: usize) -> Entries {
        let stamp = Stamp::new(self.source, self.address, "", None, None);
        // As .NET prints a time with an offset, which is what the service sends here.
        let at = self.at.to_string();
        let at = format!("{}+00:00", at.trim_end_matches('Z'));
        let id = self.id();
        let application = |name, value| Property::Application(name, Some(value));
        let module = self.address.module_str().map(|module| application("moduleId", module));
        let properties = [
            Property::System(SystemProperty::UserId, hub),
            Property::System(SystemProperty::CorrelationId, &id),
            Property::System(SystemProperty::ContentType, self.content_type()),
            Property::System(SystemProperty::ContentEncoding, "utf-8"),
            application("hubName", hub),
            application("deviceId", self.address.device_str()),
            application("operationTimestamp", &at),
            application("iothub-message-schema", self.schema()),
            application("opType", self.op),
        ];
        let properties = properties.into_iter().chain(module);
        let mut batch = EventBatch::new();
        if batch.push(&stamp, properties.clone(), &self.body, limit).is_err() {
            let omitted = properties.chain([application(OMITTED, "true")]);
            // Ids and constants only: some hundred bytes, whatever the limit says.
            let pushed = batch.push(&stamp, omitted, b"{}", usize::MAX);
            debug_assert!(pushed.is_ok(), "{pushed:?}");
        }
        batch.take()
    }
}

/// Whether an identity was connected or disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// It was connected.
    Connected,
    /// It was disconnected.
    Disconnected,
}

impl Presence {
    /// The text that back ends find in `opType`.
    #[must_use]
    pub const fn op_type(self) -> &'static str {
        match self {
            Self::Connected => "deviceConnected",
            Self::Disconnected => "deviceDisconnected",
        }
    }

    /// The body of the event: `{"sequenceNumber":…}`.
    #[must_use]
    pub fn body(self, generation: u64, epoch: Epoch) -> Bytes {
        format!(r#"{{"sequenceNumber":"{}"}}"#, self.sequence_number(generation, epoch)).into()
    }

    /// Orders the events of one identity: 64 hex digits, compared as text, the greater one is the
    /// later. Rises with every connect and every disconnect, also over deletion and registering
    /// anew, for which there is the generation in front.
    #[must_use]
    pub fn sequence_number(self, generation: u64, epoch: Epoch) -> String {
        format!("{:016x}{generation:016X}{:032X}", 0, u128::from(self.number(epoch)))
    }

    /// Counts connects and disconnects of one generation.
    #[must_use]
    pub fn number(self, epoch: Epoch) -> u64 {
        let odd = match self {
            Self::Connected => 0,
            Self::Disconnected => 1,
        };
        epoch.0.saturating_mul(2).saturating_add(odd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Event;
    use crate::id::{Partition, SequenceNumber};
    use crate::store::Entry;

    fn decoded(fact: &Fact<'_>, limit: usize) -> Event {
        let body = fact.encode("my-hub", limit).get(0).unwrap();
        let entry = Entry { sequence: SequenceNumber(1), at: fact.at, body };
        Event::decode(Partition(0), &entry).unwrap()
    }

    fn fact(address: &Address) -> Fact<'_> {
        Fact {
            source: EventSource::TwinChange,
            address,
            op: "updateTwin",
            at: Timestamp::parse("2020-10-21T14:10:42.417Z").unwrap(),
            number: 3,
            body: Bytes::from_static(br#"{"version":3}"#),
        }
    }

    #[test]
    fn it_has_the_properties_of_a_captured_event() {
        let module = Address::parse("my-pnp-device/m1").unwrap();
        let event = decoded(&fact(&module), 1000);
        let system = |property| event.system(property);
        assert_eq!(system(SystemProperty::UserId), Some("my-hub"));
        assert_eq!(system(SystemProperty::ContentType), Some("application/json"));
        assert_eq!(system(SystemProperty::ContentEncoding), Some("utf-8"));
        let id = system(SystemProperty::CorrelationId).unwrap();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert_eq!(
            event.properties.application(),
            [
                ("hubName", Some("my-hub")),
                ("deviceId", Some("my-pnp-device")),
                ("operationTimestamp", Some("2020-10-21T14:10:42.4170000+00:00")),
                ("iothub-message-schema", Some("twinChangeNotification")),
                ("opType", Some("updateTwin")),
                ("moduleId", Some("m1")),
            ]
        );
        assert_eq!(
            (event.auth, event.generation.as_str(), event.model.as_deref()),
            (None, "", None)
        );
        assert_eq!(&event.body[..], br#"{"version":3}"#);
    }

    #[test]
    fn a_body_that_is_too_large_is_left_out_and_the_event_is_not() {
        let device = Address::parse("d1").unwrap();
        let event = decoded(&fact(&device), 100);
        assert_eq!(&event.body[..], b"{}");
        assert!(event.properties.application().contains(&(OMITTED, Some("true"))));
    }

    #[test]
    fn what_differs_has_another_name_and_what_is_repeated_has_the_same() {
        let (d1, d2) = (Address::parse("d1").unwrap(), Address::parse("d2").unwrap());
        let first = fact(&d1);
        assert_eq!(first.id(), fact(&d1).id());
        let others = [
            Fact { op: "replaceTwin", ..fact(&d1) },
            Fact { number: 4, ..fact(&d1) },
            Fact { at: Timestamp::ZERO, ..fact(&d1) },
            Fact { source: EventSource::DeviceLifecycle, ..fact(&d1) },
            fact(&d2),
        ];
        for other in others {
            assert_ne!(other.id(), first.id(), "{other:?}");
        }
    }

    #[test]
    fn sequence_numbers_rise_with_every_transition_and_every_generation() {
        use Presence::{Connected, Disconnected};
        let mut all = Vec::new();
        for generation in [637_048_513_528_304_448, 637_048_513_528_304_449, u64::MAX] {
            for epoch in [1, 2, 15, 16, 300, u64::MAX / 2] {
                all.push(Connected.sequence_number(generation, Epoch(epoch)));
                all.push(Disconnected.sequence_number(generation, Epoch(epoch)));
            }
        }
        assert!(all.iter().all(|number| number.len() == 64));
        assert!(all.iter().all(|number| number.bytes().all(|b| b.is_ascii_hexdigit())));
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    }
}
