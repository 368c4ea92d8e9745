//! Which items a claim takes: for stores that know the times of all items in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashMap;

use super::claim::Scope;
use super::record::QueueId;
use crate::time::Timestamp;

/// The two times of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemTimes {
    /// Hidden from claims until then.
    pub visible: Timestamp,
    /// Overdue from then on; [`Timestamp::MAX`] is never.
    pub deadline: Timestamp,
}

impl ItemTimes {
    /// When a sweep may take it. A deadline at the end of time never comes.
    fn due(self) -> Option<Timestamp> {
        (self.deadline != Timestamp::MAX).then(|| self.visible.max(self.deadline))
    }
}

/// All queues of one kind by the numbers of their items, and two indices by time over all of them.
///
/// The numbers rise in each queue and are unique in the kind. The items themselves are the store's:
/// it adds, changes and removes each here when it does so there, and tells the times as they were.
#[derive(Debug, Default)]
pub struct QueueIndex {
    queues: HashMap<Arc<str>, Members>,
    /// All items by the time from which an `Any` claim may take them.
    visible: BTreeSet<(Timestamp, u64)>,
    /// Items with a deadline, by the time from which a sweep may take them: the later of their two
    /// times. A locked item is not in the way of a sweep, and an undue one is not in its range.
    due: BTreeSet<(Timestamp, u64)>,
}

/// The items of one queue; each is in exactly one of the two sets.
#[derive(Debug, Default)]
struct Members {
    /// Were visible when a claim last looked. A claim with an earlier `now` moves them back.
    ready: BTreeSet<u64>,
    /// The others, by the time they become visible.
    waiting: BTreeSet<(Timestamp, u64)>,
}

impl Members {
    fn depth(&self) -> usize {
        self.ready.len() + self.waiting.len()
    }

    fn remove(&mut self, visible: Timestamp, sequence: u64) {
        if !self.waiting.remove(&(visible, sequence)) {
            self.ready.remove(&sequence);
        }
    }

    fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let waiting = self.waiting.iter().map(|(_, sequence)| *sequence);
        self.ready.iter().copied().chain(waiting)
    }
}

impl QueueIndex {
    /// Items in a queue, hidden ones included.
    #[must_use]
    pub fn depth(&self, queue: &QueueId) -> u32 {
        let depth = self.queues.get(&queue.id).map_or(0, Members::depth);
        u32::try_from(depth).unwrap_or(u32::MAX)
    }

    /// The numbers of a queue's items, hidden ones included, in no order.
    pub fn numbers(&self, queue: &QueueId) -> impl Iterator<Item = u64> + '_ {
        self.queues.get(&queue.id).into_iter().flat_map(Members::numbers)
    }

    /// Adds an item.
    pub fn add(&mut self, queue: &QueueId, sequence: u64, times: ItemTimes) {
        self.index(sequence, times);
        let members = match self.queues.get_mut(&queue.id) {
            Some(members) => members,
            None => self.queues.entry(queue.id.clone()).or_default(),
        };
        members.waiting.insert((times.visible, sequence));
    }

    /// Gives an item other times than it was added with, or was last given.
    pub fn retime(&mut self, queue: &QueueId, sequence: u64, before: ItemTimes, after: ItemTimes) {
        self.unindex(sequence, before);
        self.index(sequence, after);
        if let Some(members) = self.queues.get_mut(&queue.id) {
            members.remove(before.visible, sequence);
            members.waiting.insert((after.visible, sequence));
        }
    }

    /// Removes an item that has these times. A queue that has run empty takes no memory.
    pub fn remove(&mut self, queue: &QueueId, sequence: u64, times: ItemTimes) {
        self.unindex(sequence, times);
        let Some(members) = self.queues.get_mut(&queue.id) else { return };
        members.remove(times.visible, sequence);
        if members.depth() == 0 {
            self.queues.remove(&queue.id);
        }
    }

    fn index(&mut self, sequence: u64, times: ItemTimes) {
        self.visible.insert((times.visible, sequence));
        if let Some(due) = times.due() {
            self.due.insert((due, sequence));
        }
    }

    fn unindex(&mut self, sequence: u64, times: ItemTimes) {
        self.visible.remove(&(times.visible, sequence));
        if let Some(due) = times.due() {
            self.due.remove(&(due, sequence));
        }
    }

    /// The items that a claim takes (S9, S10), by number: of one queue the first visible ones, of
    /// any queue those that are visible or due the longest. Takes nothing yet. `visible_from` tells
    /// from when an item is visible.
    ///
    /// On a queue it costs what it finds, and once for each item whose visibility has changed since
    /// the claim before; items that stay hidden cost nothing.
    pub fn choose(
        &mut self,
        from: &Scope,
        now: Timestamp,
        limit: u32,
        visible_from: impl Fn(u64) -> Option<Timestamp>,
    ) -> Vec<u64> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let queue = match from {
            Scope::Queue(queue) => queue,
            Scope::Any(_) => return earliest(&self.visible, now, limit),
            Scope::Overdue(_) => return earliest(&self.due, now, limit),
        };
        let Some(members) = self.queues.get_mut(&queue.id) else { return Vec::new() };
        while let Some(&(visible, sequence)) = members.waiting.first()
            && visible <= now
        {
            members.waiting.pop_first();
            members.ready.insert(sequence);
        }
        let (mut chosen, mut back) = (Vec::new(), Vec::new());
        for &sequence in &members.ready {
            if chosen.len() == limit {
                break;
            }
            match visible_from(sequence) {
                Some(visible) if visible > now => back.push((visible, sequence)),
                _ => chosen.push(sequence),
            }
        }
        for (visible, sequence) in back {
            members.ready.remove(&sequence);
            members.waiting.insert((visible, sequence));
        }
        chosen
    }
}

/// The first `limit` of an index up to `now`, in the order of their numbers, which is the order of
/// their pushes in every queue.
fn earliest(index: &BTreeSet<(Timestamp, u64)>, now: Timestamp, limit: usize) -> Vec<u64> {
    let range = index.range(..=(now, u64::MAX));
    let mut taken: Vec<u64> = range.take(limit).map(|(_, sequence)| *sequence).collect();
    taken.sort_unstable();
    taken
}

#[cfg(test)]
#[path = "queue_index_tests.rs"]
mod tests;
