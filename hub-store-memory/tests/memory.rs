//! What the memory store promises beyond the contract.

use std::num::NonZeroU32;

use futures::FutureExt;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, BatchId, Change, Claim, Durability, Entries, Key, Kind, Push, QueueId, QueueKind,
    Scope, Seek, Store,
};
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;

const LOG: Partition = Partition(0);
const ALL: NonZeroU32 = NonZeroU32::MAX;

fn batch(id: u128, changes: Vec<Change>) -> Batch {
    Batch { id: BatchId(id), changes, nudges: vec![] }
}

fn append(bytes: usize) -> Change {
    Change::new().append(LOG, Timestamp::ZERO, Entries::one(vec![7; bytes].into()))
}

#[test]
fn it_is_shared_between_threads_and_volatile() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let store = MemoryStore::default();
    shared(&store);
    assert_eq!(store.durability(), Durability::Volatile);
}

/// Nothing of it can be dropped half-way, and nothing waits.
#[test]
fn every_call_is_ready_at_the_first_poll() {
    let store = MemoryStore::new();
    let queue = QueueId { kind: QueueKind::Mailbox, id: "d".into() };
    let key = Key::new(Kind::Twin, "d");
    let push = Push {
        queue: queue.clone(),
        capacity: 1,
        visible: Timestamp::ZERO,
        deadline: Timestamp::ZERO,
        body: "x".into(),
    };
    let changes = vec![Change::new().create(key.clone(), "x".into()).push(push), append(1)];
    let mut batch = batch(1, changes);
    batch.nudges.push(NodeId::new("n").unwrap());
    assert!(store.commit(&batch).now_or_never().unwrap().is_ok());
    let asks = [Ask::Document(key), Ask::Item(queue.clone(), SequenceNumber(1))];
    assert!(store.read(&asks).now_or_never().unwrap().is_ok());
    assert!(store.scan(Kind::Twin, None, ALL).now_or_never().unwrap().is_ok());
    for scope in
        [Scope::Queue(queue), Scope::Any(QueueKind::Mailbox), Scope::Overdue(QueueKind::Mailbox)]
    {
        let claim = [Claim { scope, limit: 1, hide_until: Timestamp::ZERO }];
        let taken = store.claim(Timestamp::ZERO, &claim).now_or_never().unwrap().unwrap();
        assert_eq!(taken[0].len(), 1);
    }
    assert!(store.tail(LOG, SequenceNumber(1), ALL).now_or_never().unwrap().is_ok());
    assert!(store.seek(LOG, Seek::Oldest).now_or_never().unwrap().is_ok());
    assert!(store.trim(LOG, SequenceNumber(2)).now_or_never().unwrap().is_ok());
}

/// The oldest entries make room, readers find what a trim would have left, and a counter tells.
#[tokio::test]
async fn the_log_is_bounded_in_bytes() {
    let store = MemoryStore::builder().log_bytes_max(10_000).build();
    for id in 0..50 {
        store.commit(&batch(id, vec![append(1000)])).await.unwrap();
    }
    let kept = store.tail(LOG, SequenceNumber(1), ALL).await.unwrap();
    assert_eq!(kept.len(), 8, "of 1164 bytes each");
    assert_eq!(store.seek(LOG, Seek::Oldest).await.unwrap(), SequenceNumber(43));
    assert_eq!(kept[0].sequence, SequenceNumber(43));
    assert_eq!(store.log_entries_dropped(), 42);
    store.trim(LOG, SequenceNumber(47)).await.unwrap();
    assert_eq!(store.log_entries_dropped(), 42, "a trim is no loss");
    // Empty entries are bounded too.
    for id in 100..200 {
        store.commit(&batch(id, vec![append(0)])).await.unwrap();
    }
    assert!(store.tail(LOG, SequenceNumber(1), ALL).await.unwrap().len() < 10_000 / 160);
}
