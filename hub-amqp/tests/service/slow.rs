//! Receivers of the log that take little or nothing: what they cost, and whom.

use hub_amqp::AmqpLimits;
use hub_amqp::codec::MessageWriter;
use hub_core::id::Partition;
use hub_store_memory::MemoryStore;

use super::log::{message, sequence};
use crate::common::{Client, Outcome, Said, Wishes, World};

const LOG: &str = "hub/ConsumerGroups/$Default/Partitions/0";
const BODY: usize = 4096;
/// Events that the device sends at once.
const ROUND: u32 = 100;
const ROUNDS: u32 = 40;
/// What the log keeps: a quarter of all.
const LOG_BYTES: u64 = 4 * 1024 * 1024;
/// What fits into the pipe to a receiver that does not read.
const PIPE: usize = 64 * 1024;
/// What the hub may hold for it at the most: bytes on their way (128 KiB), and one page of events
/// (512 KiB, and half as much again by which a page may be mistaken).
const HELD: usize = (128 + 768) * 1024;

async fn receiver(mut client: Client, credit: u32) -> Client {
    let attached = client.receiver(0, LOG, Wishes::default()).await;
    assert_eq!(attached, Ok(Said::Attach { handle: 0, refused: false }));
    if credit > 0 {
        client.credit(0, 0, credit).await;
    }
    client
}

/// The sequence number of the next event that a receiver is sent.
async fn next(client: &mut Client) -> i64 {
    sequence(&message(client).await)
}

/// A device that sends events and waits until all of them are acknowledged.
struct Device(Client);

impl Device {
    async fn connect(world: &World) -> Self {
        let token = world.register("d1").await;
        let mut client = Client::open(world.addr).await.unwrap();
        client.cbs().await.unwrap();
        assert_eq!(client.put_token(&token).await, Ok(200));
        let attached = client.sender(1, "/devices/d1/messages/events").await;
        assert_eq!(attached, Ok(Said::Attach { handle: 1, refused: false }));
        Self(client)
    }

    async fn round(&mut self) {
        let mut payload = Vec::new();
        MessageWriter::new(&mut payload).data(&[b'x'; BODY]);
        for _ in 0..ROUND {
            self.0.send(1, &payload).await;
        }
        let mut acknowledged = 0;
        while acknowledged < ROUND {
            match self.0.next_word().await.unwrap() {
                Said::Settled(first, last, Outcome::Accepted) => acknowledged += last - first + 1,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The log keeps less than the device sends. So whatever a receiver gets in the end that the log has
/// not any more, the hub has held for that receiver: that is bounded by its credit and by one page,
/// while the device's acknowledgements and the other receivers have not waited for it.
#[tokio::test]
async fn a_receiver_that_takes_nothing_holds_up_nobody_and_holds_little() {
    let store = MemoryStore::builder().log_bytes_max(LOG_BYTES).build();
    let world = World::on(store, |hub| hub.partitions(1), AmqpLimits::default()).await;
    let mut without_credit = receiver(world.service().await, 0).await;
    let mut with_ten = receiver(world.service().await, 10).await;
    let mut deaf = receiver(world.piped(PIPE).await, 1_000_000).await;
    let mut eager = receiver(world.service().await, 1_000_000).await;
    let mut device = Device::connect(&world).await;
    let mut seen = 0;
    for round in 0..ROUNDS {
        device.round().await;
        for _ in 0..ROUND {
            seen += 1;
            assert_eq!(next(&mut eager).await, seen, "the eager one gets everything");
        }
        if round == 0 {
            for wanted in 1..=10 {
                assert_eq!(next(&mut with_ten).await, wanted);
            }
            // Now it has begun, and reads no more.
            assert_eq!(next(&mut deaf).await, 1);
        }
    }
    let kept = world.hub.partition_info(Partition(0)).await.unwrap();
    let oldest = i64::try_from(kept.first.0).unwrap();
    assert!(oldest > seen / 2, "the log has lost events: {oldest} of {seen}");
    without_credit.credit(0, 0, 1).await;
    assert!(next(&mut without_credit).await >= oldest, "nothing was held without credit");
    with_ten.credit(0, 10, 1).await;
    assert!(next(&mut with_ten).await >= oldest, "nothing was held beyond the credit");
    let mut held = 0;
    while next(&mut deaf).await < oldest {
        held += 1;
    }
    assert!(held > 0, "the pipe is full of events");
    assert!(held * BODY <= PIPE + HELD, "{held} events of {BODY} bytes were held");
}
