//! Twin queries through the public API, on the memory store.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod bounds;
mod naive;
mod paging;
mod shapes;

use std::sync::Arc;

use hub_core::engine::{Hub, ManualClock, QueryPage, QueryRows};
use hub_core::id::Address;
use hub_core::limits::Limits;
use hub_core::registry::IdentitySpec;
use hub_core::time::Timestamp;
use hub_core::twin::ServicePatch;
use hub_store_memory::MemoryStore;
use serde_json::{Map, Value};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A hub with limits of its own.
pub(crate) fn hub_with(set: impl FnOnce(&mut Limits)) -> Hub {
    let mut limits = Limits::default();
    set(&mut limits);
    let clock = Arc::new(ManualClock::new(START));
    Hub::builder(MemoryStore::new()).clock(clock).limits(limits).start().unwrap()
}

pub(crate) async fn create(hub: &Hub, id: &str) {
    hub.registry().put(&IdentitySpec::new(address(id)), None).await.unwrap();
}

/// Writes `{"tags":…,"properties":{"desired":…}}` into a twin.
pub(crate) async fn write(hub: &Hub, id: &str, twin: &Value) {
    let patch = ServicePatch::parse(twin.to_string().as_bytes(), hub.limits()).unwrap();
    hub.patch_twin(&address(id), patch, None).await.unwrap();
}

pub(crate) async fn page(hub: &Hub, text: &str, size: u32, from: Option<&str>) -> QueryPage {
    match hub.query(text, Some(size), from).await {
        Ok(page) => page,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// All rows, in pages of this size.
pub(crate) async fn all(hub: &Hub, text: &str, size: u32) -> Vec<Map<String, Value>> {
    let (mut rows, mut from) = (Vec::new(), None::<String>);
    loop {
        let QueryPage { rows: more, continuation } = page(hub, text, size, from.as_deref()).await;
        let QueryRows::Values(more) = more else { panic!("{text}") };
        assert!(more.len() <= usize::try_from(size).unwrap());
        rows.extend(more);
        match continuation {
            Some(continuation) => from = Some(continuation),
            None => return rows,
        }
    }
}

/// All rows of a query without pages, as one document.
pub(crate) async fn rows(hub: &Hub, text: &str) -> Value {
    all(hub, text, 1000).await.into_iter().map(Value::Object).collect()
}
