//! What the store forgets by itself, and when.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod server;

use hub_core::store::{Batch, BatchId, Change, Key, Kind, Outcome, Store};
use server::{Schema, client};

/// Ten minutes are promised (S8), and kept with room to spare; after that the row goes.
#[tokio::test]
async fn answers_are_kept_longer_than_is_promised_and_not_for_ever() {
    let schema = Schema::new();
    let store = schema.open().await;
    let create = Change::new().create(Key::new(Kind::Twin, "d"), "x".into());
    let batch = Batch { id: BatchId(1), changes: vec![create], nudges: Vec::new() };
    let first = store.commit(&batch).await.unwrap();
    assert!(matches!(first[0], Outcome::Committed(_)));
    let client = client().await;
    let count = format!("SELECT count(*) FROM \"{}\".batch", schema.name);
    for (minutes, kept) in [(0, 1), (11, 1), (14, 1), (16, 0)] {
        let age = format!(
            "UPDATE \"{}\".batch SET at = now() - make_interval(mins => {minutes})",
            schema.name
        );
        client.batch_execute(&age).await.unwrap();
        store.maintain().await.unwrap();
        let found: i64 = client.query_one(&count, &[]).await.unwrap().get(0);
        assert_eq!(found, kept, "after {minutes} minutes");
        if kept > 0 {
            assert_eq!(store.commit(&batch).await.unwrap(), first, "after {minutes} minutes");
        }
    }
}
