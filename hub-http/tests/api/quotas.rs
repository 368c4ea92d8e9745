//! Quotas as the callers of HTTP meet them.

use std::sync::Arc;
use std::time::Duration;

use hub_core::engine::{DeviceEvent, ManualClock};
use hub_core::frame::Interest;
use hub_core::id::Address;
use hub_core::quota::{Operation, Quotas, Rate};
use hub_core::time::Timestamp;
use serde_json::{Value, json};

use crate::client::{Reply, Server, server_with};

const EVENTS: &str = "/devices/d1/messages/events";
const SECOND: Duration = Duration::from_secs(1);

/// A hub with quotas at noon, the device `d1`, and the clock.
async fn limited(quotas: Quotas) -> (Server, Arc<ManualClock>) {
    let noon = Timestamp::parse("2026-03-01T12:00:00Z").unwrap();
    let clock = Arc::new(ManualClock::new(noon));
    let server = server_with(|hub| hub.clock(clock.clone()).quotas(quotas), |http| http).await;
    server.register("d1").await;
    (server, clock)
}

#[track_caller]
fn throttled(reply: Reply, operation: &str, seconds: &str) {
    let reply = reply.refuses(429, "ThrottlingException");
    assert_eq!(reply.header("retry-after"), Some(seconds));
    let message = format!(
        "ErrorCode:ThrottlingException;The request has been throttled. Wait {seconds} seconds and \
         try again. Operation type: {operation}"
    );
    assert_eq!(reply.json()["Message"], message);
}

async fn waiting(server: &Server) {
    let waits = || {
        let all = server.hub.resources();
        all.iter().any(|found| found.name == "quota_waiting" && found.depth == 1)
    };
    let look = async {
        while !waits() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.unwrap();
}

#[tokio::test]
async fn telemetry_waits_and_is_refused() {
    let rate = Rate::per_second(1).with_burst(2);
    let quotas = Quotas::default().per_device(Operation::TelemetrySend, rate);
    let (server, clock) = limited(quotas.longest_wait(SECOND)).await;
    let device = server.device("d1").await;
    // A batch counts as what is in it.
    let batch = r#"[{"body":"YTE="},{"body":"YTI="}]"#;
    let content = ("content-type", "application/vnd.microsoft.iothub.json");
    device.send(http::Method::POST, EVENTS, &[content], batch).await.expect(204);
    let third = tokio::spawn({
        let device = device.clone();
        async move { device.post(EVENTS, "a3").await }
    });
    waiting(&server).await;
    throttled(device.post(EVENTS, "a4").await, "DeviceToCloudSend", "2");
    clock.advance(SECOND);
    third.await.unwrap().expect(204);
}

/// Each of the operations, once too often. One request counts once, whatever the hub does for it.
#[tokio::test]
async fn each_operation_has_its_quota() {
    let quotas = Operation::ALL.into_iter().fold(Quotas::default(), |quotas, operation| {
        quotas.per_hub(operation, Rate::per_minute(2).with_burst(1))
    });
    let (server, clock) = limited(quotas.longest_wait(Duration::ZERO)).await;
    let (owner, device) = (server.owner(), server.device("d1").await);
    let mut listener = server.hub.device(&Address::parse("d1").unwrap()).await.unwrap();
    listener.subscribe(Interest::Methods).await.unwrap();
    tokio::spawn(async move {
        while let DeviceEvent::Method(call, _, payload) = listener.next().await {
            listener.reply(call, 200, payload).await;
        }
    });
    let post = http::Method::POST;
    let get = http::Method::GET;
    let query = r#"{"query":"SELECT * FROM devices"}"#;
    let twin = r#"{"tags":{"a":1}}"#;
    for (who, method, path, body, operation) in [
        (&device, &post, EVENTS, "x", "DeviceToCloudSend"),
        (&device, &get, "/devices/d1/messages/deviceBound", "", "CloudToDeviceReceive"),
        (&owner, &post, "/devices/d1/messages/deviceBound", "x", "CloudToDeviceSend"),
        (&owner, &post, "/twins/d1/methods", r#"{"methodName":"m"}"#, "DirectMethod"),
        (&owner, &get, "/twins/d1", "", "TwinRead"),
        (&owner, &http::Method::PATCH, "/twins/d1", twin, "TwinUpdate"),
        (&owner, &http::Method::PUT, "/devices/d2", r#"{"deviceId":"d2"}"#, "RegistryOperation"),
        (&owner, &post, "/devices/query", query, "Query"),
        (&owner, &get, "/jobs/v2/query", "", "JobOperation"),
    ] {
        let first = who.send(method.clone(), path, &[], body).await;
        assert!(first.status.is_success(), "{operation}: {first:?}");
        throttled(who.send(method.clone(), path, &[], body).await, operation, "30");
    }
    clock.advance(30 * SECOND);
    owner.get("/twins/d1").await.expect(200);
    // Requests are no connections: a device may come as often as it likes.
    for _ in 0..3 {
        device
            .post("/devices/d1/messages/deviceBound/x/abandon", "")
            .await
            .refuses(412, "DeviceMessageLockLost");
    }
}

/// Each item of a bulk request counts for itself, and the others are done.
#[tokio::test]
async fn items_of_a_bulk_request_count_each() {
    let rate = Rate::per_minute(2);
    let quotas = Quotas::default().per_hub(Operation::Registry, rate).longest_wait(Duration::ZERO);
    let (server, _) = limited(quotas).await;
    let items: Vec<Value> =
        (0..3).map(|n| json!({"id": format!("b{n}"), "importMode": "create"})).collect();
    let reply = server.owner().post("/devices", json!(items).to_string()).await;
    let reply = reply.json();
    assert_eq!(reply["isSuccessful"], false);
    assert_eq!(reply["errors"].as_array().unwrap().len(), 1, "{reply}");
    assert_eq!(reply["errors"][0]["errorCode"], "ThrottlingException");
    let devices = server.hub.registry().devices(None, 10).await.unwrap();
    assert_eq!(devices.len(), 3, "d1 and two of three");
}

#[tokio::test]
async fn the_day_has_so_many_messages() {
    let (server, clock) = limited(Quotas::default().messages_per_day(2)).await;
    let (owner, device) = (server.owner(), server.device("d1").await);
    device.post(EVENTS, "x").await.expect(204);
    owner.get("/twins/d1").await.expect(200);
    let over = device.post(EVENTS, "x").await.refuses(403, "IotHubQuotaExceeded");
    assert_eq!(over.header("retry-after"), Some("43200"));
    owner.post("/devices/d1/messages/deviceBound", "x").await.refuses(403, "IotHubQuotaExceeded");
    owner.get("/devices/d1").await.expect(200);
    clock.advance(12 * Duration::from_secs(3600));
    // The tokens have expired meanwhile.
    server.device("d1").await.post(EVENTS, "x").await.expect(204);
}

/// The Node SDK waits as long as it says and no longer: what a call waits for its turn is taken from
/// what it waits for its answer.
#[tokio::test]
async fn a_call_that_waited_for_its_turn_waits_less_for_its_answer() {
    let quotas = Quotas::default()
        .per_hub(Operation::DirectMethod, Rate::per_second(1))
        .longest_wait(60 * SECOND);
    let (server, clock) = limited(quotas).await;
    let owner = server.owner();
    let body = r#"{"methodName":"m","responseTimeoutInSeconds":5}"#;
    owner.post("/twins/d1/methods", body).await.refuses(404, "DeviceNotOnline");
    let second = tokio::spawn({
        let owner = owner.clone();
        async move { owner.post("/twins/d1/methods", body).await }
    });
    waiting(&server).await;
    // Its turn comes, by the hub's clock, when all of its time is over by everybody else's.
    tokio::time::sleep(Duration::from_millis(4800)).await;
    clock.advance(SECOND);
    second.await.unwrap().refuses(429, "ThrottlingException");
}
