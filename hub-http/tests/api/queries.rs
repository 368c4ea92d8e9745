//! Twin queries.

use crate::client::{Client, Reply, Server, server};
use http::Method;
use serde_json::{Value, json};

async fn query(client: &Client, text: &str, headers: &[(&str, &str)]) -> Reply {
    let body = json!({ "query": text }).to_string();
    client.send(Method::POST, "/devices/query", headers, body).await
}

/// Devices `d0` to `d9`, of which every third is at site `b`, and a module.
async fn fleet() -> Server {
    let server = server().await;
    for i in 0..10 {
        server.register(&format!("d{i}")).await;
        let site = if i % 3 == 0 { "b" } else { "a" };
        let patch = json!({"tags": {"site": site, "n": i}}).to_string();
        server.owner().patch(&format!("/twins/d{i}"), patch).await.expect(200);
    }
    server.register("d1/m1").await;
    server
}

#[tokio::test]
async fn whole_twins_are_paged_like_the_sdks_do() {
    let server = fleet().await;
    let client = server.policy("service");
    let text = "SELECT * FROM devices WHERE tags.site = 'a'";
    let (mut seen, mut continuation): (Vec<Value>, Option<String>) = (Vec::new(), None);
    for page in [4, 2] {
        let mut headers = vec![("x-ms-max-item-count", "4")];
        headers.extend(continuation.as_deref().map(|text| ("x-ms-continuation", text)));
        let reply = query(&client, text, &headers).await.expect(200);
        assert_eq!(reply.header("x-ms-item-type"), Some("Twin"));
        let rows = reply.json().as_array().unwrap().clone();
        assert_eq!(rows.len(), page);
        seen.extend(rows);
        continuation = reply.header("x-ms-continuation").map(str::to_owned);
    }
    assert_eq!(continuation, None, "Node's hasMoreResults looks at the header only");
    let ids: Vec<&str> = seen.iter().map(|twin| twin["deviceId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["d1", "d2", "d4", "d5", "d7", "d8"]);
    let twin = client.get("/twins/d1").await.json();
    assert_eq!(seen[0], twin, "a row is what the twin's own route gives");
}

#[tokio::test]
async fn projections_and_aggregates_are_raw() {
    let server = fleet().await;
    let client = server.policy("service");
    let raw = async |text: &str| {
        let reply = query(&client, text, &[]).await.expect(200);
        assert_eq!(reply.header("x-ms-item-type"), Some("Raw"));
        assert_eq!(reply.header("x-ms-continuation"), None);
        reply.json()
    };
    assert_eq!(
        raw("SELECT DeviceId, tags.n AS number, tags.gone FROM devices WHERE tags.n > 7").await,
        json!([{"deviceId": "d8", "number": 8}, {"deviceId": "d9", "number": 9}])
    );
    assert_eq!(raw("SELECT COUNT() AS n FROM devices").await, json!([{"n": 10}]));
    assert_eq!(
        raw("SELECT tags.site AS site, COUNT() AS numberOfDevices FROM devices GROUP BY tags.site")
            .await,
        json!([{"site": "a", "numberOfDevices": 6}, {"site": "b", "numberOfDevices": 4}])
    );
    assert_eq!(
        raw("SELECT deviceId, moduleId FROM devices.modules").await,
        json!([{"deviceId": "d1", "moduleId": "m1"}])
    );
}

#[tokio::test]
async fn jobs_have_their_own_kind_of_row() {
    let server = server().await;
    let reply = query(&server.policy("service"), "SELECT * FROM devices.jobs", &[]).await;
    let reply = reply.expect(200);
    assert_eq!((reply.header("x-ms-item-type"), reply.json()), (Some("DeviceJob"), json!([])));
}

#[tokio::test]
async fn what_was_just_written_is_found() {
    let server = server().await;
    let client = server.policy("service");
    server.register("d1").await;
    for n in 0..20 {
        client.patch("/twins/d1", format!(r#"{{"tags":{{"n":{n}}}}}"#)).await.expect(200);
        let text = format!("SELECT tags.n FROM devices WHERE tags.n = {n}");
        assert_eq!(query(&client, &text, &[]).await.expect(200).json(), json!([{"n": n}]));
    }
    server.owner().delete("/devices/d1").await.expect(204);
    let text = "SELECT COUNT() AS n FROM devices";
    assert_eq!(query(&client, text, &[]).await.expect(200).json(), json!([{"n": 0}]));
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let server = server().await;
    let client = server.policy("service");
    client.post("/devices/query", "").await.refuses(400, "ArgumentNull");
    client.post("/devices/query", "{}").await.refuses(400, "ArgumentNull");
    client.post("/devices/query", r#"{"query":null}"#).await.refuses(400, "ArgumentNull");
    client.post("/devices/query", r#"{"query":3}"#).await.refuses(400, "ArgumentInvalid");
    client.post("/devices/query", "[]").await.refuses(400, "ArgumentInvalid");
    client.post("/devices/query", "{").await.refuses(400, "ArgumentInvalid");
    let reply = query(&client, "SELECT * FROM devices WHERE tags.a =", &[]).await;
    assert!(reply.json()["Message"].as_str().unwrap().contains("line 1, column 37: expected"));
    reply.refuses(400, "ArgumentInvalid");
    let long = format!("SELECT * FROM devices WHERE tags.a = '{}'", "x".repeat(8192));
    query(&client, &long, &[]).await.refuses(400, "ArgumentInvalid");
    let huge = format!("SELECT {}", "x".repeat(1_000_000));
    query(&client, &huge, &[]).await.refuses(413, "MessageTooLarge");
    let text = "SELECT * FROM devices";
    for size in ["0", "x", "-3", "1.5", "99999999999"] {
        let reply = query(&client, text, &[("x-ms-max-item-count", size)]).await;
        reply.refuses(400, "ArgumentInvalid");
    }
    for size in ["1000", "5000", "-1", ""] {
        query(&client, text, &[("x-ms-max-item-count", size)]).await.expect(200);
    }
    for continuation in ["x", "e30", "%%"] {
        let reply = query(&client, text, &[("x-ms-continuation", continuation)]).await;
        reply.refuses(400, "ArgumentInvalid");
    }
    let reader = server.policy("registryRead");
    query(&reader, text, &[]).await.refuses(401, "IotHubUnauthorizedAccess");
}
