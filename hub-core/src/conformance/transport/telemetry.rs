//! From a device to the log.

use super::world::{QUIET, World, must_wait, soon};
use super::{Fixture, Pipelined, Probe};
use std::pin::pin;

/// While the store's commit is held back, no acknowledgement arrives; when it is released, it does.
pub async fn t1_no_ack_before_the_store_has_it<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, _) = world.device(fixture, "d1").await;
    for round in [b"one", b"two"] {
        world.gate.hold();
        {
            let mut publishing = pin!(probe.publish(round, &[]));
            let reached = async {
                tokio::select! {
                    _ = &mut publishing => panic!("answered before it reached the store"),
                    () = world.gate.reached() => {}
                }
            };
            soon("a commit", reached).await;
            must_wait("acknowledged before the store has it", &mut publishing).await;
            world.gate.release();
            soon("an acknowledgement", publishing).await.expect("telemetry is taken");
        }
    }
    assert_eq!(world.bodies().await, [b"one", b"two"]);
}

/// A shutdown does not make up acknowledgements for what the store has not got.
pub async fn t1_no_ack_of_what_a_shutdown_cut_off<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, _) = world.device(fixture, "d1").await;
    world.gate.hold();
    let hub = world.hub.clone();
    let mut publishing = pin!(async {
        let answer = probe.publish(b"x", &[]).await;
        (answer, world.gate.held().batches)
    });
    tokio::select! {
        _ = &mut publishing => panic!("answered before it reached the store"),
        () = soon("a commit", world.gate.reached()) => {}
    }
    let stopping = tokio::spawn(async move { hub.shutdown(super::world::SOON).await });
    match tokio::time::timeout(QUIET, &mut publishing).await {
        // Nothing, or cut off: both are true.
        Err(_) | Ok((Err(_), _)) => {}
        Ok((Ok(()), held)) => assert_eq!(held, 0, "acknowledged before the store has it"),
    }
    world.gate.release();
    let report = stopping.await.expect("the shutdown ends");
    assert!(report.drained, "what was accepted is written: {report:?}");
    assert_eq!(world.bodies().await, [b"x"]);
}

/// What arrives is what was sent: any bytes, any length, any text in the properties.
pub async fn t10_bodies_and_properties_arrive_as_sent<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, _) = world.device(fixture, "d1").await;
    let every: Vec<u8> = (0..=255).collect();
    let long = vec![b'x'; 200 * 1024];
    let properties =
        [("plain", "value"), ("key with space", "a&b=c/d?e%20f"), ("empty", ""), ("n", "+1")];
    soon("an acknowledgement", probe.publish(b"", &[])).await.expect("an empty body");
    soon("an acknowledgement", probe.publish(&every, &properties)).await.expect("every byte");
    soon("an acknowledgement", probe.publish(&long, &[])).await.expect("a long body");
    let events = world.events().await;
    assert_eq!(events.len(), 3);
    assert_eq!(events[0].body.len(), 0);
    assert_eq!(events[1].body, every);
    assert_eq!(events[2].body, long);
    let found: Vec<_> = events[1]
        .properties
        .application()
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or("")))
        .collect();
    assert_eq!(found, properties);
}

/// What is acknowledged is there, once, in the order in which it was sent.
pub async fn t10_messages_arrive_once_and_in_order<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, _) = world.device(fixture, "d1").await;
    let mut sent = Vec::new();
    for number in 0..50 {
        let body = format!("message {number}");
        soon("an acknowledgement", probe.publish(body.as_bytes(), &[])).await.expect("it is taken");
        sent.push(body.into_bytes());
        assert_eq!(world.bodies().await, sent, "acknowledged and not there");
    }
}

/// A message larger than the limit is not taken, and nothing of it is.
pub async fn t12_a_message_beyond_the_limit_is_refused<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, _) = world.device(fixture, "d1").await;
    let (mut other, _) = world.device(fixture, "d2").await;
    let large = vec![b'x'; world.hub.limits().telemetry_bytes_max + 1];
    let refused = soon("an answer", probe.publish(&large, &[])).await;
    assert!(refused.is_err(), "a message beyond the limit was acknowledged");
    soon("an acknowledgement", other.publish(b"x", &[])).await.expect("others go on");
    assert_eq!(world.bodies().await, [b"x"]);
}

/// Messages that were written one after another, and were committed in one batch or in several, are
/// acknowledged one after another.
pub async fn t14_telemetry_is_acknowledged_in_its_order<F: Fixture<Probe: Pipelined>>(
    fixture: &mut F,
) {
    const COUNT: usize = 20;
    let world = World::open(fixture).await;
    let (mut probe, _) = world.device(fixture, "d1").await;
    for held in [true, false, true] {
        if held {
            world.gate.hold();
        }
        for number in 0..COUNT {
            probe.write(number.to_string().as_bytes()).await.expect("the connection stays");
            if held && number == 0 {
                soon("a commit", world.gate.reached()).await;
            }
        }
        world.gate.release();
        let acknowledged = probe.acknowledged(COUNT);
        soon("acknowledgements", acknowledged).await.expect("the order of the messages");
    }
    assert_eq!(world.bodies().await.len(), 3 * COUNT);
}
