//! The server crashes, restarts and goes away under load: nothing acknowledged is lost or doubled,
//! and the store goes on by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod server;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, BatchId, Change, Entries, Key, Kind, Outcome, Record, Store, StoreErrorKind,
};
use hub_core::time::Timestamp;
use hub_store_postgres::PostgresStore;
use server::Own;

fn append(writer: usize, n: u64) -> Batch {
    let partition = Partition((writer % 2) as u16);
    let body = format!("{writer}-{n}");
    let change =
        Change::new().append(partition, Timestamp::from_millis(n), Entries::one(body.into()));
    let id = BatchId(((writer as u128) << 64) | u128::from(n) | 1 << 127);
    Batch { id, changes: vec![change], nudges: Vec::new() }
}

/// Sends a batch until it is answered, as the engine does.
async fn until_answered(store: &PostgresStore, batch: &Batch, failed: &AtomicU64) -> Vec<Outcome> {
    loop {
        match store.commit(batch).await {
            Ok(outcomes) => return outcomes,
            Err(error) => {
                assert_ne!(error.kind(), StoreErrorKind::Fatal, "{error:?}");
                failed.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_crashes_under_load_loses_nothing() {
    let server = Own::start().await;
    let store = Arc::new(server.open("hub").await);
    let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let written = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            let (failed, written) = (Arc::clone(&failed), Arc::clone(&written));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let outcomes = until_answered(&store, &append(writer, n), &failed).await;
                    let Outcome::Committed(issued) = &outcomes[0] else { panic!("{outcomes:?}") };
                    acknowledged.push((issued.sequences[0].0, format!("{writer}-{n}")));
                    written.fetch_add(1, Ordering::Relaxed);
                }
                acknowledged
            })
        })
        .collect();
    let server = Arc::new(server);
    for _ in 0..3 {
        // Enough is under way before, and it goes on after.
        let goal = written.load(Ordering::Relaxed) + 60;
        while written.load(Ordering::Relaxed) < goal {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || {
            server.crash_and_restart(|| std::thread::sleep(Duration::from_millis(200)));
        })
        .await
        .unwrap();
    }
    let goal = written.load(Ordering::Relaxed) + 60;
    while written.load(Ordering::Relaxed) < goal {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = [Vec::new(), Vec::new()];
    for (writer, task) in writers.into_iter().enumerate() {
        acknowledged[writer % 2].extend(task.await.unwrap());
    }
    assert!(failed.load(Ordering::Relaxed) > 0, "the crashes were felt");
    for (partition, mut acknowledged) in acknowledged.into_iter().enumerate() {
        acknowledged.sort_unstable();
        let entries = store
            .tail(Partition(partition as u16), SequenceNumber(1), NonZeroU32::MAX)
            .await
            .unwrap();
        let found: Vec<_> = entries
            .iter()
            .map(|entry| (entry.sequence.0, String::from_utf8_lossy(&entry.body).into_owned()))
            .collect();
        assert_eq!(found, acknowledged, "what was acknowledged, once and where it was said to be");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_that_are_gone_are_fatal_and_a_server_that_is_away_is_not() {
    let server = Own::start().await;
    let store = server.open("hub").await;
    let twin = || Key::new(Kind::Twin, "d");
    let create = Change::new().create(twin(), "x".into());
    let batch = Batch { id: BatchId(1), changes: vec![create], nudges: Vec::new() };
    store.commit(&batch).await.unwrap();
    server.crash_and_restart(|| {
        let look = async { store.read(&[Ask::Document(twin())]).await };
        let error = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(look).unwrap_err()
        });
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    });
    let read = store.read(&[Ask::Document(twin())]).await;
    assert!(matches!(read.as_deref(), Ok([Some(Record::Document(_))])), "{read:?}");
    // A repetition long after is answered as the first time.
    let outcomes = store.commit(&batch).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Committed(_)));
    let client = server::client_at(&server.url).await;
    client.batch_execute("DROP SCHEMA hub CASCADE").await.unwrap();
    let error = store.read(&[Ask::Document(twin())]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Fatal, "{error:?}");
    let error = store.commit(&Batch { id: BatchId(2), ..batch }).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Fatal, "{error:?}");
}
