//! A hub to try things on, and what the tests do with it.

use std::sync::Arc;
use std::time::Duration;

use hub_core::engine::{Hub, HubBuilder, Lifecycle, LifecycleEvents, Link, ManualClock, Position};
use hub_core::envelope::EventBatch;
use hub_core::frame::{Guarantee, Inbound, Interest, Outbound};
use hub_core::hello::{Credentials, Hello, SessionMode};
use hub_core::id::{Address, Partition, Tag};
use hub_core::limits::Limits;
use hub_core::registry::IdentitySpec;
use hub_core::store::Entries;
use hub_core::time::Timestamp;

use crate::store::{Control, TestStore};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A hub with one partition and the device `d1`.
pub(crate) async fn hub(set_up: impl FnOnce(HubBuilder) -> HubBuilder) -> (Hub, Control) {
    let (store, control) = TestStore::new();
    let builder = Hub::builder(store).clock(Arc::new(ManualClock::new(START))).partitions(1);
    let hub = set_up(builder).start().unwrap();
    register(&hub, "d1").await;
    (hub, control)
}

pub(crate) async fn plain() -> (Hub, Control) {
    hub(|builder| builder).await
}

pub(crate) async fn bounded(limits: Limits) -> (Hub, Control) {
    hub(|builder| builder.limits(limits)).await
}

pub(crate) async fn register(hub: &Hub, name: &str) -> Address {
    let address = address(name);
    hub.registry().put(&IdentitySpec::new(address.clone()), None).await.unwrap();
    address
}

/// The usual bounds, but for some.
pub(crate) fn limits(but: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    but(&mut limits);
    limits
}

pub(crate) fn hello(name: &str) -> Hello {
    Hello {
        address: address(name),
        credentials: Credentials::InProcess,
        host: None,
        session: SessionMode::Persistent,
        model: None,
        client: None,
        protocol: "test",
        peer: None,
    }
}

pub(crate) async fn connect(hub: &Hub, name: &str) -> Link {
    hub.connect(hello(name)).await.unwrap()
}

/// Events as a transport would make them.
pub(crate) fn events(link: &Link, bodies: &[&[u8]]) -> Entries {
    let mut batch = EventBatch::new();
    for body in bodies {
        batch.push(link.up.stamp(), [], body, usize::MAX).unwrap();
    }
    batch.take()
}

pub(crate) fn publish(link: &mut Link, tag: u64, body: &[u8]) {
    let events = events(link, &[body]);
    link.up.send(Inbound::Telemetry(Tag(tag), events));
}

pub(crate) fn subscribe(link: &mut Link, tag: u64, interest: Interest) {
    link.up.send(Inbound::Subscribe(Tag(tag), vec![(interest, Guarantee::AtLeastOnce)]));
}

/// The next thing said to a link, which must come.
pub(crate) async fn next(link: &mut Link) -> Outbound {
    soon(link.down.next()).await.expect("the link is open")
}

/// What must come.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("in time")
}

/// That a future waits on.
pub(crate) async fn waits(future: impl Future) -> bool {
    tokio::time::timeout(Duration::from_millis(50), future).await.is_err()
}

pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(look).await;
}

pub(crate) async fn bodies(hub: &Hub) -> Vec<Vec<u8>> {
    let mut reader = hub.reader(Partition(0), Position::Earliest).await.unwrap();
    let events = reader.try_read(1000).await.unwrap();
    events.iter().map(|event| event.body.to_vec()).collect()
}

pub(crate) fn depth(hub: &Hub, resource: &str) -> usize {
    hub.resources().iter().filter(|found| found.name == resource).map(|found| found.depth).sum()
}

pub(crate) async fn told(events: &mut LifecycleEvents) -> String {
    match soon(events.next()).await {
        Some(Lifecycle::Event(event)) => format!("{} {:?}", event.address, event.kind),
        other => panic!("{other:?}"),
    }
}
