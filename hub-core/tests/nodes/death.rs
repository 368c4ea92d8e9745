//! Nodes that die without a word, and nodes that only seem to.

use std::time::Duration;

use hub_core::engine::{DeviceEvent, Lifecycle};
use hub_core::envelope::Message;
use hub_core::error::{CloseReason, DisconnectCause, ErrorKind};
use hub_core::frame::Disposition;
use hub_core::hello::SessionMode;
use hub_core::id::NodeId;
use hub_core::method::MethodCall;
use hub_core::roster::{Member, Standing};
use hub_core::session::Session;
use hub_core::store::{Change, Key, Kind};
use hub_core::time::Timestamp;

use crate::world::{World, address, connect, heard, register, soon, until};

/// A node dies with all its connections: it is noticed, its devices are disconnected, and it is
/// forgotten.
#[tokio::test]
async fn a_dead_node_is_noticed_and_forgotten() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    let mut devices = Vec::new();
    for n in 0..40 {
        let name = format!("x{n}");
        register(&a.hub, &name).await;
        devices.push(connect(&b, &name).await);
    }
    let mut events = a.hub.lifecycle();
    b.control.stall();
    drop((b, devices));
    assert_eq!(world.holder("x7").await.as_deref(), Some("b"));
    until(|| async { !world.has_document("b").await }).await;
    for n in 0..40 {
        assert_eq!(world.holder(&format!("x{n}")).await, None);
    }
    let mut told = 0;
    while told < 40 {
        let Some(Lifecycle::Event(event)) = soon(events.next()).await else { panic!("no event") };
        let lost = DisconnectCause::ConnectionLost;
        let epoch = hub_core::id::Epoch(1);
        assert_eq!(event.kind, hub_core::device::LifecycleKind::Disconnected(epoch, lost));
        told += 1;
    }
}

/// Nothing that was accepted is lost with a node: not what it had taken for its device, not what was
/// on its way to it.
#[tokio::test]
async fn nothing_accepted_is_lost_with_a_node() {
    let world = World::with(|limits| {
        limits.c2d_lock = Duration::from_millis(300);
        limits.c2d_poll_every = Duration::from_millis(100);
    });
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    a.hub.send(&address("d1"), Message::new("taken")).await.unwrap();
    assert!(matches!(heard(&mut device).await, DeviceEvent::Message(_)));
    device.send(b"event", &[]).await.unwrap();
    soon(device.report(r#"{"x":1}"#)).await.unwrap();
    b.control.stall();
    a.hub.send(&address("d1"), Message::new("on its way")).await.unwrap();
    drop((b, device));
    // It need not wait for the node to be held for dead.
    let mut device = connect(&a, "d1").await;
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        if let DeviceEvent::Message(delivery) = heard(&mut device).await {
            soon(device.settle(delivery.token, Disposition::Complete)).await.unwrap();
            bodies.push(String::from_utf8(delivery.message.body.to_vec()).unwrap());
        }
    }
    bodies.sort();
    assert_eq!(bodies, ["on its way", "taken"]);
    let twin = soon(device.twin()).await.unwrap();
    assert!(String::from_utf8(twin.to_vec()).unwrap().contains("\"x\":1"));
    let partition = address("d1").partition(2);
    assert_eq!(a.hub.partition_info(partition).await.unwrap().next.0, 2);
}

/// A node that is cut off from the store is held for dead. Its devices move; when it is back it
/// closes what it still has of them, and goes on as a node.
#[tokio::test]
async fn a_node_that_was_cut_off_comes_back() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    register(&a.hub, "d2").await;
    let (mut moved, mut stayed) = (connect(&b, "d1").await, connect(&b, "d2").await);
    b.control.stall();
    until(|| async { !world.has_document("b").await }).await;
    assert_eq!(world.holder("d2").await, None);
    let mut new = connect(&a, "d1").await;
    b.control.resume();
    for old in [&mut moved, &mut stayed] {
        assert_eq!(heard(old).await, DeviceEvent::Closed(CloseReason::TakenOver));
    }
    until(|| async { world.has_document("b").await }).await;
    soon(new.report(r#"{"x":1}"#)).await.unwrap();
    drop((moved, stayed));
    let mut back = connect(&b, "d2").await;
    a.hub.send(&address("d2"), Message::new("x")).await.unwrap();
    assert!(matches!(heard(&mut back).await, DeviceEvent::Message(_)));
}

/// While a node is dead and not yet noticed, a call of its device ends for certain as not dispatched.
#[tokio::test]
async fn a_call_of_a_device_at_a_dead_node_is_not_dispatched() {
    let world = World::with(|limits| {
        limits.node_expiry = Duration::from_secs(3600);
        limits.remote_dispatch_timeout = Duration::from_millis(100);
    });
    let (a, b) = world.pair().await;
    let device = connect(&b, "d1").await;
    b.control.stall();
    drop((b, device));
    let end = soon(a.hub.invoke(&address("d1"), MethodCall::new("x"))).await.unwrap_err();
    assert_eq!(end.kind(), ErrorKind::DeviceNotOnline);
}

/// Posts for a node that never fetches them are removed when they are too old, by any node.
#[tokio::test]
async fn posts_for_the_dead_do_not_stay() {
    let world = World::with(|limits| {
        limits.node_expiry = Duration::from_secs(3600);
        limits.inbox_ttl = Duration::from_millis(100);
    });
    let (a, b) = world.pair().await;
    let device = connect(&b, "d1").await;
    b.control.stall();
    for _ in 0..5 {
        a.hub.send(&address("d1"), Message::new("x")).await.unwrap();
    }
    assert_eq!(world.posts("b").await, 5);
    until(|| async { world.posts("b").await == 0 }).await;
    drop((b, device));
}

/// Of three nodes two die at once, and then the third repairs both.
#[tokio::test]
async fn the_last_node_repairs_what_all_others_left() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    let c = world.start("c").await;
    register(&a.hub, "d2").await;
    let (one, two) = (connect(&a, "d1").await, connect(&b, "d2").await);
    a.control.stall();
    b.control.stall();
    drop((a, b, one, two));
    until(|| async { !world.has_document("a").await && !world.has_document("b").await }).await;
    assert_eq!((world.holder("d1").await, world.holder("d2").await), (None, None));
    connect(&c, "d1").await.disconnect();
}

/// A node died while it repaired what another had left: the repair is taken up again.
#[tokio::test]
async fn a_repair_that_was_interrupted_is_taken_up_again() {
    let world = World::polling();
    let a = world.start("a").await;
    register(&a.hub, "d1").await;
    let ghost = NodeId::new("ghost").unwrap();
    let long_ago = Timestamp::from_millis(1);
    let lost = Member {
        run: 1,
        standing: Standing::Lost,
        since: long_ago,
        expires: long_ago,
        partitions: 2,
        connections: 0,
    };
    let session = Session::default().connected(&ghost, SessionMode::Clean, None, long_ago);
    let left = Change::new()
        .create(Key::new(Kind::Node, "ghost"), lost.encode())
        .create(Key::session(&address("d1")), session.encode());
    world.commit(left).await;
    until(|| async { !world.has_document("ghost").await }).await;
    assert_eq!(world.holder("d1").await, None);
    connect(&a, "d1").await.disconnect();
}

/// A node whose devices wait long for the store still says that it lives: its beats wait in no line.
#[tokio::test]
async fn a_node_that_has_much_to_write_is_not_held_for_dead() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    b.control.stall_devices();
    let sending = tokio::spawn(async move { device.send(b"x", &[]).await.map(|()| device) });
    // Several times as long as a node is believed without a beat.
    let mut beats = std::collections::BTreeSet::new();
    while beats.len() < 30 {
        beats.insert(world.version("b").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.holder("d1").await.as_deref(), Some("b"));
    b.control.resume();
    soon(sending).await.unwrap().unwrap();
    drop(a);
}
