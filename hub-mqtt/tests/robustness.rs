//! Peers that are wrong, slow, silent, stuck or too many, and the end of a hub.

mod common;

use std::time::Duration;

use common::{Got, address, disconnected, lifecycle, register, start, start_with};
use hub_core::envelope::Message;
use hub_core::error::{CloseReason, DisconnectCause};
use hub_core::registry::{IdentitySpec, IfMatch, Status};
use hub_mqtt::codec::{Connect, ConnectCode, PacketId, Qos};
use tokio::io::AsyncWriteExt as _;

const EVENTS: &str = "devices/d1/messages/events/";
const RESPONSES: &str = "$iothub/twin/res/#";

#[tokio::test]
async fn refusals_have_the_code_that_sdks_act_on() {
    let running = start().await;
    let mut disabled = IdentitySpec::new(address("off"));
    disabled.status = Some(Status::Disabled);
    register(&running.hub, "off").await;
    running.hub.registry().put(&disabled, Some(&IfMatch::parse("*"))).await.unwrap();
    let token = common::token("d1");
    let off = common::token("off");
    let unknown = common::token("nobody");
    type Change = fn(&mut Connect<'_>);
    let cases: [(&str, Option<&str>, Change, ConnectCode); 7] = [
        ("d1", Some(&off), |_| {}, ConnectCode::NotAuthorized),
        ("d1", None, |_| {}, ConnectCode::NotAuthorized),
        ("d1", Some("rubbish"), |_| {}, ConnectCode::NotAuthorized),
        ("nobody", Some(&unknown), |_| {}, ConnectCode::NotAuthorized),
        ("d1", Some(&token), |c| c.client_id = "D1", ConnectCode::NotAuthorized),
        ("d1", Some(&token), |c| c.username = Some("elsewhere/d1/"), ConnectCode::NotAuthorized),
        ("off", Some(&off), |_| {}, ConnectCode::ServerUnavailable),
    ];
    for (identity, password, change, code) in cases {
        let mut device = running.dial().await;
        device.introduce_with(identity, password, change).await;
        assert!(!device.expect_connack(code).await);
        device.expect_closed().await;
    }
    for old in [
        &b"\x10\x10\x00\x06MQIsdp\x03\x00\x00\x00\x00\x02d1"[..],
        b"\x10\x0f\x00\x04MQTT\x05\x00\x00\x00\x00\x00\x02d1",
    ] {
        let mut device = running.dial().await;
        device.send(old).await;
        device.expect_connack(ConnectCode::BadProtocolLevel).await;
        device.expect_closed().await;
    }
    let metrics = running.metrics.read();
    assert_eq!((metrics.refused_unauthorized, metrics.refused_unavailable), (6, 1));
    assert_eq!((metrics.refused_level, metrics.accepted), (2, 0));
}

#[tokio::test]
async fn who_does_not_speak_mqtt_is_closed_and_nobody_else() {
    let running = start().await;
    let mut healthy = running.connect("d1/m1").await;
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x00",
        b"\xc0\x00",
        b"\x10\xff\xff\xff\x7f",
        b"\x10\x0e\x00\x04mqtt\x04\x00\x00\x00\x00\x02n1",
    ] {
        let mut stranger = running.dial().await;
        stranger.send(garbage).await;
        stranger.expect_closed().await;
    }
    let after_connect = [
        &b"\xff\x00"[..],
        b"\x30\xff\xff\xff\x7f",
        b"\x32\x05\x00\x01a\x00\x00",
        b"\x34\x22\x00\x1bdevices/d1/messages/events/\x00\x01xyz",
        b"\x62\x02\x00\x01",
        b"\x82\x06\x00\x01\x00\x01#\x01",
        b"\x30\x04\x00\x02a\xff",
    ];
    let mut life = running.hub.lifecycle();
    for garbage in after_connect {
        let mut device = running.connect("d1").await;
        device.send(garbage).await;
        device.expect_closed().await;
        assert_eq!(lifecycle(&mut life, disconnected).await, DisconnectCause::Protocol);
    }
    // The stranger who says goodbye in the middle of a word.
    let mut device = running.connect("d1").await;
    device.send(b"\x32\x80").await;
    drop(device);
    assert_eq!(lifecycle(&mut life, disconnected).await, DisconnectCause::ConnectionLost);
    healthy.expect_silence().await;
    let metrics = running.metrics.read();
    assert_eq!((metrics.not_connected, metrics.ended_protocol, metrics.ended_lost), (6, 7, 1));
}

#[tokio::test]
async fn bytes_may_trickle() {
    let running = start().await;
    let mut device = running.dial().await;
    device.io.set_nodelay(true).unwrap();
    let token = common::token("d1");
    let connect = Connect {
        clean_session: true,
        keep_alive: 0,
        client_id: "d1",
        will: None,
        username: Some("localhost/d1"),
        password: Some(token.as_bytes()),
    };
    let mut bytes = Vec::new();
    hub_mqtt::codec::connect(&mut bytes, &connect).unwrap();
    // What follows the CONNECT need not wait for the CONNACK.
    for id in 1..4 {
        common::write_publish(&mut bytes, PacketId::new(id).unwrap(), EVENTS, b"drop by drop");
    }
    for byte in bytes {
        device.io.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    device.expect_connack(ConnectCode::Accepted).await;
    for id in 1..4 {
        assert_eq!(device.next().await, Got::PubAck(id));
    }
}

#[tokio::test]
async fn silence_has_an_end() {
    let running = start_with(|limits| limits.handshake_timeout = Duration::from_millis(200)).await;
    let mut mute = running.dial().await;
    let mut slow = running.dial().await;
    slow.send(b"\x10\x20\x00").await;
    mute.expect_closed().await;
    slow.expect_closed().await;
    assert_eq!(running.metrics.read().handshake_timeouts, 2);

    let mut life = running.hub.lifecycle();
    let mut device = running.dial().await;
    let token = common::token("d1");
    device.introduce_with("d1", Some(&token), |connect| connect.keep_alive = 1).await;
    device.expect_connack(ConnectCode::Accepted).await;
    let begin = std::time::Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        device.expect_silence().await;
    }
    device.expect_closed().await;
    let lived = begin.elapsed();
    assert!((3400..6000).contains(&lived.as_millis()), "{lived:?}");
    assert_eq!(lifecycle(&mut life, disconnected).await, DisconnectCause::KeepAlive);
    assert_eq!(running.metrics.read().ended_keep_alive, 1);
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_alone() {
    let running = start_with(|limits| {
        limits.peer_write_bytes_max = 1024 * 1024;
        limits.c2d_depth_max = 400;
        limits.offer_window = 400;
    })
    .await;
    register(&running.hub, "stuck").await;
    let mut life = running.hub.lifecycle();
    let mut stuck = running.connect("stuck").await;
    stuck.subscribe(&[("devices/stuck/messages/devicebound/#", Qos::One)]).await;
    let mut healthy = running.connect("d1").await;
    let body = "x".repeat(60_000);
    for _ in 0..400 {
        running.hub.send(&address("stuck"), Message::new(body.clone())).await.unwrap();
    }
    let cause = lifecycle(&mut life, disconnected).await;
    assert_eq!(cause, DisconnectCause::Closed(CloseReason::PeerStuck));
    healthy.publish_acked(EVENTS, "fine").await;
    assert_eq!(running.metrics.read().ended_stuck, 1);
    // Nothing is lost: the messages wait for the next connection.
    assert_eq!(running.hub.registry().get(&address("stuck")).await.unwrap().messages, 400);
}

#[tokio::test]
async fn who_asks_without_reading_is_not_read_either() {
    let running = start().await;
    let mut device = running.connect("d1").await;
    device.subscribe(&[(RESPONSES, Qos::Zero)]).await;
    let fat = format!("{{\"fat\":\"{}\"}}", "x".repeat(4000));
    let id = device.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", &fat).await;
    assert_eq!(device.next().await, Got::PubAck(id));
    device.next_message().await;
    // 20,000 answers of 4 KB are 80 MB: far more than may wait for a peer. They come all the same,
    // because the hub reads no more questions than it can send answers.
    const QUESTIONS: usize = 20_000;
    let (mut read, mut write) = device.io.into_split();
    let asking = tokio::spawn(async move {
        let mut question = Vec::new();
        let publish = hub_mqtt::codec::Publish {
            dup: false,
            qos: Qos::Zero,
            retain: false,
            id: None,
            topic: "$iothub/twin/GET/?$rid=1",
            payload: b"",
        };
        hub_mqtt::codec::publish(&mut question, &publish).unwrap();
        for _ in 0..QUESTIONS / 100 {
            write.write_all(&question.repeat(100)).await.unwrap();
        }
        write
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (mut bytes, mut answers) = (Vec::new(), 0);
    while answers < QUESTIONS {
        let more = tokio::io::AsyncReadExt::read_buf(&mut read, &mut bytes);
        let n = tokio::time::timeout(Duration::from_secs(20), more).await.unwrap().unwrap();
        assert!(n > 0, "closed after {answers} answers");
        let mut used = 0;
        while let Ok(hub_mqtt::codec::Decoded::Packet(_, length)) =
            hub_mqtt::codec::decode(&bytes[used..], 1 << 20)
        {
            used += length;
            answers += 1;
        }
        bytes.drain(..used);
    }
    asking.await.unwrap();
    assert_eq!(running.metrics.read().ended_stuck, 0);
}

#[tokio::test]
async fn there_is_a_most_of_connections() {
    let running = start_with(|limits| limits.connections_max = 2).await;
    let _first = running.connect("d1").await;
    let mut second = running.dial().await;
    let mut third = running.dial().await;
    third.expect_closed().await;
    assert_eq!(running.metrics.read().over_limit, 1);
    second.send(b"\xc0\x00").await;
    second.expect_closed().await;
    // A place that was left is free.
    let _again = running.connect("d1/m1").await;
}

#[tokio::test]
async fn a_shutdown_ends_every_connection_and_returns() {
    let running = start().await;
    let mut device = running.connect("d1").await;
    let mut mute = running.dial().await;
    device.publish_acked(EVENTS, "x").await;
    let report = running.hub.shutdown(Duration::from_secs(5)).await;
    assert!(report.transports_ended && report.drained, "{report:?}");
    assert_eq!(report.connections_closed, 1);
    device.expect_closed().await;
    assert_eq!(mute.next().await, Got::ConnAck(false, ConnectCode::ServerUnavailable));
    mute.expect_closed().await;
    assert!(tokio::net::TcpStream::connect(running.addr).await.is_err());
}

#[tokio::test]
async fn dropping_the_hub_drops_its_connections() {
    let running = start().await;
    let mut device = running.connect("d1").await;
    let addr = running.addr;
    drop(running);
    device.expect_closed().await;
    while tokio::net::TcpStream::connect(addr).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
