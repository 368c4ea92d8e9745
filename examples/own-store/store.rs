//! A complete store: sorted maps behind one mutex.
//!
//! It keeps the whole contract of [`hub_core::store`], and looks at every item where a real store
//! has an index. `docs/writing-a-store.md` walks through it.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::*;
use hub_core::time::Timestamp;
use tokio::sync::Notify;

/// What one mutex guards, so that every call sees and changes it at one instant (S1, S3).
#[derive(Default)]
struct World {
    /// Counts changes, pushes and claimed items: no version or item number comes twice (S6, S10).
    count: u64,
    documents: BTreeMap<Key, Document>,
    items: BTreeMap<(QueueId, SequenceNumber), Item>,
    logs: BTreeMap<Partition, Log>,
    /// The latest batches and the answers to them (S8).
    answers: VecDeque<(BatchId, Vec<Outcome>)>,
    bells: BTreeMap<NodeId, Arc<Notify>>,
}

/// One partition. Number and time of the last entry outlive a trim (S12, S18).
#[derive(Default)]
struct Log {
    last: SequenceNumber,
    at: Timestamp,
    entries: VecDeque<Entry>,
}

fn place(at: &ItemRef) -> (QueueId, SequenceNumber) {
    (at.queue().clone(), at.sequence())
}

impl World {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn log(&mut self, partition: Partition) -> &mut Log {
        self.logs.entry(partition).or_default()
    }

    fn queue(&self, id: &QueueId, from: SequenceNumber) -> impl Iterator<Item = &Item> {
        let range = (id.clone(), from)..=(id.clone(), SequenceNumber(u64::MAX));
        self.items.range(range).map(|(_, item)| item)
    }

    fn depth(&self, id: &QueueId) -> u32 {
        u32::try_from(self.queue(id, SequenceNumber(0)).count()).unwrap_or(u32::MAX)
    }

    /// Whether the guard of a step holds (S5).
    fn holds(&self, op: &Op) -> bool {
        let version = |key| self.documents.get(key).map(|document| document.at.version());
        match op {
            Op::Require(key, expected) | Op::Put(key, expected, _) => version(key) == *expected,
            Op::Remove(key, expected) => version(key) == Some(*expected),
            Op::Retime(at, ..) | Op::Settle(at) => {
                self.items.get(&place(at)).is_some_and(|item| item.at == *at)
            }
            Op::Push(_) | Op::Clear(_) | Op::Append(..) => true,
        }
    }

    /// All of a change or nothing: whatever refuses it does so before the first write (S2, S4).
    fn change(&mut self, change: &Change) -> Outcome {
        if change.writes_a_record_twice() || !change.ops().iter().all(|op| self.holds(op)) {
            return Outcome::Conflict;
        }
        let mut depths = BTreeMap::new();
        for op in change.ops() {
            match op {
                Op::Settle(at) => *depths.entry(at.queue()).or_insert(self.depth(at.queue())) -= 1,
                Op::Push(Push { queue, capacity, .. }) => {
                    let depth = depths.entry(queue).or_insert(self.depth(queue));
                    if *depth >= *capacity {
                        return Outcome::Full(queue.clone());
                    }
                    *depth += 1;
                }
                _ => {}
            }
        }
        let (version, mut sequences) = (Version(self.next()), Vec::new());
        for op in change.ops().iter().cloned() {
            match op {
                Op::Require(..) => {}
                Op::Put(key, _, body) => {
                    let at = DocumentRef::new(key.clone(), version);
                    self.documents.insert(key, Document { at, body });
                }
                Op::Remove(key, _) => drop(self.documents.remove(&key)),
                Op::Push(Push { queue, visible, deadline, body, .. }) => {
                    let sequence = SequenceNumber(self.next());
                    let at = ItemRef::new(queue.clone(), sequence, version);
                    let (claims, marks) = (0, Marks::default());
                    let item = Item { at, visible, deadline, claims, marks, body };
                    self.items.insert((queue, sequence), item);
                    sequences.push(sequence);
                }
                Op::Retime(at, visible, marks) => {
                    if let Some(item) = self.items.get_mut(&place(&at)) {
                        item.at = ItemRef::new(at.queue().clone(), at.sequence(), version);
                        (item.visible, item.marks) = (visible, marks);
                    }
                }
                Op::Settle(at) => drop(self.items.remove(&place(&at))),
                Op::Clear(queue) => self.items.retain(|(id, _), _| *id != queue),
                Op::Append(partition, at, entries) => {
                    let log = self.log(partition);
                    log.at = log.at.max(at);
                    sequences.push(log.last.next());
                    for body in entries.iter() {
                        log.last = log.last.next();
                        log.entries.push_back(Entry { sequence: log.last, at: log.at, body });
                    }
                }
            }
        }
        Outcome::Committed(Issued { version, sequences })
    }

    fn claim(&mut self, now: Timestamp, claim: &Claim) -> Vec<Item> {
        let Self { count, items, .. } = self;
        let wanted = |item: &&mut Item| {
            let overdue = item.deadline <= now && item.deadline != Timestamp::MAX;
            let in_scope = match &claim.scope {
                Scope::Queue(id) => item.at.queue() == id,
                Scope::Any(kind) => item.at.queue().kind == *kind,
                Scope::Overdue(kind) => item.at.queue().kind == *kind && overdue,
            };
            in_scope && item.visible <= now
        };
        let hide = |item: &mut Item| {
            *count += 1;
            item.at = ItemRef::new(item.at.queue().clone(), item.at.sequence(), Version(*count));
            (item.visible, item.claims) = (claim.hide_until, item.claims + 1);
            item.clone()
        };
        items.values_mut().filter(wanted).take(claim.limit as usize).map(hide).collect()
    }
}

/// The store: one world, one lock.
#[derive(Default)]
pub(crate) struct OwnStore(Mutex<World>);

impl OwnStore {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Store for OwnStore {
    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        let world = self.world();
        let read = asks.iter().map(|ask| match ask {
            Ask::Document(key) => world.documents.get(key).cloned().map(Record::Document),
            Ask::Item(queue, number) => {
                world.items.get(&(queue.clone(), *number)).cloned().map(Record::Item)
            }
            Ask::Depth(queue) => Some(Record::Depth(world.depth(queue))),
            Ask::Items(queue, after, limit) => {
                let items = world.queue(queue, after.next()).take(*limit as usize);
                Some(Record::Items(items.cloned().collect()))
            }
        });
        Ok(read.collect())
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        let world = self.world();
        let all = world.documents.iter().filter(|(key, _)| key.kind == kind);
        let rest = all.filter(|(key, _)| after.is_none_or(|after| *key.id > *after));
        Ok(rest.take(limit.get() as usize).map(|(_, document)| document.clone()).collect())
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        let mut world = self.world();
        // Asked again because the first answer was lost: the same answer, and no second effect (S8).
        if let Some((_, answer)) = world.answers.iter().find(|(id, _)| *id == batch.id) {
            return Ok(answer.clone());
        }
        let outcomes: Vec<_> = batch.changes.iter().map(|change| world.change(change)).collect();
        world.answers.push_back((batch.id, outcomes.clone()));
        if world.answers.len() > 10_001 {
            world.answers.pop_front();
        }
        for node in &batch.nudges {
            // Kept for the next wait if there is none now (S21).
            world.bells.entry(node.clone()).or_default().notify_one();
        }
        Ok(outcomes)
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        let mut world = self.world();
        Ok(claims.iter().map(|claim| world.claim(now, claim)).collect())
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut world = self.world();
        let entries = world.log(partition).entries.iter().filter(|entry| entry.sequence >= from);
        Ok(entries.take(limit.get() as usize).cloned().collect())
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        let mut world = self.world();
        let log = world.log(partition);
        let found = log.entries.iter().find(|entry| match to {
            Seek::Oldest => true,
            Seek::Time(at) => entry.at >= at,
            Seek::Next => false,
        });
        Ok(found.map_or(log.last.next(), |entry| entry.sequence))
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        self.world().log(partition).entries.retain(|entry| entry.sequence >= below);
        Ok(())
    }

    async fn nudged(&self, node: &NodeId) {
        let bell = self.world().bells.entry(node.clone()).or_default().clone();
        bell.notified().await;
    }
}
