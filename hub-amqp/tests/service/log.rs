//! The event log.

use hub_amqp::AmqpLimits;
use hub_amqp::codec::{Message, Value};
use hub_core::engine::Position;
use hub_core::envelope::{
    AuthMethod, AuthScope, AuthType, EventBatch, EventSource, Property, Stamp, SystemProperty,
};
use hub_core::id::Partition;
use hub_core::{Address, Hub};

use crate::common::{
    Client, NULL, Said, Wishes, World, compound, selector, symbol, terminus, text, uint,
};

const LOG: &str = "hub/ConsumerGroups/$Default/Partitions/0";

async fn world() -> World {
    World::with(|hub| hub.partitions(2), AmqpLimits::default()).await
}

/// Appends events to partition 0: a device whose events go there.
async fn publish(hub: &Hub, bodies: &[&[u8]]) {
    let address = (0..).map(|n| Address::parse(&format!("d{n}")).unwrap());
    let address = address.into_iter().find(|a| a.partition(2) == Partition(0)).unwrap();
    let auth = AuthMethod { scope: AuthScope::Device, kind: AuthType::Sas };
    let stamp = Stamp::new(EventSource::Telemetry, &address, "637", Some(auth), None);
    for body in bodies {
        let mut batch = EventBatch::new();
        batch.push(&stamp, [], body, usize::MAX).unwrap();
        hub.publish(&address, &mut batch).await.unwrap();
    }
}

fn filtered(expression: &str) -> Wishes {
    Wishes { filter: selector(expression), ..Wishes::default() }
}

/// A message that may come in parts: the last number and all of the payload.
pub(super) async fn message(client: &mut Client) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        match client.next_word().await.unwrap() {
            Said::Transfer { payload, more, settled, .. } => {
                assert!(settled, "a log has nothing to settle");
                whole.extend(payload);
                if !more {
                    return whole;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn sequence(payload: &[u8]) -> i64 {
    let message = Message::read(payload).unwrap();
    let found = message.annotations.find("x-opt-sequence-number").unwrap();
    found.and_then(Value::as_i64).unwrap()
}

#[tokio::test]
async fn every_position_begins_where_the_hub_would() {
    let world = world().await;
    publish(&world.hub, &[b"1", b"2", b"3"]).await;
    let mut reader = world.hub.reader(Partition(0), Position::Earliest).await.unwrap();
    let events = reader.try_read(10).await.unwrap();
    let at = events[1].enqueued.as_millis();
    let first_at = events.iter().position(|event| event.enqueued.as_millis() >= at).unwrap() + 1;
    let mut client = world.service().await;
    for (handle, (expression, want)) in [
        ("offset > '-1'".to_owned(), 1),
        ("offset > '1'".to_owned(), 2),
        ("offset >= '3'".to_owned(), 3),
        ("sequence-number > '2'".to_owned(), 3),
        ("sequence-number >= '2'".to_owned(), 2),
        (format!("enqueued-time >= '{at}'"), i64::try_from(first_at).unwrap()),
    ]
    .into_iter()
    .enumerate()
    {
        let handle = u32::try_from(handle).unwrap();
        let wishes = filtered(&format!("amqp.annotation.x-opt-{expression}"));
        let group = format!("hub/ConsumerGroups/g{handle}/Partitions/0");
        let attached = client.receiver(handle, &group, wishes).await;
        assert_eq!(attached, Ok(Said::Attach { handle, refused: false }), "{expression}");
        client.credit(handle, 0, 1).await;
        assert_eq!(sequence(&message(&mut client).await), want, "{expression}");
    }
    // Only what comes after the answer to the attach.
    let latest = filtered("amqp.annotation.x-opt-offset > '@latest'");
    let attached = client.receiver(50, "messages/events/Partitions/0", latest).await;
    assert_eq!(attached, Ok(Said::Attach { handle: 50, refused: false }));
    client.credit(50, 0, 10).await;
    publish(&world.hub, &[b"4"]).await;
    assert_eq!(sequence(&message(&mut client).await), 4);
}

#[tokio::test]
async fn an_event_has_its_annotations_in_their_types() {
    let world = world().await;
    let module = (0..).map(|n| Address::parse(&format!("d{n}/m")).unwrap());
    let module = module.into_iter().find(|a| a.partition(2) == Partition(0)).unwrap();
    let auth = AuthMethod { scope: AuthScope::Module, kind: AuthType::Sas };
    let stamp = Stamp::new(EventSource::Telemetry, &module, "637", Some(auth), Some("dtmi:a;1"));
    let mut batch = EventBatch::new();
    let properties = [
        Property::System(SystemProperty::MessageId, "m"),
        Property::System(SystemProperty::Subject, "part"),
        Property::Application("k", Some("v")),
    ];
    batch.push(&stamp, properties, b"body", usize::MAX).unwrap();
    batch.push(&stamp, [], b"bare", usize::MAX).unwrap();
    world.hub.publish(&module, &mut batch).await.unwrap();
    let mut reader = world.hub.reader(Partition(0), Position::Earliest).await.unwrap();
    let event = reader.try_read(1).await.unwrap().remove(0);
    let mut client = world.service().await;
    client.receiver(0, LOG, Wishes::default()).await.unwrap();
    client.credit(0, 0, 2).await;
    let payload = message(&mut client).await;
    let whole = Message::read(&payload).unwrap();
    let mut names = Vec::new();
    let mut items = whole.annotations;
    while let Some((Value::Symbol(name), _)) = items.take_pair().unwrap() {
        names.push(name);
    }
    assert_eq!(
        names,
        [
            "iothub-connection-device-id",
            "iothub-connection-module-id",
            "iothub-connection-auth-method",
            "iothub-connection-auth-generation-id",
            "iothub-enqueuedtime",
            "iothub-message-source",
            "dt-dataschema",
            "dt-subject",
            "x-opt-sequence-number",
            "x-opt-offset",
            "x-opt-enqueued-time",
        ]
    );
    let found = |name: &str| whole.annotations.find(name).unwrap().unwrap();
    let at = i64::try_from(event.enqueued.as_millis()).unwrap();
    assert_eq!(found("iothub-connection-device-id"), Value::Text(module.device_str()));
    assert_eq!(found("iothub-enqueuedtime"), Value::Timestamp(at));
    assert_eq!(found("x-opt-enqueued-time"), Value::Timestamp(at));
    assert_eq!(found("x-opt-sequence-number"), Value::Signed(1));
    assert_eq!(found("x-opt-offset"), Value::Text("1"));
    assert_eq!(whole.application.find("k").unwrap(), Some(Value::Text("v")));
    assert!(whole.properties.message_id.is_some());
    // Nothing set, nothing written: neither properties nor application properties.
    let bare = message(&mut client).await;
    assert!(!bare.windows(3).any(|w| w == b"\x00\x53\x73" || w == b"\x00\x53\x74"));
}

#[tokio::test]
async fn credit_holds_events_back_and_draining_uses_it_up() {
    let world = world().await;
    publish(&world.hub, &[b"1", b"2", b"3"]).await;
    let mut client = world.service().await;
    client.receiver(0, LOG, Wishes::default()).await.unwrap();
    client.credit(0, 0, 2).await;
    assert_eq!(sequence(&message(&mut client).await), 1);
    assert_eq!(sequence(&message(&mut client).await), 2);
    // The third waits: an answer to something else comes first.
    let described = client.sender(40, "$management").await;
    assert_eq!(described, Ok(Said::Attach { handle: 40, refused: false }));
    client.credit(0, 2, 1).await;
    assert_eq!(sequence(&message(&mut client).await), 3);
    let window = uint(100_000);
    let fields: [&[u8]; 9] = [
        &uint(0),
        &window,
        &uint(0),
        &window,
        &uint(0),
        &uint(3),
        &uint(7),
        NULL,
        crate::common::TRUE,
    ];
    client.perform(1, 0x13, &fields, b"").await;
    loop {
        if let Said::Flow { handle: Some(0), limit, drain } = client.next().await.unwrap() {
            assert_eq!((limit, drain), (10, true));
            break;
        }
    }
}

#[tokio::test]
async fn a_large_event_comes_in_parts() {
    let world = world().await;
    let large = vec![7; 200_000];
    publish(&world.hub, &[&large, b"small"]).await;
    let mut client = Client::bare(world.addr).await.unwrap();
    // Frames of a thousand bytes.
    client.begin(&[&text("c"), NULL, &uint(1000)]).await.unwrap();
    client.cbs().await.unwrap();
    let token = world.token(crate::common::HOST, hub_core::security::KeyForm::Text, 60);
    assert_eq!(client.put_token(&token).await, Ok(200));
    client.receiver(0, LOG, Wishes::default()).await.unwrap();
    client.credit(0, 0, 2).await;
    let first = message(&mut client).await;
    assert!(first.ends_with(&large));
    assert_eq!(sequence(&message(&mut client).await), 2);
}

fn epoch(number: i64) -> Wishes {
    let mut value = Vec::new();
    hub_amqp::codec::Write::long(&mut value, number);
    let properties = compound(0xd1, &[&symbol("com.microsoft:epoch"), &value]);
    Wishes { properties, ..Wishes::default() }
}

#[tokio::test]
async fn an_epoch_has_the_partition_to_itself() {
    let world = world().await;
    let stolen = || Some("amqp:link:stolen".to_owned());
    let (mut one, mut other) = (world.service().await, world.service().await);
    one.receiver(0, LOG, Wishes::default()).await.unwrap();
    one.receiver(1, LOG, Wishes::default()).await.unwrap();
    let attached = other.receiver(0, LOG, epoch(3)).await;
    assert_eq!(attached, Ok(Said::Attach { handle: 0, refused: false }));
    let mut gone = [one.next_word().await.unwrap(), one.next_word().await.unwrap()];
    gone.sort_by_key(|said| format!("{said:?}"));
    assert_eq!(gone, [Said::Detach(0, stolen()), Said::Detach(1, stolen())]);
    one.detach(0).await;
    one.detach(1).await;
    for (handle, wishes) in [(2, Wishes::default()), (3, epoch(2))] {
        let refused = one.receiver(handle, LOG, wishes).await;
        assert_eq!(refused, Ok(Said::Attach { handle, refused: true }));
        assert_eq!(one.next_word().await, Ok(Said::Detach(handle, stolen())));
    }
    // Another group is another matter.
    let elsewhere = "hub/ConsumerGroups/else/Partitions/0";
    let attached = one.receiver(4, elsewhere, Wishes::default()).await;
    assert_eq!(attached, Ok(Said::Attach { handle: 4, refused: false }));
    // When it goes, there is room again.
    drop(other);
    loop {
        match one.receiver(5, LOG, Wishes::default()).await.unwrap() {
            Said::Attach { refused: false, .. } => break,
            _ => {
                one.next_word().await.unwrap();
                one.detach(5).await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_place_in_the_log_is_refused() {
    let world = world().await;
    let mut client = world.service().await;
    let group =
        |group: &str, partition: &str| format!("hub/ConsumerGroups/{group}/Partitions/{partition}");
    let unknown = Wishes {
        filter: compound(0xd1, &[&symbol("no-such:filter"), &text("x")]),
        ..Wishes::default()
    };
    for (handle, (address, wishes, condition)) in [
        (group("g", "2"), Wishes::default(), "amqp:not-found"),
        (group("g", "x"), Wishes::default(), "amqp:not-found"),
        (group("no group", "0"), Wishes::default(), "com.microsoft:argument-error"),
        ("other/ConsumerGroups/g/Partitions/0".to_owned(), Wishes::default(), "amqp:not-found"),
        (group("g", "0"), unknown, "amqp:not-implemented"),
        (group("g", "0"), filtered("x > '1'"), "com.microsoft:argument-error"),
        ("queue".to_owned(), Wishes::default(), "amqp:not-found"),
        ("/messages/devicebound".to_owned(), Wishes::default(), "amqp:not-allowed"),
    ]
    .into_iter()
    .enumerate()
    {
        let handle = u32::try_from(handle).unwrap();
        let attached = client.receiver(handle, &address, wishes).await;
        assert_eq!(attached, Ok(Said::Attach { handle, refused: true }), "{address}");
        let why = Some(condition.to_owned());
        assert_eq!(client.next_word().await, Ok(Said::Detach(handle, why)), "{address}");
    }
    // A sender has nothing to do there, and a made-up address is none.
    let attached = client.sender(20, LOG).await;
    assert_eq!(attached, Ok(Said::Attach { handle: 20, refused: true }));
    client.next_word().await.unwrap();
    let source = terminus(0x28, "", NULL);
    let fields: [&[u8]; 6] = [&text("x"), &uint(21), crate::common::TRUE, NULL, NULL, &source];
    client.perform(1, 0x12, &fields, b"").await;
    client.next_word().await.unwrap();
    assert_eq!(client.next_word().await, Ok(Said::Detach(21, Some("amqp:not-found".to_owned()))));
}

#[tokio::test]
async fn questions_about_the_log_are_answered() {
    let world = world().await;
    publish(&world.hub, &[b"1", b"2"]).await;
    let mut client = world.service().await;
    client.sender(1, "$management").await.unwrap();
    client.receiver(2, "$management", Wishes::default()).await.unwrap();
    client.credit(2, 0, 100).await;
    let hub = ("type", "com.microsoft:eventhub");
    let part = ("type", "com.microsoft:partition");
    let (status, answer) = client.ask(1, "READ", &[hub, ("name", "hub")], "").await.unwrap();
    assert_eq!(status, 200);
    let map = body(&answer);
    assert_eq!(map.find("partition_count").unwrap(), Some(Value::Signed(2)));
    let Some(Value::Array(mut ids)) = map.find("partition_ids").unwrap() else { panic!() };
    assert_eq!(ids.take(), Ok(Some(Value::Text("0"))));
    let ask = [part, ("name", "hub"), ("partition", "0")];
    let (_, answer) = client.ask(1, "READ", &ask, "").await.unwrap();
    let map = body(&answer);
    let found = |name: &str| map.find(name).unwrap().unwrap();
    assert_eq!(found("begin_sequence_number"), Value::Signed(1));
    assert_eq!(found("last_enqueued_sequence_number"), Value::Signed(2));
    assert_eq!(found("last_enqueued_offset"), Value::Text("2"));
    assert_eq!(found("is_partition_empty"), Value::Bool(false));
    let ask = [part, ("name", "hub"), ("partition", "1")];
    let (_, answer) = client.ask(1, "READ", &ask, "").await.unwrap();
    let map = body(&answer);
    assert_eq!(map.find("is_partition_empty").unwrap(), Some(Value::Bool(true)));
    assert_eq!(map.find("last_enqueued_sequence_number").unwrap(), Some(Value::Signed(-1)));
    for (properties, status) in [
        ([part, ("name", "hub"), ("partition", "2")], 404),
        ([hub, ("name", "other"), ("partition", "")], 401),
        ([("type", "x"), ("name", "hub"), ("partition", "")], 400),
    ] {
        let answer = client.ask(1, "READ", &properties, "").await.unwrap();
        // Another log: the token covers its path, but there is none.
        let status = if status == 401 { 404 } else { status };
        assert_eq!(answer.0, status, "{properties:?}");
    }
    assert_eq!(client.ask(1, "WRITE", &[hub, ("name", "hub")], "").await.unwrap().0, 400);
}

fn body(payload: &[u8]) -> hub_amqp::codec::Items<'_> {
    match Message::read(payload).unwrap().body {
        hub_amqp::codec::Body::Value(Value::Map(items)) => items,
        other => panic!("{other:?}"),
    }
}
