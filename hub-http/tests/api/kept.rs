//! Dead letters and the history of twins.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{Server, server_with};
use http::Method;
use hub_core::engine::ManualClock;
use hub_core::limits::Limits;
use hub_core::time::Timestamp;
use serde_json::{Value, json};

const NO_HEADERS: &[(&str, &str)] = &[];

async fn server(clock: &Arc<ManualClock>) -> Server {
    let mut limits = Limits::default();
    limits.dead_letters_max = 5;
    limits.c2d_depth_max = 2;
    limits.twin_history_max = 5;
    let clock = clock.clone();
    server_with(|hub| hub.clock(clock).limits(limits), |http| http).await
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)))
}

/// Sends a message to a device or module, and purges it.
async fn dies(server: &Server, of: &str, body: String) {
    let service = server.policy("service");
    let headers = [("iothub-messageid", "m1"), ("iothub-app-k", "v")];
    let queue = format!("{of}/messages/deviceBound");
    service.send(Method::POST, &queue, &headers, body).await.expect(201);
    service.send(Method::DELETE, &format!("{of}/commands"), NO_HEADERS, "").await.expect(200);
}

#[tokio::test]
async fn a_dead_letter_is_read_sent_again_and_removed() {
    let clock = clock();
    let server = server(&clock).await;
    server.register("d1").await;
    server.register("d1/m1").await;
    let service = server.policy("service");
    for (of, module) in [("/devices/d1", Value::Null), ("/devices/d1/modules/m1", "m1".into())] {
        dies(&server, of, "hello".to_owned()).await;
        let path = format!("{of}/messages/deadLetters");
        let list = service.get(&path).await.expect(200);
        assert_eq!(list.header("x-ms-continuation"), None);
        let list = list.json();
        let number = list[0]["number"].as_u64().unwrap();
        let sequence = list[0]["sequenceNumber"].as_u64().unwrap();
        let to = format!("{of}/messages/deviceBound");
        let want = json!([{
            "number": number,
            "deviceId": "d1",
            "moduleId": module,
            "cause": "Purged",
            "deadTimeUtc": "2027-01-15T08:00:00.0000000Z",
            "keptUntilUtc": "2027-01-22T08:00:00.0000000Z",
            "deliveryCount": 0,
            "sequenceNumber": sequence,
            "enqueuedTimeUtc": "2027-01-15T08:00:00.0000000Z",
            "expiryTimeUtc": "2027-01-15T09:00:00.0000000Z",
            "ack": "none",
            "systemProperties": { "message-id": "m1", "to": to },
            "properties": { "k": "v" },
            "body": "aGVsbG8=",
        }]);
        assert_eq!(list, want);
        let letter = format!("{path}/{number}");
        assert_eq!(service.get(&letter).await.expect(200).json(), want[0]);

        let replay = format!("{letter}/replay");
        for _ in 0..2 {
            service.send(Method::POST, &to, NO_HEADERS, "x").await.expect(201);
        }
        let full = service.send(Method::POST, &replay, NO_HEADERS, "").await;
        full.refuses(403, "DeviceMaximumQueueDepthExceeded");
        service.get(&letter).await.expect(200);
        service.send(Method::DELETE, &format!("{of}/commands"), NO_HEADERS, "").await.expect(200);
        let bad =
            service.send(Method::POST, &format!("{replay}?expiry=soon"), NO_HEADERS, "").await;
        bad.refuses(400, "ArgumentInvalid");
        let again = format!("{replay}?expiry=2027-01-15T08:30:00Z");
        let sent = service.send(Method::POST, &again, NO_HEADERS, "").await.expect(201).json();
        assert_eq!((&sent["messageId"], &sent["depth"]), (&json!("m1"), &json!(1)));
        assert_eq!(sent["expiryTimeUtc"], "2027-01-15T08:30:00.0000000Z");
        let peeked = service.get(&format!("{to}/peek")).await.expect(200).json();
        assert_eq!(
            (&peeked[0]["body"], &peeked[0]["properties"]),
            (&want[0]["body"], &want[0]["properties"])
        );
        service.get(&letter).await.refuses(404, "DeadLetterNotFound");
        service.send(Method::POST, &again, NO_HEADERS, "").await.refuses(404, "DeadLetterNotFound");

        // The two that were in its way are letters now.
        let left = service.get(&path).await.expect(200).json();
        let first = format!("{path}/{}", left[0]["number"]);
        service.send(Method::DELETE, &first, NO_HEADERS, "").await.expect(204);
        service
            .send(Method::DELETE, &first, NO_HEADERS, "")
            .await
            .refuses(404, "DeadLetterNotFound");
        let purged = service.send(Method::DELETE, &path, NO_HEADERS, "").await.expect(200).json();
        assert_eq!(purged, json!({ "totalLettersPurged": 1 }));
    }
    service.get("/devices/d9/messages/deadLetters").await.refuses(404, "DeviceNotFound");
    service.get("/devices/d1/messages/deadLetters/x").await.refuses(400, "ArgumentInvalid");
}

#[tokio::test]
async fn letters_of_all_come_page_by_page() {
    let server = server(&clock()).await;
    for id in ["a", "b", "c"] {
        server.register(id).await;
        for n in ["1", "2"] {
            dies(&server, &format!("/devices/{id}"), format!("{id}{n}")).await;
        }
    }
    let service = server.policy("service");
    let (mut bodies, mut path) = (Vec::new(), "/messages/deadLetters?max=4".to_owned());
    loop {
        let page = service.get(&path).await.expect(200);
        for letter in page.json().as_array().unwrap() {
            bodies.push(letter["body"].as_str().unwrap().to_owned());
        }
        let Some(next) = page.header("x-ms-continuation") else { break };
        path = format!("/messages/deadLetters?max=4&after={}", next.replace(':', "%3A"));
    }
    // Base64 of a1, a2, b1 and so on.
    assert_eq!(bodies, ["YTE=", "YTI=", "YjE=", "YjI=", "YzE=", "YzI="]);
    service.get("/messages/deadLetters?after=7").await.refuses(400, "ArgumentInvalid");
    let purge = service.send(Method::DELETE, "/messages/deadLetters", NO_HEADERS, "").await;
    assert_eq!(purge.expect(200).json(), json!({ "totalLettersPurged": 6 }));
    assert_eq!(service.get("/messages/deadLetters").await.expect(200).json(), json!([]));
}

#[tokio::test]
async fn a_twin_is_read_as_it_was() {
    let clock = clock();
    let server = server(&clock).await;
    server.register("d1").await;
    server.register("d1/m1").await;
    let service = server.policy("service");
    for twin in ["/twins/d1", "/twins/d1/modules/m1"] {
        let patch = |text| service.send(Method::PATCH, twin, NO_HEADERS, text);
        patch(r#"{"tags":{"floor":1},"properties":{"desired":{"rate":5}}}"#).await.expect(200);
        let before = service.get(twin).await.expect(200).json();
        clock.advance(Duration::from_secs(60));
        patch(r#"{"tags":{"floor":null}}"#).await.expect(200);

        let list = service.get(&format!("{twin}/history?after=3")).await.expect(200).json();
        let at = Timestamp::parse(list[0]["timeUtc"].as_str().unwrap()).unwrap();
        let want = json!([{
            "version": 4,
            "timeUtc": at.to_string(),
            "opType": "updateTwin",
            "by": "service",
            "sections": ["tags"],
            "patch": { "tags": { "floor": null } },
            "previous": { "tags": { "floor": 1 } },
        }]);
        assert_eq!(list, want);
        let earlier = at.before(Duration::from_secs(1));
        for path in [format!("{twin}/history/3"), format!("{twin}/history/at?time={earlier}")] {
            let past = service.get(&path).await.expect(200).json();
            for name in ["deviceId", "moduleId", "etag", "version", "properties", "tags"] {
                assert_eq!(past[name], before[name], "{path} {name}");
            }
            assert_eq!(past["status"], Value::Null, "the registry has no history");
        }
        service.get(&format!("{twin}/history/9")).await.refuses(404, "TwinVersionNotFound");
        let long_ago = service.get(&format!("{twin}/history/at?time=2001-01-01T00:00:00Z")).await;
        long_ago.refuses(404, "TwinVersionNotFound");
        service.get(&format!("{twin}/history/at")).await.refuses(400, "ArgumentInvalid");
        service.get(&format!("{twin}/history/x")).await.refuses(400, "ArgumentInvalid");
    }
    service.get("/twins/d9/history").await.refuses(404, "DeviceNotFound");
}
