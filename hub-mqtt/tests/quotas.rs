//! Quotas as devices meet them over MQTT.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Got, Running, disconnected, lifecycle, start_on};
use hub_core::Hub;
use hub_core::engine::ManualClock;
use hub_core::error::{CloseReason, DisconnectCause};
use hub_core::quota::{Operation, Quotas, Rate};
use hub_core::time::Timestamp;
use hub_mqtt::codec::{ConnectCode, Qos};
use hub_store_memory::MemoryStore;

const EVENTS: &str = "devices/d1/messages/events/";
const SECOND: Duration = Duration::from_secs(1);

async fn limited(quotas: Quotas) -> (Running, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    let builder = Hub::builder(MemoryStore::new()).clock(clock.clone()).quotas(quotas);
    (start_on(builder).await, clock)
}

async fn waiting(running: &Running, count: usize) {
    let waits = || {
        let all = running.hub.resources();
        all.iter().any(|found| found.name == "quota_waiting" && found.depth == count)
    };
    let look = async {
        while !waits() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.unwrap();
}

/// What comes too fast has no PUBACK before its turn, the connection is not read, and nothing is lost.
#[tokio::test]
async fn telemetry_beyond_the_rate_waits_for_its_puback() {
    let quotas = Quotas::default().per_device(Operation::TelemetrySend, Rate::per_second(1));
    let (running, clock) = limited(quotas).await;
    let mut device = running.connect("d1").await;
    device.publish_acked(EVENTS, "one").await;
    let second = device.publish(EVENTS, "two").await;
    waiting(&running, 1).await;
    // Read no more: a ping has no answer either, and what is published lies in the socket.
    let third = device.publish(EVENTS, "three").await;
    device.send(b"\xc0\x00").await;
    let silent = tokio::time::timeout(Duration::from_millis(100), device.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    clock.advance(SECOND);
    assert_eq!(device.next().await, Got::PubAck(second));
    waiting(&running, 1).await;
    clock.advance(SECOND);
    // The ping was read with the third, or behind it.
    let mut rest = [device.next().await, device.next().await];
    rest.sort_by_key(|got| *got == Got::PingResp);
    assert_eq!(rest, [Got::PubAck(third), Got::PingResp]);
    let bodies: Vec<_> =
        common::events(&mut running.reader().await, 3).await.into_iter().map(|e| e.body).collect();
    assert_eq!(bodies, ["one", "two", "three"]);
}

/// Beyond the longest wait there is no way to say no but to close, as the service does. The device has
/// no PUBACK, so it sends again.
#[tokio::test]
async fn telemetry_without_a_turn_ends_the_connection() {
    let quotas = Quotas::default()
        .per_device(Operation::TelemetrySend, Rate::per_minute(1))
        .longest_wait(10 * SECOND);
    let (running, clock) = limited(quotas).await;
    let mut life = running.hub.lifecycle();
    let mut device = running.connect("d1").await;
    device.publish_acked(EVENTS, "one").await;
    device.publish(EVENTS, "two").await;
    waiting(&running, 1).await;
    clock.advance(10 * SECOND);
    device.expect_closed().await;
    let cause = lifecycle(&mut life, disconnected).await;
    assert_eq!(cause, DisconnectCause::Closed(CloseReason::Throttled));
    clock.advance(50 * SECOND);
    let mut device = running.connect("d1").await;
    device.publish_acked(EVENTS, "two").await;
    assert_eq!(common::events(&mut running.reader().await, 2).await.len(), 2);
}

#[tokio::test]
async fn twin_requests_without_a_turn_have_a_429() {
    let quotas = Quotas::default()
        .per_device(Operation::TwinRead, Rate::per_minute(1))
        .per_device(Operation::TwinUpdate, Rate::per_minute(1))
        .longest_wait(Duration::ZERO);
    let (running, _) = limited(quotas).await;
    let mut device = running.connect("d1").await;
    device.subscribe(&[("$iothub/twin/res/#", Qos::Zero)]).await;
    for (topic, payload, first) in [
        ("$iothub/twin/GET/?$rid=", "", "$iothub/twin/res/200/?$rid=1"),
        (
            "$iothub/twin/PATCH/properties/reported/?$rid=",
            "{\"a\":1}",
            "$iothub/twin/res/204/?$rid=1",
        ),
    ] {
        for rid in 1..=2 {
            device.publish(&format!("{topic}{rid}"), payload).await;
            let mut answer = None;
            // Its PUBACK and its answer come in some order.
            for _ in 0..2 {
                if let Got::Publish(message) = device.next().await {
                    answer = Some(message);
                }
            }
            let answer = answer.unwrap();
            if rid == 1 {
                assert!(answer.topic.starts_with(first), "{}", answer.topic);
            } else {
                assert_eq!(answer.topic, "$iothub/twin/res/429/?$rid=2");
                let body = answer.payload;
                assert!(body.contains("\"errorCode\":429001"), "{body}");
                assert!(body.contains("Wait 60 seconds"), "{body}");
            }
        }
    }
}

#[tokio::test]
async fn connects_without_a_turn_are_told_to_come_later() {
    let quotas = Quotas::default()
        .per_device(Operation::Connect, Rate::per_minute(1))
        .longest_wait(10 * SECOND);
    let (running, clock) = limited(quotas).await;
    drop(running.connect("d1").await);
    let mut device = running.dial().await;
    device.introduce("d1").await;
    device.expect_connack(ConnectCode::ServerUnavailable).await;
    device.expect_closed().await;
    clock.advance(50 * SECOND);
    let mut device = running.dial().await;
    device.introduce("d1").await;
    waiting(&running, 1).await;
    clock.advance(10 * SECOND);
    device.expect_connack(ConnectCode::Accepted).await;
}
