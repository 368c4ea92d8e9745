//! A group while it is gathered: the records of all that becomes durable with one sync.

use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{Key, Push, QueueId, QueueKind, Version};

use super::op::{Setting, encode_key, encode_queue, put_marks};
use super::{GROUP, HEAD, Tag};
use crate::codec::{Fields, long};

/// The bytes of a group, with room for its announcement in front. Checksums come last, by
/// [`Group::seal`], because they begin with the salt of the segment the group ends up in.
#[derive(Debug)]
pub(crate) struct Group {
    bytes: Vec<u8>,
    count: u32,
}

impl Default for Group {
    fn default() -> Self {
        Self { bytes: vec![0; HEAD + GROUP], count: 0 }
    }
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record whose payload is written by `write`.
    fn record(&mut self, tag: Tag, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEAD]);
        write(&mut self.bytes);
        let length = self.bytes.len() - start - HEAD;
        set_head(&mut self.bytes, start, tag, length);
        self.count = self.count.saturating_add(1);
    }

    pub(crate) fn batch(&mut self, packed: &[u8]) {
        self.record(Tag::Batch, |bytes| bytes.extend_from_slice(packed));
    }

    pub(crate) fn put(&mut self, key: &Key, version: Version, body: &[u8]) {
        self.record(Tag::Put, |bytes| {
            encode_key(bytes, key);
            bytes.extend_from_slice(&version.0.to_le_bytes());
            bytes.extend_from_slice(body);
        });
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        self.record(Tag::Remove, |bytes| encode_key(bytes, key));
    }

    pub(crate) fn push(&mut self, sequence: u64, version: Version, push: &Push) {
        self.record(Tag::Push, |bytes| {
            encode_queue(bytes, &push.queue);
            bytes.extend_from_slice(&sequence.to_le_bytes());
            bytes.extend_from_slice(&version.0.to_le_bytes());
            bytes.extend_from_slice(&push.visible.as_millis().to_le_bytes());
            bytes.extend_from_slice(&push.deadline.as_millis().to_le_bytes());
            bytes.extend_from_slice(&push.body);
        });
    }

    pub(crate) fn set(&mut self, kind: QueueKind, sequence: u64, setting: &Setting) {
        self.record(Tag::Set, |bytes| {
            bytes.push(kind as u8);
            bytes.extend_from_slice(&sequence.to_le_bytes());
            bytes.extend_from_slice(&setting.version.0.to_le_bytes());
            bytes.extend_from_slice(&setting.visible.as_millis().to_le_bytes());
            bytes.extend_from_slice(&setting.claims.to_le_bytes());
            put_marks(bytes, &setting.marks);
        });
    }

    pub(crate) fn settle(&mut self, kind: QueueKind, sequence: u64) {
        self.record(Tag::Settle, |bytes| {
            bytes.push(kind as u8);
            bytes.extend_from_slice(&sequence.to_le_bytes());
        });
    }

    pub(crate) fn clear(&mut self, queue: &QueueId, last: u64) {
        self.record(Tag::Clear, |bytes| {
            encode_queue(bytes, queue);
            bytes.extend_from_slice(&last.to_le_bytes());
        });
    }

    pub(crate) fn trim(&mut self, partition: Partition, below: SequenceNumber) {
        self.record(Tag::Trim, |bytes| {
            bytes.extend_from_slice(&partition.0.to_le_bytes());
            bytes.extend_from_slice(&below.0.to_le_bytes());
        });
    }

    /// Adds an `Append` payload that was written before its number and time were known; they are
    /// given to it here. The place of the record in the group.
    pub(crate) fn append(&mut self, payload: &[u8], first: u64, at: u64) -> usize {
        let start = self.bytes.len();
        self.record(Tag::Append, |bytes| {
            let begin = bytes.len();
            bytes.extend_from_slice(payload);
            if let Some(place) = bytes.get_mut(begin + 8..begin + 24) {
                let (number, time) = place.split_at_mut(8);
                number.copy_from_slice(&first.to_le_bytes());
                time.copy_from_slice(&at.to_le_bytes());
            }
        });
        start
    }

    /// Writes all checksums and the announcement.
    pub(crate) fn seal(mut self, number: u64, version: u64, salt: u32) -> Vec<u8> {
        let mut at = HEAD + GROUP;
        let mut heads = salt;
        while let Some(length) = record_length(&self.bytes, at) {
            check_in(&mut self.bytes, at, length, salt);
            heads = crc32c::crc32c_append(heads, self.bytes.get(at..at + HEAD).unwrap_or_default());
            at += length;
        }
        let following = u32::try_from(self.bytes.len() - HEAD - GROUP).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(HEAD..HEAD + GROUP) {
            let mut fields = Vec::with_capacity(GROUP);
            fields.extend_from_slice(&number.to_le_bytes());
            fields.extend_from_slice(&following.to_le_bytes());
            fields.extend_from_slice(&self.count.to_le_bytes());
            fields.extend_from_slice(&version.to_le_bytes());
            fields.extend_from_slice(&heads.to_le_bytes());
            place.copy_from_slice(&fields);
        }
        set_head(&mut self.bytes, 0, Tag::Group, GROUP);
        check_in(&mut self.bytes, 0, HEAD + GROUP, salt);
        self.bytes
    }
}

fn set_head(bytes: &mut [u8], start: usize, tag: Tag, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if let Some(place) = bytes.get_mut(start + 4..start + HEAD) {
        let (of_length, of_tag) = place.split_at_mut(4);
        of_length.copy_from_slice(&length.to_le_bytes());
        of_tag.copy_from_slice(&[tag as u8, 0, 0, 0]);
    }
}

/// The length of the record at a place, head included, as far as it lies within the bytes.
fn record_length(bytes: &[u8], at: usize) -> Option<usize> {
    let length = Fields(bytes.get(at + 4..at + HEAD)?).u32()?;
    let length = HEAD.checked_add(usize::try_from(length).ok()?)?;
    (long(at) + long(length) <= long(bytes.len())).then_some(length)
}

fn check_in(bytes: &mut [u8], at: usize, length: usize, salt: u32) {
    let crc = crc32c::crc32c_append(salt, bytes.get(at + 4..at + length).unwrap_or_default());
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}
