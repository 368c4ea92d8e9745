#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

use hub_core::id::SequenceNumber;
use hub_core::store::{BatchId, DocumentRef, ItemRef, Kind, Marks, Push, QueueKind, Version};
use hub_core::time::Timestamp;

use super::*;
use crate::plan::Depth;

fn queue(id: &str) -> QueueId {
    QueueId { kind: QueueKind::Mailbox, id: id.into() }
}

fn key(id: &str) -> Key {
    Key::new(Kind::Twin, id)
}

fn push(id: &str, capacity: u32) -> Change {
    let (visible, deadline) = (Timestamp::ZERO, Timestamp::MAX);
    Change::new().push(Push { queue: queue(id), capacity, visible, deadline, body: Bytes::new() })
}

fn item(id: &str, sequence: u64, version: u64) -> ItemRef {
    ItemRef::new(queue(id), SequenceNumber(sequence), Version(version))
}

/// Document `d` of version 3; queue `q` with items 1 and 2 of version 5; queue `e`, empty.
fn locked() -> Locked {
    Locked {
        documents: BTreeMap::from([(key("d"), 3)]),
        items: BTreeMap::from([((queue("q"), 1), 5), ((queue("q"), 2), 5)]),
        depths: BTreeMap::from([(queue("q"), 2), (queue("e"), 0)]),
    }
}

fn judged(changes: Vec<Change>) -> Plan {
    judge(&Batch { id: BatchId(1), changes, nudges: Vec::new() }, 100, &locked())
}

fn drafts(plan: &Plan) -> Vec<&'static str> {
    let words = plan.drafts.changes.iter().map(|draft| match draft {
        Draft::Committed(_) => "committed",
        Draft::Conflict => "conflict",
        Draft::Full(_) => "full",
    });
    words.collect()
}

#[test]
fn changes_see_those_before_them() {
    let read = DocumentRef::new(key("d"), Version(3));
    let plan = judged(vec![
        Change::new().remove(&read),
        Change::new().replace(&read, Bytes::new()),
        Change::new().create(key("d"), Bytes::from_static(b"new")),
        Change::new().create(key("d"), Bytes::new()),
        Change::new().create(key("e"), Bytes::new()),
        Change::new().remove(&DocumentRef::new(key("e"), Version(104))),
    ]);
    let committed = "committed";
    assert_eq!(drafts(&plan), [committed, "conflict", committed, "conflict", committed, committed]);
    // Of all that, one row is written.
    assert!(plan.creates.is_empty() && plan.removes.is_empty());
    let update = &plan.updates[&key("d")];
    assert_eq!((update.old, update.new, &*update.body), (3, 102, &b"new"[..]));
}

#[test]
fn room_comes_and_goes_from_change_to_change() {
    let settle = Change::new().settle(&item("q", 1, 5));
    let plan = judged(vec![push("q", 2), settle, push("q", 2), push("q", 2), push("e", 1)]);
    assert_eq!(drafts(&plan), ["full", "committed", "committed", "full", "committed"]);
    let depth = |id| plan.queues[&queue(id)];
    assert_eq!(depth("q"), Depth { pushes: 1, delta: 0, room: i64::MAX, based: true });
    assert_eq!(depth("e"), Depth { pushes: 1, delta: 1, room: i64::MAX, based: true });
    assert_eq!(plan.settles.len(), 1);
}

#[test]
fn a_cleared_queue_forgets_also_what_the_batch_did_to_it() {
    let retime = |n, v| Change::new().retime(&item("q", n, v), Timestamp::ZERO, Marks::default());
    let plan = judged(vec![
        push("q", 9),
        retime(1, 5),
        Change::new().settle(&item("q", 2, 5)),
        Change::new().clear(queue("q")),
        retime(1, 101),
        push("q", 1),
        push("q", 1),
        Change::new().clear(queue("unknown")),
    ]);
    let committed = "committed";
    assert_eq!(
        drafts(&plan),
        [committed, committed, committed, committed, "conflict", committed, "full", committed]
    );
    assert!(plan.retimes.is_empty() && plan.settles.is_empty());
    assert_eq!(plan.clears, BTreeSet::from([queue("q")]));
    let ranks: Vec<_> = plan.pushes.iter().map(|pushed| pushed.rank).collect();
    assert_eq!(ranks, [1]);
    let depth = plan.queues[&queue("q")];
    assert_eq!(depth, Depth { pushes: 2, delta: -1, room: i64::MAX, based: true });
}
