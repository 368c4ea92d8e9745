//! All that is under the lock, and how a change is judged and applied.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hub_core::store::{
    Ask, Batch, Change, Claim, Document, DocumentRef, Issued, Item, Key, Kind, Op, Outcome,
    QueueId, QueueKind, Record, Scope, Version,
};
use hub_core::time::Timestamp;

use crate::log::Log;
use crate::queue::Shelf;
use crate::recall::Recall;

#[derive(Debug)]
struct Stored {
    version: Version,
    body: Bytes,
}

#[derive(Debug)]
pub(crate) struct State {
    /// The last version given to anything. Every change and every claim takes the next one.
    version: u64,
    documents: BTreeMap<Kind, BTreeMap<Arc<str>, Stored>>,
    shelves: BTreeMap<QueueKind, Shelf>,
    pub(crate) log: Log,
    recall: Recall,
}

impl State {
    pub(crate) fn new(log_bytes_max: u64) -> Self {
        Self {
            version: 0,
            documents: BTreeMap::new(),
            shelves: BTreeMap::new(),
            log: Log::new(log_bytes_max),
            recall: Recall::default(),
        }
    }

    /// The outcomes, and whether they are new (and not remembered).
    pub(crate) fn commit(&mut self, batch: &Batch) -> (Vec<Outcome>, bool) {
        if let Some(outcomes) = self.recall.get(batch.id) {
            return (outcomes, false);
        }
        let base = self.version;
        let mut outcomes = Vec::with_capacity(batch.changes.len());
        for change in &batch.changes {
            self.version += 1;
            outcomes.push(self.change(change, Version(self.version)));
        }
        self.recall.insert(batch.id, base, &outcomes);
        (outcomes, true)
    }

    fn change(&mut self, change: &Change, version: Version) -> Outcome {
        if change.writes_a_record_twice() || !change.ops().iter().all(|op| self.holds(op)) {
            return Outcome::Conflict;
        }
        if let Some(queue) = self.first_full(change) {
            return Outcome::Full(queue);
        }
        let mut sequences = Vec::new();
        for op in change.ops() {
            match op {
                Op::Require(..) => {}
                Op::Put(key, _, body) => {
                    let stored = Stored { version, body: body.clone() };
                    self.documents.entry(key.kind).or_default().insert(key.id.clone(), stored);
                }
                Op::Remove(key, _) => {
                    self.documents.entry(key.kind).or_default().remove(&key.id);
                }
                Op::Push(push) => sequences.push(self.shelf(&push.queue).push(push, version)),
                Op::Retime(item, visible, marks) => {
                    self.shelf(item.queue()).retime(item, *visible, *marks, version);
                }
                Op::Settle(item) => self.shelf(item.queue()).settle(item),
                Op::Clear(queue) => self.shelf(queue).clear(queue),
                Op::Append(partition, at, entries) => {
                    sequences.push(self.log.append(*partition, *at, entries));
                }
            }
        }
        Outcome::Committed(Issued { version, sequences })
    }

    /// Whether the guard of a step holds now, before any step of its change.
    fn holds(&self, op: &Op) -> bool {
        match op {
            Op::Require(key, version) | Op::Put(key, version, _) => {
                self.version_of(key) == *version
            }
            Op::Remove(key, version) => self.version_of(key) == Some(*version),
            Op::Retime(item, ..) | Op::Settle(item) => {
                self.shelves.get(&item.queue().kind).is_some_and(|shelf| shelf.holds(item))
            }
            Op::Push(_) | Op::Clear(_) | Op::Append(..) => true,
        }
    }

    /// The queue of the first push that has no room, if all steps before it are done.
    fn first_full(&self, change: &Change) -> Option<QueueId> {
        if !change.ops().iter().any(|op| matches!(op, Op::Push(_))) {
            return None;
        }
        let mut depths = BTreeMap::new();
        for op in change.ops() {
            match op {
                Op::Push(push) => {
                    let depth =
                        depths.entry(&push.queue).or_insert_with(|| self.depth(&push.queue));
                    if *depth >= push.capacity {
                        return Some(push.queue.clone());
                    }
                    *depth += 1;
                }
                Op::Settle(item) => {
                    let depth =
                        depths.entry(item.queue()).or_insert_with(|| self.depth(item.queue()));
                    *depth = depth.saturating_sub(1);
                }
                _ => {}
            }
        }
        None
    }

    fn version_of(&self, key: &Key) -> Option<Version> {
        Some(self.documents.get(&key.kind)?.get(&key.id)?.version)
    }

    fn depth(&self, queue: &QueueId) -> u32 {
        self.shelves.get(&queue.kind).map_or(0, |shelf| shelf.depth(queue))
    }

    fn shelf(&mut self, queue: &QueueId) -> &mut Shelf {
        self.shelves.entry(queue.kind).or_default()
    }

    pub(crate) fn read(&self, ask: &Ask) -> Option<Record> {
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
        }
    }

    pub(crate) fn scan(&self, kind: Kind, after: Option<&str>, limit: NonZeroU32) -> Vec<Document> {
        let Some(documents) = self.documents.get(&kind) else { return Vec::new() };
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        documents
            .range::<str, _>((after, Bound::Unbounded))
            .take(usize::try_from(limit.get()).unwrap_or(usize::MAX))
            .map(|(id, stored)| document(Key { kind, id: id.clone() }, stored))
            .collect()
    }

    pub(crate) fn claim(&mut self, now: Timestamp, claim: &Claim) -> Vec<Item> {
        let limit = usize::try_from(claim.limit).unwrap_or(usize::MAX);
        let kind = match &claim.scope {
            Scope::Queue(queue) => queue.kind,
            Scope::Overdue(kind) | Scope::Any(kind) => *kind,
        };
        let Some(shelf) = self.shelves.get_mut(&kind).filter(|_| limit > 0) else {
            return Vec::new();
        };
        self.version += 1;
        let version = Version(self.version);
        match &claim.scope {
            Scope::Queue(queue) => shelf.claim(queue, now, limit, claim.hide_until, version),
            Scope::Overdue(_) => shelf.claim_overdue(now, limit, claim.hide_until, version),
            Scope::Any(_) => shelf.claim_any(now, limit, claim.hide_until, version),
        }
    }
}

fn document(key: Key, stored: &Stored) -> Document {
    Document { at: DocumentRef::new(key, stored.version), body: stored.body.clone() }
}
