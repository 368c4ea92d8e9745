//! What an application stages in its own transactions keeps to the hub's bounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

use std::sync::Arc;

use hub_core::engine::Hub;
use hub_core::envelope::Message;
use hub_core::frame::Disposition;
use hub_core::id::Address;
use hub_core::limits::Limits;
use hub_core::registry::IdentitySpec;
use hub_core::twin::ServicePatch;
use hub_store_postgres::{Stage, StageError};
use serde_json::json;

use crate::server::Schema;

mod server;

async fn hub(schema: &Schema) -> Hub {
    let mut limits = Limits::default();
    limits.twin_history_max = 8;
    limits.dead_letters_max = 3;
    limits.c2d_depth_max = 1;
    let store = Arc::new(schema.open().await);
    let hub = Hub::builder_on(store).limits(limits).start().unwrap();
    hub.joined().await.unwrap();
    hub
}

async fn d1(hub: &Hub) -> Address {
    let d1 = Address::parse("d1").unwrap();
    hub.registry().put(&IdentitySpec::new(d1.clone()), None).await.unwrap();
    d1
}

/// A write that is staged is in the history like any other, and the oldest give way to it; one that is
/// rolled back is not.
#[tokio::test]
async fn the_history_of_what_is_staged_is_whole_and_bounded() {
    let schema = Schema::new();
    let hub = hub(&schema).await;
    let d1 = d1(&hub).await;
    let mut client = server::client().await;
    let mut was = Vec::new();
    for n in 0..30_u64 {
        let patch = json!({"tags": {"n": n, format!("t{}", n % 3): n}});
        let patch = ServicePatch::from_value(&patch, hub.limits()).unwrap();
        let transaction = client.transaction().await.unwrap();
        let stage = Stage::new(&transaction, &schema.name, hub.staging());
        let twin = stage.patch_twin(&d1, &patch, None).await.unwrap();
        if n % 5 == 4 {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            was.push(twin);
        }
    }
    let versions = hub.twin_history().versions(&d1, None, 100).await.unwrap();
    assert!(versions.len() >= 8 && versions.len() <= 10, "{}", versions.len());
    let numbers: Vec<u64> = versions.iter().map(|version| version.version()).collect();
    let last: Vec<u64> = was.iter().map(|twin| twin.version()).collect();
    assert!(last.ends_with(&numbers), "{numbers:?} of {last:?}");
    for twin in was.iter().rev().take(8) {
        assert_eq!(hub.twin_history().at_version(&d1, twin.version()).await.as_ref(), Ok(twin));
    }
}

/// Letters on this store; and a full queue stays full for what is staged.
#[tokio::test]
async fn letters_are_kept_and_sent_again() {
    let schema = Schema::new();
    let hub = hub(&schema).await;
    let d1 = d1(&hub).await;
    for n in 0..5 {
        hub.send(&d1, Message::new(n.to_string())).await.unwrap();
        let delivery = hub.receive(&d1, hub.limits().c2d_lock).await.unwrap().expect("a message");
        hub.settle(&d1, delivery.token, Disposition::Reject).await.unwrap();
    }
    let letters = hub.dead_letters().all(None, 2).await.unwrap();
    let bodies: Vec<_> = letters.iter().map(|letter| letter.message.body.clone()).collect();
    assert_eq!(bodies, ["2", "3"]);
    let place = letters.last().map(|letter| (&letter.of, letter.number));
    assert_eq!(hub.dead_letters().all(place, 9).await.unwrap().len(), 1);
    hub.dead_letters().replay(&d1, letters[0].number, None).await.unwrap();
    assert_eq!(hub.dead_letters().count(&d1).await.unwrap(), 2);
    let mut client = server::client().await;
    let transaction = client.transaction().await.unwrap();
    let stage = Stage::new(&transaction, &schema.name, hub.staging());
    let full = stage.send(&d1, Message::new("x")).await;
    let Err(StageError::Hub(error)) = full else { panic!("{full:?}") };
    assert_eq!(error.kind(), hub_core::ErrorKind::QueueFull);
    // The schema cannot be dropped while it is open.
    transaction.rollback().await.unwrap();
}
