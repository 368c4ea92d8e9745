//! What a batch writes, table by table: the net effect of all its admitted changes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hub_core::id::Partition;
use hub_core::store::{Batch, Key, Marks, Op, Push, QueueId};
use hub_core::time::Timestamp;

use crate::chunk::{Appending, Chunk};
use crate::draft::{Draft, Drafts, Place};
use crate::values::{count, number};

/// The writes of a batch, each with the guard that it still needs.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) drafts: Drafts,
    /// Documents that must have this version, and are not written.
    pub(crate) requires: BTreeMap<Key, i64>,
    pub(crate) creates: BTreeMap<Key, (i64, Bytes)>,
    pub(crate) updates: BTreeMap<Key, Update>,
    pub(crate) removes: BTreeMap<Key, i64>,
    pub(crate) clears: BTreeSet<QueueId>,
    /// All queues whose number of items changes.
    pub(crate) queues: BTreeMap<QueueId, Depth>,
    pub(crate) settles: BTreeMap<(QueueId, i64), i64>,
    pub(crate) retimes: BTreeMap<(QueueId, i64), Retime>,
    pub(crate) pushes: Vec<Pushed>,
    /// In the order of the bases.
    pub(crate) appends: Vec<Append>,
}

/// A document from one version to the next.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) old: i64,
    pub(crate) new: i64,
    pub(crate) body: Bytes,
}

/// How a queue changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Numbers it issues.
    pub(crate) pushes: i64,
    /// Items it then has more, or fewer.
    pub(crate) delta: i64,
    /// Most items it may have before.
    pub(crate) room: i64,
    /// Some change of the batch pushes to it, so it has a base.
    pub(crate) based: bool,
}

impl Default for Depth {
    fn default() -> Self {
        Self { pushes: 0, delta: 0, room: i64::MAX, based: false }
    }
}

/// An item that becomes visible at another time.
#[derive(Debug)]
pub(crate) struct Retime {
    pub(crate) old: i64,
    pub(crate) new: i64,
    pub(crate) visible: Timestamp,
    pub(crate) marks: Marks,
}

/// A new item: the n-th that the batch pushes to its queue.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) queue: QueueId,
    pub(crate) rank: i64,
    pub(crate) version: i64,
    pub(crate) visible: Timestamp,
    pub(crate) deadline: Timestamp,
    pub(crate) body: Bytes,
}

/// What goes to one partition.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) partition: Partition,
    pub(crate) count: i64,
    /// The time of the last entry.
    pub(crate) until: i64,
    pub(crate) chunks: Vec<Chunk>,
}

/// Gathers a plan, change by change.
#[derive(Debug)]
pub(crate) struct Planner {
    pub(crate) plan: Plan,
    appending: BTreeMap<Partition, Appending>,
    /// Partitions and queues in the order in which bases are issued.
    partitions: Vec<Partition>,
    bases: Vec<QueueId>,
}

impl Planner {
    /// Of a batch whose n-th change gets the version `version + n`.
    pub(crate) fn new(batch: &Batch, version: i64) -> Self {
        let (mut partitions, mut bases) = (BTreeSet::new(), BTreeSet::new());
        for op in batch.changes.iter().flat_map(|change| change.ops()) {
            match op {
                Op::Append(partition, ..) => {
                    partitions.insert(*partition);
                }
                Op::Push(push) => {
                    bases.insert(push.queue.clone());
                }
                _ => {}
            }
        }
        let changes = Vec::with_capacity(batch.changes.len());
        Self {
            plan: Plan {
                drafts: Drafts { version, changes },
                requires: BTreeMap::new(),
                creates: BTreeMap::new(),
                updates: BTreeMap::new(),
                removes: BTreeMap::new(),
                clears: BTreeSet::new(),
                queues: BTreeMap::new(),
                settles: BTreeMap::new(),
                retimes: BTreeMap::new(),
                pushes: Vec::new(),
                appends: Vec::new(),
            },
            appending: BTreeMap::new(),
            partitions: partitions.into_iter().collect(),
            bases: bases.into_iter().collect(),
        }
    }

    /// The version of the change that comes next.
    pub(crate) fn version(&self) -> i64 {
        self.plan.drafts.version + count(self.plan.drafts.changes.len())
    }

    /// The next change is refused.
    pub(crate) fn refuse(&mut self, draft: Draft) {
        self.plan.drafts.changes.push(draft);
    }

    /// The next change is committed, and has issued these numbers.
    pub(crate) fn admit(&mut self, places: Vec<Place>) {
        self.plan.drafts.changes.push(Draft::Committed(places));
    }

    /// Appends entries.
    pub(crate) fn append(
        &mut self,
        partition: Partition,
        at: Timestamp,
        entries: &hub_core::store::Entries,
    ) -> Place {
        let base = self.partitions.binary_search(&partition).unwrap_or(0);
        let after = self.appending.entry(partition).or_default().append(at, entries);
        Place { base, after }
    }

    /// Adds an item, as the change that comes next.
    pub(crate) fn push(&mut self, push: &Push) -> Place {
        let base = self.partitions.len() + self.bases.binary_search(&push.queue).unwrap_or(0);
        let depth = self.plan.queues.entry(push.queue.clone()).or_default();
        let rank = depth.pushes;
        depth.pushes += 1;
        depth.delta += 1;
        let version = self.version();
        self.plan.pushes.push(Pushed {
            queue: push.queue.clone(),
            rank,
            version,
            visible: push.visible,
            deadline: push.deadline,
            body: push.body.clone(),
        });
        Place { base, after: rank }
    }

    /// The whole.
    pub(crate) fn finish(mut self) -> Plan {
        // A base for each, also for those whose changes were all refused: places count on it.
        for partition in &self.partitions {
            let appending = self.appending.remove(partition).unwrap_or_default();
            let (chunks, count, until) = appending.finished();
            self.plan.appends.push(Append { partition: *partition, count, until, chunks });
        }
        for queue in self.bases {
            self.plan.queues.entry(queue).or_default().based = true;
        }
        self.plan
    }
}

impl Plan {
    /// The plan of a batch all of whose guards hold and all of whose queues have room: the usual case,
    /// which the database only has to confirm. Nothing for a batch that has to be judged step by step,
    /// because its changes touch the same records, clear queues or require absence.
    pub(crate) fn hopeful(batch: &Batch, version: i64) -> Option<Self> {
        let mut planner = Planner::new(batch, version);
        for change in &batch.changes {
            let mut places = Vec::new();
            for op in change.ops() {
                planner.hope(op, &mut places)?;
            }
            planner.admit(places);
        }
        Some(planner.finish())
    }

    /// The queues that issue numbers, in the order of their bases.
    pub(crate) fn based_queues(&self) -> impl Iterator<Item = (&QueueId, &Depth)> + Clone {
        self.queues.iter().filter(|(_, depth)| depth.based)
    }

    fn names(&self, key: &Key) -> bool {
        self.creates.contains_key(key)
            || self.updates.contains_key(key)
            || self.removes.contains_key(key)
            || self.requires.contains_key(key)
    }
}

impl Planner {
    /// Plans one step as if its guard held. Nothing if it meets another step of the batch.
    fn hope(&mut self, op: &Op, places: &mut Vec<Place>) -> Option<()> {
        let version = self.version();
        let plan = &mut self.plan;
        match op {
            Op::Require(_, None) | Op::Clear(_) => return None,
            Op::Require(key, Some(read)) => {
                let read = number(read.0);
                if plan.requires.get(key) == Some(&read) {
                    return Some(());
                }
                if plan.names(key) {
                    return None;
                }
                plan.requires.insert(key.clone(), read);
            }
            Op::Put(key, ..) | Op::Remove(key, _) if plan.names(key) => return None,
            Op::Put(key, None, body) => {
                plan.creates.insert(key.clone(), (version, body.clone()));
            }
            Op::Put(key, Some(read), body) => {
                let update = Update { old: number(read.0), new: version, body: body.clone() };
                plan.updates.insert(key.clone(), update);
            }
            Op::Remove(key, read) => {
                plan.removes.insert(key.clone(), number(read.0));
            }
            Op::Push(push) => {
                let depth = plan.queues.entry(push.queue.clone()).or_default();
                let room = i64::from(push.capacity) - 1 - depth.delta;
                depth.room = depth.room.min(room);
                places.push(self.push(push));
            }
            Op::Retime(item, visible, marks) => {
                let place = (item.queue().clone(), number(item.sequence().0));
                if plan.settles.contains_key(&place) || plan.retimes.contains_key(&place) {
                    return None;
                }
                let old = number(item.version().0);
                let retime = Retime { old, new: version, visible: *visible, marks: *marks };
                plan.retimes.insert(place, retime);
            }
            Op::Settle(item) => {
                let place = (item.queue().clone(), number(item.sequence().0));
                if plan.settles.contains_key(&place) || plan.retimes.contains_key(&place) {
                    return None;
                }
                plan.settles.insert(place, number(item.version().0));
                plan.queues.entry(item.queue().clone()).or_default().delta -= 1;
            }
            Op::Append(partition, at, entries) => {
                places.push(self.append(*partition, *at, entries));
            }
        }
        Some(())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
