//! All that is under the lock: the three shapes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{
    Ask, Claim, Document, DocumentRef, Entry, Held, Item, ItemRef, Key, Kind, Op, QueueId,
    QueueKind, Record, Seek, Shapes, Version,
};
use hub_core::time::Timestamp;

use crate::log::Log;
use crate::queue::Shelf;

#[derive(Debug)]
struct Stored {
    version: Version,
    body: Bytes,
}

#[derive(Debug)]
pub(crate) struct State {
    documents: BTreeMap<Kind, BTreeMap<Arc<str>, Stored>>,
    shelves: BTreeMap<QueueKind, Shelf>,
    pub(crate) log: Log,
}

impl State {
    pub(crate) fn new(log_bytes_max: u64) -> Self {
        Self { documents: BTreeMap::new(), shelves: BTreeMap::new(), log: Log::new(log_bytes_max) }
    }

    fn shelf(&mut self, queue: &QueueId) -> &mut Shelf {
        self.shelves.entry(queue.kind).or_default()
    }
}

fn document(key: Key, stored: &Stored) -> Document {
    Document { at: DocumentRef::new(key, stored.version), body: stored.body.clone() }
}

impl Held for State {
    fn version_of(&self, key: &Key) -> Option<Version> {
        Some(self.documents.get(&key.kind)?.get(&key.id)?.version)
    }

    fn holds(&self, item: &ItemRef) -> bool {
        self.shelves.get(&item.queue().kind).is_some_and(|shelf| shelf.holds(item))
    }

    fn depth(&self, queue: &QueueId) -> u32 {
        self.shelves.get(&queue.kind).map_or(0, |shelf| shelf.depth(queue))
    }
}

impl Shapes for State {
    fn read(&self, ask: &Ask) -> Option<Record> {
        match ask {
            Ask::Document(key) => {
                let stored = self.documents.get(&key.kind)?.get(&key.id)?;
                Some(Record::Document(document(key.clone(), stored)))
            }
            Ask::Item(queue, sequence) => {
                Some(Record::Item(self.shelves.get(&queue.kind)?.item(queue, *sequence)?))
            }
            Ask::Depth(queue) => Some(Record::Depth(self.depth(queue))),
            Ask::Items(queue, after, limit) => {
                let items = self.shelves.get(&queue.kind);
                let items = items.map(|shelf| shelf.list(queue, *after, *limit));
                Some(Record::Items(items.unwrap_or_default()))
            }
            Ask::ItemsOfKind(kind, queue, after, limit) => {
                let items = self.shelves.get(kind);
                let items = items.map(|shelf| shelf.list_all(*kind, queue, *after, *limit));
                Some(Record::Items(items.unwrap_or_default()))
            }
        }
    }

    fn scan(&self, kind: Kind, after: Option<&str>, limit: usize) -> Vec<Document> {
        let Some(documents) = self.documents.get(&kind) else { return Vec::new() };
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        documents
            .range::<str, _>((after, Bound::Unbounded))
            .take(limit)
            .map(|(id, stored)| document(Key { kind, id: id.clone() }, stored))
            .collect()
    }

    fn apply(&mut self, op: &Op, version: Version) -> Option<SequenceNumber> {
        match op {
            Op::Require(..) => {}
            Op::Put(key, _, body) => {
                let stored = Stored { version, body: body.clone() };
                self.documents.entry(key.kind).or_default().insert(key.id.clone(), stored);
            }
            Op::Remove(key, _) => {
                self.documents.entry(key.kind).or_default().remove(&key.id);
            }
            Op::Push(push) => return Some(self.shelf(&push.queue).push(push, version)),
            Op::Retime(item, visible, marks) => {
                self.shelf(item.queue()).retime(item, *visible, *marks, version);
            }
            Op::Settle(item) => self.shelf(item.queue()).settle(item),
            Op::Clear(queue) => self.shelf(queue).clear(queue),
            Op::Append(partition, at, entries) => {
                return Some(self.log.append(*partition, *at, entries));
            }
        }
        None
    }

    fn claim(&mut self, now: Timestamp, claim: &Claim, version: Version) -> Vec<Item> {
        let shelf = self.shelves.get_mut(&claim.scope.kind());
        shelf.map_or_else(Vec::new, |shelf| shelf.claim(now, claim, version))
    }

    fn tail(&self, partition: Partition, from: SequenceNumber, limit: usize) -> Vec<Entry> {
        self.log.tail(partition, from, limit)
    }

    fn seek(&self, partition: Partition, to: Seek) -> SequenceNumber {
        self.log.seek(partition, to)
    }

    fn trim(&mut self, partition: Partition, below: SequenceNumber) {
        drop(self.log.trim(partition, below));
    }
}
