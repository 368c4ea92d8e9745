//! What the core asks a store to do: guarded changes, gathered in repeatable batches.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::record::{DocumentRef, Entries, Item, ItemRef, Key, Marks, QueueId, Version};
use crate::id::{NodeId, Partition, SequenceNumber};
use crate::time::Timestamp;

/// One step of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Holds if the document still has this version; `None`: if it is absent. Writes nothing.
    Require(Key, Option<Version>),
    /// Writes a document that has this version; `None`: that is absent.
    Put(Key, Option<Version>, Bytes),
    /// Removes a document that has this version.
    Remove(Key, Version),
    /// Adds an item to a queue.
    Push(Push),
    /// Sets when an item becomes visible, and its marks, if it still has this version.
    Retime(ItemRef, Timestamp, Marks),
    /// Removes an item that still has this version.
    Settle(ItemRef),
    /// Removes all items of a queue, whatever their versions.
    Clear(QueueId),
    /// Appends entries to a partition of the log, at this time.
    Append(Partition, Timestamp, Entries),
}

/// A new queue item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Where to.
    pub queue: QueueId,
    /// Most items the queue may hold after this push, locked ones included.
    pub capacity: u32,
    /// Hidden from claims until then.
    pub visible: Timestamp,
    /// Overdue from then on; [`Timestamp::MAX`] is never.
    pub deadline: Timestamp,
    /// The content.
    pub body: Bytes,
}

impl Push {
    /// The item that it adds: never claimed, without marks.
    #[must_use]
    pub fn item(&self, sequence: SequenceNumber, version: Version) -> Item {
        Item {
            at: ItemRef::new(self.queue.clone(), sequence, version),
            visible: self.visible,
            deadline: self.deadline,
            claims: 0,
            marks: Marks::default(),
            body: self.body.clone(),
        }
    }
}

/// Steps that happen together or not at all.
///
/// Built only from records as they were read, so that a guard cannot be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    ops: Ops,
}

/// The steps. Most changes have one, telemetry always: it is kept without memory of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ops {
    One(Op),
    /// None, or two and more.
    Many(Vec<Op>),
}

impl Default for Ops {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Change {
    /// A change that does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a document that must not exist yet.
    #[must_use]
    pub fn create(self, key: Key, body: Bytes) -> Self {
        self.with(Op::Put(key, None, body))
    }

    /// Writes a document that must be as it was read.
    #[must_use]
    pub fn replace(self, document: &DocumentRef, body: Bytes) -> Self {
        self.with(Op::Put(document.key.clone(), Some(document.version), body))
    }

    /// Writes a document over what was read: the document, or its absence.
    #[must_use]
    pub fn write(self, key: &Key, read: Option<Version>, body: Bytes) -> Self {
        self.with(Op::Put(key.clone(), read, body))
    }

    /// Removes a document that must be as it was read.
    #[must_use]
    pub fn remove(self, document: &DocumentRef) -> Self {
        self.with(Op::Remove(document.key.clone(), document.version))
    }

    /// Holds only if the document is still as it was read.
    #[must_use]
    pub fn require(self, document: &DocumentRef) -> Self {
        self.with(Op::Require(document.key.clone(), Some(document.version)))
    }

    /// Holds only if the document is still absent.
    #[must_use]
    pub fn require_absent(self, key: Key) -> Self {
        self.with(Op::Require(key, None))
    }

    /// Adds an item to a queue, if the queue has room.
    #[must_use]
    pub fn push(self, push: Push) -> Self {
        self.with(Op::Push(push))
    }

    /// Sets when an item becomes visible, and its marks; it must be as it was read.
    #[must_use]
    pub fn retime(self, item: &ItemRef, visible: Timestamp, marks: Marks) -> Self {
        self.with(Op::Retime(item.clone(), visible, marks))
    }

    /// Removes an item that must be as it was read.
    #[must_use]
    pub fn settle(self, item: &ItemRef) -> Self {
        self.with(Op::Settle(item.clone()))
    }

    /// Removes all items of a queue.
    #[must_use]
    pub fn clear(self, queue: QueueId) -> Self {
        self.with(Op::Clear(queue))
    }

    /// Appends entries to the log.
    #[must_use]
    pub fn append(self, partition: Partition, at: Timestamp, entries: Entries) -> Self {
        if entries.is_empty() { self } else { self.with(Op::Append(partition, at, entries)) }
    }

    /// The steps but those for which `left_out` holds.
    #[must_use]
    pub(crate) fn without(&self, left_out: impl Fn(&Op) -> bool) -> Self {
        self.ops()
            .iter()
            .filter(|op| !left_out(op))
            .fold(Self::new(), |kept, op| kept.with(op.clone()))
    }

    /// The steps of `other` after these.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match other.ops {
            Ops::One(op) => self.with(op),
            Ops::Many(ops) => ops.into_iter().fold(self, Self::with),
        }
    }

    fn with(self, op: Op) -> Self {
        let ops = match self.ops {
            Ops::Many(ops) if ops.is_empty() => Ops::One(op),
            Ops::Many(mut ops) => {
                ops.push(op);
                Ops::Many(ops)
            }
            Ops::One(first) => Ops::Many(vec![first, op]),
        };
        Self { ops }
    }

    /// The steps, in order.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        match &self.ops {
            Ops::One(op) => std::slice::from_ref(op),
            Ops::Many(ops) => ops,
        }
    }

    /// Whether it does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops().is_empty()
    }

    /// Whether it writes one record more than once. No store commits such a change (S20).
    ///
    /// A record is written by `Put` and `Remove` (a document), by `Retime` and `Settle` (an item),
    /// and by `Clear` (all a queue holds, so no other step of the change may write to that queue).
    /// Guards without a write may name a record any number of times.
    #[must_use]
    pub fn writes_a_record_twice(&self) -> bool {
        if self.ops().len() < 2 {
            return false;
        }
        let (mut documents, mut items) = (BTreeSet::new(), BTreeSet::new());
        let (mut queues, mut cleared) = (BTreeSet::new(), BTreeSet::new());
        for op in self.ops() {
            let first = match op {
                Op::Put(key, ..) | Op::Remove(key, _) => documents.insert(key),
                Op::Retime(item, ..) | Op::Settle(item) => {
                    queues.insert(&item.queue);
                    items.insert((&item.queue, item.sequence))
                }
                Op::Clear(queue) => cleared.insert(queue),
                Op::Push(push) => {
                    queues.insert(&push.queue);
                    true
                }
                Op::Require(..) | Op::Append(..) => true,
            };
            if !first {
                return true;
            }
        }
        !cleared.is_disjoint(&queues)
    }

    /// About how many bytes it carries to the store.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ops()
            .iter()
            .map(|op| match op {
                Op::Put(_, _, body) => 64 + body.len(),
                Op::Push(push) => 96 + push.body.len(),
                Op::Append(_, _, entries) => 16 * entries.len() + entries.bytes(),
                _ => 64,
            })
            .sum()
    }
}

/// Names a batch, so that asking again has no second effect (S8). Unique over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u128);

/// Independent changes that travel together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its name.
    pub id: BatchId,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// Nodes to wake once it is committed.
    pub nudges: Vec<NodeId>,
}

/// What the store issued for a committed change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The version that every document and item written by the change now has.
    pub version: Version,
    /// For each `Push` and each `Append`, in order: the sequence number of its item or first entry.
    pub sequences: Vec<SequenceNumber>,
}

/// What became of one change. Conflicts and full queues are normal life, not errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it happened.
    Committed(Issued),
    /// A guard did not hold; nothing happened.
    Conflict,
    /// This queue had no room; nothing happened.
    Full(QueueId),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Kind, QueueKind};

    const V: Version = Version(1);

    fn item(queue: &str, sequence: u64, version: u64) -> ItemRef {
        ItemRef::new(queue_id(queue), SequenceNumber(sequence), Version(version))
    }

    fn queue_id(id: &str) -> QueueId {
        QueueId { kind: QueueKind::Mailbox, id: id.into() }
    }

    fn push(queue: &str) -> Change {
        let queue = queue_id(queue);
        let (visible, deadline) = (Timestamp::ZERO, Timestamp::MAX);
        Change::new().push(Push { queue, capacity: 1, visible, deadline, body: Bytes::new() })
    }

    #[test]
    fn a_record_is_written_once_or_twice() {
        let document = |id: &str| DocumentRef::new(Key::new(Kind::Twin, id), V);
        let put = |id: &str| Change::new().replace(&document(id), Bytes::new());
        let remove = |id: &str| Change::new().remove(&document(id));
        let settle = |queue: &str, n, v| Change::new().settle(&item(queue, n, v));
        let clear = |queue: &str| Change::new().clear(queue_id(queue));
        for (change, twice) in [
            (Change::new(), false),
            (put("a"), false),
            (put("a").and(put("b")), false),
            (put("a").require(&document("a")).require(&document("a")), false),
            (put("a").and(remove("a")), true),
            (put("a").and(push("a")).and(put("a")), true),
            (push("a").and(push("a")), false),
            (settle("a", 1, 1).and(settle("a", 2, 1)).and(settle("b", 1, 1)), false),
            (settle("a", 1, 1).and(settle("a", 1, 2)), true),
            (clear("a").and(clear("b")).and(push("c")), false),
            (clear("a").and(clear("a")), true),
            (clear("a").and(push("a")), true),
            (settle("a", 1, 1).and(clear("a")), true),
        ] {
            assert_eq!(change.writes_a_record_twice(), twice, "{change:?}");
        }
    }
}
