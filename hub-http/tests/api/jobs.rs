//! Jobs over many devices.

use std::time::Duration;

use crate::client::{Client, Server, server, server_with};
use http::Method;
use hub_core::engine::DeviceEvent;
use hub_core::frame::Interest;
use serde_json::{Value, json};

async fn over(client: &Client, job: &str) -> Value {
    let look = async {
        loop {
            let state = client.get(&format!("/jobs/v2/{job}")).await.expect(200).json();
            if !["queued", "running"].contains(&state["status"].as_str().unwrap()) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.unwrap()
}

async fn put(client: &Client, job: &str, body: Value) -> crate::client::Reply {
    client.send(Method::PUT, &format!("/jobs/v2/{job}"), &[], body.to_string()).await
}

fn update(condition: &str) -> Value {
    json!({
        "type": "scheduleUpdateTwin", "queryCondition": condition,
        "updateTwin": {"etag": "*", "properties": {"desired": {"a": 1}, "reported": {}}},
        "startTime": "1970-01-01T00:00:00.000Z", "maxExecutionTimeInSeconds": 60,
    })
}

async fn fleet() -> Server {
    let server = server().await;
    for name in ["d1", "d2", "d3"] {
        server.register(name).await;
    }
    server
}

#[tokio::test]
async fn twins_are_written_and_each_device_has_a_row() {
    let server = fleet().await;
    let client = server.policy("service");
    let mut body = update("deviceId IN ['d1','d3']");
    body["jobId"] = "j1".into();
    let asked = put(&client, "j1", body).await.expect(200).json();
    assert_eq!((&asked["jobId"], &asked["status"]), (&json!("j1"), &json!("queued")));
    assert_eq!(asked["updateTwin"]["properties"]["desired"], json!({"a": 1}));
    let done = over(&client, "j1").await;
    let counts = json!({
        "deviceCount": 2, "succeededCount": 2, "failedCount": 0, "runningCount": 0,
        "pendingCount": 0,
    });
    assert_eq!((&done["status"], &done["deviceJobStatistics"]), (&json!("completed"), &counts));
    assert!(done["endTime"].is_string() && done["failureReason"].is_null());
    for (device, want) in [("d1", json!(1)), ("d2", Value::Null), ("d3", json!(1))] {
        let twin = client.get(&format!("/twins/{device}")).await.json();
        assert_eq!(twin["properties"]["desired"]["a"], want, "{device}");
    }
    let query = json!({"query": "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j1'"});
    let reply = client.post("/devices/query", query.to_string()).await.expect(200);
    assert_eq!(reply.header("x-ms-item-type"), Some("DeviceJob"));
    let rows = reply.json();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(
        (&rows[0]["status"], &rows[0]["jobType"]),
        (&json!("completed"), &json!("scheduleUpdateTwin"))
    );
    put(&client, "j1", update("*")).await.refuses(409, "JobAlreadyExists");
}

#[tokio::test]
async fn methods_are_called_and_their_answers_kept() {
    let server = fleet().await;
    let client = server.policy("service");
    let mut device = server.hub.device(&"d2".parse().unwrap()).await.unwrap();
    device.subscribe(Interest::Methods).await.unwrap();
    let answering = tokio::spawn(async move {
        let DeviceEvent::Method(call, name, payload) = device.next().await else { return None };
        device.reply(call, 207, r#"{"b":2}"#).await;
        Some((device, name, payload))
    });
    let body = json!({
        "type": "scheduleDeviceMethod", "queryCondition": "deviceId = 'd2'",
        "cloudToDeviceMethod": {
            "methodName": "reboot", "payload": {"c": 3}, "responseTimeoutInSeconds": 15,
        },
    });
    let asked = put(&client, "m1", body).await.expect(200).json();
    assert_eq!(asked["cloudToDeviceMethod"]["payload"], json!({"c": 3}));
    assert_eq!(over(&client, "m1").await["deviceJobStatistics"]["succeededCount"], 1);
    let (_device, name, payload) = answering.await.unwrap().unwrap();
    assert_eq!((name.as_str(), &payload[..]), ("reboot", &br#"{"c":3}"#[..]));
    let query = json!({"query": "SELECT * FROM devices.jobs WHERE jobId = 'm1'"});
    let rows = client.post("/devices/query", query.to_string()).await.json();
    let want = json!({"deviceMethodResponse": {"status": 207, "payload": {"b": 2}}});
    assert_eq!(rows[0]["outcome"], want);
}

#[tokio::test]
async fn jobs_are_cancelled_and_listed() {
    let server = fleet().await;
    let client = server.policy("service");
    for job in ["a", "b", "c"] {
        let mut body = update("*");
        body["startTime"] = "2100-01-01T00:00:00Z".into();
        put(&client, job, body).await.expect(200);
    }
    let cancelled = client.post("/jobs/v2/b/cancel", "").await.expect(200).json();
    assert_eq!(cancelled["status"], "cancelled");
    let list = async |path: &str, headers: &[(&str, &str)]| {
        let reply = client.send(Method::GET, path, headers, "").await.expect(200);
        assert_eq!(reply.header("x-ms-item-type"), Some("JobResponse"));
        let jobs = reply.json();
        let ids = jobs.as_array().unwrap().iter().map(|job| job["jobId"].as_str().unwrap());
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        (ids, reply.header("x-ms-continuation").map(str::to_owned))
    };
    let (ids, next) = list("/jobs/v2/query", &[("x-ms-max-item-count", "2")]).await;
    assert_eq!((ids, next.as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("b")));
    let (ids, next) = list("/jobs/v2/query", &[("x-ms-continuation", "b")]).await;
    assert_eq!((ids, next), (vec!["c".to_owned()], None));
    let (ids, _) = list(
        "/jobs/v2/query?jobType=scheduleUpdateTwin&jobStatus=cancelled&api-version=2021-04-12",
        &[],
    )
    .await;
    assert_eq!(ids, ["b"]);
    let (ids, _) =
        list("/jobs/v2/query?jobType=scheduleDeviceMethod&api-version=2021-04-12", &[]).await;
    assert_eq!(ids, [""; 0]);
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let server = server_with(
        |hub| {
            let mut limits = hub_core::limits::Limits::default();
            limits.jobs_active_max = 1;
            hub.limits(limits)
        },
        |http| http,
    )
    .await;
    let client = server.policy("service");
    let with = |name: &str, value: Value| {
        let mut body = update("*");
        body[name] = value;
        body
    };
    for (body, code) in [
        (with("type", Value::Null), "ArgumentNull"),
        (with("type", "other".into()), "ArgumentInvalid"),
        (with("updateTwin", Value::Null), "ArgumentNull"),
        (with("updateTwin", json!([])), "ArgumentInvalid"),
        (with("queryCondition", Value::Null), "ArgumentNull"),
        (with("queryCondition", "tags.a =".into()), "ArgumentInvalid"),
        (with("startTime", "soon".into()), "ArgumentInvalid"),
        (with("maxExecutionTimeInSeconds", json!(-1)), "ArgumentInvalid"),
        (with("maxExecutionTimeInSeconds", json!(0)), "ArgumentInvalid"),
        (with("jobId", "other".into()), "ArgumentInvalid"),
        (with("type", "scheduleDeviceMethod".into()), "ArgumentNull"),
        (json!([]), "ArgumentInvalid"),
    ] {
        put(&client, "j", body).await.refuses(400, code);
    }
    let mut call = with("type", "scheduleDeviceMethod".into());
    call["cloudToDeviceMethod"] = json!({"methodName": "m", "responseTimeoutInSeconds": 1});
    put(&client, "j", call).await.refuses(400, "ArgumentInvalid");
    put(&client, "a%20b", update("*")).await.refuses(400, "ArgumentInvalid");
    client.get("/jobs/v2/j").await.refuses(404, "JobNotFound");
    client.post("/jobs/v2/j/cancel", "").await.refuses(404, "JobNotFound");
    client
        .get("/jobs/v2/query?jobType=x&api-version=2021-04-12")
        .await
        .refuses(400, "ArgumentInvalid");
    put(&client, "j", with("startTime", "2100-01-01T00:00:00Z".into())).await.expect(200);
    let full = put(&client, "k", update("*")).await;
    full.refuses(429, "ThrottlingMaxActiveJobCountExceeded");
    let reader = server.policy("registryRead");
    put(&reader, "r", update("*")).await.refuses(401, "IotHubUnauthorizedAccess");
}
