//! The queues of one kind, and two indices by time over all their items.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashMap;
use hub_core::id::SequenceNumber;
use hub_core::store::{Item, ItemRef, Marks, Push, QueueId, Version};
use hub_core::time::Timestamp;

/// All queues of one kind.
///
/// One counter numbers the items of all of them: the numbers of each queue rise, they are unique in
/// the kind, and a queue that has run empty needs no memory to go on where it was.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    last: u64,
    items: BTreeMap<u64, Stored>,
    queues: HashMap<Arc<str>, Queue>,
    /// All items by the time from which an `Any` claim may take them.
    visible: BTreeSet<(Timestamp, u64)>,
    /// Items with a deadline, by the time from which a sweep may take them: the later of their two
    /// times. A locked item is not in the way of a sweep, and an undue one is not in its range.
    due: BTreeSet<(Timestamp, u64)>,
}

#[derive(Debug)]
struct Stored {
    queue: QueueId,
    version: Version,
    visible: Timestamp,
    deadline: Timestamp,
    claims: u32,
    marks: Marks,
    body: Bytes,
}

impl Stored {
    /// When a sweep may take it. A deadline at the end of time never comes.
    fn due(&self) -> Option<Timestamp> {
        (self.deadline != Timestamp::MAX).then(|| self.visible.max(self.deadline))
    }

    fn to_item(&self, sequence: u64) -> Item {
        Item {
            at: ItemRef::new(self.queue.clone(), SequenceNumber(sequence), self.version),
            visible: self.visible,
            deadline: self.deadline,
            claims: self.claims,
            marks: self.marks,
            body: self.body.clone(),
        }
    }
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
        let stored = self.items.get(&sequence.0)?;
        (stored.queue == *queue).then(|| stored.to_item(sequence.0))
    }

    /// Items of a queue in order, locked ones too.
    pub(crate) fn list(&self, queue: &QueueId, after: SequenceNumber, limit: u32) -> Vec<Item> {
        let Some(found) = self.queues.get(&queue.id) else { return Vec::new() };
        let mut numbers: Vec<u64> = found
            .ready
            .iter()
            .copied()
            .chain(found.waiting.iter().map(|(_, sequence)| *sequence))
            .filter(|sequence| *sequence > after.0)
            .collect();
        numbers.sort_unstable();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        numbers
            .into_iter()
            .take(limit)
            .filter_map(|sequence| self.items.get(&sequence).map(|item| item.to_item(sequence)))
            .collect()
    }

    /// Whether the item is still in the state that was read.
    pub(crate) fn holds(&self, item: &ItemRef) -> bool {
        self.items
            .get(&item.sequence().0)
            .is_some_and(|stored| stored.version == item.version() && stored.queue == *item.queue())
    }

    pub(crate) fn push(&mut self, push: &Push, version: Version) -> SequenceNumber {
        self.last += 1;
        let sequence = self.last;
        let stored = Stored {
            queue: push.queue.clone(),
            version,
            visible: push.visible,
            deadline: push.deadline,
            claims: 0,
            marks: Marks::default(),
            body: push.body.clone(),
        };
        self.index(sequence, &stored);
        self.items.insert(sequence, stored);
        SequenceNumber(sequence)
    }

    pub(crate) fn retime(
        &mut self,
        item: &ItemRef,
        visible: Timestamp,
        marks: Marks,
        version: Version,
    ) {
        let sequence = item.sequence().0;
        if let Some(mut stored) = self.take(sequence) {
            stored.visible = visible;
            stored.marks = marks;
            stored.version = version;
            self.put(sequence, stored);
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
            if let Some(stored) = self.items.remove(&sequence) {
                self.unindex(sequence, &stored);
            }
        }
    }

    /// Takes the first visible items of one queue.
    ///
    /// Costs what it takes, and once for each item whose visibility has changed since the claim
    /// before; items that stay hidden cost nothing.
    pub(crate) fn claim(
        &mut self,
        queue: &QueueId,
        now: Timestamp,
        limit: usize,
        hide_until: Timestamp,
        version: Version,
    ) -> Vec<Item> {
        let Some(members) = self.queues.get_mut(&queue.id) else { return Vec::new() };
        while let Some(&(visible, sequence)) = members.waiting.first()
            && visible <= now
        {
            members.waiting.pop_first();
            members.ready.insert(sequence);
        }
        let (mut taken, mut back) = (Vec::new(), Vec::new());
        for &sequence in &members.ready {
            if taken.len() == limit {
                break;
            }
            match self.items.get(&sequence) {
                Some(stored) if stored.visible > now => back.push((stored.visible, sequence)),
                _ => taken.push(sequence),
            }
        }
        for (visible, sequence) in back {
            members.ready.remove(&sequence);
            members.waiting.insert((visible, sequence));
        }
        self.hide(taken, hide_until, version)
    }

    /// Takes visible items of any queue, the longest visible first.
    pub(crate) fn claim_any(
        &mut self,
        now: Timestamp,
        limit: usize,
        hide_until: Timestamp,
        version: Version,
    ) -> Vec<Item> {
        let taken = earliest(&self.visible, now, limit);
        self.hide(taken, hide_until, version)
    }

    /// Takes visible items past their deadline of any queue, the longest due first.
    pub(crate) fn claim_overdue(
        &mut self,
        now: Timestamp,
        limit: usize,
        hide_until: Timestamp,
        version: Version,
    ) -> Vec<Item> {
        let taken = earliest(&self.due, now, limit);
        self.hide(taken, hide_until, version)
    }

    fn hide(&mut self, taken: Vec<u64>, hide_until: Timestamp, version: Version) -> Vec<Item> {
        let mut items = Vec::with_capacity(taken.len());
        for sequence in taken {
            let Some(mut stored) = self.take(sequence) else { continue };
            stored.visible = hide_until;
            stored.version = version;
            stored.claims = stored.claims.saturating_add(1);
            items.push(stored.to_item(sequence));
            self.put(sequence, stored);
        }
        items
    }

    fn put(&mut self, sequence: u64, stored: Stored) {
        self.index(sequence, &stored);
        self.items.insert(sequence, stored);
    }

    fn take(&mut self, sequence: u64) -> Option<Stored> {
        let stored = self.items.remove(&sequence)?;
        self.unindex(sequence, &stored);
        if let Some(members) = self.queues.get_mut(&stored.queue.id) {
            members.remove(stored.visible, sequence);
        }
        Some(stored)
    }

    fn index(&mut self, sequence: u64, stored: &Stored) {
        self.visible.insert((stored.visible, sequence));
        if let Some(due) = stored.due() {
            self.due.insert((due, sequence));
        }
        let members = match self.queues.get_mut(&stored.queue.id) {
            Some(members) => members,
            None => self.queues.entry(stored.queue.id.clone()).or_default(),
        };
        members.waiting.insert((stored.visible, sequence));
    }

    fn unindex(&mut self, sequence: u64, stored: &Stored) {
        self.visible.remove(&(stored.visible, sequence));
        if let Some(due) = stored.due() {
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

    fn numbers(items: &[Item]) -> Vec<u64> {
        items.iter().map(|item| item.at.sequence().0).collect()
    }

    /// Every index against the items.
    fn check(shelf: &Shelf) {
        let all = || shelf.items.iter();
        let visible: BTreeSet<_> = all().map(|(n, item)| (item.visible, *n)).collect();
        assert_eq!(shelf.visible, visible);
        let due: BTreeSet<_> = all().filter_map(|(n, item)| Some((item.due()?, *n))).collect();
        assert_eq!(shelf.due, due);
        let mut members = 0;
        for (id, queue) in &shelf.queues {
            assert!(queue.depth() > 0, "an empty queue is forgotten");
            members += queue.depth();
            let waiting = queue.waiting.iter().inspect(|(visible, n)| {
                assert_eq!(shelf.items[n].visible, *visible);
            });
            for n in waiting.map(|(_, n)| n).chain(&queue.ready) {
                assert_eq!(shelf.items[n].queue.id, *id);
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
        let taken = shelf.claim(&queue("a"), at(8), 9, at(40), Version(2));
        check(&shelf);
        assert_eq!(numbers(&taken), [1, 4]);
        shelf.retime(&taken[0].at, at(3), Marks::default(), Version(3));
        check(&shelf);
        shelf.settle(&taken[1].at);
        check(&shelf);
        assert_eq!(numbers(&shelf.claim_any(at(9), 9, at(30), Version(4))), [1, 2, 3]);
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
        assert_eq!(shelf.claim(&queue("a"), Timestamp::MAX, 0, at(0), Version(2)), []);
        check(&shelf);
        assert_eq!(shelf.queues["a"].ready.len(), 2);
        assert_eq!(numbers(&shelf.claim(&queue("a"), at(10), 9, at(40), Version(3))), [1]);
        check(&shelf);
        assert_eq!(shelf.queues["a"].ready.len(), 0);
    }

    #[test]
    fn a_sweep_does_not_look_at_locked_items() {
        let mut shelf = Shelf::default();
        for _ in 0..8 {
            push(&mut shelf, "a", 0, at(20));
        }
        assert_eq!(shelf.claim(&queue("a"), at(10), 7, at(500), Version(2)).len(), 7);
        assert_eq!(shelf.due.range(..=(at(30), u64::MAX)).count(), 1);
        assert_eq!(numbers(&shelf.claim_overdue(at(30), 9, at(500), Version(3))), [8]);
    }
}
