//! Reading records: whole segments after a crash, single ones for readers.

use bytes::Bytes;

use super::segment::DATA;
use super::{GROUP, HEAD, Tag};
use crate::codec::{Fields, index};

/// A record as it lies in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) tag: Tag,
    /// Where its payload begins.
    pub(crate) payload: usize,
    /// Where the next record begins.
    pub(crate) end: usize,
    crc: u32,
}

/// What lies at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Record(Found),
    /// The record goes on beyond the bytes: this many are needed from its beginning.
    Cut(usize),
    /// No record begins here.
    Nothing,
}

/// Looks at the head of a record.
pub(crate) fn look(bytes: &[u8], at: usize) -> Place {
    let Some(head) = at.checked_add(HEAD).and_then(|end| bytes.get(at..end)) else {
        return Place::Cut(HEAD);
    };
    let mut fields = Fields(head);
    let (Some(crc), Some(length), Some(tag)) = (fields.u32(), fields.u32(), fields.u8()) else {
        return Place::Nothing;
    };
    let (Some(tag), [0, 0, 0]) = (Tag::of(tag), fields.0) else { return Place::Nothing };
    let payload = at + HEAD;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match payload.checked_add(length) {
        Some(end) if end <= bytes.len() => Place::Record(Found { tag, payload, end, crc }),
        Some(end) => Place::Cut(end - at),
        None => Place::Nothing,
    }
}

impl Found {
    /// Whether the checksum is right.
    pub(crate) fn holds(&self, bytes: &[u8], salt: u32) -> bool {
        bytes
            .get(self.payload - HEAD + 4..self.end)
            .is_some_and(|checked| crc32c::crc32c_append(salt, checked) == self.crc)
    }
}

/// The announcement of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) number: u64,
    pub(crate) bytes: u32,
    pub(crate) count: u32,
    pub(crate) version: u64,
    heads: u32,
}

impl Announced {
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut f = Fields(payload);
        let (number, bytes, count) = (f.u64()?, f.u32()?, f.u32()?);
        Some(Self { number, bytes, count, version: f.u64()?, heads: f.u32()? })
    }
}

/// A whole group.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) announced: Announced,
    /// Where it begins and ends.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Its records, in order.
    pub(crate) records: Vec<Found>,
}

/// The whole group at a place, if there is one with the expected number and all checksums right.
pub(crate) fn group(bytes: &[u8], at: usize, salt: u32, expected: u64) -> Option<Whole> {
    let announced = announcement(bytes, at, salt).filter(|found| found.number == expected)?;
    let mut place = at + HEAD + GROUP;
    let end = place.checked_add(usize::try_from(announced.bytes).ok()?)?;
    let within = bytes.get(..end)?;
    let mut records = Vec::new();
    let mut heads = salt;
    while place < end {
        let Place::Record(found) = look(within, place) else { return None };
        if found.tag == Tag::Group || !found.holds(within, salt) {
            return None;
        }
        heads = crc32c::crc32c_append(heads, within.get(place..place + HEAD)?);
        place = found.end;
        records.push(found);
    }
    let whole = u32::try_from(records.len()) == Ok(announced.count) && heads == announced.heads;
    let (start, end) = (crate::codec::long(at), crate::codec::long(end));
    whole.then_some(Whole { announced, start, end, records })
}

fn announcement(bytes: &[u8], at: usize, salt: u32) -> Option<Announced> {
    match look(bytes, at) {
        Place::Record(found)
            if found.tag == Tag::Group
                && found.end - found.payload == GROUP
                && found.holds(bytes, salt) =>
        {
            Announced::decode(bytes.get(found.payload..found.end)?)
        }
        _ => None,
    }
}

/// Where the groups of a segment end, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing whole was written after it.
    Tail(u64),
    /// A group is damaged here: a later one is whole, so it had been synced.
    Damaged(u64),
}

/// Visits the groups of a segment from a place on. `next` is the number of the first, and is then
/// the number of the one to come.
pub(crate) fn groups(
    bytes: &[u8],
    from: u64,
    salt: u32,
    next: &mut u64,
    mut visit: impl FnMut(&Whole),
) -> End {
    let mut at = index(from.max(DATA));
    while let Some(whole) = group(bytes, at, salt, *next) {
        visit(&whole);
        *next += 1;
        at = index(whole.end);
    }
    let end = crate::codec::long(at);
    // Groups are synced one after another, so behind a torn one there is none. Stale bytes do not
    // pass for one: they have another salt.
    let later = bytes.get(at..).is_some_and(|rest| has_announcement(rest, salt, *next));
    if later { End::Damaged(end) } else { End::Tail(end) }
}

/// Whether some group with a number beyond `above` is announced anywhere in the bytes.
fn has_announcement(bytes: &[u8], salt: u32, above: u64) -> bool {
    let mut mark = [0; 8];
    let (length, tag) = mark.split_at_mut(4);
    length.copy_from_slice(&u32::try_from(GROUP).unwrap_or(0).to_le_bytes());
    if let Some(tag) = tag.first_mut() {
        *tag = Tag::Group as u8;
    }
    // Most of a segment lies behind its last group when the process dies, and all of it is looked
    // at: byte by byte, this would take longer than all else that an opening does.
    memchr::memmem::find_iter(bytes, &mark).any(|at| {
        let start = at.checked_sub(4);
        let found = start.and_then(|start| announcement(bytes, start, salt));
        found.is_some_and(|announced| announced.number > above)
    })
}

/// The payload of a record, sharing the memory.
pub(crate) fn payload(bytes: &Bytes, found: &Found) -> Bytes {
    bytes.slice(found.payload..found.end)
}

/// The number of the group announced at the beginning of the bytes.
pub(crate) fn first(bytes: &[u8], salt: u32) -> Option<u64> {
    announcement(bytes, 0, salt).map(|announced| announced.number)
}
