//! What a device is told that comes back.

use hub_core::engine::{DeviceClient, DeviceEvent, Hub};
use hub_core::frame::Interest;
use hub_core::id::Address;
use hub_core::twin::ServicePatch;
use serde_json::{Value, json};

use super::{World, soon};

async fn patch(hub: &Hub, of: &Address, desired: Value) {
    let patch = json!({ "properties": { "desired": desired } });
    let patch = ServicePatch::from_value(&patch, hub.limits()).unwrap();
    hub.patch_twin(of, patch, None).await.unwrap();
}

async fn listening(hub: &Hub, of: &Address) -> DeviceClient {
    let mut device = soon(hub.device(of)).await.unwrap();
    soon(device.subscribe(Interest::DesiredProperties)).await.unwrap();
    device
}

async fn heard(device: &mut DeviceClient) -> Value {
    match soon(device.next()).await {
        DeviceEvent::Desired(version, text) => {
            let patch: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(patch["$version"], version);
            patch
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_device_that_comes_back_is_told_what_it_has_missed_in_one_patch() {
    let world = World::with(|limits| limits.desired_catch_up = true);
    let (hub, d1) = (&world.hub, world.register("d1").await);
    patch(hub, &d1, json!({"rate": 5, "old": {"a": 1, "b": 2}, "same": "x"})).await;
    // It never had anything: it is told everything.
    let mut device = listening(hub, &d1).await;
    let all = json!({"rate": 5, "old": {"a": 1, "b": 2}, "same": "x", "$version": 2});
    assert_eq!(heard(&mut device).await, all);
    patch(hub, &d1, json!({"rate": 6, "new": true})).await;
    assert_eq!(heard(&mut device).await, json!({"rate": 6, "new": true, "$version": 3}));
    device.disconnect();

    patch(hub, &d1, json!({"rate": 7})).await;
    patch(hub, &d1, json!({"old": {"a": null}, "new": null})).await;
    patch(hub, &d1, json!({"never": "seen"})).await;
    patch(hub, &d1, json!({"never": null})).await;
    // On another node, after a restart, over whatever protocol: it is in the store.
    let other = world.node("other").await;
    let mut device = listening(&other, &d1).await;
    let missed = json!({"rate": 7, "old": {"a": null}, "new": null, "$version": 7});
    assert_eq!(heard(&mut device).await, missed);
    patch(hub, &d1, json!({"rate": 8})).await;
    assert_eq!(heard(&mut device).await, json!({"rate": 8, "$version": 8}));
    device.disconnect();
    // The next connection has missed nothing, and is told nothing but what is new.
    let mut device = listening(hub, &d1).await;
    patch(hub, &d1, json!({"rate": 9})).await;
    assert_eq!(heard(&mut device).await, json!({"rate": 9, "$version": 9}));
}

#[tokio::test]
async fn by_default_nobody_is_told_what_it_has_missed() {
    let world = World::with(|_| {});
    let (hub, d1) = (&world.hub, world.register("d1").await);
    patch(hub, &d1, json!({"missed": 1})).await;
    let mut device = listening(hub, &d1).await;
    patch(hub, &d1, json!({"heard": 1})).await;
    assert_eq!(heard(&mut device).await, json!({"heard": 1, "$version": 3}));
}

/// A device that was deleted and made anew has nothing of what the old one had.
#[tokio::test]
async fn a_device_made_anew_begins_anew() {
    let world = World::with(|limits| limits.desired_catch_up = true);
    let (hub, d1) = (&world.hub, world.register("d1").await);
    patch(hub, &d1, json!({"a": 1})).await;
    let mut device = listening(hub, &d1).await;
    heard(&mut device).await;
    device.disconnect();
    hub.registry().delete(&d1, None).await.unwrap();
    world.clock.advance(std::time::Duration::from_secs(1));
    let d1 = world.register("d1").await;
    patch(hub, &d1, json!({"b": 1})).await;
    let mut device = listening(hub, &d1).await;
    assert_eq!(heard(&mut device).await, json!({"b": 1, "$version": 2}));
}
