//! What several benches start from: a hub on the memory store, and devices that are connected.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use futures::FutureExt;
use hub_core::engine::{Hub, Link};
use hub_core::frame::{Guarantee, Inbound, Interest, Outbound};
use hub_core::hello::{Credentials, Hello, SessionMode};
use hub_core::id::{Address, Tag};
use hub_core::registry::IdentitySpec;
use hub_store_memory::MemoryStore;
use tokio::runtime::{Builder, Runtime};

/// Bytes of every telemetry body and every stored document.
pub const BODY: usize = 256;

/// What the log holds at most: filled before a bench begins, so that what is measured is the
/// steady state, in which each append frees an old one.
pub const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// The names of devices, of the length people give them.
#[must_use]
pub fn address(number: usize) -> Address {
    Address::parse(&format!("device-{number:06}")).expect("an id")
}

/// A store that sheds early.
#[must_use]
pub fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::builder().log_bytes_max(LOG_BYTES).build())
}

/// The output of a future that is ready at its first poll, as those of the memory store are.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the memory store answers at once")
}

/// A hub in a runtime of one thread: what is measured runs where it is called.
#[derive(Debug)]
pub struct InProcess {
    runtime: Runtime,
    /// Its store.
    pub store: Arc<MemoryStore>,
    /// The hub.
    pub hub: Hub,
}

impl InProcess {
    /// A hub with this many registered devices.
    #[must_use]
    pub fn new(devices: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let store = store();
        let hub = runtime.block_on(async {
            let hub = Hub::builder_on(store.clone()).start().expect("a hub");
            for number in 0..devices {
                let spec = IdentitySpec::new(address(number));
                hub.registry().put(&spec, None).await.expect("registered");
            }
            hub
        });
        Self { runtime, store, hub }
    }

    /// Runs a future on the hub's runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The generation of a registered device, which connections name.
    #[must_use]
    pub fn generation(&self, address: &Address) -> u64 {
        let identity = self.block_on(self.hub.registry().get(address)).expect("registered");
        identity.identity.generation()
    }

    /// Connects the devices, each subscribed to these.
    #[must_use]
    pub fn connect(&self, devices: usize, interests: &[Interest]) -> Vec<Link> {
        self.block_on(async {
            let mut links = Vec::with_capacity(devices);
            for number in 0..devices {
                links.push(connect(&self.hub, &address(number), interests).await);
            }
            links
        })
    }
}

/// Connects a device with a clean session, subscribed to these.
pub async fn connect(hub: &Hub, address: &Address, interests: &[Interest]) -> Link {
    let hello = Hello {
        address: address.clone(),
        credentials: Credentials::InProcess,
        host: None,
        session: SessionMode::Clean,
        model: None,
        client: None,
        protocol: "bench",
        peer: None,
    };
    let mut link = hub.connect(hello).await.expect("connected");
    if !interests.is_empty() {
        let add = interests.iter().map(|interest| (*interest, Guarantee::AtLeastOnce)).collect();
        link.up.ready().await.send(Inbound::Subscribe(Tag(0), add));
        assert_eq!(link.down.next().await, Some(Outbound::Receipt(Tag(0))), "subscribed");
    }
    link
}

/// Of this many devices, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Devices(pub usize);

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "devices={}", self.0)
    }
}

/// So many turns, going round.
pub fn turns(rounds: u64, count: usize) -> impl Iterator<Item = usize> {
    (0..count).cycle().take(usize::try_from(rounds).unwrap_or(0))
}

/// What a future comes to if it is polled once now; it waits for others if `None`.
pub async fn poll_here<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| match future.poll_unpin(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
