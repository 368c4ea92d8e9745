//! Twins.

use crate::client::server;
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_twin_is_read_patched_and_replaced() {
    let server = server().await;
    let service = server.policy("service");
    server.register("d1").await;
    let fresh = service.get("/twins/d1").await.expect(200).json();
    assert_eq!((&fresh["etag"], &fresh["version"]), (&json!("AAAAAAAAAAE="), &json!(2)));
    assert_eq!((&fresh["tags"], &fresh["modelId"]), (&json!({}), &json!("")));
    assert_eq!(fresh["properties"]["desired"]["$version"], 1);
    assert_eq!(fresh["properties"]["reported"]["$version"], 1);
    assert_eq!(fresh["authenticationType"], "sas");

    let body = r#"{"tags":{"site":"a"},"properties":{"desired":{"fan":{"speed":3}},"reported":{"x":1}},"etag":"ignored"}"#;
    let patched = service.patch("/twins/d1", body).await.expect(200).json();
    let desired = &patched["properties"]["desired"];
    assert_eq!((&desired["fan"], &desired["$version"]), (&json!({"speed": 3}), &json!(2)));
    assert_eq!(desired["$metadata"]["fan"]["speed"]["$lastUpdatedVersion"], 2);
    assert!(patched["properties"]["reported"].get("x").is_none());
    assert_eq!((&patched["tags"], &patched["version"]), (&json!({"site": "a"}), &json!(3)));
    assert_eq!(service.get("/twins/d1").await.json(), patched);

    let body = r#"{"properties":{"desired":{"a":1}}}"#;
    let replaced = service.put("/twins/d1", body).await.expect(200).json();
    assert!(replaced["properties"]["desired"].get("fan").is_none());
    assert_eq!(replaced["properties"]["desired"]["a"], 1);
    assert_eq!(replaced["tags"], json!({"site": "a"}));

    // All of a twin, as it was read, may be sent back.
    let again = service.put("/twins/d1", replaced.to_string()).await.expect(200).json();
    assert_eq!(again["tags"], replaced["tags"]);
    assert_eq!(again["properties"]["desired"]["a"], 1);

    let cleared = service.patch("/twins/d1", r#"{"tags":null}"#).await.expect(200).json();
    assert_eq!(cleared["tags"], json!({}));
}

#[tokio::test]
async fn if_match_takes_an_etag_in_quotes_or_without() {
    let server = server().await;
    let service = server.policy("service");
    server.register("d1").await;
    let body = r#"{"tags":{"a":1}}"#;
    let patch = async |etag: &str| {
        service.send(Method::PATCH, "/twins/d1", &[("if-match", etag)], body).await
    };
    let first = "AAAAAAAAAAE=";
    patch(&format!("\"{first}\"")).await.expect(200);
    patch(first).await.refuses(412, "PreconditionFailed");
    let etag = |reply: crate::client::Reply| reply.json()["etag"].as_str().unwrap().to_owned();
    let now = etag(patch("*").await.expect(200));
    let now = etag(patch(&now).await.expect(200));
    patch("\"*\"").await.expect(200);
    patch(&now).await.refuses(412, "PreconditionFailed");
}

#[tokio::test]
async fn a_module_has_a_twin_of_its_own() {
    let server = server().await;
    let service = server.policy("service");
    server.register("d1").await;
    service.get("/twins/d1/modules/m1").await.refuses(404, "ModuleNotFound");
    server.register("d1/m1").await;
    let body = r#"{"properties":{"desired":{"a":1}}}"#;
    let twin = service.patch("/twins/d1/modules/m1", body).await.expect(200).json();
    assert_eq!((&twin["deviceId"], &twin["moduleId"]), (&json!("d1"), &json!("m1")));
    let device = service.get("/twins/d1").await.expect(200).json();
    assert!(device["properties"]["desired"].get("a").is_none() && device.get("moduleId").is_none());
}

#[tokio::test]
async fn bad_twins_are_refused_whole() {
    let server = server().await;
    let service = server.policy("service");
    server.register("d1").await;
    let deep = format!("{{\"tags\":{}1{}}}", "{\"a\":".repeat(12), "}".repeat(12));
    let abyss = format!("{{\"tags\":{}", "[".repeat(100_000));
    for body in [
        "",
        "[]",
        r#"{"tags":[]}"#,
        r#"{"tags":{"a.b":1}}"#,
        r#"{"tags":{"a":[null]}}"#,
        r#"{"tags":{"ok":1},"properties":{"desired":{"$bad":1}}}"#,
        r#"{"tags":{"a":4503599627370496}}"#,
        &deep,
        &abyss,
    ] {
        service.patch("/twins/d1", body.to_owned()).await.refuses(400, "ArgumentInvalid");
    }
    let large: Vec<Value> = (0..3).map(|_| json!("x".repeat(4000))).collect();
    let large = json!({"tags": {"a": large}}).to_string();
    service.patch("/twins/d1", large).await.refuses(413, "MessageTooLarge");
    let huge = vec![b' '; 2_000_000];
    service.patch("/twins/d1", huge).await.refuses(413, "MessageTooLarge");
    assert_eq!(service.get("/twins/d1").await.json()["version"], 2);
    service.get("/twins/d2").await.refuses(404, "DeviceNotFound");
    service.patch("/twins/d2", "{}").await.refuses(404, "DeviceNotFound");
}
