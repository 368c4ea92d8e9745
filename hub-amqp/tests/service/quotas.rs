//! Quotas as back ends meet them over AMQP.

use std::sync::Arc;
use std::time::Duration;

use hub_amqp::AmqpLimits;
use hub_core::engine::ManualClock;
use hub_core::quota::{Operation, Quotas, Rate};
use hub_core::time::Timestamp;

use crate::common::{Client, Outcome, Said, World};
use crate::messages::{message_to, settled};

const THROTTLED: &str = "com.microsoft:device-container-throttled";

fn rejected(condition: &str) -> Outcome {
    Outcome::Rejected(Some(condition.to_owned()))
}

/// Until one operation waits for its turn.
async fn waiting(world: &World) {
    let waits = || {
        let all = world.hub.resources();
        all.iter().any(|found| found.name == "quota_waiting" && found.depth == 1)
    };
    let look = async {
        while !waits() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.unwrap();
}

/// Telemetry waits for its turn without a disposition, and without one it is rejected; the link stays.
/// A device that may not connect now is told so by the end of its link.
#[tokio::test]
async fn telemetry_waits_or_is_refused() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    let quotas = Quotas::default()
        .per_device(Operation::TelemetrySend, Rate::new(1, Duration::from_secs(8)))
        .per_device(Operation::Connect, Rate::per_minute(1))
        .longest_wait(Duration::from_secs(10));
    let at = clock.clone();
    let world = World::with(|hub| hub.clock(at).quotas(quotas), AmqpLimits::default()).await;
    let token = world.register("d1").await;
    let mut device = Client::open(world.addr).await.unwrap();
    device.cbs().await.unwrap();
    assert_eq!(device.put_token(&token).await, Ok(200));
    let attached = device.sender(1, "/devices/d1/messages/events").await;
    assert_eq!(attached, Ok(Said::Attach { handle: 1, refused: false }));
    let first = device.send(1, &message_to("d1", b"one")).await;
    assert_eq!(settled(&mut device, first).await, Outcome::Accepted);
    let second = device.send(1, &message_to("d1", b"two")).await;
    waiting(&world).await;
    clock.advance(Duration::from_secs(8));
    assert_eq!(settled(&mut device, second).await, Outcome::Accepted);
    // What comes behind is read only when the one before has had its turn.
    let third = device.send(1, &message_to("d1", b"three")).await;
    waiting(&world).await;
    let fourth = device.send(1, &message_to("d1", b"four")).await;
    clock.advance(Duration::from_secs(8));
    assert_eq!(settled(&mut device, third).await, Outcome::Accepted);
    waiting(&world).await;
    clock.advance(Duration::from_secs(8));
    assert_eq!(settled(&mut device, fourth).await, Outcome::Accepted);

    let mut again = Client::open(world.addr).await.unwrap();
    again.cbs().await.unwrap();
    assert_eq!(again.put_token(&token).await, Ok(200));
    let attached = again.sender(1, "/devices/d1/messages/events").await;
    assert_eq!(attached, Ok(Said::Attach { handle: 1, refused: true }));
    assert_eq!(again.next_word().await, Ok(Said::Detach(1, Some(THROTTLED.to_owned()))));
}

#[tokio::test]
async fn telemetry_without_a_turn_is_rejected_and_its_link_stays() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    let quotas = Quotas::default()
        .per_device(Operation::TelemetrySend, Rate::per_minute(1))
        .longest_wait(Duration::from_secs(10));
    let at = clock.clone();
    let world = World::with(|hub| hub.clock(at).quotas(quotas), AmqpLimits::default()).await;
    let token = world.register("d1").await;
    let mut device = Client::open(world.addr).await.unwrap();
    device.cbs().await.unwrap();
    assert_eq!(device.put_token(&token).await, Ok(200));
    device.sender(1, "/devices/d1/messages/events").await.unwrap();
    let first = device.send(1, &message_to("d1", b"one")).await;
    assert_eq!(settled(&mut device, first).await, Outcome::Accepted);
    let second = device.send(1, &message_to("d1", b"two")).await;
    waiting(&world).await;
    clock.advance(Duration::from_secs(10));
    assert_eq!(settled(&mut device, second).await, rejected(THROTTLED));
    clock.advance(Duration::from_secs(50));
    let third = device.send(1, &message_to("d1", b"two")).await;
    assert_eq!(settled(&mut device, third).await, Outcome::Accepted);
}

/// A message that would wait too long is refused in the service's words; one that need not waits, and
/// is accepted when its turn comes.
#[tokio::test]
async fn messages_to_devices_wait_or_are_refused() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    let quotas = Quotas::default()
        .per_device(Operation::MessageSend, Rate::per_minute(1))
        .per_hub(Operation::MessageSend, Rate::per_second(1).with_burst(2))
        .messages_per_day(4)
        .longest_wait(Duration::from_secs(1));
    let at = clock.clone();
    let world = World::with(|hub| hub.clock(at).quotas(quotas), AmqpLimits::default()).await;
    for id in ["d1", "d2", "d3", "d4"] {
        world.register(id).await;
    }
    let mut client = world.service().await;
    let attached = client.sender(1, "amqps://hub.test/messages/deviceBound").await;
    assert_eq!(attached, Ok(Said::Attach { handle: 1, refused: false }));
    for (to, outcome) in
        [("d1", Outcome::Accepted), ("d1", rejected(THROTTLED)), ("d2", Outcome::Accepted)]
    {
        let delivery = client.send(1, &message_to(to, b"x")).await;
        assert_eq!(settled(&mut client, delivery).await, outcome, "{to}");
    }
    let third = client.send(1, &message_to("d3", b"x")).await;
    waiting(&world).await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(settled(&mut client, third).await, Outcome::Accepted);
    // The fourth is the last of the day, as large as it may be.
    clock.advance(Duration::from_secs(1));
    let last = client.send(1, &message_to("d4", &[0; 8000])).await;
    assert_eq!(settled(&mut client, last).await, Outcome::Accepted);
    clock.advance(Duration::from_secs(60));
    let over = client.send(1, &message_to("d1", b"x")).await;
    let wanted = rejected("com.microsoft:quota-exceeded");
    assert_eq!(settled(&mut client, over).await, wanted);
}
