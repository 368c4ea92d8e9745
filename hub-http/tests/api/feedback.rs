//! Feedback: what became of messages.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{Client, server_at};
use http::Method;
use hub_core::engine::ManualClock;
use hub_core::time::Timestamp;
use serde_json::json;

const QUEUE: &str = "/devices/d1/messages/deviceBound";
const FEEDBACK: &str = "/messages/serviceBound/feedback";

async fn send(service: &Client, id: &str, ack: &str) {
    let headers = [("iothub-messageid", id), ("iothub-ack", ack)];
    service.send(Method::POST, QUEUE, &headers, "x").await.expect(201);
}

async fn received(device: &Client) -> String {
    let got = device.get(QUEUE).await.expect(200);
    got.header("etag").unwrap().trim_matches('"').to_owned()
}

#[tokio::test]
async fn what_a_device_did_comes_back_as_feedback() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    let server = server_at(clock.clone()).await;
    server.register("d1").await;
    let (service, device) = (server.policy("service"), server.device("d1").await);
    service.get(FEEDBACK).await.expect(204);
    for (id, ack, query) in [
        ("done", "full", ""),
        ("bad", "negative", "?reject&api-version=2021-04-12"),
        ("worse", "full", "?api-version=2021-04-12&reject=true"),
        ("fine", "positive", "?api-version=2021-04-12&reject=false"),
        ("silent", "none", ""),
    ] {
        send(&service, id, ack).await;
        let token = received(&device).await;
        device.delete(&format!("{QUEUE}/{token}{query}")).await.expect(204);
    }
    let waiting = {
        let service = service.clone();
        tokio::spawn(async move { service.get(&format!("{FEEDBACK}?maxWaitSeconds=60")).await })
    };
    let ticking = tokio::spawn(async move {
        loop {
            clock.advance(Duration::from_millis(500));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let batch = waiting.await.unwrap().expect(200);
    ticking.abort();
    let records = batch.json();
    let seen: Vec<_> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| (record["originalMessageId"].clone(), record["statusCode"].clone()))
        .collect();
    let want = [
        (json!("done"), json!("Success")),
        (json!("bad"), json!("Rejected")),
        (json!("worse"), json!("Rejected")),
        (json!("fine"), json!("Success")),
    ];
    assert_eq!(seen, want);
    let identity = server.owner().get("/devices/d1").await.json();
    assert_eq!(records[0]["deviceGenerationId"], identity["generationId"]);

    service.get(FEEDBACK).await.expect(204);
    let token = batch.header("etag").unwrap().trim_matches('"').to_owned();
    service.post(&format!("{FEEDBACK}/{token}/abandon"), "").await.expect(204);
    service.delete(&format!("{FEEDBACK}/{token}")).await.refuses(412, "DeviceMessageLockLost");
    let again = service.get("/messages/servicebound/FEEDBACK").await.expect(200);
    assert_eq!(again.json(), records);
    let token = again.header("etag").unwrap().trim_matches('"').to_owned();
    service.delete(&format!("{FEEDBACK}/{token}")).await.expect(204);
    service.get(FEEDBACK).await.expect(204);
    service.delete(&format!("{FEEDBACK}/x")).await.refuses(412, "DeviceMessageLockLost");
}
