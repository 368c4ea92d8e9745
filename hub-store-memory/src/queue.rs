//! The queues of one kind, and two indices by time over all their items.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;
use hub_core::id::SequenceNumber;
use hub_core::store::{Claim, Item, ItemRef, Marks, Push, QueueId, Scope, Version};
use hub_core::time::Timestamp;

/// All queues of one kind.
///
/// One counter numbers the items of all of them: the numbers of each queue rise, they are unique in
/// the kind, and a queue that has run empty needs no memory to go on where it was.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    last: u64,
    items: BTreeMap<u64, Item>,
    queues: HashMap<Arc<str>, Queue>,
    /// All items by the time from which an `Any` claim may take them.
    visible: BTreeSet<(Timestamp, u64)>,
    /// Items with a deadline, by the time from which a sweep may take them: the later of their two
    /// times. A locked item is not in the way of a sweep, and an undue one is not in its range.
    due: BTreeSet<(Timestamp, u64)>,
}

/// When a sweep may take an item. A deadline at the end of time never comes.
fn due(item: &Item) -> Option<Timestamp> {
    (item.deadline != Timestamp::MAX).then(|| item.visible.max(item.deadline))
}

/// The items of one queue; each is in exactly one of the two sets.
#[derive(Debug, Default)]
struct Queue {
    /// Were visible when a claim last looked. A claim with an earlier `now` moves them back.
    ready: BTreeSet<u64>,
    /// The others, by the time they become visible.
    waiting: BTreeSet<(Timestamp, u64)>,
}

impl Queue {
    fn depth(&self) -> usize {
        self.ready.len() + self.waiting.len()
    }

    fn remove(&mut self, visible: Timestamp, sequence: u64) {
        if !self.waiting.remove(&(visible, sequence)) {
            self.ready.remove(&sequence);
        }
    }
}

impl Shelf {
    /// Items in a queue, hidden ones included.
    pub(crate) fn depth(&self, queue: &QueueId) -> u32 {
        let depth = self.queues.get(&queue.id).map_or(0, Queue::depth);
        u32::try_from(depth).unwrap_or(u32::MAX)
    }

    pub(crate) fn item(&self, queue: &QueueId, sequence: SequenceNumber) -> Option<Item> {
        self.items.get(&sequence.0).filter(|item| item.at.queue() == queue).cloned()
    }

    /// Items of a queue in order, locked ones too.
    pub(crate) fn list(&self, queue: &QueueId, after: SequenceNumber, limit: u32) -> Vec<Item> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.queues
            .get(&queue.id)
            .map_or_else(Vec::new, |found| self.list_queue(found, after, limit))
    }

    /// Items of all queues in the order of these, after a place. Looks at the names of all queues.
    pub(crate) fn list_all(&self, queue: &str, after: SequenceNumber, limit: u32) -> Vec<Item> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut names: Vec<_> = self.queues.iter().filter(|(id, _)| &***id >= queue).collect();
        names.sort_unstable_by_key(|(id, _)| *id);
        let mut found = Vec::new();
        for (id, members) in names {
            let left = limit.saturating_sub(found.len());
            if left == 0 {
                break;
            }
            let after = if **id == *queue { after } else { SequenceNumber::default() };
            found.extend(self.list_queue(members, after, left));
        }
        found
    }

    fn list_queue(&self, found: &Queue, after: SequenceNumber, limit: usize) -> Vec<Item> {
        let mut numbers: Vec<u64> = found
            .ready
            .iter()
            .copied()
            .chain(found.waiting.iter().map(|(_, sequence)| *sequence))
            .filter(|sequence| *sequence > after.0)
            .collect();
        numbers.sort_unstable();
        numbers
            .into_iter()
            .take(limit)
            .filter_map(|sequence| self.items.get(&sequence).cloned())
            .collect()
    }

    /// Whether the item is still in the state that was read.
    pub(crate) fn holds(&self, item: &ItemRef) -> bool {
        self.items.get(&item.sequence().0).is_some_and(|found| found.at == *item)
    }

    pub(crate) fn push(&mut self, push: &Push, version: Version) -> SequenceNumber {
        self.last += 1;
        let sequence = self.last;
        self.put(push.item(SequenceNumber(sequence), version));
        SequenceNumber(sequence)
    }

    pub(crate) fn retime(
        &mut self,
        item: &ItemRef,
        visible: Timestamp,
        marks: Marks,
        version: Version,
    ) {
        if let Some(mut found) = self.take(item.sequence().0) {
            found.retime(visible, marks, version);
            self.put(found);
        }
    }

    pub(crate) fn settle(&mut self, item: &ItemRef) {
        let sequence = item.sequence().0;
        if self.take(sequence).is_some() {
            self.forget_if_empty(item.queue());
        }
    }

    pub(crate) fn clear(&mut self, queue: &QueueId) {
        let Some(members) = self.queues.remove(&queue.id) else { return };
        let waiting = members.waiting.iter().map(|(_, sequence)| *sequence);
        for sequence in waiting.chain(members.ready.iter().copied()) {
            if let Some(item) = self.items.remove(&sequence) {
                self.unindex(&item);
            }
        }
    }

    /// Takes items: of one queue the first visible ones, of any queue those that are visible or due
    /// the longest.
    pub(crate) fn claim(&mut self, now: Timestamp, claim: &Claim, version: Version) -> Vec<Item> {
        let limit = usize::try_from(claim.limit).unwrap_or(usize::MAX);
        let taken = match &claim.scope {
            Scope::Queue(queue) => self.first_visible(queue, now, limit),
            Scope::Any(_) => earliest(&self.visible, now, limit),
            Scope::Overdue(_) => earliest(&self.due, now, limit),
        };
        let mut items = Vec::with_capacity(taken.len());
        for sequence in taken {
            let Some(mut item) = self.take(sequence) else { continue };
            items.push(claim.take(&mut item, version));
            self.put(item);
        }
        items
    }

    /// The numbers of the first visible items of one queue.
    ///
    /// Costs what it finds, and once for each item whose visibility has changed since it looked
    /// before; items that stay hidden cost nothing.
    fn first_visible(&mut self, queue: &QueueId, now: Timestamp, limit: usize) -> Vec<u64> {
        let Some(members) = self.queues.get_mut(&queue.id) else { return Vec::new() };
        while let Some(&(visible, sequence)) = members.waiting.first()
            && visible <= now
        {
            members.waiting.pop_first();
            members.ready.insert(sequence);
        }
        let (mut found, mut back) = (Vec::new(), Vec::new());
        for &sequence in &members.ready {
            if found.len() == limit {
                break;
            }
            match self.items.get(&sequence) {
                Some(item) if item.visible > now => back.push((item.visible, sequence)),
                _ => found.push(sequence),
            }
        }
        for (visible, sequence) in back {
            members.ready.remove(&sequence);
            members.waiting.insert((visible, sequence));
        }
        found
    }

    fn put(&mut self, item: Item) {
        let sequence = item.at.sequence().0;
        self.visible.insert((item.visible, sequence));
        if let Some(due) = due(&item) {
            self.due.insert((due, sequence));
        }
        let queue = &item.at.queue().id;
        let members = match self.queues.get_mut(queue) {
            Some(members) => members,
            None => self.queues.entry(queue.clone()).or_default(),
        };
        members.waiting.insert((item.visible, sequence));
        self.items.insert(sequence, item);
    }

    fn take(&mut self, sequence: u64) -> Option<Item> {
        let item = self.items.remove(&sequence)?;
        self.unindex(&item);
        if let Some(members) = self.queues.get_mut(&item.at.queue().id) {
            members.remove(item.visible, sequence);
        }
        Some(item)
    }

    fn unindex(&mut self, item: &Item) {
        let sequence = item.at.sequence().0;
        self.visible.remove(&(item.visible, sequence));
        if let Some(due) = due(item) {
            self.due.remove(&(due, sequence));
        }
    }

    fn forget_if_empty(&mut self, queue: &QueueId) {
        if self.queues.get(&queue.id).is_some_and(|members| members.depth() == 0) {
            self.queues.remove(&queue.id);
        }
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
mod tests {
    use bytes::Bytes;
    use hub_core::store::QueueKind;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn queue(id: &str) -> QueueId {
        QueueId { kind: QueueKind::Mailbox, id: id.into() }
    }

    fn push(shelf: &mut Shelf, id: &str, visible: u64, deadline: Timestamp) -> u64 {
        let body = Bytes::new();
        let push = Push { queue: queue(id), capacity: 9, visible: at(visible), deadline, body };
        let sequence = shelf.push(&push, Version(1)).0;
        check(shelf);
        sequence
    }

    /// A claim of a whole queue, or of any.
    fn claim(shelf: &mut Shelf, scope: Scope, now: u64, limit: u32, until: u64) -> Vec<Item> {
        let claim = Claim { scope, limit, hide_until: at(until) };
        let items = shelf.claim(at(now), &claim, Version(until));
        check(shelf);
        items
    }

    const ANY: Scope = Scope::Any(QueueKind::Mailbox);
    const OVERDUE: Scope = Scope::Overdue(QueueKind::Mailbox);

    fn of(id: &str) -> Scope {
        Scope::Queue(queue(id))
    }

    fn numbers(items: &[Item]) -> Vec<u64> {
        items.iter().map(|item| item.at.sequence().0).collect()
    }

    /// Every index against the items.
    fn check(shelf: &Shelf) {
        let all = || shelf.items.iter();
        let visible: BTreeSet<_> = all().map(|(n, item)| (item.visible, *n)).collect();
        assert_eq!(shelf.visible, visible);
        let overdue: BTreeSet<_> = all().filter_map(|(n, item)| Some((due(item)?, *n))).collect();
        assert_eq!(shelf.due, overdue);
        let mut members = 0;
        for (id, queue) in &shelf.queues {
            assert!(queue.depth() > 0, "an empty queue is forgotten");
            members += queue.depth();
            let waiting = queue.waiting.iter().inspect(|(visible, n)| {
                assert_eq!(shelf.items[n].visible, *visible);
            });
            for n in waiting.map(|(_, n)| n).chain(&queue.ready) {
                assert_eq!(shelf.items[n].at.queue().id, *id);
            }
        }
        assert_eq!(members, shelf.items.len());
    }

    #[test]
    fn indices_follow_every_step() {
        let mut shelf = Shelf::default();
        for (id, visible, deadline) in [("a", 0, 50), ("b", 5, 60), ("a", 9, 7), ("a", 0, 90)] {
            push(&mut shelf, id, visible, at(deadline));
        }
        let taken = claim(&mut shelf, of("a"), 8, 9, 40);
        assert_eq!(numbers(&taken), [1, 4]);
        shelf.retime(&taken[0].at, at(3), Marks::default(), Version(3));
        check(&shelf);
        shelf.settle(&taken[1].at);
        check(&shelf);
        assert_eq!(numbers(&claim(&mut shelf, ANY, 9, 9, 30)), [1, 2, 3]);
        check(&shelf);
        shelf.clear(&queue("a"));
        check(&shelf);
        assert_eq!((shelf.depth(&queue("a")), shelf.depth(&queue("b"))), (0, 1));
    }

    #[test]
    fn a_claim_in_the_past_puts_back_what_is_not_visible_yet() {
        let mut shelf = Shelf::default();
        push(&mut shelf, "a", 10, Timestamp::MAX);
        push(&mut shelf, "a", 90, Timestamp::MAX);
        assert_eq!(claim(&mut shelf, of("a"), u64::MAX, 0, 0), []);
        assert_eq!(shelf.queues["a"].ready.len(), 2);
        assert_eq!(numbers(&claim(&mut shelf, of("a"), 10, 9, 40)), [1]);
        assert_eq!(shelf.queues["a"].ready.len(), 0);
    }

    #[test]
    fn a_sweep_does_not_look_at_locked_items() {
        let mut shelf = Shelf::default();
        for _ in 0..8 {
            push(&mut shelf, "a", 0, at(20));
        }
        assert_eq!(claim(&mut shelf, of("a"), 10, 7, 500).len(), 7);
        assert_eq!(shelf.due.range(..=(at(30), u64::MAX)).count(), 1);
        assert_eq!(numbers(&claim(&mut shelf, OVERDUE, 30, 9, 500)), [8]);
    }
}
