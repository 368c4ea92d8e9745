//! Checkpoints: the tree catches up with the journal.
//!
//! A checkpoint freezes what was written since the one before, writes it to the tree while the store
//! goes on, syncs the tree, and only then writes and syncs the word that it did ([`Meta`]). Until
//! that word is there, the journal is replayed from the checkpoint before; the records say results,
//! so it does no harm that the tree has some of them already.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use hub_core::store::QueueKind;
use hub_core::time::Timestamp;

use super::run::Shared;
use crate::codec::Fields;
use crate::journal::Position;
use crate::state::documents::Layer;
use crate::state::log::Numbers;
use crate::state::recall::Frozen;
use crate::state::shelf::Trace;
use crate::state::{Body, State};
use crate::tree::{Space, Tree, Write, rows};

const META: &[u8] = b"checkpoint";
const VERSION: u32 = 3;
/// How many kinds of queues there were when version 1 was written, which does not say it.
const KINDS_OF_VERSION_1: u8 = 5;
/// The version from which on it is said which segment is the first.
const SAYS_FIRST: u32 = 3;
/// Rows written at once.
const ROWS: usize = 256;
/// Bytes written at once.
const BYTES: usize = 1 << 20;

/// What the tree knows about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) store: u128,
    /// The journal is replayed from here.
    pub(crate) at: Position,
    /// The number of the first group to replay.
    pub(crate) next_group: u64,
    /// From this segment on all are there; those before it have expired, and their files may be
    /// gone or not. Absent in what an older program wrote.
    pub(crate) first: Option<u64>,
    pub(crate) version: u64,
    /// The last number of each kind of queue.
    pub(crate) lasts: Vec<u64>,
    /// The remembered batches in the tree.
    pub(crate) batches: (u64, u64),
    pub(crate) numbers: Vec<Numbers>,
}

impl Meta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.store.to_le_bytes());
        let (from, next) = self.batches;
        for field in [self.at.segment, self.at.offset, self.next_group, self.version, from, next] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.first.unwrap_or(0).to_le_bytes());
        // One for each kind of queue, of which there may be more one day.
        bytes.push(u8::try_from(self.lasts.len()).unwrap_or(u8::MAX));
        for last in self.lasts.iter().take(usize::from(u8::MAX)) {
            bytes.extend_from_slice(&last.to_le_bytes());
        }
        for numbers in &self.numbers {
            bytes.extend_from_slice(&numbers.partition.to_le_bytes());
            bytes.extend_from_slice(&numbers.next.to_le_bytes());
            bytes.extend_from_slice(&numbers.last_at.as_millis().to_le_bytes());
            bytes.extend_from_slice(&numbers.oldest.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let f = &mut fields;
        let format = f.u32()?;
        if !(1..=VERSION).contains(&format) {
            return None;
        }
        let store = f.u128()?;
        let at = Position { segment: f.u64()?, offset: f.u64()? };
        let (next_group, version) = (f.u64()?, f.u64()?);
        let batches = (f.u64()?, f.u64()?);
        let first =
            if format >= SAYS_FIRST { Some(f.u64()?).filter(|first| *first > 0) } else { None };
        let mut lasts = Vec::new();
        let kinds = if format == 1 { KINDS_OF_VERSION_1 } else { f.u8()? };
        for _ in 0..kinds {
            lasts.push(f.u64()?);
        }
        let mut numbers = Vec::new();
        while !f.is_empty() {
            let (partition, next) = (f.u16()?, f.u64()?);
            let last_at = Timestamp::from_millis(f.u64()?);
            numbers.push(Numbers { partition, next, last_at, oldest: f.u64()? });
        }
        Some(Self { store, at, next_group, first, version, lasts, batches, numbers })
    }

    /// Reads it from the tree. `Some(None)` is one that this program cannot read.
    pub(crate) fn read(tree: &dyn Tree) -> io::Result<Option<Option<Self>>> {
        Ok(rows::get(tree, Space::Meta, META)?.map(|value| Self::decode(&value)))
    }
}

/// A checkpoint under way.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    documents: Arc<Layer>,
    items: Vec<(QueueKind, Arc<BTreeMap<u64, Trace>>)>,
    pub(crate) recall: Frozen,
    pub(crate) meta: Meta,
}

impl Checkpoint {
    /// Takes up what the tree does not have. Between two groups only.
    pub(crate) fn freeze(
        state: &mut State,
        store: u128,
        at: Position,
        next_group: u64,
        saved: (u64, u64),
    ) -> Self {
        let documents = state.documents.freeze();
        let recall = state.recall.freeze(saved);
        let last = |kind| state.shelf(kind).map_or(0, |shelf| shelf.last);
        let meta = Meta {
            store,
            at,
            next_group,
            first: state.log.first_segment(),
            version: state.version,
            lasts: QueueKind::ALL.into_iter().map(last).collect(),
            batches: (recall.forgotten, recall.next),
            numbers: state.log.numbers(),
        };
        let items = state.shelves_mut().map(|(kind, shelf)| (kind, shelf.freeze())).collect();
        state.epoch += 1;
        Self { documents, items, recall, meta }
    }

    /// Writes it. May be tried again after an error, once the tree was revived.
    pub(crate) fn write(&self, shared: &Shared) -> io::Result<()> {
        let mut out = Out { tree: &*shared.tree, writes: Vec::new(), bytes: 0 };
        for (key, slot) in self.documents.iter() {
            out.add(rows::put_document(key, slot))?;
        }
        for (kind, numbers) in &self.items {
            let numbers: Vec<_> = numbers.iter().map(|(number, trace)| (*number, *trace)).collect();
            for numbers in numbers.chunks(ROWS) {
                self.write_items(*kind, numbers, shared, &mut out)?;
            }
        }
        for (number, packed) in &self.recall.new {
            let key = number.to_be_bytes().to_vec();
            out.add(rows::write(Space::Batches, key, packed.to_vec()))?;
        }
        let (from, next) = self.recall.saved;
        for number in from..self.recall.forgotten.min(next) {
            out.add((Space::Batches, number.to_be_bytes().to_vec(), None))?;
        }
        out.flush()?;
        shared.tree.sync()?;
        out.add(rows::write(Space::Meta, META.to_vec(), self.meta.encode()))?;
        out.flush()?;
        shared.tree.sync()
    }

    /// Items are written as readers see them now, which may be newer than the checkpoint: all later
    /// changes are replayed over them.
    fn write_items(
        &self,
        kind: QueueKind,
        numbers: &[(u64, Trace)],
        shared: &Shared,
        out: &mut Out<'_>,
    ) -> io::Result<()> {
        let heads: Vec<_> = {
            let state = shared.lock();
            let shelf = state.shelf(kind);
            let head = |number| shelf.and_then(|shelf| shelf.published(number)).cloned();
            numbers.iter().map(|(number, trace)| (*number, *trace, head(*number))).collect()
        };
        for (number, trace, head) in heads {
            match head {
                Some(head) => {
                    out.add(rows::put_head(kind, number, &head))?;
                    if let Body::Here(body) = &head.body {
                        let key = rows::item_key(kind, number);
                        out.add(rows::write(Space::Bodies, key, body.to_vec()))?;
                    }
                }
                None if trace == Trace::None => {}
                None => {
                    let key = rows::item_key(kind, number);
                    out.add((Space::Items, key.clone(), None))?;
                    out.add((Space::Bodies, key, None))?;
                }
            }
        }
        Ok(())
    }

    /// It is in the tree: memory need not keep what it wrote.
    pub(crate) fn thaw(&self, state: &mut State) -> Option<Arc<Layer>> {
        state.shelves_mut().for_each(|(_, shelf)| shelf.thaw());
        state.recall.thaw(&self.recall);
        state.epoch += 1;
        state.documents.thaw()
    }
}

/// Rows on their way to the tree.
struct Out<'a> {
    tree: &'a dyn Tree,
    writes: Vec<Write>,
    bytes: usize,
}

impl Out<'_> {
    fn add(&mut self, write: Write) -> io::Result<()> {
        self.bytes += write.1.len() + write.2.as_ref().map_or(0, Vec::len);
        self.writes.push(write);
        if self.writes.len() >= ROWS || self.bytes >= BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.bytes = 0;
        match std::mem::take(&mut self.writes) {
            writes if writes.is_empty() => Ok(()),
            writes => self.tree.write(writes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(lasts: &[u64]) -> Meta {
        Meta {
            store: 7,
            at: Position { segment: 1, offset: 2 },
            next_group: 3,
            first: Some(9),
            version: 4,
            lasts: lasts.to_vec(),
            batches: (5, 6),
            numbers: vec![Numbers {
                partition: 1,
                next: 8,
                last_at: Timestamp::from_millis(9),
                oldest: 2,
            }],
        }
    }

    #[test]
    fn a_meta_says_how_many_kinds_of_queues_it_knows() {
        for lasts in [&[][..], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7, 8]] {
            let meta = meta(lasts);
            assert_eq!(Meta::decode(&meta.encode()), Some(meta));
        }
    }

    #[test]
    fn older_versions_say_less_and_later_ones_are_not_read() {
        let newest = meta(&[1, 2, 3, 4, 5]);
        let mut bytes = newest.encode();
        let older = Meta { first: None, ..newest };
        // Behind format, store and six numbers.
        let behind = 4 + 16 + 6 * 8;
        bytes.drain(behind..behind + 8);
        bytes[..4].copy_from_slice(&2_u32.to_le_bytes());
        assert_eq!(Meta::decode(&bytes), Some(older.clone()));
        bytes[..4].copy_from_slice(&1_u32.to_le_bytes());
        assert_eq!(bytes.remove(behind), 5);
        assert_eq!(Meta::decode(&bytes), Some(older));
        bytes[..4].copy_from_slice(&(VERSION + 1).to_le_bytes());
        assert_eq!(Meta::decode(&bytes), None);
    }
}
