//! An encoded event, read where it lies: for what decides on events without keeping them.

use bytes::{BufMut, Bytes};

use super::event::{AuthMethod, EventSource, FORMAT};
use super::property::{self, Iter, Property};

/// The parts of an encoded event. Nothing is copied and no memory is taken.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'e> {
    /// What kind of event it is.
    pub source: EventSource,
    /// How the sender was authenticated; absent on events the hub made.
    pub auth: Option<AuthMethod>,
    /// The address of the sender, as text.
    pub sender: &'e str,
    /// The generation id of the sender's identity.
    pub generation: &'e str,
    /// The model the connection announced.
    pub model: Option<&'e str>,
    /// Its body.
    pub body: &'e [u8],
    pub(super) properties: &'e [u8],
    /// All that stands before the length of the properties.
    stamp: &'e [u8],
}

impl<'e> EventView<'e> {
    /// Finds the parts of an encoded event. `None` if it is not one of a known format.
    #[must_use]
    pub fn parse(event: &'e [u8]) -> Option<Self> {
        let [FORMAT, source, auth, rest @ ..] = event else { return None };
        let mut rest = rest;
        let sender = property::read_text(&mut rest)?;
        let generation = property::read_text(&mut rest)?;
        let model = property::read_text(&mut rest)?;
        let stamp = event.get(..event.len() - rest.len())?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (properties, body) = rest.split_at_checked(length)?;
        Some(Self {
            source: EventSource::from_code(*source)?,
            auth: AuthMethod::from_code(*auth),
            sender,
            generation,
            model: Some(model).filter(|model| !model.is_empty()),
            body,
            properties,
            stamp,
        })
    }

    /// Its properties in the order they were added, duplicates included.
    pub fn properties(&self) -> Iter<'e> {
        Iter::new(self.properties)
    }

    /// Its size by the hub's accounting: body, values of system properties, names and values of
    /// application properties.
    #[must_use]
    pub fn size(&self) -> usize {
        self.properties().map(property::size).fold(self.body.len(), usize::saturating_add)
    }

    /// The event with these properties behind its own, encoded; they win over those of the same
    /// name. `None` if its properties would be longer than the encoding can say: 4 GiB.
    #[must_use]
    pub fn with<'p>(&self, more: impl IntoIterator<Item = Property<'p>>) -> Option<Bytes> {
        let mut out = Vec::with_capacity(self.stamp.len() + self.properties.len() + 256);
        out.put_slice(self.stamp);
        let length_at = out.len();
        out.put_u32_le(0);
        out.put_slice(self.properties);
        for property in more {
            property::write(&mut out, property);
        }
        let length = u32::try_from(out.len() - length_at - 4).ok()?;
        out.get_mut(length_at..length_at + 4)?.copy_from_slice(&length.to_le_bytes());
        out.reserve_exact(self.body.len());
        out.put_slice(self.body);
        Some(out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AuthScope, AuthType, Event, EventBatch, Stamp, SystemProperty};
    use super::*;
    use crate::id::{Address, Partition, SequenceNumber};
    use crate::store::Entry;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn encoded(properties: &[Property<'_>], body: &[u8]) -> Bytes {
        let auth = AuthMethod { scope: AuthScope::Module, kind: AuthType::Sas };
        let sender = Address::parse("d1/m1").unwrap();
        let model = Some("dtmi:x;1");
        let stamp = Stamp::new(EventSource::Telemetry, &sender, "637", Some(auth), model);
        let mut batch = EventBatch::new();
        batch.push(&stamp, properties.iter().copied(), body, usize::MAX).unwrap();
        batch.take().get(0).unwrap()
    }

    const PROPERTIES: [Property<'_>; 2] = [
        Property::System(SystemProperty::MessageId, "12345"),
        Property::Application("abc", Some("de")),
    ];

    #[test]
    fn the_parts_are_found_where_they_lie() {
        let event = encoded(&PROPERTIES, b"hello");
        let view = EventView::parse(&event).unwrap();
        assert_eq!((view.sender, view.generation, view.model), ("d1/m1", "637", Some("dtmi:x;1")));
        assert_eq!(view.properties().collect::<Vec<_>>(), PROPERTIES);
        assert_eq!((view.body, view.size()), (&b"hello"[..], 5 + 5 + 3 + 2));
    }

    #[test]
    fn added_properties_win_and_the_rest_stays() {
        let event = encoded(&PROPERTIES, b"hello");
        let more = [Property::Application("ABC", Some("new")), Property::Application("x", None)];
        let body = EventView::parse(&event).unwrap().with(more).unwrap();
        let entry = Entry { sequence: SequenceNumber(1), at: Timestamp::ZERO, body };
        let event = Event::decode(Partition(0), &entry).unwrap();
        assert_eq!(event.properties.application(), [("ABC", Some("new")), ("x", None)]);
        assert_eq!(event.system(SystemProperty::MessageId), Some("12345"));
        assert_eq!((&event.body[..], event.sender.as_str()), (&b"hello"[..], "d1/m1"));
        assert!(event.auth.is_some() && event.model.is_some());
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(view) = EventView::parse(&bytes) {
                prop_assert!(view.properties().count() <= bytes.len());
            }
        }

        #[test]
        fn a_cut_event_is_not_read_past_its_end(cut in 0_usize..200) {
            let event = encoded(&PROPERTIES, b"hello");
            let cut = cut.min(event.len());
            if let Some(view) = EventView::parse(&event[..cut]) {
                prop_assert!(view.size() <= event.len());
            }
        }
    }
}
