//! Peers with bad manners: what they get, and that nobody else notices.

use std::time::Duration;

use hub_amqp::AmqpLimits;

use super::messages::{message_to, settled};
use crate::common::{
    Client, FALSE, NULL, Outcome, Said, TRUE, Wishes, World, frame, terminus, text, uint,
};

/// A connection that works before and after.
async fn witness(world: &World) -> Client {
    world.register("witness").await;
    let mut client = world.service().await;
    client.sender(1, "/messages/devicebound").await.unwrap();
    client
}

async fn works(client: &mut Client) {
    let sent = client.send(1, &message_to("witness", b"x")).await;
    assert_eq!(settled(client, sent).await, Outcome::Accepted);
}

#[tokio::test]
async fn what_is_not_amqp_ends_its_connection_only() {
    let world = World::open().await;
    let mut other = witness(&world).await;
    for (bytes, condition) in [
        (b"\x00\x00\x00\x07\x02\x00\x00\x01".to_vec(), "amqp:connection:framing-error"),
        (b"\xff\xff\xff\xff\x02\x00\x00\x01".to_vec(), "amqp:connection:framing-error"),
        (b"\x00\x00\x00\x0c\x02\x00\x00\x01\x00\x00\x00\x00".to_vec(), "amqp:decode-error"),
        (
            b"\x00\x00\x00\x0c\x02\x01\x00\x01\x00\x53\x41\x45".to_vec(),
            "amqp:connection:framing-error",
        ),
        (frame(0, 1, 0x10, &[&text("again")], b""), "amqp:illegal-state"),
        (frame(0, 9, 0x12, &[&text("l"), &uint(0), TRUE], b""), "amqp:illegal-state"),
        (frame(0, 1, 0x12, &[&uint(0), &uint(0), TRUE], b""), "amqp:invalid-field"),
        (frame(0, 1, 0x77, &[], b""), "amqp:not-allowed"),
    ] {
        let mut client = Client::open(world.addr).await.unwrap();
        client.write(&bytes).await;
        let want = Said::Close(Some(condition.to_owned()));
        assert_eq!(client.next_word().await, Ok(want), "{bytes:02x?}");
        assert!(client.next().await.is_err());
        works(&mut other).await;
    }
    // Before anything was agreed on there is no word for it.
    let mut client = Client::bare(world.addr).await.unwrap();
    client.write(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.next().await, Ok(Said::Header(*b"AMQP\x03\x01\x00\x00")));
    assert!(client.next().await.is_err());
}

#[tokio::test]
async fn a_flood_without_credit_costs_its_link() {
    let limits = AmqpLimits::default();
    let credit = limits.link_credit;
    let world = World::open().await;
    world.register("d1").await;
    let mut client = world.service().await;
    client.sender(1, "/messages/devicebound").await.unwrap();
    // All at once, so that nothing is settled in between; most are refused, the queue being full.
    let mut flood = Vec::new();
    for delivery in 0..credit * 4 {
        let fields: [&[u8]; 6] = [&uint(1), &uint(delivery), b"\xa0\x01t", NULL, FALSE, FALSE];
        flood.extend(frame(0, 1, 0x14, &fields, &message_to("d1", b"x")));
    }
    client.write(&flood).await;
    loop {
        match client.next_word().await.unwrap() {
            Said::Settled(..) => {}
            Said::Detach(1, why) => {
                assert_eq!(why.as_deref(), Some("amqp:link:transfer-limit-exceeded"));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    // The connection lives.
    assert!(client.receiver(7, "$management", Wishes::default()).await.is_ok());
}

#[tokio::test]
async fn links_and_sessions_have_an_end() {
    let mut limits = AmqpLimits::default();
    (limits.links_max, limits.channel_max) = (8, 3);
    let world = World::with(|hub| hub, limits).await;
    let mut client = Client::open(world.addr).await.unwrap();
    let limit = Some("amqp:resource-limit-exceeded".to_owned());
    for handle in 0..8 {
        let attached = client.receiver(handle, "$cbs", Wishes::default()).await;
        assert_eq!(attached, Ok(Said::Attach { handle, refused: false }));
    }
    // Handles are as many as links; a second session has handles, but no links any more.
    client.channel = 2;
    let window = uint(8);
    client.perform(2, 0x11, &[NULL, &uint(0), &window, &window], b"").await;
    assert_eq!(client.next_word().await, Ok(Said::Begin(2)));
    assert_eq!(client.receiver(0, "$cbs", Wishes::default()).await, Ok(Said::End(limit)));
    client.perform(4, 0x11, &[NULL, &uint(0), &window, &window], b"").await;
    let why = Some("amqp:not-allowed".to_owned());
    assert_eq!(client.next_word().await, Ok(Said::Close(why)));
}

#[tokio::test]
async fn a_peer_that_bears_little_silence_hears_something() {
    let world = World::open().await;
    let mut client = Client::bare(world.addr).await.unwrap();
    client.begin(&[&text("c"), NULL, NULL, NULL, &uint(1000)]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(client.next().await, Ok(Said::Heartbeat));
    }
}

#[tokio::test]
async fn a_silent_peer_is_let_go() {
    let mut limits = AmqpLimits::default();
    limits.idle_timeout = Duration::from_millis(200);
    let world = World::with(|hub| hub, limits).await;
    let mut client = world.service().await;
    let why = Some("amqp:resource-limit-exceeded".to_owned());
    assert_eq!(client.next_word().await, Ok(Said::Close(why)));
    assert!(client.next().await.is_err());
}

#[tokio::test]
async fn answers_that_nobody_takes_are_not_kept_for_ever() {
    let mut core = hub_core::Limits::default();
    core.peer_write_bytes_max = 16 * 1024;
    let world = World::with(|hub| hub.limits(core), AmqpLimits::default()).await;
    let mut client = world.service().await;
    client.sender(1, "$management").await.unwrap();
    client.receiver(2, "$management", Wishes::default()).await.unwrap();
    // Without credit for the answers.
    let question = {
        let mut out = Vec::new();
        let pairs: [&[u8]; 6] = [
            &text("operation"),
            &text("READ"),
            &text("type"),
            &text("com.microsoft:eventhub"),
            &text("name"),
            &text("hub"),
        ];
        let map = crate::common::compound(0xd1, &pairs);
        out.extend(crate::common::described(0x74, &map));
        out
    };
    let asking = async {
        for _ in 0..200 {
            client.send(1, &question).await;
            // Credit for questions is granted as they are taken.
            while let Ok(said) = tokio::time::timeout(Duration::from_millis(1), client.next()).await
            {
                if said.is_err() {
                    return;
                }
            }
        }
        panic!("it was never cut off");
    };
    tokio::time::timeout(crate::common::SOON, asking).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    let world = World::with(|hub| hub.partitions(1), AmqpLimits::default()).await;
    let mut other = witness(&world).await;
    let mut stuck = world.service().await;
    let log = "hub/ConsumerGroups/$Default/Partitions/0";
    stuck.receiver(0, log, Wishes::default()).await.unwrap();
    stuck.credit(0, 0, 1_000_000).await;
    // Far more than any buffer on the way takes.
    let address = hub_core::Address::parse("witness").unwrap();
    let source = hub_core::envelope::EventSource::Telemetry;
    let stamp = hub_core::envelope::Stamp::new(source, &address, "1", None, None);
    let mut batch = hub_core::envelope::EventBatch::new();
    for _ in 0..200 {
        for _ in 0..4 {
            batch.push(&stamp, [], &[7; 64 * 1024], usize::MAX).unwrap();
        }
        world.hub.publish(&address, &mut batch).await.unwrap();
    }
    works(&mut other).await;
    let mut reader = other.receiver(2, log, Wishes::default()).await;
    assert!(matches!(reader, Ok(Said::Attach { refused: false, .. })));
    other.credit(2, 0, 1).await;
    reader = other.next_word().await;
    assert!(matches!(reader, Ok(Said::Transfer { .. })));
    // And it goes on where it was when it reads again.
    for _ in 0..20 {
        assert!(matches!(stuck.next_word().await, Ok(Said::Transfer { .. })));
    }
}

#[tokio::test]
async fn a_link_to_nowhere_is_refused() {
    let world = World::open().await;
    let mut client = world.service().await;
    // A coordinator of transactions instead of a target.
    let target = crate::common::described(0x30, b"\x45");
    let source = terminus(0x28, "x", NULL);
    let fields: [&[u8]; 7] = [&text("t"), &uint(3), FALSE, NULL, NULL, &source, &target];
    client.perform(1, 0x12, &fields, b"").await;
    assert_eq!(client.next_word().await, Ok(Said::Attach { handle: 3, refused: true }));
    let why = Some("amqp:not-found".to_owned());
    assert_eq!(client.next_word().await, Ok(Said::Detach(3, why)));
    // No target at all.
    let fields: [&[u8]; 6] = [&text("u"), &uint(4), FALSE, NULL, NULL, &source];
    client.perform(1, 0x12, &fields, b"").await;
    client.next_word().await.unwrap();
    let why = Some("amqp:not-implemented".to_owned());
    assert_eq!(client.next_word().await, Ok(Said::Detach(4, why)));
}
