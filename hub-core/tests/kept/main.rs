//! What a hub keeps if it is told to: dead letters, the history of twins, and what devices may have of
//! their desired properties. Through the public API, on the memory store.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod desired;
mod history;
mod letters;

use std::sync::Arc;
use std::time::Duration;

use hub_core::engine::{Hub, HubBuilder, ManualClock};
use hub_core::id::{Address, NodeId};
use hub_core::limits::Limits;
use hub_core::registry::IdentitySpec;
use hub_core::time::Timestamp;
use hub_core::{ErrorKind, HubError};
use hub_store_memory::MemoryStore;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A hub, its time, and the store that others may stand on as well.
struct World {
    hub: Hub,
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    limits: Limits,
}

impl World {
    fn with(but: impl FnOnce(&mut Limits)) -> Self {
        Self::built(but, |builder| builder)
    }

    fn built(but: impl FnOnce(&mut Limits), set_up: impl FnOnce(HubBuilder) -> HubBuilder) -> Self {
        let mut limits = Limits::default();
        but(&mut limits);
        let (clock, store) = (Arc::new(ManualClock::new(START)), Arc::new(MemoryStore::new()));
        let builder = Hub::builder_on(store.clone()).clock(clock.clone()).limits(limits.clone());
        let hub = set_up(builder).start().unwrap();
        Self { hub, clock, store, limits }
    }

    /// Another node on the same store.
    async fn node(&self, name: &str) -> Hub {
        let builder = Hub::builder_on(self.store.clone()).clock(self.clock.clone());
        let builder = builder.limits(self.limits.clone()).node(NodeId::new(name).unwrap());
        let hub = builder.start().unwrap();
        soon(hub.joined()).await.unwrap();
        hub
    }

    async fn register(&self, name: &str) -> Address {
        let address = address(name);
        self.hub.registry().put(&IdentitySpec::new(address.clone()), None).await.unwrap();
        address
    }

    /// Time passes until something is so.
    async fn until<F: Future<Output = bool>>(&self, mut holds: impl FnMut() -> F) {
        let look = async {
            while !holds().await {
                self.clock.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        soon(look).await;
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn kind<T>(result: Result<T, HubError>) -> Result<T, ErrorKind> {
    result.map_err(|error| error.kind())
}

/// What must come.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}
