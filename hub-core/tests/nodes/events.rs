//! Connection events: one for each change of the session, at once, whichever node makes it.

use std::time::Duration;

use hub_core::device::LifecycleKind;
use hub_core::engine::{Hub, Lifecycle, LifecycleEvents, Position};
use hub_core::envelope::{EventSource, Message};
use hub_core::error::{CloseReason, DisconnectCause};
use hub_core::id::{Epoch, Partition};
use hub_core::registry::{IdentitySpec, IfMatch, Status};
use serde_json::Value;

use crate::world::{Node, World, address, connect, register, soon, until};

impl World {
    /// A node that puts connection events into the log.
    async fn telling(&self, name: &str) -> Node {
        let (builder, control) = self.builder(name);
        let hub = builder.event_source(EventSource::ConnectionState).start().unwrap();
        soon(hub.joined()).await.unwrap();
        Node { hub, control }
    }
}

/// What the log says of a device: connected or not, and in the order of the log, which must be that of
/// the sequence numbers.
async fn told(hub: &Hub, of: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    for partition in [0, 1] {
        let mut reader = hub.reader(Partition(partition), Position::Earliest).await.unwrap();
        for event in reader.try_read(1000).await.unwrap() {
            if event.source != EventSource::ConnectionState || event.sender.as_str() != of {
                continue;
            }
            let body: Value = serde_json::from_slice(&event.body).unwrap();
            let number = body["sequenceNumber"].as_str().unwrap().to_owned();
            let ops = event.properties.application();
            let op = ops.iter().find(|(name, _)| *name == "opType").unwrap().1.unwrap();
            let op = if op == "deviceConnected" { "+" } else { "-" };
            found.push((number, op));
        }
    }
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{found:?}");
    found.into_iter().map(|(_, op)| op).collect()
}

async fn next(events: &mut LifecycleEvents) -> LifecycleKind {
    loop {
        match soon(events.next()).await {
            Some(Lifecycle::Event(event)) => {
                if matches!(event.kind, LifecycleKind::Settled(..)) {
                    continue;
                }
                return event.kind;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The event is there when the connect has returned: there is nothing to wait for.
#[tokio::test]
async fn each_connect_and_each_goodbye_is_told_at_once() {
    let world = World::new();
    let a = world.telling("a").await;
    register(&a.hub, "d1").await;
    for round in 1..=3 {
        let device = connect(&a, "d1").await;
        assert_eq!(told(&a.hub, "d1").await.len(), 2 * round - 1);
        device.disconnect();
        assert_eq!(told(&a.hub, "d1").await, ["+", "-"].repeat(round));
    }
}

/// A device that moves is connected all the while; who lost it says so to those who listen there.
#[tokio::test]
async fn a_takeover_by_another_node_is_one_connect_and_no_disconnect() {
    let world = World::new();
    let (a, b) = (world.telling("a").await, world.telling("b").await);
    register(&a.hub, "d1").await;
    let (mut at_a, mut at_b) = (a.hub.lifecycle(), b.hub.lifecycle());
    let old = connect(&a, "d1").await;
    assert_eq!(next(&mut at_a).await, LifecycleKind::Connected(Epoch(1)));
    let new = connect(&b, "d1").await;
    assert_eq!(next(&mut at_b).await, LifecycleKind::Connected(Epoch(2)));
    let taken = DisconnectCause::Closed(CloseReason::TakenOver);
    assert_eq!(next(&mut at_a).await, LifecycleKind::Disconnected(Epoch(1), taken));
    drop(old);
    assert_eq!(told(&a.hub, "d1").await, ["+", "+"]);
    new.disconnect();
    let clean = DisconnectCause::Clean;
    assert_eq!(next(&mut at_b).await, LifecycleKind::Disconnected(Epoch(2), clean));
    assert_eq!(told(&a.hub, "d1").await, ["+", "+", "-"]);
    // And back, which is no takeover.
    let again = connect(&a, "d1").await;
    assert_eq!(told(&b.hub, "d1").await, ["+", "+", "-", "+"]);
    drop(again);
    assert_eq!(told(&b.hub, "d1").await, ["+", "+", "-", "+", "-"]);
}

/// Many takeovers in a row, at two nodes, with others leaving late: one event each, and the last says
/// how it ended.
#[tokio::test]
async fn no_takeover_is_missing_however_many_there_are() {
    let world = World::new();
    let (a, b) = (world.telling("a").await, world.telling("b").await);
    register(&a.hub, "d1").await;
    let mut devices = Vec::new();
    for round in 0..10 {
        devices.push(connect(if round % 2 == 0 { &a } else { &b }, "d1").await);
    }
    assert_eq!(told(&a.hub, "d1").await, ["+"; 10]);
    for old in devices.drain(..9) {
        drop(old);
    }
    assert_eq!(told(&a.hub, "d1").await, ["+"; 10]);
    drop(devices);
    assert_eq!(told(&a.hub, "d1").await[9..], ["+", "-"]);
}

/// A node that dies says nothing. Each of its connections is told to have ended by whoever notices, once.
#[tokio::test]
async fn a_dead_nodes_connections_are_told_to_have_ended_once() {
    let world = World::polling();
    let (a, b, c) = (world.telling("a").await, world.telling("b").await, world.telling("c").await);
    let names: Vec<String> = (0..10).map(|n| format!("x{n}")).collect();
    let mut devices = Vec::new();
    for name in &names {
        register(&a.hub, name).await;
        devices.push(connect(&b, name).await);
    }
    // One of them moves before anybody notices.
    b.control.stall();
    drop((b, devices));
    let moved = connect(&c, "x3").await;
    until(|| async { !world.has_document("b").await }).await;
    for name in &names {
        let expected: &[_] = if name == "x3" { &["+", "+"] } else { &["+", "-"] };
        assert_eq!(told(&a.hub, name).await, expected, "{name}");
    }
    drop(moved);
    assert_eq!(told(&a.hub, "x3").await, ["+", "+", "-"]);
}

/// A node that is stopped in good order tells of its connections itself.
#[tokio::test]
async fn a_node_that_stops_tells_of_its_connections() {
    let world = World::new();
    let (a, b) = (world.telling("a").await, world.telling("b").await);
    register(&a.hub, "d1").await;
    let device = connect(&b, "d1").await;
    soon(b.hub.shutdown(Duration::from_secs(10))).await;
    assert_eq!(told(&a.hub, "d1").await, ["+", "-"]);
    drop(device);
}

/// Who is sent away because its identity goes or is disabled was connected before and is not any more.
#[tokio::test]
async fn the_end_of_an_identity_is_the_end_of_its_connection() {
    let world = World::new();
    let (a, b) = (world.telling("a").await, world.telling("b").await);
    for name in ["d1", "d1/m1", "d2"] {
        register(&a.hub, name).await;
    }
    let kept = [connect(&a, "d1").await, connect(&b, "d1/m1").await, connect(&b, "d2").await];
    a.hub.send(&address("d1"), Message::new("x")).await.unwrap();
    a.hub.registry().delete(&address("d1"), None).await.unwrap();
    for gone in ["d1", "d1/m1"] {
        assert_eq!(told(&a.hub, gone).await, ["+", "-"], "{gone}");
    }
    let mut spec = IdentitySpec::new(address("d2"));
    spec.status = Some(Status::Disabled);
    a.hub.registry().put(&spec, Some(&IfMatch::Any)).await.unwrap();
    until(|| async { told(&a.hub, "d2").await == ["+", "-"] }).await;
    drop(kept);
    for gone in ["d1", "d1/m1", "d2"] {
        assert_eq!(told(&a.hub, gone).await, ["+", "-"], "{gone}");
    }
}
