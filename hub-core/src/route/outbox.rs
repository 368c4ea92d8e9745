//! The outbox: what has to go to endpoints, in the same store and the same change as what caused it.
//!
//! It is a log beside the built-in one, with as many partitions, so that each device keeps its
//! order. An event that several endpoints get stands in it once, with their names in front, and
//! with the properties that each gets besides. An endpoint reads it from a position of its own and
//! passes over what does not name it. `docs/decisions/0030-outbox.md` has the reasons.

use bytes::{BufMut, Bytes};

use crate::envelope::EventView;
use crate::id::Partition;
use crate::store::Entries;

/// Where the outbox begins among the partitions of the store.
const FIRST: u16 = 256;

/// The partition of the outbox that belongs to a partition of the built-in log.
#[must_use]
pub fn partition(of: Partition) -> Partition {
    Partition(of.0.saturating_add(FIRST))
}

/// Whether a partition of the store belongs to the outbox.
#[must_use]
pub fn contains(partition: Partition) -> bool {
    partition.0 >= FIRST
}

/// The first byte of an entry. Never that of an event, so that neither is taken for the other.
const FORMAT: u8 = 0x81;

/// Entries on their way into a log, encoded one behind the other.
#[derive(Debug, Default)]
pub(super) struct Writer {
    arena: Vec<u8>,
    ends: Vec<u32>,
}

impl Writer {
    /// Adds an entry. One that would grow the whole beyond 4 GiB is not taken; a frame of a device
    /// is a thousandth of that.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        match u32::try_from(self.arena.len()) {
            Ok(end) => self.ends.push(end),
            Err(_) => self.arena.truncate(start),
        }
    }

    pub(super) fn finish(self) -> Entries {
        Entries::from_parts(self.arena.into(), self.ends).unwrap_or_default()
    }
}

/// Writes an entry: the endpoints, each with its encoded properties, and the event.
pub(super) fn write<'n>(
    out: &mut Vec<u8>,
    endpoints: impl ExactSizeIterator<Item = (&'n str, &'n [u8])>,
    event: &[u8],
) {
    out.put_u8(FORMAT);
    // A set of routes knows at most 63 endpoints, and their names have at most 64 bytes.
    out.put_u8(u8::try_from(endpoints.len()).unwrap_or(u8::MAX));
    for (name, properties) in endpoints {
        out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.put_slice(name.as_bytes());
        out.put_u32_le(u32::try_from(properties.len()).unwrap_or(u32::MAX));
        out.put_slice(properties);
    }
    out.put_slice(event);
}

/// What an entry of the outbox is for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressed {
    /// An encoded event, to be delivered.
    Here(Bytes),
    /// Not for this endpoint.
    Elsewhere,
    /// Of no known format.
    Unreadable,
}

/// Reads an entry on behalf of an endpoint.
#[must_use]
pub fn addressed(entry: &Bytes, to: &str) -> Addressed {
    read(entry, to).unwrap_or(Addressed::Unreadable)
}

fn read(entry: &Bytes, to: &str) -> Option<Addressed> {
    let [FORMAT, count, rest @ ..] = &entry[..] else { return None };
    let (mut rest, mut found) = (rest, None);
    for _ in 0..*count {
        let (length, after) = rest.split_first()?;
        let (name, after) = after.split_at_checked(usize::from(*length))?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (properties, after) = after.split_at_checked(length)?;
        if name == to.as_bytes() {
            found = Some(properties);
        }
        rest = after;
    }
    let event = entry.slice_ref(rest);
    Some(match found {
        None => Addressed::Elsewhere,
        Some([]) => Addressed::Here(event),
        Some(properties) => {
            let more = crate::envelope::Properties::from_encoded(entry.slice_ref(properties));
            Addressed::Here(EventView::parse(&event)?.with(more.iter())?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Event, EventBatch, EventSource, Properties, Property, Stamp};
    use crate::id::{Address, SequenceNumber};
    use crate::store::Entry;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn event() -> Bytes {
        let sender = Address::parse("d1").unwrap();
        let stamp = Stamp::new(EventSource::Telemetry, &sender, "637", None, None);
        let mut batch = EventBatch::new();
        batch.push(&stamp, [Property::Application("a", Some("1"))], b"hello", 100).unwrap();
        batch.take().get(0).unwrap()
    }

    fn entry(endpoints: &[(&str, &[u8])]) -> Bytes {
        let mut writer = Writer::default();
        writer.push(|out| write(out, endpoints.iter().copied(), &event()));
        writer.finish().get(0).unwrap()
    }

    #[test]
    fn each_endpoint_finds_its_own_and_nobody_else_does() {
        let more: Properties = [Property::Application("b", Some("2"))].into_iter().collect();
        let entry = entry(&[("one", b""), ("two", more.as_encoded())]);
        assert_eq!(addressed(&entry, "one"), Addressed::Here(event()));
        assert_eq!(addressed(&entry, "three"), Addressed::Elsewhere);
        let Addressed::Here(body) = addressed(&entry, "two") else { panic!("not found") };
        let entry = Entry { sequence: SequenceNumber(1), at: Timestamp::ZERO, body };
        let event = Event::decode(Partition(0), &entry).unwrap();
        assert_eq!(event.properties.application(), [("a", Some("1")), ("b", Some("2"))]);
        assert_eq!(&event.body[..], b"hello");
    }

    #[test]
    fn an_event_is_no_entry_and_an_entry_is_no_event() {
        assert_eq!(addressed(&event(), "one"), Addressed::Unreadable);
        assert!(EventView::parse(&entry(&[("one", b"")])).is_none());
    }

    #[test]
    fn its_partitions_are_none_of_the_built_in_log() {
        assert_eq!(partition(Partition(0)), Partition(256));
        assert_eq!(partition(Partition(31)), Partition(287));
        assert!(contains(Partition(256)) && !contains(Partition(31)));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..90) {
            let _ = addressed(&bytes.into(), "one");
            let whole = entry(&[("one", b""), ("two", b"\x00\x01a\x01b")]);
            let _ = addressed(&whole.slice(..cut.min(whole.len())), "two");
        }
    }
}
