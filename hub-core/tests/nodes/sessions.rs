//! Where a device is connected: one connection at a time, over all nodes.

use std::sync::Arc;
use std::time::Duration;

use hub_core::engine::{DeviceClient, DeviceEvent, Lifecycle, Position};
use hub_core::error::CloseReason;
use hub_core::id::Epoch;

use crate::world::{World, address, connect, heard, soon, until};

async fn is_taken_over(device: &mut DeviceClient) {
    assert_eq!(heard(device).await, DeviceEvent::Closed(CloseReason::TakenOver));
}

#[tokio::test]
async fn a_connection_at_another_node_closes_the_old_one() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut first = connect(&a, "d1").await;
    let mut second = connect(&b, "d1").await;
    is_taken_over(&mut first).await;
    assert_eq!(world.holder("d1").await.as_deref(), Some("b"));
    assert_eq!(world.session("d1").await.epoch, Epoch(2));
    drop(first);
    let third = connect(&a, "d1").await;
    is_taken_over(&mut second).await;
    assert_eq!(world.holder("d1").await.as_deref(), Some("a"));
    assert_eq!(world.session("d1").await.epoch, Epoch(3));
    drop((second, third));
}

#[tokio::test]
async fn it_does_so_when_nudges_are_lost() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    a.control.lose_nudges();
    b.control.lose_nudges();
    let mut old = connect(&a, "d1").await;
    for round in 0..4 {
        let mut new = connect(if round % 2 == 0 { &b } else { &a }, "d1").await;
        is_taken_over(&mut old).await;
        std::mem::swap(&mut old, &mut new);
    }
}

/// The old link may leave late, and says so: the new connection stays.
#[tokio::test]
async fn a_link_that_was_taken_over_leaves_no_trace() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let old = connect(&a, "d1").await;
    let mut new = connect(&b, "d1").await;
    old.disconnect();
    soon(new.report(r#"{"x":1}"#)).await.unwrap();
    assert_eq!(world.holder("d1").await.as_deref(), Some("b"));
}

/// Before it hears of it, a link that was taken over can still publish: its events are accepted and
/// kept. It can change nothing of the device.
#[tokio::test]
async fn a_link_that_was_taken_over_changes_nothing_of_the_device() {
    let world = World::with(|limits| limits.inbox_poll_every = Duration::from_secs(3600));
    let (a, b) = world.pair().await;
    a.control.lose_nudges();
    let mut old = connect(&a, "d1").await;
    crate::world::register(&b.hub, "d2").await;
    let d2 = connect(&a, "d2").await;
    b.hub.send(&address("d2"), hub_core::envelope::Message::new("x")).await.unwrap();
    until(|| async { world.posts("a").await == 0 }).await;
    let mut new = connect(&b, "d1").await;
    soon(old.send(b"late", &[])).await.unwrap();
    assert!(soon(old.report(r#"{"old":1}"#)).await.is_err());
    is_taken_over(&mut old).await;
    soon(new.report(r#"{"new":1}"#)).await.unwrap();
    let twin = b.hub.registry().twin(&address("d1")).await.unwrap().twin;
    let view = String::from_utf8(twin.device_view().to_vec()).unwrap();
    assert!(view.contains("new") && !view.contains("old"), "{view}");
    drop(d2);
}

#[tokio::test]
async fn both_ends_are_in_the_lifecycle_of_their_node() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let (mut at_a, mut at_b) = (a.hub.lifecycle(), b.hub.lifecycle());
    let old = connect(&a, "d1").await;
    let new = connect(&b, "d1").await;
    let next =
        async |events: &mut hub_core::engine::LifecycleEvents| match soon(events.next()).await {
            Some(Lifecycle::Event(event)) => format!("{:?}", event.kind),
            other => panic!("{other:?}"),
        };
    assert_eq!(next(&mut at_a).await, "Connected(Epoch(1))");
    assert_eq!(next(&mut at_a).await, "Disconnected(Epoch(1), Closed(TakenOver))");
    assert_eq!(next(&mut at_b).await, "Connected(Epoch(2))");
    drop((old, new));
}

/// What is appended at one node is read at another, and where a group stands is known to all.
#[tokio::test]
async fn readers_at_one_node_see_the_events_of_another() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let partition = address("d1").partition(2);
    let mut reader = b.hub.reader(partition, Position::Latest).await.unwrap();
    let reading = tokio::spawn(async move { reader.read(10).await });
    let mut device = connect(&a, "d1").await;
    device.send(b"event", &[]).await.unwrap();
    let events = soon(reading).await.unwrap().unwrap();
    assert_eq!(&events[0].body[..], b"event");
    let mut at_a = a.hub.cursor("group", partition).await.unwrap();
    let mut at_b = b.hub.cursor("group", partition).await.unwrap();
    at_b.advance(events[0].sequence.next()).await.unwrap();
    assert!(at_a.advance(events[0].sequence).await.is_err());
    assert_eq!(at_a.position(), at_b.position());
}

/// Many devices that jump between three nodes at random: whoever connected last is connected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_one_connection_is_live() {
    let world = Arc::new(World::polling());
    let nodes = Arc::new([world.start("a").await, world.start("b").await, world.start("c").await]);
    let mut jumpers = Vec::new();
    for n in 0..8_usize {
        let name = format!("j{n}");
        crate::world::register(&nodes[0].hub, &name).await;
        let (world, nodes) = (world.clone(), nodes.clone());
        jumpers.push(tokio::spawn(async move {
            let mut old: Option<DeviceClient> = None;
            for round in 0..12 {
                let at = &nodes[(n * 7 + round * 5 + round / 3) % 3];
                let new = connect(at, &name).await;
                if let Some(mut old) = old.replace(new) {
                    // A link of the same node, or of another: it ends.
                    is_taken_over(&mut old).await;
                }
            }
            let mut last = old.unwrap();
            soon(last.report(r#"{"last":true}"#)).await.unwrap();
            let epoch = world.session(&name).await.epoch;
            assert_eq!(epoch, Epoch(12));
        }));
    }
    for jumper in jumpers {
        soon(jumper).await.unwrap();
    }
}
