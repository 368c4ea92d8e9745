//! The contract as a program: three sorted maps, and every rule in its shortest form.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::{NodeId, Partition, SequenceNumber};
use crate::store::{
    Ask, Batch, BatchId, Change, Claim, Document, DocumentRef, Durability, Entry, Issued, Item,
    ItemRef, Key, Kind, Marks, Nudges, Op, Outcome, QueueId, Record, Scope, Seek, Store,
    StoreError, Version,
};
use crate::time::Timestamp;

/// The reference store: what a store under test is compared with.
///
/// It is made to be read, not to be fast: a change works on a copy of everything, and the copy is
/// thrown away when the change is refused. It forgets no batch, and keeps nothing when dropped.
#[derive(Debug, Default)]
pub struct Model {
    state: Mutex<State>,
    nudges: Nudges,
}

#[derive(Debug, Default)]
struct State {
    shapes: Shapes,
    batches: BTreeMap<BatchId, Vec<Outcome>>,
}

#[derive(Debug, Default, Clone)]
struct Shapes {
    version: u64,
    documents: BTreeMap<Key, (Version, Bytes)>,
    items: BTreeMap<(QueueId, SequenceNumber), Item>,
    entries: BTreeMap<(Partition, SequenceNumber), Entry>,
    /// The last number of every queue that ever had an item.
    pushed: BTreeMap<QueueId, SequenceNumber>,
    /// The last number and the last time of every partition that ever had an entry.
    appended: BTreeMap<Partition, (SequenceNumber, Timestamp)>,
}

impl Model {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All items that a claim without a limit would take now, by queue and number.
    #[must_use]
    pub fn claimable(&self, now: Timestamp, scope: &Scope) -> Vec<Item> {
        self.lock().shapes.claimable(now, scope)
    }

    /// Takes just these items, as a claim would. For a scope over many queues it is the store's
    /// choice which items a limited claim takes; this makes the model follow it.
    ///
    /// # Panics
    /// When there is no such item.
    pub fn take(&self, items: &[ItemRef], hide_until: Timestamp) -> Vec<Item> {
        self.lock().shapes.take(items, hide_until)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the model does not panic under its lock")
    }
}

impl Shapes {
    /// What the state is after a change; the refusal if it is refused.
    fn after(&self, change: &Change) -> Result<(Self, Issued), Outcome> {
        let (before, mut after) = (self, self.clone());
        after.version += 1;
        let version = Version(after.version);
        let mut sequences = Vec::new();
        // Guards first, all of them against the state before the change.
        for (index, op) in change.ops().iter().enumerate() {
            let holds = match op {
                Op::Require(key, read) | Op::Put(key, read, _) => before.version_of(key) == *read,
                Op::Remove(key, read) => before.version_of(key) == Some(*read),
                Op::Retime(item, ..) | Op::Settle(item) => {
                    before.items.get(&place(item)).is_some_and(|found| found.at == *item)
                }
                Op::Push(_) | Op::Clear(_) | Op::Append(..) => true,
            };
            let repeats = change.ops().iter().skip(index + 1).any(|later| same_record(op, later));
            if !holds || repeats {
                return Err(Outcome::Conflict);
            }
        }
        for op in change.ops() {
            match op {
                Op::Require(..) => {}
                Op::Put(key, _, body) => {
                    after.documents.insert(key.clone(), (version, body.clone()));
                }
                Op::Remove(key, _) => {
                    after.documents.remove(key);
                }
                Op::Push(push) => {
                    let queue = push.queue.clone();
                    if after.depth(&queue) >= push.capacity {
                        return Err(Outcome::Full(queue));
                    }
                    let last = after.pushed.entry(queue.clone()).or_default();
                    *last = last.next();
                    sequences.push(*last);
                    let item = Item {
                        at: ItemRef::new(queue, *last, version),
                        visible: push.visible,
                        deadline: push.deadline,
                        claims: 0,
                        marks: Marks::default(),
                        body: push.body.clone(),
                    };
                    after.items.insert(place(&item.at), item);
                }
                Op::Retime(item, visible, marks) => {
                    let found = after.items.get_mut(&place(item)).expect("its guard held");
                    (found.visible, found.marks) = (*visible, *marks);
                    found.at.version = version;
                }
                Op::Settle(item) => {
                    after.items.remove(&place(item));
                }
                Op::Clear(queue) => after.items.retain(|(of, _), _| of != queue),
                Op::Append(partition, at, entries) => {
                    let (last, last_at) = after.appended.entry(*partition).or_default();
                    sequences.push(last.next());
                    *last_at = (*last_at).max(*at);
                    for body in entries.iter() {
                        *last = last.next();
                        let entry = Entry { sequence: *last, at: *last_at, body };
                        after.entries.insert((*partition, *last), entry);
                    }
                }
            }
        }
        Ok((after, Issued { version, sequences }))
    }

    fn version_of(&self, key: &Key) -> Option<Version> {
        self.documents.get(key).map(|(version, _)| *version)
    }

    fn document(&self, key: &Key) -> Option<Document> {
        let (version, body) = self.documents.get(key)?;
        Some(Document { at: DocumentRef::new(key.clone(), *version), body: body.clone() })
    }

    fn depth(&self, queue: &QueueId) -> u32 {
        self.items.keys().filter(|(of, _)| of == queue).count() as u32
    }

    fn claimable(&self, now: Timestamp, scope: &Scope) -> Vec<Item> {
        let in_scope = |item: &&Item| match scope {
            Scope::Queue(queue) => item.at.queue == *queue,
            Scope::Any(kind) => item.at.queue.kind == *kind,
            Scope::Overdue(kind) => {
                item.at.queue.kind == *kind
                    && item.deadline <= now
                    && item.deadline != Timestamp::MAX
            }
        };
        self.items.values().filter(in_scope).filter(|item| item.visible <= now).cloned().collect()
    }

    fn take(&mut self, items: &[ItemRef], hide_until: Timestamp) -> Vec<Item> {
        let mut taken = Vec::new();
        for at in items {
            self.version += 1;
            let item = self.items.get_mut(&place(at)).expect("the item exists");
            item.at.version = Version(self.version);
            item.visible = hide_until;
            item.claims += 1;
            taken.push(item.clone());
        }
        taken
    }

    fn next(&self, partition: Partition) -> SequenceNumber {
        self.appended.get(&partition).copied().unwrap_or_default().0.next()
    }

    fn kept(&self, partition: Partition) -> impl Iterator<Item = &Entry> {
        let (first, last) = (SequenceNumber(0), SequenceNumber(u64::MAX));
        self.entries.range((partition, first)..=(partition, last)).map(|(_, entry)| entry)
    }
}

fn place(item: &ItemRef) -> (QueueId, SequenceNumber) {
    (item.queue.clone(), item.sequence)
}

/// Whether two steps write the same record. To clear a queue is to write everything in it.
fn same_record(one: &Op, two: &Op) -> bool {
    let document = |op: &Op| match op {
        Op::Put(key, ..) | Op::Remove(key, _) => Some(key.clone()),
        _ => None,
    };
    let item = |op: &Op| match op {
        Op::Retime(item, ..) | Op::Settle(item) => Some(place(item)),
        _ => None,
    };
    let queue = |op: &Op| match op {
        Op::Push(push) => Some(push.queue.clone()),
        Op::Clear(queue) => Some(queue.clone()),
        _ => item(op).map(|(queue, _)| queue),
    };
    let clears = |op: &Op| matches!(op, Op::Clear(_));
    (document(one).is_some() && document(one) == document(two))
        || (item(one).is_some() && item(one) == item(two))
        || ((clears(one) || clears(two)) && queue(one).is_some() && queue(one) == queue(two))
}

#[async_trait]
impl Store for Model {
    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        let shapes = &self.lock().shapes;
        let read = |ask: &Ask| match ask {
            Ask::Document(key) => shapes.document(key).map(Record::Document),
            Ask::Item(queue, sequence) => {
                shapes.items.get(&(queue.clone(), *sequence)).cloned().map(Record::Item)
            }
            Ask::Depth(queue) => Some(Record::Depth(shapes.depth(queue))),
            Ask::Items(queue, after, limit) => {
                let items = shapes.items.iter();
                let items = items.filter(|((of, number), _)| of == queue && number > after);
                let items = items.take(*limit as usize).map(|(_, item)| item.clone());
                Some(Record::Items(items.collect()))
            }
            Ask::ItemsOfKind(kind, queue, after, limit) => {
                let items = shapes.items.iter();
                let items = items.filter(|((of, number), _)| {
                    of.kind == *kind && (&of.id, number) > (queue, after)
                });
                let items = items.take(*limit as usize).map(|(_, item)| item.clone());
                Some(Record::Items(items.collect()))
            }
        };
        Ok(asks.iter().map(read).collect())
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        let shapes = &self.lock().shapes;
        let keys = shapes.documents.keys().filter(|key| key.kind == kind);
        let keys = keys.filter(|key| after.is_none_or(|after| *key.id > *after));
        Ok(keys.filter_map(|key| shapes.document(key)).take(limit.get() as usize).collect())
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        let state = &mut *self.lock();
        if let Some(outcomes) = state.batches.get(&batch.id) {
            return Ok(outcomes.clone());
        }
        let mut outcomes = Vec::new();
        for change in &batch.changes {
            outcomes.push(match state.shapes.after(change) {
                Ok((after, issued)) => {
                    state.shapes = after;
                    Outcome::Committed(issued)
                }
                Err(refusal) => refusal,
            });
        }
        state.batches.insert(batch.id, outcomes.clone());
        self.nudges.nudge(&batch.nudges);
        Ok(outcomes)
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        let shapes = &mut self.lock().shapes;
        let mut taken = Vec::new();
        for claim in claims {
            let mut items = shapes.claimable(now, &claim.scope);
            items.truncate(claim.limit as usize);
            let items: Vec<_> = items.into_iter().map(|item| item.at).collect();
            taken.push(shapes.take(&items, claim.hide_until));
        }
        Ok(taken)
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        let shapes = &self.lock().shapes;
        let entries = shapes.kept(partition).filter(|entry| entry.sequence >= from);
        Ok(entries.take(limit.get() as usize).cloned().collect())
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        let shapes = &self.lock().shapes;
        let found = match to {
            Seek::Oldest => shapes.kept(partition).next(),
            Seek::Next => None,
            Seek::Time(time) => shapes.kept(partition).find(|entry| entry.at >= time),
        };
        Ok(found.map_or_else(|| shapes.next(partition), |entry| entry.sequence))
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        let entries = &mut self.lock().shapes.entries;
        entries.retain(|(of, sequence), _| *of != partition || *sequence >= below);
        Ok(())
    }

    async fn nudged(&self, node: &NodeId) {
        self.nudges.wait(node).await;
    }
}
