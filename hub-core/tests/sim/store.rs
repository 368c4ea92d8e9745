//! The one store that all nodes share, and its shadow.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, BatchId, Change, Claim, DocumentRef, Entry, Item, ItemRef, Key, Op, Outcome,
    QueueId, Record, Store as _, Version,
};
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;

use crate::fact::{Fact, Shadowed, Step, Written};
use crate::world::Bug;

/// A store that answers at once and truly, unless a bug was planted in it. Faults on the way to it
/// and back are the world's.
pub(crate) struct SimStore {
    inner: MemoryStore,
    bug: Option<Bug>,
    seen: BTreeSet<BatchId>,
    renamed: u128,
    pub(crate) items: BTreeMap<(QueueId, u64), Shadowed>,
    pub(crate) documents: BTreeMap<Key, (Version, bytes::Bytes)>,
}

impl SimStore {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        Self {
            inner: MemoryStore::new(),
            bug,
            seen: BTreeSet::new(),
            renamed: 0,
            items: BTreeMap::new(),
            documents: BTreeMap::new(),
        }
    }

    pub(crate) fn read(&self, asks: &[Ask]) -> Vec<Option<Record>> {
        self.inner.read(asks).now_or_never().unwrap().unwrap()
    }

    pub(crate) fn tail(&self, partition: u16, from: u64) -> Vec<Entry> {
        let limit = std::num::NonZeroU32::new(1000).unwrap();
        let tail = self.inner.tail(Partition(partition), SequenceNumber(from), limit);
        tail.now_or_never().unwrap().unwrap()
    }

    pub(crate) fn depth(&self, queue: &QueueId) -> u32 {
        let from = (queue.clone(), 0);
        let to = (queue.clone(), u64::MAX);
        u32::try_from(self.items.range(from..=to).count()).unwrap_or(u32::MAX)
    }

    pub(crate) fn document(&self, key: &Key) -> Written {
        self.documents.get(key).cloned()
    }

    /// Commits for a node; new effects become facts.
    pub(crate) fn commit(
        &mut self,
        node: usize,
        batch: &Batch,
        facts: &mut Vec<Fact>,
    ) -> Vec<Outcome> {
        let mut sent = batch.clone();
        if self.bug == Some(Bug::StoreForgetsBatches) {
            self.renamed += 1;
            sent.id = BatchId(u128::MAX - self.renamed);
        }
        if self.bug == Some(Bug::StoreIgnoresItemGuards)
            || self.bug == Some(Bug::StoreIgnoresDocumentGuards)
        {
            for change in &mut sent.changes {
                *change = self.unguarded(change);
            }
        }
        let outcomes = self.inner.commit(&sent).now_or_never().unwrap().unwrap();
        if self.seen.insert(sent.id) {
            for (change, outcome) in batch.changes.iter().zip(&outcomes) {
                if let Outcome::Committed(issued) = outcome {
                    let mut sequences = issued.sequences.iter().map(|sequence| sequence.0);
                    let steps = change
                        .ops()
                        .iter()
                        .map(|op| self.shadow(op, issued.version, &mut sequences))
                        .collect();
                    facts.push(Fact::Committed { node, steps });
                }
            }
        }
        outcomes
    }

    fn shadow(
        &mut self,
        op: &Op,
        version: Version,
        issued: &mut impl Iterator<Item = u64>,
    ) -> Step {
        match op {
            Op::Require(key, guard) => {
                let was = self.documents.get(key).map(|(version, _)| *version);
                Step::Required { guard: *guard, was }
            }
            Op::Put(key, guard, body) => {
                let was = self.documents.insert(key.clone(), (version, body.clone()));
                Step::Wrote { key: key.clone(), guard: *guard, was, body: body.clone() }
            }
            Op::Remove(key, guard) => {
                let was = self.documents.remove(key);
                Step::Removed { key: key.clone(), guard: *guard, was }
            }
            Op::Push(push) => {
                let sequence = issued.next().unwrap_or_default();
                let depth = self.depth(&push.queue);
                let item = Shadowed {
                    version,
                    visible: push.visible,
                    deadline: push.deadline,
                    marks: hub_core::store::Marks::default(),
                    body: push.body.clone(),
                };
                self.items.insert((push.queue.clone(), sequence), item.clone());
                let (queue, capacity) = (push.queue.clone(), push.capacity);
                Step::Pushed { queue, sequence, capacity, depth, item }
            }
            Op::Retime(item, visible, marks) => {
                let entry = self.items.get_mut(&(item.queue().clone(), item.sequence().0));
                let was = entry.as_deref().cloned();
                if let Some(entry) = entry {
                    (entry.version, entry.visible, entry.marks) = (version, *visible, *marks);
                }
                Step::Retimed { item: item.clone(), was, marks: *marks }
            }
            Op::Settle(item) => {
                let was = self.items.remove(&(item.queue().clone(), item.sequence().0));
                Step::Settled { item: item.clone(), was }
            }
            Op::Clear(queue) => {
                let range = (queue.clone(), 0)..=(queue.clone(), u64::MAX);
                let gone: Vec<_> = self.items.range(range).map(|(key, _)| key.clone()).collect();
                for key in &gone {
                    self.items.remove(key);
                }
                let sequences = gone.into_iter().map(|(_, sequence)| sequence).collect();
                Step::Cleared { queue: queue.clone(), sequences }
            }
            Op::Append(partition, _, entries) => Step::Appended {
                partition: partition.0,
                first: issued.next().unwrap_or_default(),
                bodies: entries.iter().collect(),
            },
        }
    }

    /// The same change with guards that always hold: what a store does that does not compare.
    fn unguarded(&self, change: &Change) -> Change {
        let items = self.bug == Some(Bug::StoreIgnoresItemGuards);
        let item = |at: &ItemRef| {
            let now = self.items.get(&(at.queue().clone(), at.sequence().0));
            let version = now.filter(|_| items).map_or(at.version(), |now| now.version);
            ItemRef::new(at.queue().clone(), at.sequence(), version)
        };
        let document = |key: &Key, guard: Option<Version>| {
            let now = self.documents.get(key).map(|(version, _)| *version);
            if items { guard } else { now }
        };
        let at = |key: &Key, version: Version| DocumentRef::new(key.clone(), version);
        change.ops().iter().fold(Change::new(), |change, op| match op {
            Op::Require(key, guard) => match document(key, *guard) {
                Some(version) => change.require(&at(key, version)),
                None => change.require_absent(key.clone()),
            },
            Op::Put(key, guard, body) => change.write(key, document(key, *guard), body.clone()),
            Op::Remove(key, guard) => {
                let version = document(key, Some(*guard)).unwrap_or(*guard);
                change.remove(&at(key, version))
            }
            Op::Push(push) => change.push(push.clone()),
            Op::Retime(at, visible, marks) => change.retime(&item(at), *visible, *marks),
            Op::Settle(at) => change.settle(&item(at)),
            Op::Clear(queue) => change.clear(queue.clone()),
            Op::Append(partition, at, entries) => change.append(*partition, *at, entries.clone()),
        })
    }

    pub(crate) fn claim(
        &mut self,
        now: Timestamp,
        claim: &Claim,
        facts: &mut Vec<Fact>,
    ) -> Vec<Item> {
        let mut sent = claim.clone();
        if self.bug == Some(Bug::StoreClaimsDoNotHide) {
            sent.hide_until = Timestamp::ZERO;
        }
        let mut taken =
            self.inner.claim(now, &[sent]).now_or_never().unwrap().unwrap().pop().unwrap();
        for item in &mut taken {
            item.visible = claim.hide_until;
            let key = (item.at.queue().clone(), item.at.sequence().0);
            let Some(entry) = self.items.get_mut(&key) else { continue };
            let was = entry.clone();
            (entry.version, entry.visible) = (item.at.version(), item.visible);
            facts.push(Fact::Claimed { now, item: Box::new(item.clone()), was });
        }
        taken
    }

    /// Whether the store holds of a queue what its changes come to.
    pub(crate) fn agrees(&self, queue: &QueueId) -> bool {
        let ask = Ask::Items(queue.clone(), SequenceNumber(0), u32::MAX);
        let there = match self.read(&[ask]).pop().flatten() {
            Some(Record::Items(items)) => {
                items.iter().map(|item| (item.at.sequence().0, item.at.version())).collect()
            }
            _ => Vec::new(),
        };
        let range = (queue.clone(), 0)..=(queue.clone(), u64::MAX);
        let here: Vec<_> =
            self.items.range(range).map(|((_, seq), item)| (*seq, item.version)).collect();
        there == here
    }
}
