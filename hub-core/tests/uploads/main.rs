//! File uploads through the public API, on the memory store.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod model;
mod notifications;
mod shelf;
mod tickets;

use std::sync::Arc;

use hub_core::engine::{Hub, ManualClock, UploadReport, UploadTicket};
use hub_core::id::{Address, DeviceId};
use hub_core::limits::Limits;
use hub_core::registry::IdentitySpec;
use hub_core::time::Timestamp;
use hub_core::{ErrorKind, HubError, Store};
use hub_store_memory::MemoryStore;

use crate::shelf::Shelf;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A hub with the device `d1`, and what it stands on.
struct World {
    hub: Hub,
    clock: Arc<ManualClock>,
    shelf: Arc<Shelf>,
    store: Arc<dyn Store>,
    limits: Limits,
}

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(but: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        but(&mut limits);
        let (clock, shelf) = (Arc::new(ManualClock::new(START)), Shelf::new());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let hub = start(&store, &clock, &shelf, &limits);
        let world = Self { hub, clock, shelf, store, limits };
        world.register("d1").await;
        world
    }

    /// Another hub on the same stores, as after a restart.
    fn restart(&mut self) {
        self.hub = start(&self.store, &self.clock, &self.shelf, &self.limits);
    }

    async fn register(&self, id: &str) {
        let spec = IdentitySpec::new(Address::from(device(id)));
        self.hub.registry().put(&spec, None).await.unwrap();
    }

    async fn begin(&self, name: &str) -> Result<UploadTicket, HubError> {
        self.hub.begin_upload(&device("d1"), name).await
    }

    /// Finishes an upload of `d1`. Whether there was something to tell; or why not.
    async fn finish(&self, id: &str, success: bool) -> Result<bool, ErrorKind> {
        let report = if success { UploadReport::success() } else { UploadReport::failure(500) };
        let told = self.hub.finish_upload(&device("d1"), id, report).await;
        told.map(|told| told.is_some()).map_err(|error| error.kind())
    }
}

fn start(
    store: &Arc<dyn Store>,
    clock: &Arc<ManualClock>,
    shelf: &Arc<Shelf>,
    limits: &Limits,
) -> Hub {
    let hub = Hub::builder_on(store.clone()).clock(clock.clone()).limits(limits.clone());
    hub.blobs(shelf.clone()).start().unwrap()
}
