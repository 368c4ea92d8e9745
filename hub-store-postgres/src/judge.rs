//! Judging a batch against records that are locked: which changes happen, and what they write.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hub_core::store::{Batch, Change, Key, Op, QueueId};

use crate::draft::Draft;
use crate::plan::{Plan, Planner, Retime, Update};
use crate::values::number;

/// What a batch names.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) documents: BTreeSet<Key>,
    /// Those whose absence has to be held: some step needs it and does not write there itself.
    pub(crate) absent: BTreeSet<Key>,
    /// Queues that change, and those of them that are pushed to.
    pub(crate) queues: BTreeSet<QueueId>,
    pub(crate) pushed: BTreeSet<QueueId>,
    pub(crate) items: BTreeSet<(QueueId, i64)>,
    pub(crate) partitions: BTreeSet<u16>,
}

impl Named {
    pub(crate) fn of(batch: &Batch) -> Self {
        let mut named = Self::default();
        let mut created = BTreeSet::new();
        for op in batch.changes.iter().flat_map(Change::ops) {
            match op {
                Op::Require(key, version) => {
                    if version.is_none() {
                        named.absent.insert(key.clone());
                    }
                    named.documents.insert(key.clone());
                }
                Op::Put(key, read, _) => {
                    if read.is_none() {
                        created.insert(key.clone());
                    }
                    named.documents.insert(key.clone());
                }
                Op::Remove(key, _) => {
                    named.documents.insert(key.clone());
                }
                Op::Push(push) => {
                    named.queues.insert(push.queue.clone());
                    named.pushed.insert(push.queue.clone());
                }
                Op::Retime(item, ..) | Op::Settle(item) => {
                    named.queues.insert(item.queue().clone());
                    named.items.insert((item.queue().clone(), number(item.sequence().0)));
                }
                Op::Clear(queue) => {
                    named.queues.insert(queue.clone());
                }
                Op::Append(partition, ..) => {
                    named.partitions.insert(partition.0);
                }
            }
        }
        // In one go and in their order, or two batches that each create what the other needs to be
        // absent would wait for each other.
        if !named.absent.is_empty() {
            named.absent.append(&mut created);
        }
        named
    }
}

/// Records as they stand, locked. What is not here does not exist.
#[derive(Debug, Default)]
pub(crate) struct Locked {
    pub(crate) documents: BTreeMap<Key, i64>,
    pub(crate) items: BTreeMap<(QueueId, i64), i64>,
    pub(crate) depths: BTreeMap<QueueId, i64>,
}

/// What a batch does to one document, all its changes together.
#[derive(Debug)]
struct Written {
    before: Option<i64>,
    after: Option<(i64, Bytes)>,
}

/// The state as it is after the changes judged so far.
struct Judge<'a> {
    locked: &'a Locked,
    planner: Planner,
    documents: BTreeMap<&'a Key, Written>,
    /// The versions of items that were retimed; `None` if they are gone.
    items: BTreeMap<(QueueId, i64), Option<i64>>,
    depths: BTreeMap<&'a QueueId, i64>,
}

/// The outcomes of a batch, and what its admitted changes write.
pub(crate) fn judge(batch: &Batch, version: i64, locked: &Locked) -> Plan {
    let planner = Planner::new(batch, version);
    let mut judge = Judge {
        locked,
        planner,
        documents: BTreeMap::new(),
        items: BTreeMap::new(),
        depths: BTreeMap::new(),
    };
    for change in &batch.changes {
        if change.writes_a_record_twice() || !change.ops().iter().all(|op| judge.holds(op)) {
            judge.planner.refuse(Draft::Conflict);
        } else if let Some(queue) = judge.first_full(change) {
            judge.planner.refuse(Draft::Full(queue));
        } else {
            judge.apply(change);
        }
    }
    judge.finish()
}

impl<'a> Judge<'a> {
    fn version_of(&self, key: &Key) -> Option<i64> {
        match self.documents.get(key) {
            Some(written) => written.after.as_ref().map(|(version, _)| *version),
            None => self.locked.documents.get(key).copied(),
        }
    }

    fn version_of_item(&self, place: &(QueueId, i64)) -> Option<i64> {
        if let Some(changed) = self.items.get(place) {
            return *changed;
        }
        if self.planner.plan.clears.contains(&place.0) {
            return None;
        }
        self.locked.items.get(place).copied()
    }

    fn depth(&self, queue: &QueueId) -> i64 {
        let changed = self.depths.get(queue).copied();
        changed.unwrap_or_else(|| self.locked.depths.get(queue).copied().unwrap_or(0))
    }

    /// Whether the guard of a step holds now, before any step of its change.
    fn holds(&self, op: &Op) -> bool {
        match op {
            Op::Require(key, read) | Op::Put(key, read, _) => {
                self.version_of(key) == read.map(|version| number(version.0))
            }
            Op::Remove(key, read) => self.version_of(key) == Some(number(read.0)),
            Op::Retime(item, ..) | Op::Settle(item) => {
                let place = (item.queue().clone(), number(item.sequence().0));
                self.version_of_item(&place) == Some(number(item.version().0))
            }
            Op::Push(_) | Op::Clear(_) | Op::Append(..) => true,
        }
    }

    /// The queue of the first push that has no room, if all steps before it are done.
    fn first_full(&self, change: &Change) -> Option<QueueId> {
        let mut depths = BTreeMap::new();
        for op in change.ops() {
            match op {
                Op::Push(push) => {
                    let depth =
                        depths.entry(&push.queue).or_insert_with(|| self.depth(&push.queue));
                    if *depth >= i64::from(push.capacity) {
                        return Some(push.queue.clone());
                    }
                    *depth += 1;
                }
                Op::Settle(item) => {
                    *depths.entry(item.queue()).or_insert_with(|| self.depth(item.queue())) -= 1;
                }
                _ => {}
            }
        }
        None
    }

    fn apply(&mut self, change: &'a Change) {
        let version = self.planner.version();
        let mut places = Vec::new();
        for op in change.ops() {
            match op {
                Op::Require(..) => {}
                Op::Put(key, _, body) => self.write(key, Some((version, body.clone()))),
                Op::Remove(key, _) => self.write(key, None),
                Op::Push(push) => {
                    self.change_depth(&push.queue, 1);
                    places.push(self.planner.push(push));
                }
                Op::Retime(item, visible, marks) => {
                    let place = (item.queue().clone(), number(item.sequence().0));
                    let old = number(item.version().0);
                    let retime = Retime { old, new: version, visible: *visible, marks: *marks };
                    self.planner.plan.retimes.insert(place.clone(), retime);
                    self.items.insert(place, Some(version));
                }
                Op::Settle(item) => {
                    let place = (item.queue().clone(), number(item.sequence().0));
                    self.change_depth(item.queue(), -1);
                    self.planner.plan.queues.entry(item.queue().clone()).or_default().delta -= 1;
                    self.planner.plan.settles.insert(place.clone(), number(item.version().0));
                    self.items.insert(place, None);
                }
                Op::Clear(queue) => self.clear(queue),
                Op::Append(partition, at, entries) => {
                    places.push(self.planner.append(*partition, *at, entries));
                }
            }
        }
        self.planner.admit(places);
    }

    fn write(&mut self, key: &'a Key, after: Option<(i64, Bytes)>) {
        let before = self.locked.documents.get(key).copied();
        self.documents.entry(key).or_insert(Written { before, after: None }).after = after;
    }

    fn change_depth(&mut self, queue: &'a QueueId, by: i64) {
        let depth = self.depth(queue) + by;
        self.depths.insert(queue, depth);
    }

    /// Takes out what the queue holds, and what the batch itself has done to it so far.
    fn clear(&mut self, queue: &'a QueueId) {
        let plan = &mut self.planner.plan;
        plan.pushes.retain(|pushed| pushed.queue != *queue);
        plan.settles.retain(|(of, _), _| of != queue);
        plan.retimes.retain(|(of, _), _| of != queue);
        self.items.retain(|(of, _), _| of != queue);
        // A queue without a row has never held anything.
        if let Some(before) = self.locked.depths.get(queue) {
            plan.clears.insert(queue.clone());
            plan.queues.entry(queue.clone()).or_default().delta = -before;
        }
        self.depths.insert(queue, 0);
    }

    fn finish(mut self) -> Plan {
        for (key, written) in self.documents {
            let plan = &mut self.planner.plan;
            match (written.before, written.after) {
                (None, None) => {}
                (None, Some(write)) => {
                    plan.creates.insert(key.clone(), write);
                }
                (Some(old), Some((new, body))) => {
                    plan.updates.insert(key.clone(), Update { old, new, body });
                }
                (Some(old), None) => {
                    plan.removes.insert(key.clone(), old);
                }
            }
        }
        self.planner.finish()
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
