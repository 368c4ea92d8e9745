//! Quotas as back ends meet them over AMQP.

use std::sync::Arc;
use std::time::Duration;

use hub_amqp::AmqpLimits;
use hub_core::engine::ManualClock;
use hub_core::quota::{Operation, Quotas, Rate};
use hub_core::time::Timestamp;

use crate::common::{Outcome, Said, World};
use crate::messages::{message_to, settled};

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
    let rejected = |condition: &str| Outcome::Rejected(Some(condition.to_owned()));
    for (to, outcome) in [
        ("d1", Outcome::Accepted),
        ("d1", rejected("com.microsoft:device-container-throttled")),
        ("d2", Outcome::Accepted),
    ] {
        let delivery = client.send(1, &message_to(to, b"x")).await;
        assert_eq!(settled(&mut client, delivery).await, outcome, "{to}");
    }
    let third = client.send(1, &message_to("d3", b"x")).await;
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
