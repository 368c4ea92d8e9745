#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

use hub_core::id::SequenceNumber;
use hub_core::store::{
    BatchId, Change, DocumentRef, Entries, ItemRef, Kind, Outcome, QueueKind, Version,
};

use super::*;

fn batch(changes: Vec<Change>) -> Batch {
    Batch { id: BatchId(1), changes, nudges: Vec::new() }
}

fn queue(id: &str) -> QueueId {
    QueueId { kind: QueueKind::Mailbox, id: id.into() }
}

fn push(id: &str, capacity: u32) -> Change {
    let (visible, deadline) = (Timestamp::ZERO, Timestamp::MAX);
    Change::new().push(Push { queue: queue(id), capacity, visible, deadline, body: Bytes::new() })
}

fn document(id: &str, version: u64) -> DocumentRef {
    DocumentRef::new(Key::new(Kind::Twin, id), Version(version))
}

fn item(id: &str, sequence: u64) -> ItemRef {
    ItemRef::new(queue(id), SequenceNumber(sequence), Version(5))
}

fn append(partition: u16) -> Change {
    Change::new().append(Partition(partition), Timestamp::ZERO, Entries::one(Bytes::new()))
}

#[test]
fn telemetry_is_nothing_but_appends() {
    let plan = Plan::hopeful(&batch(vec![append(3), append(1), append(3)]), 10).unwrap();
    assert!(crate::commit::writes(&plan, None).is_empty());
    let counts: Vec<_> = plan.appends.iter().map(|a| (a.partition.0, a.count)).collect();
    assert_eq!(counts, [(1, 1), (3, 2)]);
    let outcomes = plan.drafts.outcomes(&[100, 300]).unwrap();
    let numbers = outcomes.iter().map(|outcome| match outcome {
        Outcome::Committed(issued) => (issued.version.0, issued.sequences[0].0),
        _ => unreachable!(),
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [(10, 300), (11, 100), (12, 301)]);
}

#[test]
fn room_is_what_the_tightest_push_needs() {
    let changes =
        vec![push("a", 9), Change::new().settle(&item("a", 1)), push("a", 5), push("b", 0)];
    let plan = Plan::hopeful(&batch(changes), 1).unwrap();
    let depth = |id| plan.queues[&queue(id)];
    assert_eq!(depth("a"), Depth { pushes: 2, delta: 1, room: 4, based: true });
    // No queue has fewer than none.
    assert_eq!(depth("b"), Depth { pushes: 1, delta: 1, room: -1, based: true });
    let ranks: Vec<_> = plan.pushes.iter().map(|pushed| (pushed.rank, pushed.version)).collect();
    assert_eq!(ranks, [(0, 1), (1, 3), (0, 4)]);
    assert_eq!(crate::commit::writes(&plan, None).len(), 3);
}

#[test]
fn what_meets_in_a_batch_is_left_to_be_judged() {
    let replace = |id| Change::new().replace(&document(id, 3), Bytes::new());
    let require = |id, version| Change::new().require(&document(id, version));
    let absent = |id| Change::new().require_absent(Key::new(Kind::Twin, id));
    for (changes, hopeful) in [
        (vec![], true),
        (vec![replace("a"), replace("b")], true),
        (vec![replace("a"), replace("a")], false),
        (vec![require("a", 3), require("a", 3), replace("b")], true),
        (vec![require("a", 3), require("a", 4)], false),
        (vec![require("a", 3), replace("a")], false),
        (vec![replace("a"), require("a", 3)], false),
        (vec![Change::new().remove(&document("a", 1)), replace("a")], false),
        (vec![absent("a")], false),
        (vec![Change::new().clear(queue("a"))], false),
        (vec![Change::new().settle(&item("a", 1)), Change::new().settle(&item("a", 2))], true),
        (vec![Change::new().settle(&item("a", 1)), Change::new().settle(&item("a", 1))], false),
        (
            vec![
                Change::new().settle(&item("a", 1)),
                Change::new().retime(&item("a", 1), Timestamp::ZERO, Marks::default()),
            ],
            false,
        ),
    ] {
        let found = Plan::hopeful(&batch(changes.clone()), 1).is_some();
        assert_eq!(found, hopeful, "{changes:?}");
    }
}
