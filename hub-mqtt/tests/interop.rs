//! Every pattern of messaging over real sockets, against a running hub.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Got, address, disconnected, events, lifecycle, start, start_on};
use hub_core::delivery::MessageOutcome;
use hub_core::envelope::{Ack, Message, SystemProperty};
use hub_core::error::{CloseReason, DisconnectCause, ErrorKind};
use hub_core::method::MethodCall;
use hub_core::transport::{Peer, StreamHandler as _};
use hub_core::twin::ServicePatch;
use hub_core::{Hub, Limits};
use hub_mqtt::MqttStreamHandler;
use hub_mqtt::codec::{ConnectCode, PacketId, Qos, Will};
use hub_store_memory::MemoryStore;

const EVENTS: &str = "devices/d1/messages/events/";
const DEVICEBOUND: &str = "devices/d1/messages/devicebound/#";
const METHODS: &str = "$iothub/methods/POST/#";
const RESPONSES: &str = "$iothub/twin/res/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

/// The request id of a method call, which is lower-case hexadecimal.
fn request_id(topic: &str, method: &str) -> u64 {
    let id = topic.strip_prefix(&format!("$iothub/methods/POST/{method}/?$rid=")).unwrap();
    assert_eq!(id, id.to_lowercase());
    u64::from_str_radix(id, 16).unwrap()
}

#[tokio::test]
async fn telemetry_is_acknowledged_and_read_back() {
    let running = start().await;
    let mut device = running.connect("d1").await;
    let topic = format!("{EVENTS}%24.mid=m1&%24.ct=application%2Fjson&a=x%20y");
    device.publish_acked(&topic, r#"{"t":1}"#).await;
    // A burst is one batch; its acknowledgements come in order.
    let mut burst = Vec::new();
    for id in 100..400 {
        common::write_publish(&mut burst, PacketId::new(id).unwrap(), EVENTS, &[b'x'; 256]);
    }
    device.send(&burst).await;
    for id in 100..400 {
        assert_eq!(device.next().await, Got::PubAck(id));
    }
    let mut module = running.connect("d1/m1").await;
    module.publish_acked("devices/d1/modules/m1/messages/events/%24.on=o/", "m").await;
    let found = events(&mut running.reader().await, 302).await;
    assert_eq!(found.len(), 302);
    let first = &found[0];
    assert_eq!((first.sender.as_str(), &first.body[..]), ("d1", &br#"{"t":1}"#[..]));
    assert_eq!(first.system(SystemProperty::MessageId), Some("m1"));
    assert_eq!(first.properties.application(), [("a", Some("x y"))]);
    let last = found.last().unwrap();
    assert_eq!(last.sender.as_str(), "d1/m1");
    assert_eq!(last.system(SystemProperty::OutputName), Some("o"));
}

#[tokio::test]
async fn a_message_of_256_kib_passes_and_a_larger_one_ends_the_connection() {
    let running = start().await;
    let mut device = running.connect("d1").await;
    device.publish_acked(EVENTS, &"x".repeat(256 * 1024)).await;
    device.publish(EVENTS, &"x".repeat(256 * 1024 + 1)).await;
    device.expect_closed().await;
    assert_eq!(events(&mut running.reader().await, 1).await[0].body.len(), 256 * 1024);
    assert_eq!(running.metrics.read().ended_protocol, 1);
}

#[tokio::test]
async fn messages_are_completed_by_puback_and_redelivered_without() {
    let running = start().await;
    let d1 = address("d1");
    let mut device = running.connect("d1").await;
    assert_eq!(device.subscribe(&[(DEVICEBOUND, Qos::Two)]).await, [1]);
    let message =
        Message::new("hello").with_message_id("m1").with_ack(Ack::Full).with_property("p", "a b");
    let sent = running.hub.send(&d1, message).await.unwrap();
    let got = device.next_message().await;
    assert_eq!(
        (got.topic.as_str(), got.payload.as_str(), got.id, got.dup),
        (
            "devices/d1/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2Fdevicebound&iothub-ack=full&p=a%20b",
            "hello",
            Some(1),
            false
        )
    );
    // Gone without PUBACK: it comes again to the stored session, under the same packet id.
    drop(device);
    let mut device = running.dial().await;
    device.introduce("d1").await;
    assert!(device.expect_connack(ConnectCode::Accepted).await, "session present");
    let again = device.next_message().await;
    assert_eq!((again.topic, again.id, again.dup), (got.topic, Some(1), true));
    device.puback(Some(1)).await;
    assert_eq!(sent.await, Some(MessageOutcome::Completed));
    device.expect_silence().await;
    // QoS 0: completed because it was written.
    assert_eq!(device.subscribe(&[(DEVICEBOUND, Qos::Zero)]).await, [0]);
    let sent = running.hub.send(&d1, Message::new("once")).await.unwrap();
    let got = device.next_message().await;
    assert_eq!((got.payload.as_str(), got.id), ("once", None));
    assert_eq!(sent.await, Some(MessageOutcome::Completed));
}

#[tokio::test]
async fn twins_are_read_reported_and_pushed() {
    let running = start().await;
    let mut device = running.connect("d1").await;
    // The Python SDK asks without having subscribed: acknowledged, not answered.
    device.publish_acked("$iothub/twin/GET/?$rid=0", " ").await;
    device.publish_acked("$iothub/twin/PATCH/properties/reported/?$rid=0", r#"{"z":1}"#).await;
    device.expect_silence().await;
    device.subscribe(&[(RESPONSES, Qos::Zero), (DESIRED, Qos::One)]).await;
    device.publish_acked("$iothub/twin/GET/?$rid=e8-1", " ").await;
    let twin = device.next_message().await;
    assert_eq!(twin.topic, "$iothub/twin/res/200/?$rid=e8-1");
    assert_eq!(twin.payload, r#"{"desired":{"$version":1},"reported":{"z":1,"$version":2}}"#);
    let id = device.publish("$iothub/twin/PATCH/properties/reported/?$rid=e8-2", "{\"b\":2}").await;
    assert_eq!(device.next().await, Got::PubAck(id));
    let reported = device.next_message().await;
    assert_eq!(reported.topic, "$iothub/twin/res/204/?$rid=e8-2&$version=3");
    assert_eq!(reported.payload, "");
    for (query, payload, status, code) in [
        ("$rid=e8-3&$version=1", r#"{"b":3}"#, 412, 412_001),
        ("$rid=e8-3", "[1]", 400, 400_004),
        ("$rid=e8-3", "{", 400, 400_004),
    ] {
        let topic = format!("$iothub/twin/PATCH/properties/reported/?{query}");
        device.publish_acked(&topic, payload).await;
        let refused = device.next_message().await;
        assert_eq!(refused.topic, format!("$iothub/twin/res/{status}/?$rid=e8-3"));
        let body = refused.payload;
        assert!(body.starts_with(&format!("{{\"errorCode\":{code},\"trackingId\":\"")), "{body}");
    }
    let limits = Limits::default();
    let patch = br#"{"properties":{"desired":{"a":1,"gone":null}}}"#;
    let patch = ServicePatch::parse(patch, &limits).unwrap();
    running.hub.patch_twin(&address("d1"), patch, None).await.unwrap();
    let desired = device.next_message().await;
    assert_eq!(desired.topic, "$iothub/twin/PATCH/properties/desired/?$version=2");
    assert!(desired.payload.contains("\"a\":1") && desired.payload.contains("\"$version\":2"));
    assert_eq!(desired.id, Some(65535));
    device.puback(desired.id).await;
    device.expect_silence().await;
}

#[tokio::test]
async fn methods_are_called_answered_and_lost() {
    let running = start().await;
    let d1 = address("d1");
    let offline = running.hub.invoke(&d1, MethodCall::new("m")).await.unwrap_err();
    assert_eq!(offline.kind(), ErrorKind::DeviceNotOnline);
    let mut device = running.connect("d1").await;
    device.subscribe(&[(METHODS, Qos::Zero)]).await;
    // As the cloud service counts them: from 1, in hexadecimal.
    for expected in 1..=11 {
        let (hub, d1) = (running.hub.clone(), d1.clone());
        let call = tokio::spawn(async move {
            hub.invoke(&d1, MethodCall::new("thermostat*do").with_payload("{\"x\":1}")).await
        });
        let request = device.next_message().await;
        let id = request_id(&request.topic, "thermostat*do");
        assert_eq!(id, expected);
        assert_eq!(request.payload, "{\"x\":1}");
        device.publish_acked(&format!("$iothub/methods/res/299/?$rid={id:x}"), "[7]").await;
        let reply = call.await.unwrap().unwrap();
        assert_eq!((reply.status, &reply.payload[..]), (299, &b"[7]"[..]));
    }
    // An answer that nobody waits for is acknowledged and means nothing.
    device.publish_acked("$iothub/methods/res/200/?$rid=b", "").await;
    device.publish_acked("$iothub/methods/res/200/?$rid=zz", "").await;
    let hub = running.hub.clone();
    let call = tokio::spawn(async move { hub.invoke(&d1, MethodCall::new("m")).await });
    assert_eq!(device.next_message().await.payload, "null");
    drop(device);
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::DeviceDisconnected);
}

/// The n-th call of a connection has another request id than the n-th of the one before it.
#[tokio::test]
async fn an_answer_that_comes_over_a_later_connection_ends_no_other_call() {
    let running = start().await;
    let d1 = address("d1");
    let mut ids = Vec::new();
    for connection in 1..=3 {
        let mut device = running.connect("d1").await;
        device.subscribe(&[(METHODS, Qos::Zero)]).await;
        let (hub, d1) = (running.hub.clone(), d1.clone());
        let call = tokio::spawn(async move { hub.invoke(&d1, MethodCall::new("m")).await });
        let id = request_id(&device.next_message().await.topic, "m");
        for late in &ids {
            let topic = format!("$iothub/methods/res/200/?$rid={late:x}");
            device.publish_acked(&topic, "\"late\"").await;
        }
        if connection < 3 {
            ids.push(id);
            drop(device);
            let lost = call.await.unwrap().unwrap_err();
            assert_eq!(lost.kind(), ErrorKind::DeviceDisconnected);
        } else {
            device.publish_acked(&format!("$iothub/methods/res/200/?$rid={id:x}"), "7").await;
            assert_eq!(call.await.unwrap().unwrap().payload, "7");
        }
    }
    assert_eq!(ids[0], 1, "the first counts as the cloud service does");
}

#[tokio::test]
async fn a_stored_session_survives_reconnects_and_the_hub() {
    let store = Arc::new(MemoryStore::new());
    let running = start_on(Hub::builder_on(store.clone())).await;
    let mut device = running.connect("d1").await;
    device.subscribe(&[(DEVICEBOUND, Qos::One), (METHODS, Qos::Zero), (DESIRED, Qos::Zero)]).await;
    device.send(b"\xe0\x00").await;
    device.expect_closed().await;
    running.hub.send(&address("d1"), Message::new("while away")).await.unwrap();
    running.hub.shutdown(Duration::from_secs(5)).await;
    drop(running);

    let running = start_on(Hub::builder_on(store)).await;
    let mut device = running.dial().await;
    device.introduce("d1").await;
    assert!(device.expect_connack(ConnectCode::Accepted).await);
    let message = device.next_message().await;
    assert_eq!(message.payload, "while away");
    device.puback(message.id).await;
    let (hub, d1) = (running.hub.clone(), address("d1"));
    let call = tokio::spawn(async move { hub.invoke(&d1, MethodCall::new("m")).await });
    let id = request_id(&device.next_message().await.topic, "m");
    device.publish_acked(&format!("$iothub/methods/res/200/?$rid={id:x}"), "").await;
    assert_eq!(call.await.unwrap().unwrap().payload, "null");
    drop(device);

    let mut device = running.dial().await;
    let token = common::token("d1");
    device.introduce_with("d1", Some(&token), |connect| connect.clean_session = true).await;
    assert!(!device.expect_connack(ConnectCode::Accepted).await, "a clean session has no past");
    running.hub.send(&address("d1"), Message::new("waits")).await.unwrap();
    device.expect_silence().await;
    // The queue is the device's, not the session's.
    device.subscribe(&[(DEVICEBOUND, Qos::One)]).await;
    assert_eq!(device.next_message().await.payload, "waits");
    drop(device);
    let mut device = running.dial().await;
    device.introduce("d1").await;
    assert!(!device.expect_connack(ConnectCode::Accepted).await);
}

#[tokio::test]
async fn the_newest_connection_wins() {
    let running = start().await;
    let mut life = running.hub.lifecycle();
    let mut first = running.dial().await;
    let token = common::token("d1");
    let will = Will { topic: EVENTS, payload: b"gone", qos: Qos::One, retain: false };
    first.introduce_with("d1", Some(&token), |connect| connect.will = Some(will)).await;
    first.expect_connack(ConnectCode::Accepted).await;
    let mut second = running.connect("d1").await;
    first.expect_closed().await;
    let cause = lifecycle(&mut life, disconnected).await;
    assert_eq!(cause, DisconnectCause::Closed(CloseReason::TakenOver));
    second.publish_acked(EVENTS, "here").await;
    // The device is not gone, so its will was not published.
    let found = events(&mut running.reader().await, 1).await;
    assert_eq!((found.len(), &found[0].body[..]), (1, &b"here"[..]));
    assert_eq!(running.metrics.read().ended_by_hub, 1);
}

#[tokio::test]
async fn a_will_is_published_when_the_device_goes_without_a_goodbye() {
    let running = start().await;
    let mut reader = running.reader().await;
    let token = common::token("d1");
    for clean in [true, false] {
        let mut device = running.dial().await;
        let topic = "devices/d1/messages/events/k=v";
        let will = Will { topic, payload: b"gone", qos: Qos::One, retain: false };
        device.introduce_with("d1", Some(&token), |connect| connect.will = Some(will)).await;
        device.expect_connack(ConnectCode::Accepted).await;
        if clean {
            device.send(b"\xe0\x00").await;
            device.expect_closed().await;
        }
    }
    let found = events(&mut reader, 1).await;
    assert_eq!(&found[0].body[..], b"gone");
    let properties = found[0].properties.application();
    assert_eq!(properties, [("k", Some("v")), ("iothub-MessageType", Some("Will"))]);
    assert!(reader.try_read(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_byte_stream_of_another_transport_is_served_too() {
    let running = start().await;
    let handler = MqttStreamHandler::new();
    assert_eq!(handler.subprotocol(), "mqtt");
    let (near, far) = tokio::io::duplex(100);
    let (hub, shutdown) = (running.hub.clone(), running.hub.shutdown_signal());
    let serving = {
        let handler = handler.clone();
        tokio::spawn(async move {
            handler.handle(hub, Box::new(far), Peer::default(), shutdown).await;
        })
    };
    let mut device = common::Client::new(near);
    device.introduce("d1").await;
    device.expect_connack(ConnectCode::Accepted).await;
    device.publish_acked(EVENTS, &"x".repeat(5000)).await;
    device.send(b"\xe0\x00").await;
    device.expect_closed().await;
    serving.await.unwrap();
    assert_eq!(handler.metrics().read().ended_clean, 1);
}
