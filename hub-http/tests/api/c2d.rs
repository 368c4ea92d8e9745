//! Sending to devices, looking at their queues, purging them.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{server, server_at};
use http::Method;
use hub_core::engine::ManualClock;
use hub_core::time::Timestamp;
use serde_json::json;

const QUEUE: &str = "/devices/d1/messages/deviceBound";

#[tokio::test]
async fn a_message_goes_from_a_back_end_to_a_device() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    let server = server_at(clock.clone()).await;
    server.register("d1").await;
    let service = server.policy("service");
    let headers = [
        ("iothub-messageid", "m1"),
        ("iothub-correlationid", "c1"),
        ("iothub-userid", "u1"),
        ("iothub-expiry", "2027-01-15T08:30:00Z"),
        ("iothub-ack", "full"),
        ("iothub-contenttype", "application/json"),
        ("iothub-contentencoding", "utf-8"),
        ("iothub-app-colour", "rouge é"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let sent = service.send(Method::POST, QUEUE, &headers, "hello").await.expect(201);
    let want = json!({
        "messageId": "m1",
        "sequenceNumber": 1,
        "expiryTimeUtc": "2027-01-15T08:30:00.0000000Z",
        "depth": 1,
        "depthMax": 50,
    });
    assert_eq!(sent.json(), want);
    let peeked = service.get(&format!("{QUEUE}/peek")).await.expect(200).json();
    assert_eq!(peeked[0]["body"], "aGVsbG8=");
    assert_eq!(peeked[0]["lockedUntilUtc"], json!(null));
    assert_eq!(peeked[0]["systemProperties"]["message-id"], "m1");
    assert_eq!(peeked[0]["properties"], json!({"colour": "rouge é"}));

    let device = server.device("d1").await;
    let got = device.get("/devices/d1/messages/devicebound").await.expect(200);
    assert_eq!(&got.body[..], b"hello");
    for (name, value) in [
        ("iothub-messageid", "m1"),
        ("iothub-correlationid", "c1"),
        ("iothub-userid", "u1"),
        ("iothub-ack", "full"),
        ("contenttype", "application/json"),
        ("contentencoding", "utf-8"),
        ("iothub-to", "/devices/d1/messages/deviceBound"),
        ("iothub-sequencenumber", "1"),
        ("iothub-deliverycount", "0"),
        ("iothub-enqueuedtime", "2027-01-15T08:00:00.0000000Z"),
        ("iothub-expiry", "2027-01-15T08:30:00.0000000Z"),
    ] {
        assert_eq!(got.header(name), Some(value), "{name}");
    }
    assert_eq!(got.headers["iothub-app-colour"].as_bytes(), "rouge é".as_bytes());
    assert_eq!(got.header("content-type"), None);
    let peeked = service.get(&format!("{QUEUE}/peek?after=0&max=1")).await.expect(200).json();
    assert_eq!(peeked[0]["lockedUntilUtc"], "2027-01-15T08:01:00.0000000Z");
    device.get(QUEUE).await.expect(204);
}

#[tokio::test]
async fn a_message_without_an_id_is_given_one() {
    let server = server().await;
    server.register("d1").await;
    let sent = server.owner().post(QUEUE, "").await.expect(201).json();
    let id = sent["messageId"].as_str().unwrap();
    assert_eq!(id.len(), 36);
    let got = server.device("d1").await.get(QUEUE).await.expect(200);
    assert_eq!(got.header("iothub-messageid"), Some(id));
}

#[tokio::test]
async fn modules_have_queues_too() {
    let server = server().await;
    server.register("d1").await;
    server.register("d1/m1").await;
    let queue = "/devices/d1/modules/m1/messages/deviceBound";
    server.policy("service").post(queue, "x").await.expect(201);
    server.device("d1").await.get(QUEUE).await.expect(204);
    let module = server.device("d1/m1").await;
    let got = module.get(queue).await.expect(200);
    let token = got.header("etag").unwrap().trim_matches('"');
    module.post(&format!("{queue}/{token}/abandon"), "").await.expect(204);
    let again = module.get(queue).await.expect(200);
    assert_eq!(again.header("iothub-deliverycount"), Some("1"));
    let token = again.header("etag").unwrap().trim_matches('"');
    module.delete(&format!("{queue}/{token}")).await.expect(204);
    let purged = server.owner().delete("/devices/d1/modules/m1/commands").await.expect(200).json();
    let want = json!({"deviceId": "d1", "moduleId": "m1", "totalMessagesPurged": 0});
    assert_eq!(purged, want);
}

#[tokio::test]
async fn a_queue_is_full_at_its_depth_and_empty_after_a_purge() {
    let server = server().await;
    server.register("d1").await;
    let service = server.policy("service");
    for _ in 0..50 {
        service.post(QUEUE, "x").await.expect(201);
    }
    service.post(QUEUE, "x").await.refuses(403, "DeviceMaximumQueueDepthExceeded");
    let device = server.owner().get("/devices/d1").await.json();
    assert_eq!(device["cloudToDeviceMessageCount"], 50);
    let purged = service.delete("/devices/d1/commands").await.expect(200).json();
    let want = json!({"deviceId": "d1", "moduleId": null, "totalMessagesPurged": 50});
    assert_eq!(purged, want);
    service.delete("/devices/d2/commands").await.refuses(404, "DeviceNotFound");
}

#[tokio::test]
async fn bad_messages_are_refused() {
    let server = server().await;
    server.register("d1").await;
    let service = server.policy("service");
    let long = "x".repeat(129);
    for (name, value, status, error) in [
        ("iothub-ack", "maybe", 400, "ArgumentInvalid"),
        ("iothub-expiry", "PT1H", 400, "ArgumentInvalid"),
        ("iothub-expiry", "1893456000", 400, "ArgumentInvalid"),
        ("iothub-expiry", "2020-01-01T00:00:00Z", 403, "InvalidMessageExpiryTime"),
        ("iothub-expiry", "2999-01-01T00:00:00Z", 403, "InvalidMessageExpiryTime"),
        ("iothub-messageid", &long, 400, "ArgumentInvalid"),
    ] {
        let reply = service.send(Method::POST, QUEUE, &[(name, value)], "x").await;
        reply.refuses(status, error);
    }
    service.post(QUEUE, vec![0; 65_537]).await.refuses(413, "MessageTooLarge");
    service.post("/devices/d2/messages/deviceBound", "").await.refuses(404, "DeviceNotFound");
    let disabled = r#"{"status":"disabled"}"#;
    server.owner().put("/devices/off", disabled).await.expect(200);
    service.post("/devices/off/messages/deviceBound", "").await.refuses(404, "DeviceNotFound");
    service.get("/devices/d2/messages/deviceBound/peek").await.refuses(404, "DeviceNotFound");
    assert_eq!(service.get(&format!("{QUEUE}/peek")).await.json(), json!([]));
}

#[tokio::test]
async fn a_lost_lock_is_told() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    let server = server_at(clock.clone()).await;
    server.register("d1").await;
    server.owner().post(QUEUE, "x").await.expect(201);
    let device = server.device("d1").await;
    let token = |reply: &crate::client::Reply| {
        reply
            .header("etag")
            .unwrap()
            .strip_prefix('"')
            .unwrap()
            .strip_suffix('"')
            .unwrap()
            .to_owned()
    };
    let first = token(&device.get(QUEUE).await.expect(200));
    clock.advance(Duration::from_secs(60));
    let lost = device.delete(&format!("{QUEUE}/{first}")).await;
    lost.refuses(412, "DeviceMessageLockLost");
    // A lock of five seconds, asked for in each of the two ways.
    let headers = [("IotHub-MessageLockTimeout", "5")];
    let again = device.send(Method::GET, QUEUE, &headers, "").await.expect(200);
    assert_eq!(again.header("iothub-deliverycount"), Some("0"));
    clock.advance(Duration::from_secs(5));
    let path = format!("{QUEUE}?api-version=2018-06-30&iothub-messagelocktimeout=5");
    let third = token(&device.get(&path).await.expect(200));
    for (method, path) in [
        (Method::DELETE, format!("{QUEUE}/{}", token(&again))),
        (Method::POST, format!("{QUEUE}/{}/abandon", token(&again))),
        (Method::DELETE, format!("{QUEUE}/not-a-token")),
    ] {
        device.send(method, &path, &[], "").await.refuses(412, "DeviceMessageLockLost");
    }
    let settle = [("if-match", third.as_str())];
    let path = format!("{QUEUE}/{third}");
    device.send(Method::DELETE, &path, &settle, "").await.expect(204);
    device.delete(&path).await.refuses(412, "DeviceMessageLockLost");
    let bad = [("iothub-messagelocktimeout", "soon")];
    device.send(Method::GET, QUEUE, &bad, "").await.refuses(400, "ArgumentInvalid");
}
