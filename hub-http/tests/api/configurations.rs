//! Configurations of many devices, and contents for one.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::client::{Client, Reply, Server, server, server_with};

async fn put(client: &Client, id: &str, if_match: Option<&str>, body: Value) -> Reply {
    let headers: Vec<(&str, &str)> = if_match.into_iter().map(|etag| ("if-match", etag)).collect();
    client.send(Method::PUT, &format!("/configurations/{id}"), &headers, body.to_string()).await
}

fn document(id: &str, target: &str, value: i32) -> Value {
    json!({
        "id": id, "content": {"deviceContent": {"properties.desired.rate": value}},
        "targetCondition": target, "labels": {"owner": "me"},
        "metrics": {"queries": {"quick": "SELECT deviceId FROM devices WHERE tags.n > 1"}},
    })
}

/// The document, once a result is as wanted.
async fn counted(client: &Client, id: &str, metric: &str, want: u64) -> Value {
    let look = async {
        loop {
            let state = client.get(&format!("/configurations/{id}")).await.expect(200).json();
            if state["systemMetrics"]["results"][metric] == want {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.unwrap()
}

async fn fleet() -> Server {
    let server = server().await;
    for (n, name) in ["d1", "d2", "d3"].into_iter().enumerate() {
        server.register(name).await;
        let tags = json!({"tags": {"n": n}});
        let path = format!("/twins/{name}");
        let client = server.policy("service");
        client.send(Method::PATCH, &path, &[], tags.to_string()).await.expect(200);
    }
    server
}

#[tokio::test]
async fn a_configuration_is_made_read_changed_and_removed() {
    let server = fleet().await;
    let (client, service) = (server.policy("registryReadWrite"), server.policy("service"));
    let made = put(&client, "c1", None, document("c1", "tags.n >= 1", 5)).await.expect(200).json();
    assert_eq!((&made["id"], &made["schemaVersion"]), (&json!("c1"), &json!("1.0")));
    // Not one member more than was given.
    let content = json!({"deviceContent": {"properties.desired.rate": 5}});
    assert_eq!((&made["content"], &made["labels"]), (&content, &json!({"owner": "me"})));
    let state = counted(&client, "c1", "appliedCount", 2).await;
    assert_eq!(
        state["systemMetrics"],
        json!({
            "results": {"targetedCount": 2, "appliedCount": 2},
            "queries": {
                "targetedCount": "select deviceId from devices where tags.n >= 1",
                "appliedCount":
                    "select deviceId from devices where configurations.[[c1]].status = 'Applied'",
            },
        })
    );
    assert_eq!(state["metrics"]["results"], json!({"quick": 1}));
    let twin = service.get("/twins/d2").await.expect(200).json();
    assert_eq!(twin["configurations"], json!({"c1": {"status": "Applied"}}));
    assert_eq!(twin["properties"]["desired"]["rate"], 5);
    assert!(service.get("/twins/d1").await.json()["configurations"].is_null());
    // All of the document goes back, with what the hub has put into it.
    let etag = state["etag"].as_str().unwrap().to_owned();
    let mut update = state;
    update["targetCondition"] = json!("*");
    update["priority"] = json!(7);
    let quoted = format!("\"{etag}\"");
    let after = put(&client, "c1", Some(&quoted), update.clone()).await.expect(200).json();
    assert_eq!(
        (&after["priority"], &after["createdTimeUtc"]),
        (&json!(7), &made["createdTimeUtc"])
    );
    assert_ne!(after["etag"], etag.as_str());
    counted(&client, "c1", "appliedCount", 3).await;
    // An etag without quotes, of the state before; and an update that says nothing.
    put(&client, "c1", Some(&etag), update).await.refuses(412, "PreconditionFailed");
    put(&client, "c1", Some("*"), json!({"id": "c1"})).await.expect(200);
    put(&client, "c0", None, document("c0", "", 1)).await.expect(200);
    let list = client.get("/configurations").await.expect(200).json();
    let ids: Vec<&Value> = list.as_array().unwrap().iter().map(|state| &state["id"]).collect();
    assert_eq!(ids, ["c0", "c1"]);
    assert_eq!(list[0]["systemMetrics"]["results"]["targetedCount"], 0);
    let list = client.get("/configurations?top=1&api-version=2021-04-12").await.expect(200).json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    let gone = client.send(Method::DELETE, "/configurations/c1", &[("if-match", "*")], "").await;
    gone.expect(204);
    client.get("/configurations/c1").await.refuses(404, "ConfigurationNotFound");
}

#[tokio::test]
async fn bad_configurations_get_the_documented_errors() {
    let server = server_with(
        |hub| {
            let mut limits = hub_core::limits::Limits::default();
            limits.configurations_max = 1;
            hub.limits(limits)
        },
        |http| http,
    )
    .await;
    let client = server.owner();
    let good = document("c1", "*", 1);
    let with = |member: &str, value: Value| {
        let mut document = good.clone();
        document[member] = value;
        document
    };
    for (body, code) in [
        (with("targetCondition", json!("tags.a =")), "InvalidConfigurationTargetCondition"),
        (with("content", json!({"deviceContent": {"tags.a": 1}})), "InvalidConfigurationContent"),
        (with("content", json!({"modulesContent": {}})), "InvalidConfigurationContent"),
        (with("content", Value::Null), "InvalidConfigurationContent"),
        (
            with("metrics", json!({"queries": {"m": "SELECT"}})),
            "InvalidConfigurationCustomMetricsQuery",
        ),
        (with("priority", json!(-1)), "ArgumentInvalid"),
        (with("id", json!("c2")), "ArgumentInvalid"),
        (json!([]), "ArgumentInvalid"),
    ] {
        put(&client, "c1", None, body).await.refuses(400, code);
    }
    let refused = put(&client, "c1", None, with("targetCondition", json!("tags.a ="))).await.json();
    let message = refused["Message"].as_str().unwrap();
    assert!(message.contains("line 1, column 9: expected"), "{message}");
    put(&client, "C1", None, document("C1", "*", 1)).await.refuses(400, "ArgumentInvalid");
    put(&client, "c1", Some("*"), good.clone()).await.refuses(404, "ConfigurationNotFound");
    put(&client, "c1", None, good.clone()).await.expect(200);
    put(&client, "c1", None, good.clone()).await.refuses(409, "ConfigurationAlreadyExists");
    put(&client, "c2", None, document("c2", "*", 1))
        .await
        .refuses(413, "ConfigurationCountLimitExceeded");
    put(&client, "c1", Some("*"), document("c1", "*", 2))
        .await
        .refuses(400, "CannotModifyImmutableConfigurationContent");
    let large = json!({"id": "c1", "labels": {"x": "y".repeat(1_000_000)}});
    put(&client, "c1", Some("*"), large).await.refuses(413, "MessageTooLarge");
    client
        .send(Method::DELETE, "/configurations/c2", &[], "")
        .await
        .refuses(404, "ConfigurationNotFound");
    client
        .get("/configurations?top=x&api-version=2021-04-12")
        .await
        .refuses(400, "ArgumentInvalid");
}

#[tokio::test]
async fn queries_are_tried() {
    let server = server().await;
    let client = server.policy("registryRead");
    let body = json!({
        "targetCondition": "tags.a", "customMetricQueries": {"m": "SELECT deviceId FROM devices"},
    });
    let trial = client.post("/configurations/testQueries", body.to_string()).await.expect(200);
    assert_eq!(trial.json(), json!({"targetConditionError": null, "customMetricQueryErrors": {}}));
    let body = json!({
        "targetCondition": "connectionState = 'x'", "customMetricQueries": {"m": "SELECT"},
    });
    let trial =
        client.post("/configurations/testQueries", body.to_string()).await.expect(200).json();
    let wrong = trial["targetConditionError"].as_str().unwrap();
    assert!(wrong.starts_with("line 1, column 1: expected deviceId"), "{wrong}");
    assert!(trial["customMetricQueryErrors"]["m"].is_string());
}

#[tokio::test]
async fn a_content_is_applied_to_one_device() {
    let server = server().await;
    let client = server.owner();
    let edge = json!({"deviceId": "e1", "capabilities": {"iotEdge": true}});
    client.send(Method::PUT, "/devices/e1", &[], edge.to_string()).await.expect(200);
    let content = json!({"modulesContent": {"filter": {"properties.desired": {"limit": 3}}}});
    let path = "/devices/e1/applyConfigurationContent";
    let applied = client.post(path, content.to_string()).await.expect(204);
    assert!(applied.body.is_empty());
    let twin = client.get("/twins/e1/modules/filter").await.expect(200).json();
    assert_eq!(twin["properties"]["desired"]["limit"], 3);
    client.post(path, "{}").await.refuses(400, "InvalidConfigurationContent");
    let path = "/devices/e2/applyConfigurationContent";
    client.post(path, content.to_string()).await.refuses(404, "DeviceNotFound");
}
