//! Messages to devices, and feedback on them.

use std::time::Duration;

use hub_amqp::AmqpLimits;
use hub_amqp::codec::{Body, Message, MessageProperties, MessageWriter, Value};
use hub_core::envelope::Ack;
use hub_core::{Address, Limits};

use crate::common::{
    ACCEPTED, Client, FALSE, NULL, Outcome, Said, Wishes, World, compound, described, text, uint,
};

/// A message with this `to`.
pub(crate) fn message(to: Option<&str>, body: &[u8], expiry: Option<i64>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut message = MessageWriter::new(&mut out);
    message.properties(&MessageProperties { to, expiry, ..MessageProperties::default() });
    message.data(body);
    out
}

/// A message to a device.
pub(crate) fn message_to(id: &str, body: &[u8]) -> Vec<u8> {
    message(Some(&format!("/devices/{id}/messages/devicebound")), body, None)
}

/// What became of a message that was sent.
pub(crate) async fn settled(client: &mut Client, delivery: u32) -> Outcome {
    loop {
        match client.next_word().await.unwrap() {
            Said::Settled(first, last, outcome) if (first..=last).contains(&delivery) => {
                return outcome;
            }
            Said::Settled(..) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn rejected(condition: &str) -> Outcome {
    Outcome::Rejected(Some(condition.to_owned()))
}

async fn sender(world: &World) -> Client {
    let mut client = world.service().await;
    let attached = client.sender(1, "amqps://hub.test/messages/deviceBound").await;
    assert_eq!(attached, Ok(Said::Attach { handle: 1, refused: false }));
    client
}

#[tokio::test]
async fn a_message_is_accepted_or_refused_in_the_services_words() {
    let mut limits = Limits::default();
    (limits.c2d_depth_max, limits.c2d_bytes_max) = (3, 1000);
    let world = World::with(|hub| hub.limits(limits), AmqpLimits::default()).await;
    for id in ["d1", "d2", "a#b", "a+b", "g"] {
        world.register(id).await;
    }
    world.register("g/m").await;
    let mut client = sender(&world).await;
    for (message, want) in [
        (message_to("d1", b"hello"), Outcome::Accepted),
        (message_to("a#b", b"as it is"), Outcome::Accepted),
        (message_to("a%23b", b"with escapes"), Outcome::Accepted),
        (message_to("a+b", b"a plus is a plus"), Outcome::Accepted),
        (
            message(Some("amqps://h/devices/g/modules/m/messages/deviceBound"), b"x", None),
            Outcome::Accepted,
        ),
        (message_to("nobody", b"x"), rejected("amqp:not-found")),
        (message_to("g/modules/none", b"x"), rejected("amqp:not-found")),
        (message(None, b"x", None), rejected("com.microsoft:argument-error")),
        (message(Some("/somewhere"), b"x", None), rejected("com.microsoft:argument-error")),
        (
            message(Some("/devices/d1/messages/devicebound"), b"x", Some(1000)),
            rejected("com.microsoft:argument-error"),
        ),
        (message_to("d1", &[0; 1001]), rejected("amqp:link:message-size-exceeded")),
        (b"\x00\x53\x75\x40".to_vec(), rejected("amqp:invalid-field")),
        (b"\xff".to_vec(), rejected("amqp:decode-error")),
        (message_to("d2", b"1"), Outcome::Accepted),
        (message_to("d2", b"2"), Outcome::Accepted),
        (message_to("d2", b"3"), Outcome::Accepted),
        (message_to("d2", b"4"), rejected("amqp:resource-limit-exceeded")),
    ] {
        let sent = client.send(1, &message).await;
        assert_eq!(settled(&mut client, sent).await, want, "{message:?}");
    }
    let depth = |id: &str| {
        let address = Address::parse(id).unwrap();
        let hub = world.hub.clone();
        async move { hub.queue_depth(&address).await.unwrap() }
    };
    assert_eq!((depth("a#b").await, depth("g/m").await, depth("d2").await), (2, 1, 3));
}

#[tokio::test]
async fn everything_of_a_message_is_kept() {
    let world = World::open().await;
    world.register("d1").await;
    let mut client = sender(&world).await;
    let mut out = Vec::new();
    let mut writer = MessageWriter::new(&mut out);
    let uuid = [&[0x98][..], &[0x11; 16]].concat();
    writer.properties(&MessageProperties {
        message_id: Some(&uuid),
        user_id: Some(b"operator"),
        to: Some("/devices/d1/messages/devicebound"),
        correlation_id: Some(b"\x53\x07"),
        content_type: Some("text/plain"),
        content_encoding: Some("utf-8"),
        ..MessageProperties::default()
    });
    let pairs: [&[u8]; 8] = [
        &text("iothub-ack"),
        &text("full"),
        &text("name"),
        &text("value"),
        &text("number"),
        b"\x54\xff",
        &text("bare"),
        NULL,
    ];
    out.extend(described(0x74, &compound(0xd1, &pairs)));
    MessageWriter::new(&mut out).data(b"in ");
    MessageWriter::new(&mut out).data(b"parts");
    let sent = client.send(1, &out).await;
    assert_eq!(settled(&mut client, sent).await, Outcome::Accepted);
    let address = Address::parse("d1").unwrap();
    let queued = world.hub.peek(&address, None, 10).await.unwrap().remove(0).message;
    assert_eq!((&queued.body[..], queued.ack), (&b"in parts"[..], Ack::Full));
    let system = |name: &str| {
        let name = hub_core::envelope::SystemProperty::from_name(name).unwrap();
        queued.properties.system(name).map(str::to_owned)
    };
    assert_eq!(system("message-id").unwrap(), "11111111-1111-1111-1111-111111111111");
    assert_eq!(system("correlation-id").unwrap(), "7");
    assert_eq!(system("user-id").unwrap(), "operator");
    assert_eq!(system("content-type").unwrap(), "text/plain");
    let want = [("name", Some("value")), ("number", Some("-1")), ("bare", None)];
    assert_eq!(queued.properties.application(), want);
}

#[tokio::test]
async fn feedback_is_locked_settled_and_given_back() {
    let mut limits = Limits::default();
    limits.feedback_batch_age = Duration::from_millis(1);
    let world = World::with(|hub| hub.limits(limits), AmqpLimits::default()).await;
    world.register("d1").await;
    let address = Address::parse("d1").unwrap();
    let message = hub_core::envelope::Message::new("x").with_message_id("m-1").with_ack(Ack::Full);
    world.hub.send(&address, message).await.unwrap();
    world.hub.purge(&address).await.unwrap();
    let mut client = world.service().await;
    let wishes = Wishes { rcv_settle_mode: 1, ..Wishes::default() };
    let attached = client.receiver(1, "/messages/serviceBound/feedback", wishes).await;
    assert_eq!(attached, Ok(Said::Attach { handle: 1, refused: false }));
    client.credit(1, 0, 10).await;
    for round in 1..=2 {
        let Ok(Said::Transfer { delivery, settled, payload, .. }) = client.next_word().await else {
            panic!("no feedback")
        };
        assert!(!settled);
        let message = Message::read(&payload).unwrap();
        assert_eq!(
            message.properties.content_type,
            Some("application/vnd.microsoft.iothub.feedback.json")
        );
        assert_eq!(message.properties.user_id, Some(&b"hub"[..]));
        assert_eq!(message.properties.to, Some("/messages/serviceBound/feedback"));
        let at = message.annotations.find("iothub-enqueuedtime").unwrap();
        assert!(matches!(at, Some(Value::Timestamp(_))));
        let Body::Data(parts) = &message.body else { panic!() };
        let records: serde_json::Value = serde_json::from_slice(&parts.concat()).unwrap();
        assert_eq!(records[0]["originalMessageId"], "m-1");
        assert_eq!(records[0]["statusCode"], "Purged");
        // Given back, it comes again; taken, it does not.
        let state: &[u8] = if round == 1 { b"\x00\x53\x27\x45" } else { ACCEPTED };
        client.dispose(delivery, false, state).await;
        let want = if round == 1 { Outcome::Released } else { Outcome::Accepted };
        assert_eq!(client.next_word().await, Ok(Said::SettledBack(delivery, want)));
        // Said twice, it counts once.
        client.dispose(delivery, true, state).await;
    }
    assert_eq!(world.hub.feedback().try_receive().await, Ok(None));
}

#[tokio::test]
async fn a_message_settled_when_sent_is_sent_all_the_same() {
    let world = World::open().await;
    world.register("d1").await;
    let mut client = sender(&world).await;
    let fields: [&[u8]; 6] = [&uint(1), &uint(0), b"\xa0\x01t", NULL, crate::common::TRUE, FALSE];
    client.perform(1, 0x14, &fields, &message_to("d1", b"x")).await;
    let address = Address::parse("d1").unwrap();
    while world.hub.queue_depth(&address).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // One that cannot be refused, because nobody waits for that, costs its link.
    let fields: [&[u8]; 6] = [&uint(1), &uint(1), b"\xa0\x01t", NULL, crate::common::TRUE, FALSE];
    client.perform(1, 0x14, &fields, &message_to("nobody", b"x")).await;
    let why = Some("amqp:not-found".to_owned());
    assert_eq!(client.next_word().await, Ok(Said::Detach(1, why)));
}
