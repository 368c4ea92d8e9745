//! Cloud-to-device messages.

use std::time::Duration;

use super::world::{QUIET, World, connect, soon};
use super::{Captured, Dispositions, Fixture, Heard, Hearing, Lasting, Messages, Probe, Refused};
use crate::delivery::MessageOutcome;
use crate::envelope::Message;
use crate::frame::{Disposition, Interest};
use crate::id::Address;

struct Got {
    handle: String,
    body: Vec<u8>,
}

async fn next_message(probe: &mut impl Hearing) -> Got {
    match soon("a message", probe.next()).await {
        Ok(Heard::Message { handle, body, .. }) => Got { handle, body: body.to_vec() },
        other => panic!("not a message: {other:?}"),
    }
}

async fn send(world: &World, to: &Address, body: &str) {
    let message = Message::new(body.to_owned());
    world.hub.send(to, message).await.expect("the queue has room");
}

/// Messages come in the order in which they were sent, each once.
pub async fn t2_offers_come_in_order<F: Fixture<Probe: Messages>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    for number in 0..10 {
        send(&world, &address, &format!("message {number}")).await;
    }
    probe.listen(Interest::Messages).await;
    for number in 0..20 {
        if number == 10 {
            // The second half comes one by one.
            world.depth_becomes(&address, 0).await;
        }
        if number >= 10 {
            send(&world, &address, &format!("message {number}")).await;
        }
        let got = next_message(&mut probe).await;
        assert_eq!(String::from_utf8_lossy(&got.body), format!("message {number}"));
        probe.complete(&got.handle).await;
    }
    world.depth_becomes(&address, 0).await;
}

/// To settle a message settles that message, whatever came before and after it.
pub async fn t3_a_token_goes_back_as_it_came<F: Fixture<Probe: Messages>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    let mut outcomes = Vec::new();
    for body in ["one", "two", "three"] {
        let sent = world.hub.send(&address, Message::new(body)).await.expect("there is room");
        outcomes.push(sent);
    }
    probe.listen(Interest::Messages).await;
    let mut handles = Vec::new();
    for body in ["one", "two", "three"] {
        let got = next_message(&mut probe).await;
        assert_eq!(String::from_utf8_lossy(&got.body), body);
        handles.push(got.handle);
    }
    assert_eq!(world.depth(&address).await, 3, "nothing is settled yet");
    for which in [1, 0, 2] {
        let before = world.depth(&address).await;
        probe.complete(&handles[which]).await;
        let outcome = soon("an outcome", &mut outcomes[which]).await;
        assert_eq!(outcome, Some(MessageOutcome::Completed));
        world.depth_becomes(&address, before - 1).await;
    }
}

/// A message arrives with its body, its id and its properties.
pub async fn t10_a_message_arrives_as_sent<F: Fixture<Probe: Messages>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    let every: Vec<u8> = (0..=255).collect();
    let sent = Message::new(every.clone())
        .with_message_id("id-1")
        .with_property("plain", "value")
        .with_property("key with space", "a&b=c/d?e%20f");
    world.hub.send(&address, sent).await.expect("the queue has room");
    probe.listen(Interest::Messages).await;
    match soon("a message", probe.next()).await {
        Ok(Heard::Message { message_id, body, properties, .. }) => {
            assert_eq!((message_id.as_deref(), &body[..]), (Some("id-1"), &every[..]));
            let wanted = [("plain", "value"), ("key with space", "a&b=c/d?e%20f")];
            let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(properties, wanted);
        }
        other => panic!("not a message: {other:?}"),
    }
}

/// A settlement is answered when the store has it, and not before.
pub async fn t1_no_answer_to_a_settlement_before_the_store_has_it<
    F: Fixture<Probe: Dispositions>,
>(
    fixture: &mut F,
) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    send(&world, &address, "x").await;
    probe.listen(Interest::Messages).await;
    let got = next_message(&mut probe).await;
    world.gate.hold();
    let mut settling = std::pin::pin!(probe.settle(&got.handle, Disposition::Complete));
    tokio::select! {
        _ = &mut settling => panic!("answered before it reached the store"),
        () = soon("a commit", world.gate.reached()) => {}
    }
    let waits = tokio::time::timeout(QUIET, &mut settling).await.is_err();
    assert!(waits, "answered before the store has it");
    world.gate.release();
    soon("an answer", settling).await.expect("it is settled");
    assert_eq!(world.depth(&address).await, 0);
}

/// Abandon gives a message back, reject ends it.
pub async fn t3_abandon_and_reject_reach_the_hub<F: Fixture<Probe: Dispositions>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    let sent = world.hub.send(&address, Message::new("x")).await.expect("there is room");
    probe.listen(Interest::Messages).await;
    let first = next_message(&mut probe).await;
    soon("an answer", probe.settle(&first.handle, Disposition::Abandon)).await.expect("given back");
    let again = next_message(&mut probe).await;
    assert_eq!(again.body, b"x");
    let queued = world.hub.peek(&address, None, 10).await.expect("the store answers");
    assert_eq!(queued[0].delivery_count, 1, "it was given back once");
    soon("an answer", probe.settle(&again.handle, Disposition::Reject)).await.expect("it ends");
    assert_eq!(soon("an outcome", sent).await, Some(MessageOutcome::Rejected));
}

/// Who settles too late is told so, and the message comes again.
pub async fn t12_a_lost_lock_is_told<F: Fixture<Probe: Dispositions>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    send(&world, &address, "x").await;
    probe.listen(Interest::Messages).await;
    let first = next_message(&mut probe).await;
    world.clock.advance(world.hub.limits().c2d_lock + Duration::from_secs(1));
    let late = soon("an answer", probe.settle(&first.handle, Disposition::Complete)).await;
    assert!(late.is_err(), "a lost lock settled a message");
    assert_eq!(world.depth(&address).await, 1);
    let again = next_message(&mut probe).await;
    soon("an answer", probe.settle(&again.handle, Disposition::Complete)).await.expect("in time");
    assert_eq!(world.depth(&address).await, 0);
}

/// What a lost connection had not settled comes again on the next.
pub async fn t11_what_was_not_settled_comes_again<F>(fixture: &mut F)
where
    F: Fixture<Probe: Messages + Lasting>,
{
    let world = World::open(fixture).await;
    let login = world.register("d1").await;
    let mut probe = connect(fixture, &login).await;
    send(&world, &login.address, "x").await;
    probe.listen(Interest::Messages).await;
    next_message(&mut probe).await;
    probe.vanish().await;
    world.connections_become(0).await;
    assert_eq!(world.depth(&login.address).await, 1, "a lost connection settles nothing");
    let mut probe = connect(fixture, &login).await;
    probe.listen(Interest::Messages).await;
    let again = next_message(&mut probe).await;
    assert_eq!(again.body, b"x");
    probe.complete(&again.handle).await;
    world.depth_becomes(&login.address, 0).await;
}

/// Nothing is delivered to a device that does not listen.
pub async fn t2_nothing_comes_before_it_is_listened_for<F>(fixture: &mut F)
where
    F: Fixture<Probe: Messages + Lasting>,
{
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    send(&world, &address, "x").await;
    let heard: Result<Result<Heard, Refused>, _> = tokio::time::timeout(QUIET, probe.next()).await;
    assert!(heard.is_err(), "it heard {heard:?}");
    probe.listen(Interest::Messages).await;
    assert_eq!(next_message(&mut probe).await.body, b"x");
}

/// What is sent to a device is not logged, at any level.
pub async fn t7_messages_never_reach_a_log<F: Fixture<Probe: Messages>>(fixture: &mut F) {
    let (log, _listening) = Captured::begin();
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    let message = Message::new("planted body").with_property("planted-name", "planted value");
    world.hub.send(&address, message).await.expect("the queue has room");
    probe.listen(Interest::Messages).await;
    let got = next_message(&mut probe).await;
    probe.complete(&got.handle).await;
    world.depth_becomes(&address, 0).await;
    log.must_not_hold(&["planted body", "planted-name", "planted value"]);
}
