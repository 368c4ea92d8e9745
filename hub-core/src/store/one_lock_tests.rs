//! What [`OneLock`] adds to shapes. That it keeps the contract, the kit says of the stores built on it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::store::{BatchId, ItemRef, Key, QueueId, StoreErrorKind};

/// Shapes that panic at a write, having done half of it.
#[derive(Default)]
struct Brittle {
    written: usize,
}

impl Held for Brittle {
    fn version_of(&self, _: &Key) -> Option<Version> {
        None
    }

    fn holds(&self, _: &ItemRef) -> bool {
        false
    }

    fn depth(&self, _: &QueueId) -> u32 {
        0
    }
}

impl Shapes for Brittle {
    fn read(&self, _: &Ask) -> Option<Record> {
        None
    }

    fn scan(&self, _: Kind, _: Option<&str>, _: usize) -> Vec<Document> {
        Vec::new()
    }

    fn apply(&mut self, _: &Op, _: Version) -> Option<SequenceNumber> {
        self.written += 1;
        panic!("half of it is done")
    }

    fn claim(&mut self, _: Timestamp, _: &Claim, _: Version) -> Vec<Item> {
        Vec::new()
    }

    fn tail(&self, _: Partition, _: SequenceNumber, _: usize) -> Vec<Entry> {
        Vec::new()
    }

    fn seek(&self, _: Partition, _: Seek) -> SequenceNumber {
        SequenceNumber(1)
    }

    fn trim(&mut self, _: Partition, _: SequenceNumber) {}
}

fn batch(id: u128, changes: Vec<Change>) -> Batch {
    Batch { id: BatchId(id), changes, nudges: Vec::new() }
}

#[test]
fn a_panic_ends_the_store_and_nothing_half_done_is_shown() {
    let store = OneLock::<Brittle>::default();
    assert_eq!(store.commit_now(&batch(1, vec![Change::new()])).unwrap().len(), 1);
    let write = Change::new().create(Key::new(Kind::Twin, "d"), "x".into());
    let panicked = catch_unwind(AssertUnwindSafe(|| store.commit_now(&batch(2, vec![write]))));
    assert!(panicked.is_err());
    for error in [
        store.commit_now(&batch(1, Vec::new())).err(),
        store.read_now(&[]).err(),
        store.claim_now(Timestamp::ZERO, &[]).err(),
        store.seek_now(Partition(0), Seek::Next).err(),
    ] {
        assert_eq!(error.map(|error| error.kind()), Some(StoreErrorKind::Fatal));
    }
    assert_eq!(store.with(|shapes| shapes.written), 1, "to be looked at all the same");
}

#[test]
fn versions_follow_each_other_over_changes_and_claims() {
    let store = OneLock::<Brittle>::default();
    let versions = |id| -> Vec<Option<u64>> {
        let stale = Change::new()
            .require(&crate::store::DocumentRef::new(Key::new(Kind::Twin, "d"), Version(9)));
        let outcomes = store.commit_now(&batch(id, vec![Change::new(), stale, Change::new()]));
        let version = |outcome: &Outcome| match outcome {
            Outcome::Committed(issued) => Some(issued.version.0),
            _ => None,
        };
        outcomes.unwrap().iter().map(version).collect()
    };
    assert_eq!(versions(1), [Some(1), None, Some(3)]);
    assert_eq!(versions(1), [Some(1), None, Some(3)], "as it was remembered");
    assert_eq!(versions(2), [Some(4), None, Some(6)]);
}
