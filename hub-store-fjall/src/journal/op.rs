//! What records say: results, not requests, so that replaying them judges nothing.
//!
//! Every record sets something to a value, and replaying it twice, or over a state that is already
//! newer, ends in the same state once the last record is replayed.

use std::sync::Arc;

use bytes::Bytes;
use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{Key, Kind, Marks, Push, QueueId, QueueKind, Version};
use hub_core::time::Timestamp;

use super::Tag;
use crate::codec::{Fields, index, text};

/// Bytes of an `Append` payload before the ends of its entries.
pub(crate) const APPEND: usize = 24;

/// What `Set` gives an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) version: Version,
    pub(crate) visible: Timestamp,
    pub(crate) claims: u32,
    pub(crate) marks: Marks,
}

/// A record, decoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    Batch {
        packed: Bytes,
    },
    Put {
        key: Key,
        version: Version,
        body: Bytes,
    },
    Remove {
        key: Key,
    },
    Push {
        sequence: u64,
        version: Version,
        push: Push,
    },
    Set {
        kind: QueueKind,
        sequence: u64,
        setting: Setting,
    },
    Settle {
        kind: QueueKind,
        sequence: u64,
    },
    /// Removes the items of a queue up to a number.
    Clear {
        queue: QueueId,
        last: u64,
    },
    Append(Appended),
    Trim {
        partition: Partition,
        below: SequenceNumber,
    },
}

/// The head of an `Append`: which entries, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) partition: Partition,
    pub(crate) count: u32,
    pub(crate) first: u64,
    pub(crate) at: Timestamp,
}

impl Appended {
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let partition = Partition(fields.u16()?);
        fields.u16()?;
        let count = fields.u32()?;
        let (first, at) = (fields.u64()?, Timestamp::from_millis(fields.u64()?));
        Some(Self { partition, count, first, at })
    }

    /// The number after the last entry's.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// The body of one entry. Shares the memory of the payload.
    pub(crate) fn body(&self, payload: &Bytes, entry: u64) -> Option<Bytes> {
        let bodies = APPEND + 4 * usize::try_from(self.count).ok()?;
        let end_of = |entry: u64| -> Option<usize> {
            let at = APPEND.checked_add(index(entry).checked_mul(4)?)?;
            let end = Fields(payload.get(at..)?).u32()?;
            bodies.checked_add(usize::try_from(end).ok()?)
        };
        let start = if entry == 0 { bodies } else { end_of(entry - 1)? };
        let end = end_of(entry)?;
        (start <= end && end <= payload.len()).then(|| payload.slice(start..end))
    }
}

pub(crate) fn kind(byte: u8) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| *kind as u8 == byte)
}

pub(crate) fn queue_kind(byte: u8) -> Option<QueueKind> {
    QueueKind::ALL.into_iter().find(|kind| *kind as u8 == byte)
}

fn time(fields: &mut Fields<'_>) -> Option<Timestamp> {
    fields.u64().map(Timestamp::from_millis)
}

pub(crate) fn put_marks(bytes: &mut Vec<u8>, marks: &Marks) {
    let marks = marks.as_bytes();
    bytes.push(u8::try_from(marks.len()).unwrap_or(0));
    bytes.extend_from_slice(marks);
}

pub(crate) fn marks(fields: &mut Fields<'_>) -> Option<Marks> {
    let length = fields.u8()?;
    Marks::new(fields.bytes(usize::from(length))?)
}

fn key(fields: &mut Fields<'_>) -> Option<Key> {
    let kind = kind(fields.u8()?)?;
    Some(Key::new(kind, fields.text()?))
}

pub(crate) fn queue(fields: &mut Fields<'_>) -> Option<QueueId> {
    let kind = queue_kind(fields.u8()?)?;
    let id: Arc<str> = fields.text()?.into();
    Some(QueueId { kind, id })
}

impl Op {
    /// Decodes a payload. Bodies are copied, so that they do not keep what was read alive; those of
    /// `Append` are not looked at.
    pub(crate) fn decode(tag: Tag, payload: &[u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let f = &mut fields;
        Some(match tag {
            Tag::Group => return None,
            Tag::Batch => Self::Batch { packed: Bytes::copy_from_slice(payload) },
            Tag::Put => {
                let key = key(f)?;
                let version = Version(f.u64()?);
                Self::Put { key, version, body: Bytes::copy_from_slice(f.0) }
            }
            Tag::Remove => Self::Remove { key: key(f)? },
            Tag::Push => {
                let queue = queue(f)?;
                let (sequence, version) = (f.u64()?, Version(f.u64()?));
                let (visible, deadline) = (time(f)?, time(f)?);
                let body = Bytes::copy_from_slice(f.0);
                let push = Push { queue, capacity: 0, visible, deadline, body };
                Self::Push { sequence, version, push }
            }
            Tag::Set => {
                let (kind, sequence) = (queue_kind(f.u8()?)?, f.u64()?);
                let (version, visible, claims) = (Version(f.u64()?), time(f)?, f.u32()?);
                let setting = Setting { version, visible, claims, marks: marks(f)? };
                Self::Set { kind, sequence, setting }
            }
            Tag::Settle => Self::Settle { kind: queue_kind(f.u8()?)?, sequence: f.u64()? },
            Tag::Clear => Self::Clear { queue: queue(f)?, last: f.u64()? },
            Tag::Append => Self::Append(Appended::decode(payload)?),
            Tag::Trim => {
                Self::Trim { partition: Partition(f.u16()?), below: SequenceNumber(f.u64()?) }
            }
        })
    }
}

/// Writes the payloads that [`Op::decode`] reads. Appends are written by
/// [`Work`](crate::core::work::Work) in the caller's task.
pub(crate) fn encode_key(bytes: &mut Vec<u8>, key: &Key) {
    bytes.push(key.kind as u8);
    text(bytes, &key.id);
}

pub(crate) fn encode_queue(bytes: &mut Vec<u8>, queue: &QueueId) {
    bytes.push(queue.kind as u8);
    text(bytes, &queue.id);
}
