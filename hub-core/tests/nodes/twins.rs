//! Twins that are written at one node, of devices at another.

use std::time::Duration;

use hub_core::engine::{DeviceClient, DeviceEvent};
use hub_core::limits::Limits;
use hub_core::twin::ServicePatch;
use serde_json::{Value, json};

use crate::world::{Node, World, address, connect, heard, register, soon};

fn patch(desired: &Value) -> ServicePatch {
    let text = json!({ "properties": { "desired": desired } }).to_string();
    ServicePatch::parse(text.as_bytes(), &Limits::default()).unwrap()
}

async fn write(node: &Node, desired: Value) {
    soon(node.hub.patch_twin(&address("d1"), patch(&desired), None)).await.unwrap();
}

/// The next notice: its version, and what it says.
async fn noticed(device: &mut DeviceClient) -> (u64, Value) {
    match heard(device).await {
        DeviceEvent::Desired(version, patch) => (version, serde_json::from_slice(&patch).unwrap()),
        other => panic!("{other:?}"),
    }
}

async fn twin(device: &mut DeviceClient) -> Value {
    serde_json::from_slice(&soon(device.twin()).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_device_is_told_of_what_was_written_at_another_node() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    write(&a, json!({"x": 1, "y": null})).await;
    assert_eq!(noticed(&mut device).await, (2, json!({"x": 1, "y": null, "$version": 2})));
    // In turns: what the node at the device knows of the twin is outdated each time.
    write(&b, json!({"x": 2})).await;
    assert_eq!(noticed(&mut device).await, (3, json!({"x": 2, "$version": 3})));
    write(&a, json!({"x": null})).await;
    assert_eq!(noticed(&mut device).await, (4, json!({"x": null, "$version": 4})));
    let desired = json!({"$version": 4});
    assert_eq!(twin(&mut device).await["desired"], desired);
}

#[tokio::test]
async fn it_is_told_in_order_also_when_nudges_are_lost() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    let c = world.start("c").await;
    b.control.lose_nudges();
    let mut device = connect(&b, "d1").await;
    twin(&mut device).await;
    for n in 0..30 {
        write([&a, &b, &c][n % 3], json!({ "n": n })).await;
    }
    for n in 0..30_usize {
        let (version, said) = noticed(&mut device).await;
        assert_eq!((version, &said["n"]), (n as u64 + 2, &json!(n)));
    }
}

/// Reports are guarded by the session and the twin: a node whose copies are old reads them anew.
#[tokio::test]
async fn what_a_node_knows_of_a_twin_is_never_written_back_outdated() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut first = connect(&a, "d1").await;
    soon(first.report(r#"{"at":"a","kept":1}"#)).await.unwrap();
    let mut second = connect(&b, "d1").await;
    soon(second.report(r#"{"at":"b"}"#)).await.unwrap();
    write(&b, json!({"from": "b"})).await;
    drop(first);
    let mut third = connect(&a, "d1").await;
    soon(third.report(r#"{"back":true}"#)).await.unwrap();
    write(&a, json!({"too": "a"})).await;
    let view = twin(&mut third).await;
    let reported = json!({"at": "b", "kept": 1, "back": true, "$version": 4});
    let desired = json!({"from": "b", "too": "a", "$version": 3});
    assert_eq!(view, json!({ "desired": desired, "reported": reported }));
}

/// A device that was away is told nothing of what it missed: it reads its twin. What is written from
/// then on it hears, wherever it is.
#[tokio::test]
async fn notices_follow_a_device_that_moves() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let nodes = [&a, &b];
    let mut version = 1;
    for round in 0..6 {
        let mut device = connect(nodes[round % 2], "d1").await;
        for writer in nodes {
            version += 1;
            write(writer, json!({ "n": version })).await;
            assert_eq!(noticed(&mut device).await.0, version);
        }
        device.disconnect();
        version += 1;
        write(nodes[round / 2 % 2], json!({ "n": version })).await;
    }
}

/// The node at the device does not fetch its posts, and its inbox is full. Once it is back it tells
/// the device all that it missed.
#[tokio::test]
async fn a_notice_that_found_no_room_is_made_up_for() {
    let world = World::with(|limits| {
        limits.inbox_depth_max = 2;
        limits.notice_gap_max = Duration::from_millis(50);
        limits.node_expiry = Duration::from_secs(3600);
    });
    let (a, b) = world.pair().await;
    register(&a.hub, "d2").await;
    let mut device = connect(&b, "d1").await;
    twin(&mut device).await;
    b.control.stall();
    for n in 0..5 {
        write(&a, json!({ "n": n })).await;
    }
    b.control.resume();
    let mut last = noticed(&mut device).await;
    while last.0 < 6 {
        last = noticed(&mut device).await;
    }
    assert_eq!(last, (6, json!({"n": 4, "$version": 6})));
}
