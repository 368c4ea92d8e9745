//! The queues of one kind: the items, and the core's index over them.

use std::collections::BTreeMap;

use hub_core::id::SequenceNumber;
use hub_core::store::{Claim, Item, ItemRef, ItemTimes, Marks, Push, QueueId, QueueIndex, Version};
use hub_core::time::Timestamp;

/// All queues of one kind.
///
/// One counter numbers the items of all of them: the numbers of each queue rise, they are unique in
/// the kind, and a queue that has run empty needs no memory to go on where it was.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    last: u64,
    items: BTreeMap<u64, Item>,
    index: QueueIndex,
}

fn times(item: &Item) -> ItemTimes {
    ItemTimes { visible: item.visible, deadline: item.deadline }
}

impl Shelf {
    /// Items in a queue, hidden ones included.
    pub(crate) fn depth(&self, queue: &QueueId) -> u32 {
        self.index.depth(queue)
    }

    pub(crate) fn item(&self, queue: &QueueId, sequence: SequenceNumber) -> Option<Item> {
        self.items.get(&sequence.0).filter(|item| item.at.queue() == queue).cloned()
    }

    /// Items of a queue in order, locked ones too.
    pub(crate) fn list(&self, queue: &QueueId, after: SequenceNumber, limit: u32) -> Vec<Item> {
        let later = self.index.numbers(queue).filter(|sequence| *sequence > after.0);
        let mut numbers: Vec<u64> = later.collect();
        numbers.sort_unstable();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
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
        let sequence = SequenceNumber(self.last);
        let item = push.item(sequence, version);
        self.index.add(&push.queue, sequence.0, times(&item));
        self.items.insert(sequence.0, item);
        sequence
    }

    pub(crate) fn retime(
        &mut self,
        item: &ItemRef,
        visible: Timestamp,
        marks: Marks,
        version: Version,
    ) {
        let sequence = item.sequence().0;
        if let Some(found) = self.items.get_mut(&sequence) {
            let before = times(found);
            found.retime(visible, marks, version);
            self.index.retime(found.at.queue(), sequence, before, times(found));
        }
    }

    pub(crate) fn settle(&mut self, item: &ItemRef) {
        self.remove(item.sequence().0);
    }

    pub(crate) fn clear(&mut self, queue: &QueueId) {
        let numbers: Vec<u64> = self.index.numbers(queue).collect();
        for sequence in numbers {
            self.remove(sequence);
        }
    }

    fn remove(&mut self, sequence: u64) {
        if let Some(item) = self.items.remove(&sequence) {
            self.index.remove(item.at.queue(), sequence, times(&item));
        }
    }

    /// Takes items.
    pub(crate) fn claim(&mut self, now: Timestamp, claim: &Claim, version: Version) -> Vec<Item> {
        let items = &self.items;
        let visible = |sequence| items.get(&sequence).map(|item| item.visible);
        let chosen = self.index.choose(&claim.scope, now, claim.limit, visible);
        let mut taken = Vec::with_capacity(chosen.len());
        for sequence in chosen {
            let Some(item) = self.items.get_mut(&sequence) else { continue };
            let before = times(item);
            taken.push(claim.take(item, version));
            self.index.retime(item.at.queue(), sequence, before, times(item));
        }
        taken
    }
}
