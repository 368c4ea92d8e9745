//! Nodes of one hub, each with a store of its own on one schema.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as it should be"
)]

mod server;

use std::time::Duration;

use hub_core::engine::{DeviceClient, DeviceEvent, JoinError};
use hub_core::envelope::Message;
use hub_core::error::CloseReason;
use hub_core::frame::{Disposition, Interest};
use hub_core::id::{Address, NodeId};
use hub_core::method::MethodCall;
use hub_core::registry::IdentitySpec;
use hub_core::twin::ServicePatch;
use hub_core::{Hub, Limits};
use server::Schema;

fn d1() -> Address {
    Address::parse("d1").unwrap()
}

/// What must come.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

async fn node(schema: &Schema, name: &str, limits: &Limits) -> Hub {
    let store = schema.open().await;
    let name = NodeId::new(name).unwrap();
    let hub = Hub::builder(store).node(name).limits(limits.clone()).partitions(2);
    hub.start().unwrap()
}

/// Two nodes that have joined, and a device.
async fn pair(schema: &Schema, limits: &Limits) -> (Hub, Hub) {
    let (a, b) = (node(schema, "a", limits).await, node(schema, "b", limits).await);
    soon(a.joined()).await.unwrap();
    soon(b.joined()).await.unwrap();
    a.registry().put(&IdentitySpec::new(d1()), None).await.unwrap();
    (a, b)
}

async fn connect(hub: &Hub) -> DeviceClient {
    let mut device = soon(hub.device(&d1())).await.unwrap();
    for interest in Interest::ALL {
        soon(device.subscribe(interest)).await.unwrap();
    }
    device
}

async fn heard(device: &mut DeviceClient) -> DeviceEvent {
    soon(device.next()).await
}

/// A message, a method and a desired property, all from one node to a device at another.
async fn all_reach(from: &Hub, device: &mut DeviceClient, round: u64) {
    soon(from.send(&d1(), Message::new(round.to_string()))).await.unwrap();
    let DeviceEvent::Message(delivery) = heard(device).await else { panic!("no message") };
    assert_eq!(delivery.message.body, round.to_string());
    soon(device.settle(delivery.token, Disposition::Complete)).await.unwrap();

    let hub = from.clone();
    let end = tokio::spawn(async move { hub.invoke(&d1(), MethodCall::new("x")).await });
    let DeviceEvent::Method(reference, ..) = heard(device).await else { panic!("no call") };
    device.reply(reference, 200, "null").await;
    assert_eq!(soon(end).await.unwrap().unwrap().status, 200);

    let text = format!("{{\"properties\":{{\"desired\":{{\"round\":{round}}}}}}}");
    let patch = ServicePatch::parse(text.as_bytes(), from.limits()).unwrap();
    let version = soon(from.patch_twin(&d1(), patch, None)).await.unwrap().desired_version();
    let DeviceEvent::Desired(told, _) = heard(device).await else { panic!("no notice") };
    assert_eq!(told, version);
}

/// Without nudges nothing would come in time: the nodes look by themselves once an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_are_one_hub() {
    let schema = Schema::new();
    let mut limits = Limits::default();
    limits.inbox_poll_every = Duration::from_secs(3600);
    let (a, b) = pair(&schema, &limits).await;
    let mut old = connect(&a).await;
    all_reach(&b, &mut old, 1).await;
    for round in 2..6 {
        let (here, there) = if round % 2 == 0 { (&b, &a) } else { (&a, &b) };
        let mut new = connect(here).await;
        assert_eq!(heard(&mut old).await, DeviceEvent::Closed(CloseReason::TakenOver));
        all_reach(there, &mut new, round).await;
        old = new;
    }
    assert!(soon(a.shutdown(Duration::from_secs(20))).await.drained);
    let mut last = connect(&b).await;
    all_reach(&b, &mut last, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_held_and_dead_nodes_forgotten() {
    let schema = Schema::new();
    let mut limits = Limits::default();
    limits.node_beat_every = Duration::from_millis(200);
    limits.node_expiry = Duration::from_secs(2);
    let (a, b) = pair(&schema, &limits).await;
    let second = node(&schema, "a", &limits).await;
    let taken = JoinError::NameTaken(NodeId::new("a").unwrap());
    assert_eq!(soon(second.joined()).await, Err(taken));
    drop(second);

    let device = connect(&b).await;
    // Gone without a word, with the connection in hand.
    let hub = b.clone();
    drop((b, hub));
    drop(device);
    let forgotten = async {
        while a.nodes().len() > 1 || a.registry().get(&d1()).await.unwrap().session.is_connected() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(forgotten).await;
    let mut device = connect(&a).await;
    all_reach(&a, &mut device, 1).await;
}
