//! Many identities in one request.

use crate::client::{Reply, server};
use serde_json::{Value, json};

fn errors(reply: &Reply) -> Vec<(Value, Value)> {
    let json = reply.json();
    let items = json["errors"].as_array().unwrap();
    items.iter().map(|e| (e["deviceId"].clone(), e["errorCode"].clone())).collect()
}

#[tokio::test]
async fn identities_are_created_changed_and_deleted_together() {
    let server = server().await;
    let owner = server.owner();
    let body = json!([
        {"id": "d1", "importMode": "create", "authentication": {"type": "sas"}},
        {"id": "d2", "importMode": "create", "status": "disabled",
         "authentication": {"type": "sas", "symmetricKey": {"primaryKey": "", "secondaryKey": ""}}},
        {"id": "d1", "moduleId": "m1", "importMode": "create"},
        {"id": "d3", "tags": {"a": 1}, "properties": {"desired": {"b": 2}, "reported": {"c": 3}}},
    ]);
    let done = owner.post("/devices", body.to_string()).await.expect(200);
    let want = json!({"isSuccessful": true, "errors": [], "warnings": []});
    assert_eq!(done.json(), want);
    assert_eq!(owner.get("/devices/d2").await.json()["status"], "disabled");
    owner.get("/devices/d1/modules/m1").await.expect(200);
    let twin = owner.get("/twins/d3").await.json();
    assert_eq!((&twin["tags"], &twin["properties"]["desired"]["b"]), (&json!({"a": 1}), &json!(2)));

    let body = json!([
        {"id": "d1", "importMode": "Update", "statusReason": "why"},
        {"id": "d2", "importMode": "updateTwin", "tags": {"t": 1}},
        {"id": "d3", "importMode": "Delete"},
    ]);
    owner.post("/devices", body.to_string()).await.expect(200);
    assert_eq!(owner.get("/devices/d1").await.json()["statusReason"], "why");
    assert_eq!(owner.get("/twins/d2").await.json()["tags"], json!({"t": 1}));
    owner.get("/devices/d3").await.refuses(404, "DeviceNotFound");
}

#[tokio::test]
async fn what_is_refused_is_named_and_the_rest_is_done() {
    let server = server().await;
    let owner = server.owner();
    server.register("old").await;
    let etag = owner.get("/devices/old").await.json()["etag"].clone();
    let body = json!([
        {"id": "old", "importMode": "create"},
        {"id": "new", "importMode": "create"},
        {"id": "none", "importMode": "update"},
        {"id": "none2", "importMode": "delete"},
        {"id": "bad id", "importMode": "create"},
        {"id": "odd", "importMode": "destroy"},
        {"importMode": "create"},
        {"id": "keyless", "importMode": "updateIfMatchETag"},
    ]);
    let reply = owner.post("/devices", body.to_string()).await.expect(400);
    assert_eq!(reply.json()["isSuccessful"], false);
    let want = [
        (json!("old"), json!("DeviceAlreadyExists")),
        (json!("none"), json!("DeviceNotFound")),
        (json!("none2"), json!("DeviceNotFound")),
        (json!("bad id"), json!("ArgumentInvalid")),
        (json!("odd"), json!("ArgumentInvalid")),
        (json!(""), json!("ArgumentNull")),
        (json!("keyless"), json!("ArgumentNull")),
    ];
    assert_eq!(errors(&reply), want);
    owner.get("/devices/new").await.expect(200);

    // The Node SDK spells it `etag`, the Python SDK `eTag`.
    let body = json!([{"id": "old", "importMode": "UpdateIfMatchETag", "etag": "AAAA"}]);
    let reply = owner.post("/devices", body.to_string()).await.expect(400);
    assert_eq!(errors(&reply), [(json!("old"), json!("PreconditionFailed"))]);
    let body = json!([{"id": "old", "importMode": "updateIfMatchETag", "eTag": etag}]);
    owner.post("/devices", body.to_string()).await.expect(200);
    let body = json!([{"id": "old", "importMode": "createOrUpdateIfMatchETag", "eTag": etag}]);
    let reply = owner.post("/devices", body.to_string()).await.expect(400);
    assert_eq!(errors(&reply), [(json!("old"), json!("PreconditionFailed"))]);
    let body = json!([{"id": "old"}, {"id": "fresh", "importMode": "createOrUpdateIfMatchETag"}]);
    owner.post("/devices", body.to_string()).await.expect(200);
    owner.get("/devices/fresh").await.expect(200);
}

#[tokio::test]
async fn a_twin_that_cannot_be_written_is_a_warning() {
    let server = server().await;
    let owner = server.owner();
    let body = json!([{"id": "d1", "importMode": "create", "tags": {"a.b": 1}}]);
    let reply = owner.post("/devices", body.to_string()).await.expect(200).json();
    assert_eq!(reply["isSuccessful"], true);
    assert_eq!(reply["warnings"][0]["deviceId"], "d1");
    assert_eq!(reply["warnings"][0]["warningCode"], "DeviceRegisteredWithoutTwin");
    owner.get("/devices/d1").await.expect(200);
    let body =
        json!([{"id": "d1", "importMode": "updateTwinIfMatchETag", "twinETag": "x", "tags": {}}]);
    let reply = owner.post("/devices", body.to_string()).await.expect(400);
    assert_eq!(errors(&reply), [(json!("d1"), json!("PreconditionFailed"))]);
}

#[tokio::test]
async fn a_request_that_is_wrong_as_a_whole_does_nothing() {
    let server = server().await;
    let owner = server.owner();
    let body = json!([{"id": "d1"}, {"id": "d2"}, {"id": "d1"}]);
    let reply = owner.post("/devices", body.to_string()).await.expect(400);
    assert_eq!(errors(&reply), [(json!("d1"), json!("DeviceDefinedMultipleTimes"))]);
    let many: Vec<Value> = (0..101).map(|n| json!({"id": format!("d{n}")})).collect();
    owner.post("/devices", json!(many).to_string()).await.refuses(400, "ArgumentInvalid");
    for body in ["", "{}", "[1]", "[", "null"] {
        owner.post("/devices", body).await.refuses(400, "ArgumentInvalid");
    }
    assert_eq!(owner.get("/devices").await.json(), json!([]));
    owner.post("/devices", "[]").await.expect(200);
    let hundred: Vec<Value> = (0..100).map(|n| json!({"id": format!("d{n}")})).collect();
    owner.post("/devices", json!(hundred).to_string()).await.expect(200);
    assert_eq!(owner.get("/devices").await.json().as_array().unwrap().len(), 100);
}
