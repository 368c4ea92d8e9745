//! Who is let in, and until when.

use std::time::Duration;

use hub_amqp::AmqpLimits;
use hub_core::Limits;
use hub_core::security::KeyForm;

use super::messages::{message_to, settled};
use crate::common::{Client, HOST, NULL, Outcome, Said, Wishes, World, frame, symbol};

const UNAUTHORIZED: &str = "amqp:unauthorized-access";

fn refused(said: Result<Said, crate::common::Gone>, handle: u32) {
    assert_eq!(said, Ok(Said::Attach { handle, refused: true }));
}

#[tokio::test]
async fn both_forms_of_a_key_sign_and_nothing_else_does() {
    let world = World::open().await;
    let mut client = Client::open(world.addr).await.unwrap();
    client.cbs().await.unwrap();
    for (token, status) in [
        (world.token(HOST, KeyForm::Decoded, 60), 200),
        (world.token(&format!("sb://{HOST}/hub"), KeyForm::Text, 60), 200),
        (world.token(&format!("{HOST}:5671"), KeyForm::Decoded, 60), 200),
        (world.token("other.test", KeyForm::Decoded, 60), 401),
        (world.token(HOST, KeyForm::Decoded, 60).replace("iothubowner", "nobody"), 401),
        (world.token(HOST, KeyForm::Decoded, 60).replace("sig=", "sig=A"), 401),
        ("SharedAccessSignature sr=hub.test&sig=x&se=1&skn=iothubowner".to_owned(), 401),
        ("Bearer x".to_owned(), 401),
        (String::new(), 401),
    ] {
        assert_eq!(client.put_token(&token).await, Ok(status), "{token}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_served() {
    let world = World::open().await;
    let mut client = Client::open(world.addr).await.unwrap();
    let log = "hub/ConsumerGroups/$Default/Partitions/0";
    refused(client.sender(1, "/messages/devicebound").await, 1);
    assert_eq!(client.next().await, Ok(Said::Detach(1, Some(UNAUTHORIZED.to_owned()))));
    for (handle, address) in
        [(2, "/messages/serviceBound/feedback"), (3, log), (4, "/devices/d1/twin")]
    {
        refused(client.receiver(handle, address, Wishes::default()).await, handle);
        let why = Some(UNAUTHORIZED.to_owned());
        assert_eq!(client.next().await, Ok(Said::Detach(handle, why)));
    }
    // A token for one thing is none for another.
    client.cbs().await.unwrap();
    let narrow = format!("sb://{HOST}/hub/ConsumerGroups/mine");
    assert_eq!(client.put_token(&world.token(&narrow, KeyForm::Text, 60)).await, Ok(200));
    refused(client.receiver(5, log, Wishes::default()).await, 5);
    client.next().await.unwrap();
    let mine = "hub/consumergroups/MINE/partitions/0";
    let attached = client.receiver(6, mine, Wishes::default()).await;
    assert_eq!(attached, Ok(Said::Attach { handle: 6, refused: false }));
}

#[tokio::test]
async fn a_name_and_a_token_in_the_security_layer_are_enough() {
    let world = World::open().await;
    for (token, code) in [
        (world.token(HOST, KeyForm::Decoded, 60), 0),
        (world.token("other.test", KeyForm::Decoded, 60), 1),
    ] {
        let mut client = Client::bare(world.addr).await.unwrap();
        client.write(b"AMQP\x03\x01\x00\x00").await;
        let response = format!("\0iothubowner@sas.root.hub\0{token}");
        let mut answer = Vec::new();
        hub_amqp::codec::Write::binary(&mut answer, response.as_bytes());
        client.write(&frame(1, 0, 0x41, &[&symbol("PLAIN"), &answer, NULL], b"")).await;
        assert_eq!(client.next().await, Ok(Said::Header(*b"AMQP\x03\x01\x00\x00")));
        assert!(matches!(client.next().await, Ok(Said::Sasl(_))));
        let Ok(Said::Sasl(outcome)) = client.next().await else { panic!() };
        // Descriptor, list32 with its size and count, then the code.
        assert_eq!(outcome[13], code);
        if code == 0 {
            client.begin(&[&crate::common::text("c")]).await.unwrap();
            let attached = client.sender(1, "/messages/devicebound").await;
            assert_eq!(attached, Ok(Said::Attach { handle: 1, refused: false }));
        } else {
            assert!(client.next().await.is_err());
        }
    }
}

fn strict() -> Limits {
    let mut limits = Limits::default();
    (limits.token_grace, limits.token_clock_skew) = (Duration::ZERO, Duration::ZERO);
    limits
}

#[tokio::test]
async fn a_token_that_ends_takes_its_links_with_it() {
    let world = World::with(|hub| hub.limits(strict()), AmqpLimits::default()).await;
    let mut client = Client::open(world.addr).await.unwrap();
    client.cbs().await.unwrap();
    let short = world.token(&format!("sb://{HOST}/hub"), KeyForm::Text, 2);
    assert_eq!(client.put_token(&short).await, Ok(200));
    let log = "hub/ConsumerGroups/$Default/Partitions/0";
    let attached = client.receiver(1, log, Wishes::default()).await;
    assert_eq!(attached, Ok(Said::Attach { handle: 1, refused: false }));
    assert_eq!(client.next_word().await, Ok(Said::Detach(1, Some(UNAUTHORIZED.to_owned()))));
    // It was the only one, and the peer is nobody any more.
    assert_eq!(client.next_word().await, Ok(Said::Close(Some(UNAUTHORIZED.to_owned()))));
}

#[tokio::test]
async fn a_token_that_is_renewed_keeps_its_links() {
    let world = World::with(|hub| hub.limits(strict()), AmqpLimits::default()).await;
    let device = world.register("d1").await;
    let mut client = Client::open(world.addr).await.unwrap();
    client.cbs().await.unwrap();
    let short = world.token(HOST, KeyForm::Decoded, 2);
    assert_eq!(client.put_token(&short).await, Ok(200));
    let attached = client.sender(1, "/messages/devicebound").await;
    assert_eq!(attached, Ok(Said::Attach { handle: 1, refused: false }));
    assert_eq!(client.put_token(&world.token(HOST, KeyForm::Decoded, 60)).await, Ok(200));
    // A device goes on with its newer token too; it came with the policy's.
    let attached = client.sender(2, "/devices/d1/messages/events").await;
    assert_eq!(attached, Ok(Said::Attach { handle: 2, refused: false }));
    assert_eq!(client.put_token(&device).await, Ok(200));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let sent = client.send(1, &message_to("d1", b"still here")).await;
    assert_eq!(settled(&mut client, sent).await, Outcome::Accepted);
    let sent = client.send(2, &message_to("d1", b"telemetry")).await;
    assert_eq!(settled(&mut client, sent).await, Outcome::Accepted);
}

#[tokio::test]
async fn a_device_that_renews_its_token_stays_connected() {
    let world = World::with(|hub| hub.limits(strict()), AmqpLimits::default()).await;
    world.register("d1").await;
    let mut client = Client::open(world.addr).await.unwrap();
    client.cbs().await.unwrap();
    let resource = format!("{HOST}/devices/d1");
    assert_eq!(client.put_token(&world.token(&resource, KeyForm::Decoded, 2)).await, Ok(200));
    let attached = client.sender(1, "/devices/d1/messages/events").await;
    assert_eq!(attached, Ok(Said::Attach { handle: 1, refused: false }));
    assert_eq!(client.put_token(&world.token(&resource, KeyForm::Decoded, 60)).await, Ok(200));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let sent = client.send(1, &message_to("d1", b"x")).await;
    assert_eq!(settled(&mut client, sent).await, Outcome::Accepted);
}

#[tokio::test]
async fn a_gateway_speaks_for_several_devices() {
    let world = World::open().await;
    let (one, two) = (world.register("d1").await, world.register("d2").await);
    let mut client = Client::open(world.addr).await.unwrap();
    client.cbs().await.unwrap();
    for token in [one, two] {
        assert_eq!(client.put_token(&token).await, Ok(200));
    }
    for (handle, id) in [(1, "d1"), (2, "d2")] {
        let attached = client.sender(handle, &format!("/devices/{id}/messages/events")).await;
        assert_eq!(attached, Ok(Said::Attach { handle, refused: false }));
        let sent = client.send(handle, &message_to(id, b"x")).await;
        assert_eq!(settled(&mut client, sent).await, Outcome::Accepted);
    }
    assert_eq!(world.hub.connections(), 2);
    world.register("d3").await;
    refused(client.sender(3, "/devices/d3/messages/events").await, 3);
    client.next().await.unwrap();
    // The end of one device's links is the end of its connection, and of nobody else's.
    client.detach(1).await;
    assert_eq!(client.next_word().await, Ok(Said::Detach(1, None)));
    while world.hub.connections() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sent = client.send(2, &message_to("d2", b"y")).await;
    assert_eq!(settled(&mut client, sent).await, Outcome::Accepted);
}
