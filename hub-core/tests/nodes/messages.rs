//! Cloud-to-device messages that are sent at one node to a device at another.

use std::sync::Arc;
use std::time::Duration;

use hub_core::engine::{DeviceClient, DeviceEvent, ManualClock};
use hub_core::envelope::Message;
use hub_core::frame::Disposition;
use hub_core::time::Timestamp;

use crate::world::{Node, World, address, connect, heard, register, soon, until};

async fn send(node: &Node, body: &'static str) {
    node.hub.send(&address("d1"), Message::new(body)).await.unwrap();
}

/// The next message, completed.
async fn takes(device: &mut DeviceClient) -> String {
    match heard(device).await {
        DeviceEvent::Message(delivery) => {
            device.settle(delivery.token, Disposition::Complete).await.unwrap();
            String::from_utf8(delivery.message.body.to_vec()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_reaches_a_device_at_another_node_by_a_nudge() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    for body in ["one", "two", "three"] {
        send(&a, body).await;
        assert_eq!(takes(&mut device).await, body);
    }
    let posts = || async { world.posts("b").await == 0 };
    until(posts).await;
}

#[tokio::test]
async fn a_message_reaches_it_when_nudges_are_lost() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    b.control.lose_nudges();
    // The wait under way hears one more.
    let mut device = connect(&b, "d1").await;
    for body in ["one", "two", "three"] {
        send(&a, body).await;
        assert_eq!(takes(&mut device).await, body);
    }
}

/// What node `a` knows of a device's session is from before it came to node `b`.
#[tokio::test]
async fn who_sends_need_not_know_where_the_device_went() {
    let world = World::new();
    let (a, b) = world.pair().await;
    send(&a, "before").await;
    let mut device = connect(&b, "d1").await;
    assert_eq!(takes(&mut device).await, "before");
    send(&a, "after").await;
    assert_eq!(takes(&mut device).await, "after");
    device.disconnect();
    until(|| async { world.holder("d1").await.is_none() }).await;
    send(&b, "offline").await;
    let mut device = connect(&a, "d1").await;
    assert_eq!(takes(&mut device).await, "offline");
    send(&b, "back").await;
    assert_eq!(takes(&mut device).await, "back");
}

/// A message that the old link held goes to the new one without waiting for its lock to end.
#[tokio::test]
async fn what_the_old_connection_held_goes_to_the_new_one() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut old = connect(&a, "d1").await;
    send(&a, "held").await;
    assert!(matches!(heard(&mut old).await, DeviceEvent::Message(_)));
    let mut new = connect(&b, "d1").await;
    assert_eq!(takes(&mut new).await, "held");
}

/// Node `a` takes its link for the live one until it hears that it was taken over. What it accepts
/// meanwhile reaches the new connection all the same.
#[tokio::test]
async fn what_is_sent_during_a_takeover_is_passed_on() {
    let world = World::with(|limits| limits.inbox_poll_every = Duration::from_millis(300));
    let (a, b) = world.pair().await;
    a.control.lose_nudges();
    let old = connect(&a, "d1").await;
    // The wait that was under way hears one nudge more; this is it.
    register(&b.hub, "d2").await;
    let other = connect(&a, "d2").await;
    b.hub.send(&address("d2"), Message::new("x")).await.unwrap();
    let mut new = connect(&b, "d1").await;
    send(&a, "meanwhile").await;
    assert_eq!(takes(&mut new).await, "meanwhile");
    drop((old, other));
}

#[tokio::test]
async fn a_message_received_at_one_node_is_settled_at_another() {
    let world = World::new();
    let (a, b) = world.pair().await;
    send(&a, "x").await;
    let lock = Duration::from_secs(60);
    let delivery = b.hub.receive(&address("d1"), lock).await.unwrap().unwrap();
    a.hub.settle(&address("d1"), delivery.token, Disposition::Complete).await.unwrap();
    assert_eq!(b.hub.queue_depth(&address("d1")).await.unwrap(), 0);
}

/// The inbox of a node that does not fetch is full: messages are accepted all the same, and found by
/// the device when it looks for itself.
#[tokio::test]
async fn a_full_inbox_refuses_no_message() {
    let world = World::with(|limits| {
        limits.inbox_depth_max = 1;
        limits.c2d_poll_every = Duration::from_millis(100);
        limits.node_expiry = Duration::from_secs(3600);
    });
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    b.control.stall();
    for body in ["one", "two", "three"] {
        send(&a, body).await;
    }
    assert_eq!(world.posts("b").await, 1);
    b.control.resume();
    for body in ["one", "two", "three"] {
        assert_eq!(takes(&mut device).await, body);
    }
}

/// Messages of devices that nobody holds expire at whichever node sweeps first, once.
#[tokio::test]
async fn sweeps_are_shared() {
    use hub_core::envelope::Ack;
    let world = World::with(|limits| {
        limits.c2d_ttl_default = Duration::from_millis(1);
        limits.feedback_batch_age = Duration::from_millis(200);
    });
    let (a, b) = world.pair().await;
    for n in 0..20 {
        let message = Message::new("x").with_message_id(&format!("m{n}")).with_ack(Ack::Full);
        a.hub.send(&address("d1"), message).await.unwrap();
    }
    let mut ids = Vec::new();
    while ids.len() < 20 {
        let feedback = b.hub.feedback();
        let batch = soon(feedback.receive()).await.unwrap();
        ids.extend(batch.records.into_iter().map(|record| record.message_id));
        feedback.settle(batch.token, Disposition::Complete).await.unwrap();
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    assert_eq!(a.hub.queue_depth(&address("d1")).await.unwrap(), 0);
}

/// How a message ended at another node its sender does not learn here; it is told so, and does not
/// wait for ever.
#[tokio::test]
async fn who_cannot_learn_the_outcome_does_not_wait_for_ever() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    let world = World::new();
    let (builder, _control) = world.builder("a");
    let a = builder.clock(clock.clone()).start().unwrap();
    let (builder, _control) = world.builder("b");
    let b = builder.clock(clock.clone()).start().unwrap();
    let d1 = register(&a, "d1").await;
    let sent = a.send(&d1, Message::new("x")).await.unwrap();
    let delivery = b.receive(&d1, Duration::from_secs(60)).await.unwrap().unwrap();
    b.settle(&d1, delivery.token, Disposition::Complete).await.unwrap();
    let outcome = tokio::spawn(sent);
    for _ in 0..400 {
        clock.advance(Duration::from_secs(15));
        tokio::task::yield_now().await;
    }
    assert_eq!(soon(outcome).await.unwrap(), None);
}
