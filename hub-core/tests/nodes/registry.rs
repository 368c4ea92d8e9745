//! Identities that are changed at one node, of devices connected to another.

use hub_core::engine::DeviceEvent;
use hub_core::error::{CloseReason, ErrorKind};
use hub_core::hello::Refusal;
use hub_core::method::MethodCall;
use hub_core::registry::{IdentitySpec, IfMatch, Status};
use hub_core::store::{Ask, Key, Store as _};

use crate::world::{Node, World, address, connect, heard, register, soon, until};

async fn set(node: &Node, name: &str, status: Status) {
    let mut spec = IdentitySpec::new(address(name));
    spec.status = Some(status);
    soon(node.hub.registry().put(&spec, Some(&IfMatch::Any))).await.unwrap();
}

#[tokio::test]
async fn a_device_that_is_disabled_at_another_node_is_closed_and_sends_no_more() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    set(&a, "d1", Status::Disabled).await;
    assert_eq!(heard(&mut device).await, DeviceEvent::Closed(CloseReason::IdentityDisabled));
    assert!(device.send(b"x", &[]).await.is_err());
    drop(device);
    let refused = b.hub.device(&address("d1")).await.unwrap_err();
    assert!(matches!(refused, Refusal::Disabled(_)), "{refused:?}");
    // What the node at the device remembers of the identity calls nothing any more.
    let called = b.hub.invoke(&address("d1"), MethodCall::new("x")).await.unwrap_err();
    assert_eq!(called.kind(), ErrorKind::DeviceNotFound);
    set(&a, "d1", Status::Enabled).await;
    connect(&b, "d1").await.disconnect();
}

#[tokio::test]
async fn it_is_closed_when_nudges_are_lost() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    b.control.lose_nudges();
    for status in [Status::Disabled, Status::Enabled, Status::Disabled] {
        if status == Status::Disabled {
            let mut device = connect(&b, "d1").await;
            set(&a, "d1", status).await;
            let closed = DeviceEvent::Closed(CloseReason::IdentityDisabled);
            assert_eq!(heard(&mut device).await, closed);
        } else {
            set(&a, "d1", status).await;
        }
    }
}

#[tokio::test]
async fn a_device_that_is_deleted_at_another_node_is_closed_with_its_modules() {
    let world = World::new();
    let (a, b) = world.pair().await;
    register(&a.hub, "d1/m").await;
    let (mut device, mut module) = (connect(&b, "d1").await, connect(&b, "d1/m").await);
    soon(a.hub.registry().delete(&address("d1"), None)).await.unwrap();
    for client in [&mut device, &mut module] {
        assert_eq!(heard(client).await, DeviceEvent::Closed(CloseReason::IdentityDeleted));
    }
    drop((device, module));
    // Made anew, its epochs begin again; nothing of the old one is in the way.
    register(&a.hub, "d1").await;
    let device = connect(&b, "d1").await;
    assert_eq!(world.session("d1").await.epoch.0, 1);
    device.disconnect();
}

#[tokio::test]
async fn modules_of_a_disabled_device_are_closed_wherever_they_are() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let c = world.start("c").await;
    for module in ["d1/m1", "d1/m2", "d1/m3"] {
        register(&a.hub, module).await;
    }
    let mut modules =
        [connect(&a, "d1/m1").await, connect(&b, "d1/m2").await, connect(&c, "d1/m3").await];
    set(&a, "d1", Status::Disabled).await;
    for module in &mut modules {
        let closed = DeviceEvent::Closed(CloseReason::IdentityDisabled);
        assert_eq!(heard(module).await, closed);
    }
}

/// A change that does not concern the connection leaves it alone.
#[tokio::test]
async fn other_changes_of_an_identity_leave_the_connection_alone() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    set(&a, "d1", Status::Enabled).await;
    until(|| async { world.posts("b").await == 0 }).await;
    soon(device.report(r#"{"x":1}"#)).await.unwrap();
    assert_eq!(world.holder("d1").await.as_deref(), Some("b"));
}

/// Whoever is let in is let in by the identity as it is when the connection is written: one that is
/// disabled meanwhile at another node comes too late, or is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_slips_in_while_being_disabled() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    for _ in 0..20 {
        let hub = b.hub.clone();
        let coming = tokio::spawn(async move { hub.device(&address("d1")).await });
        set(&a, "d1", Status::Disabled).await;
        if let Ok(mut device) = soon(coming).await.unwrap() {
            let closed = DeviceEvent::Closed(CloseReason::IdentityDisabled);
            assert_eq!(heard(&mut device).await, closed);
        }
        until(|| async { world.holder("d1").await.is_none() }).await;
        set(&a, "d1", Status::Enabled).await;
    }
}

/// The same for one that connects for the first time, and is deleted meanwhile: no session of it stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_slips_in_while_being_deleted() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    for round in 0..100 {
        let of = register(&a.hub, &format!("new{round}")).await;
        let (hub, name) = (b.hub.clone(), of.clone());
        let coming = tokio::spawn(async move { hub.device(&name).await });
        soon(a.hub.registry().delete(&of, None)).await.unwrap();
        if let Ok(mut device) = soon(coming).await.unwrap() {
            let closed = DeviceEvent::Closed(CloseReason::IdentityDeleted);
            assert_eq!(heard(&mut device).await, closed);
        }
        let session = [Ask::Document(Key::session(&of))];
        until(|| async { world.store.read(&session).await.unwrap()[0].is_none() }).await;
    }
}
