//! Nodes to try things on.

use std::sync::Arc;
use std::time::Duration;

use hub_core::engine::{BuildError, DeviceClient, DeviceEvent, Hub, HubBuilder};
use hub_core::frame::Interest;
use hub_core::id::{Address, NodeId};
use hub_core::limits::Limits;
use hub_core::registry::IdentitySpec;
use hub_core::session::Session;
use hub_core::store::{
    Ask, Batch, BatchId, Change, Key, Kind, Outcome, QueueId, Record, Store as _, Version,
};
use hub_store_memory::MemoryStore;

use crate::store::{Control, View};

/// One store, and what all nodes on it have in common.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    limits: Limits,
}

/// One node.
pub(crate) struct Node {
    pub(crate) hub: Hub,
    pub(crate) control: Control,
}

impl World {
    /// Nodes that hear of each other by nudges only: without one they look once an hour.
    pub(crate) fn new() -> Self {
        Self::with(|limits| limits.inbox_poll_every = Duration::from_secs(3600))
    }

    /// Nodes that never hear a nudge in time, and look by themselves.
    pub(crate) fn polling() -> Self {
        Self::with(|_| {})
    }

    /// With other limits.
    pub(crate) fn with(adapt: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        limits.node_beat_every = Duration::from_millis(50);
        limits.node_expiry = Duration::from_millis(500);
        limits.inbox_poll_every = Duration::from_millis(20);
        limits.sweep_every = Duration::from_millis(50);
        adapt(&mut limits);
        Self { store: Arc::new(MemoryStore::new()), limits }
    }

    pub(crate) fn builder(&self, name: &str) -> (HubBuilder, Control) {
        let control = Control::default();
        let view = View { inner: self.store.clone(), control: control.clone() };
        let node = NodeId::new(name).unwrap();
        (Hub::builder(view).node(node).limits(self.limits.clone()).partitions(2), control)
    }

    pub(crate) fn try_start(&self, name: &str) -> Result<Node, BuildError> {
        let (builder, control) = self.builder(name);
        Ok(Node { hub: builder.start()?, control })
    }

    /// A node that has joined.
    pub(crate) async fn start(&self, name: &str) -> Node {
        let node = self.try_start(name).unwrap();
        soon(node.hub.joined()).await.unwrap();
        node
    }

    /// Nodes `a` and `b`, and the device `d1`.
    pub(crate) async fn pair(&self) -> (Node, Node) {
        let (a, b) = (self.start("a").await, self.start("b").await);
        register(&a.hub, "d1").await;
        (a, b)
    }

    async fn read(&self, ask: Ask) -> Option<Record> {
        self.store.read(&[ask]).await.unwrap().pop().unwrap()
    }

    pub(crate) async fn session(&self, of: &str) -> Session {
        match self.read(Ask::Document(Key::session(&address(of)))).await {
            Some(Record::Document(document)) => Session::decode(&document.body).unwrap(),
            _ => Session::default(),
        }
    }

    /// The node that the session of a device names.
    pub(crate) async fn holder(&self, of: &str) -> Option<String> {
        self.session(of).await.node.map(|node| node.to_string())
    }

    pub(crate) async fn has_document(&self, node: &str) -> bool {
        self.version(node).await.is_some()
    }

    /// The version of a node's document: its beats.
    pub(crate) async fn version(&self, node: &str) -> Option<Version> {
        match self.read(Ask::Document(Key::new(Kind::Node, node))).await {
            Some(Record::Document(document)) => Some(document.at.version()),
            _ => None,
        }
    }

    /// Changes the store behind the nodes' back.
    pub(crate) async fn commit(&self, change: Change) {
        let batch = Batch { id: BatchId(1), changes: vec![change], nudges: Vec::new() };
        let outcomes = self.store.commit(&batch).await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
    }

    pub(crate) async fn posts(&self, node: &str) -> u32 {
        let inbox = QueueId::inbox(&NodeId::new(node).unwrap());
        match self.read(Ask::Depth(inbox)).await {
            Some(Record::Depth(depth)) => depth,
            _ => 0,
        }
    }
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(crate) async fn register(hub: &Hub, name: &str) -> Address {
    let address = address(name);
    hub.registry().put(&IdentitySpec::new(address.clone()), None).await.unwrap();
    address
}

/// A device that listens to all there is.
pub(crate) async fn connect(node: &Node, name: &str) -> DeviceClient {
    let mut device = soon(node.hub.device(&address(name))).await.unwrap();
    for interest in Interest::ALL {
        soon(device.subscribe(interest)).await.unwrap();
    }
    device
}

/// The next thing a device hears, which must come.
pub(crate) async fn heard(device: &mut DeviceClient) -> DeviceEvent {
    soon(device.next()).await
}

/// What must come.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// That a future waits on.
pub(crate) async fn waits(future: impl Future) -> bool {
    tokio::time::timeout(Duration::from_millis(100), future).await.is_err()
}

/// Waits until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(look).await;
}
