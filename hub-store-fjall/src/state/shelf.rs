//! The queues of one kind: the heads of all items, the core's index over them, and the bodies that
//! are not in the tree yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use hub_core::id::SequenceNumber;
use hub_core::store::{ItemRef, ItemTimes, Marks, Push, QueueId, QueueIndex, Scope, Version};
use hub_core::time::Timestamp;

use super::Body;
use crate::journal::op::Setting;

/// All queues of one kind.
///
/// One counter numbers the items of all of them: the numbers of each queue rise, they are unique in
/// the kind, and a queue that has run empty needs no memory to go on where it was.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) last: u64,
    /// The same after the last durable group.
    published_last: u64,
    items: BTreeMap<u64, Head>,
    index: QueueIndex,
    /// What the group that is not durable yet has changed, as it was before it.
    before: BTreeMap<u64, Option<Head>>,
    /// What no checkpoint has taken up yet; whether the tree may have something of it.
    dirty: BTreeMap<u64, Trace>,
    /// What the checkpoint under way has taken up.
    frozen: Arc<BTreeMap<u64, Trace>>,
    dirty_bytes: usize,
}

/// Whether the tree may have something of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    None,
    Some,
}

/// An item; its body may be in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) queue: QueueId,
    pub(crate) version: Version,
    pub(crate) visible: Timestamp,
    pub(crate) deadline: Timestamp,
    pub(crate) claims: u32,
    pub(crate) marks: Marks,
    pub(crate) body: Body,
    pub(crate) trace: Trace,
}

impl Head {
    fn times(&self) -> ItemTimes {
        ItemTimes { visible: self.visible, deadline: self.deadline }
    }
}

impl Shelf {
    /// Items in a queue, hidden ones included, as the writer sees it.
    pub(crate) fn depth(&self, queue: &QueueId) -> u32 {
        self.index.depth(queue)
    }

    /// The same as readers may see it.
    pub(crate) fn published_depth(&self, queue: &QueueId) -> u32 {
        let mut depth = i64::from(self.depth(queue));
        let within = |head: Option<&Head>| i64::from(head.is_some_and(|h| h.queue == *queue));
        for (sequence, before) in &self.before {
            depth += within(before.as_ref()) - within(self.items.get(sequence));
        }
        u32::try_from(depth).unwrap_or(0)
    }

    /// An item as readers may see it.
    pub(crate) fn published(&self, sequence: u64) -> Option<&Head> {
        match self.before.get(&sequence) {
            Some(before) => before.as_ref(),
            None => self.items.get(&sequence),
        }
    }

    /// Items of a queue in order as readers may see them, locked ones too.
    pub(crate) fn list(
        &self,
        queue: &QueueId,
        after: SequenceNumber,
        limit: u32,
    ) -> Vec<(u64, Head)> {
        let mut numbers: Vec<u64> = self
            .index
            .numbers(queue)
            .chain(self.before.keys().copied())
            .filter(|sequence| *sequence > after.0)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
            .into_iter()
            .filter_map(|sequence| Some((sequence, self.published(sequence)?)))
            .filter(|(_, head)| head.queue == *queue)
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .map(|(sequence, head)| (sequence, head.clone()))
            .collect()
    }

    /// Whether the item is still in the state that was read.
    pub(crate) fn holds(&self, item: &ItemRef) -> bool {
        self.items
            .get(&item.sequence().0)
            .is_some_and(|head| head.version == item.version() && head.queue == *item.queue())
    }

    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    pub(crate) fn push(&mut self, push: &Push, version: Version) -> u64 {
        self.last += 1;
        let sequence = self.last;
        self.insert(sequence, version, push, Trace::None);
        sequence
    }

    /// Puts an item in its place, over what may be there.
    pub(crate) fn insert(&mut self, sequence: u64, version: Version, push: &Push, trace: Trace) {
        let head = Head {
            queue: push.queue.clone(),
            version,
            visible: push.visible,
            deadline: push.deadline,
            claims: 0,
            marks: Marks::default(),
            body: Body::Here(push.body.clone()),
            trace,
        };
        self.last = self.last.max(sequence);
        let old = self.remove(sequence);
        self.note(sequence, old.as_ref(), trace);
        self.dirty_bytes = self.dirty_bytes.saturating_add(push.body.len() + 128);
        self.put(sequence, head);
    }

    /// Takes an item from the tree.
    pub(crate) fn restore(&mut self, sequence: u64, head: Head) {
        self.last = self.last.max(sequence);
        self.put(sequence, head);
    }

    /// Rewrites the head of an item, if it is there.
    pub(crate) fn set(&mut self, sequence: u64, setting: &Setting) {
        let Some(head) = self.items.get_mut(&sequence) else { return };
        let before = head.clone();
        head.version = setting.version;
        head.visible = setting.visible;
        head.claims = setting.claims;
        head.marks = setting.marks;
        self.index.retime(&head.queue, sequence, before.times(), head.times());
        self.note(sequence, Some(&before), before.trace);
    }

    /// The settings of an item as they are.
    pub(crate) fn setting(&self, sequence: u64) -> Option<Setting> {
        let head = self.items.get(&sequence)?;
        let Head { version, visible, claims, marks, .. } = *head;
        Some(Setting { version, visible, claims, marks })
    }

    /// Removes an item, if it is there.
    pub(crate) fn settle(&mut self, sequence: u64) {
        let Some(head) = self.remove(sequence) else { return };
        self.note(sequence, Some(&head), head.trace);
        if let Body::Here(body) = &head.body {
            self.dirty_bytes = self.dirty_bytes.saturating_sub(body.len() + 128);
        }
    }

    /// Removes the items of a queue up to a number.
    pub(crate) fn clear(&mut self, queue: &QueueId, last: u64) {
        let up_to = self.index.numbers(queue).filter(|sequence| *sequence <= last);
        let numbers: Vec<u64> = up_to.collect();
        for sequence in numbers {
            self.settle(sequence);
        }
    }

    /// The items a claim takes, by number ([`QueueIndex::choose`]). Takes nothing yet.
    pub(crate) fn choose(&mut self, from: &Scope, now: Timestamp, limit: u32) -> Vec<u64> {
        let items = &self.items;
        self.index.choose(from, now, limit, |sequence| items.get(&sequence).map(|h| h.visible))
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&Head> {
        self.items.get(&sequence)
    }

    /// Remembers an item as it is before it changes.
    fn note(&mut self, sequence: u64, head: Option<&Head>, trace: Trace) {
        self.before.entry(sequence).or_insert_with(|| head.cloned());
        let taken_up = self.frozen.contains_key(&sequence);
        let trace = if taken_up { Trace::Some } else { trace };
        self.dirty.entry(sequence).or_insert(trace);
    }

    pub(crate) fn publish(&mut self) {
        self.published_last = self.last;
        self.before.clear();
    }

    pub(crate) fn roll_back(&mut self) {
        self.last = self.published_last;
        for (sequence, before) in std::mem::take(&mut self.before) {
            // An item that is marked dirty and has not changed is written once too often, no more.
            self.settle(sequence);
            if let Some(head) = before {
                if let Body::Here(body) = &head.body {
                    self.dirty_bytes = self.dirty_bytes.saturating_add(body.len() + 128);
                }
                self.put(sequence, head);
            }
        }
        self.before.clear();
    }

    /// Begins a checkpoint: the items it has to look at.
    pub(crate) fn freeze(&mut self) -> Arc<BTreeMap<u64, Trace>> {
        self.frozen = Arc::new(std::mem::take(&mut self.dirty));
        Arc::clone(&self.frozen)
    }

    /// The checkpoint is in the tree. Bodies it has written need no memory any more.
    pub(crate) fn thaw(&mut self) {
        for sequence in std::mem::take(&mut self.frozen).keys() {
            let Some(head) = self.items.get_mut(sequence) else { continue };
            head.trace = Trace::Some;
            if let Body::Here(body) = &head.body {
                self.dirty_bytes = self.dirty_bytes.saturating_sub(body.len() + 128);
                head.body = Body::Stored;
            }
            // The state before a group under way is saved just as well.
            if let Some(Some(before)) = self.before.get_mut(sequence) {
                before.trace = Trace::Some;
                before.body = Body::Stored;
            }
        }
    }

    fn put(&mut self, sequence: u64, head: Head) {
        self.index.add(&head.queue, sequence, head.times());
        self.items.insert(sequence, head);
    }

    fn remove(&mut self, sequence: u64) -> Option<Head> {
        let head = self.items.remove(&sequence)?;
        self.index.remove(&head.queue, sequence, head.times());
        Some(head)
    }
}
