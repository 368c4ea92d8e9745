//! Identities of devices and modules.

use crate::client::server;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn a_device_is_created_read_updated_and_deleted() {
    let server = server().await;
    let owner = server.owner();
    let body = r#"{"deviceId":"d1","status":"enabled","authentication":{"symmetricKey":{},"type":"sas"},"capabilities":{"iotEdge":false}}"#;
    let created = owner.put("/devices/d1", body).await.expect(200);
    assert_eq!(created.header("content-type"), Some("application/json; charset=utf-8"));
    let created = created.json();
    assert_eq!((&created["deviceId"], &created["status"]), (&json!("d1"), &json!("enabled")));
    let read = owner.get("/devices/d1").await.expect(200).json();
    assert_eq!(read, created);
    let etag = created["etag"].as_str().unwrap();

    let mut document = read.clone();
    document["status"] = json!("disabled");
    document["statusReason"] = json!("tests");
    let updated =
        owner.put_if("/devices/d1", &format!("\"{etag}\""), document.to_string()).await.expect(200);
    let updated = updated.json();
    assert_eq!(
        (&updated["status"], &updated["statusReason"]),
        (&json!("disabled"), &json!("tests"))
    );
    assert_ne!(updated["etag"], created["etag"]);
    assert_eq!(updated["authentication"], created["authentication"], "keys are kept");
    assert_eq!(updated["generationId"], created["generationId"]);

    let gone = owner.send(Method::DELETE, "/devices/d1", &[("if-match", "*")], "").await;
    assert!(gone.expect(204).body.is_empty());
    owner.get("/devices/d1").await.refuses(404, "DeviceNotFound");
    owner.delete("/devices/d1").await.refuses(404, "DeviceNotFound");
}

/// The table of `If-Match`: what stands in the header, whether the device exists, what comes.
#[tokio::test]
async fn b_if_match_decides_between_creating_and_updating() {
    let server = server().await;
    let owner = server.owner();
    let etag = |reply: &crate::client::Reply| reply.json()["etag"].as_str().unwrap().to_owned();
    owner.put_if("/devices/none", "*", "{}").await.refuses(404, "DeviceNotFound");
    owner.put_if("/devices/none", "\"AAAA\"", "{}").await.refuses(404, "DeviceNotFound");
    let first = etag(&owner.put("/devices/d1", "{}").await.expect(200));
    owner.put("/devices/d1", "{}").await.refuses(409, "DeviceAlreadyExists");
    for any in ["*", "\"*\""] {
        owner.put_if("/devices/d1", any, "{}").await.expect(200);
    }
    owner.put_if("/devices/d1", &first, "{}").await.refuses(412, "PreconditionFailed");
    let second = etag(&owner.get("/devices/d1").await);
    let third = etag(&owner.put_if("/devices/d1", &second, "{}").await.expect(200));
    owner.put_if("/devices/d1", &format!("\"{third}\""), "{}").await.expect(200);
    for bad in ["\"AAAA\"", "AAAA", ""] {
        let refused = owner.send(Method::DELETE, "/devices/d1", &[("if-match", bad)], "").await;
        refused.refuses(412, "PreconditionFailed");
    }
    let last = etag(&owner.get("/devices/d1").await);
    owner.send(Method::DELETE, "/devices/d1", &[("if-match", &last)], "").await.expect(204);
}

#[tokio::test]
async fn modules_live_under_their_device() {
    let server = server().await;
    let owner = server.owner();
    let path = "/devices/d1/modules/m1";
    owner.put(path, "{}").await.refuses(404, "DeviceNotFound");
    owner.get("/devices/d1/modules").await.refuses(404, "DeviceNotFound");
    owner.put("/devices/d1", "{}").await.expect(200);
    owner.get(path).await.refuses(404, "ModuleNotFound");
    assert_eq!(owner.get("/devices/d1/modules").await.expect(200).json(), json!([]));
    let body = r#"{"moduleId":"m1","managedBy":"me","deviceId":"d1","authentication":{"symmetricKey":{},"type":"sas"}}"#;
    let module = owner.put(path, body).await.expect(200).json();
    assert_eq!((&module["moduleId"], &module["managedBy"]), (&json!("m1"), &json!("me")));
    owner.put(path, body).await.refuses(409, "ModuleAlreadyExistsOnDevice");
    owner.put("/devices/d1/modules/%24edgeAgent", "{}").await.expect(200);
    let list = owner.get("/devices/d1/modules").await.expect(200).json();
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|m| m["moduleId"].clone()).collect();
    assert_eq!(ids, [json!("$edgeAgent"), json!("m1")]);
    assert_eq!(owner.get("/devices/").await.json().as_array().unwrap().len(), 1);
    owner.delete(path).await.expect(204);
    owner.delete(path).await.refuses(404, "ModuleNotFound");
    owner.delete("/devices/d1").await.expect(204);
    owner.get("/devices/d1/modules/%24edgeAgent").await.refuses(404, "ModuleNotFound");
}

#[tokio::test]
async fn ids_are_decoded_after_the_path_is_split() {
    let server = server().await;
    let owner = server.owner();
    for (path, id) in [
        ("/devices/a%23b", "a#b"),
        ("/devices/a+b", "a+b"),
        ("/devices/a%2Bc", "a+c"),
        ("/devices/50%25", "50%"),
        ("/DEVICES/Case", "Case"),
        ("/devices/x@y", "x@y"),
    ] {
        assert_eq!(owner.put(path, "{}").await.expect(200).json()["deviceId"], id);
        assert_eq!(owner.get(path).await.expect(200).json()["deviceId"], id);
    }
    for bad in ["/devices/invalid%2Fname", "/devices/a%20b", "/devices/%ff", "/devices/%00"] {
        owner.put(bad, "{}").await.refuses(400, "ArgumentInvalid");
        owner.get(bad).await.refuses(400, "ArgumentInvalid");
    }
    let long = format!("/devices/{}", "x".repeat(129));
    owner.put(&long, "{}").await.refuses(400, "ArgumentInvalid");
}

#[tokio::test]
async fn bad_documents_are_refused() {
    let server = server().await;
    let owner = server.owner();
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\u{fffd}",
        r#"{"deviceId":"other"}"#,
        r#"{"status":"asleep"}"#,
        r#"{"authentication":{"type":"sas","symmetricKey":{"primaryKey":"!!"}}}"#,
        r#"{"authentication":{"type":"selfSigned"}}"#,
        r#"{"deviceScope":"ms-azure-iot-edge://nobody-1"}"#,
        r#"{"parentScopes":[1]}"#,
    ] {
        owner.put("/devices/d1", body).await.refuses(400, "ArgumentInvalid");
    }
    owner.put("/devices/d1", vec![b' '; 100_000]).await.refuses(413, "MessageTooLarge");
    owner.get("/devices/d1").await.refuses(404, "DeviceNotFound");
}

#[tokio::test]
async fn a_version_is_demanded() {
    let server = server().await;
    let owner = server.owner();
    owner.get("/devices?top=1").await.refuses(400, "InvalidProtocolVersion");
    owner.get("/devices?top=1&api-version=1999-01-01").await.expect(200);
    owner.get("/devices?API-VERSION=2016-11-14").await.expect(200);
}

#[tokio::test]
async fn devices_are_listed_page_by_page() {
    let server = server().await;
    let owner = server.owner();
    assert_eq!(owner.get("/devices").await.expect(200).json(), json!([]));
    for number in 0..5 {
        server.register(&format!("d{number}")).await;
    }
    server.register("d1/m1").await;
    let mut seen = Vec::new();
    let mut going_on = None::<String>;
    loop {
        let headers: Vec<_> =
            going_on.iter().map(|token| ("x-ms-continuation", token.as_str())).collect();
        let path = "/devices?top=2&api-version=2021-04-12";
        let page = owner.send(Method::GET, path, &headers, "").await.expect(200);
        let json = page.json();
        seen.extend(json.as_array().unwrap().iter().map(|d| d["deviceId"].clone()));
        going_on = page.header("x-ms-continuation").map(str::to_owned);
        if going_on.is_none() {
            break;
        }
    }
    assert_eq!(seen, [json!("d0"), json!("d1"), json!("d2"), json!("d3"), json!("d4")]);
    // A page that ends where the list ends is the last one.
    let exact = owner.get("/devices?top=5&api-version=2021-04-12").await.expect(200);
    assert_eq!(exact.header("x-ms-continuation"), None);
    for out_of_range in ["0", "1001", "99999999"] {
        let path = format!("/devices/?api-version=2021-04-12&top={out_of_range}");
        assert_eq!(owner.get(&path).await.expect(200).json().as_array().unwrap().len(), 5);
    }
    let bad = owner.get("/devices?api-version=2021-04-12&top=many").await;
    bad.refuses(400, "ArgumentInvalid");
    let headers = [("x-ms-continuation", "!")];
    owner.send(Method::GET, "/devices", &headers, "").await.refuses(400, "ArgumentInvalid");
}

#[tokio::test]
async fn devices_are_counted() {
    let server = server().await;
    let owner = server.owner();
    owner.put("/devices/d1", "{}").await.expect(200);
    owner.put("/devices/d2", r#"{"status":"disabled"}"#).await.expect(200);
    server.register("d1/m1").await;
    let counts = owner.get("/statistics/devices").await.expect(200).json();
    let want = json!({"totalDeviceCount": 2, "enabledDeviceCount": 1, "disabledDeviceCount": 1});
    assert_eq!(counts, want);
    let _device = server.hub.device(&hub_core::Address::parse("d1").unwrap()).await.unwrap();
    let counts = owner.get("/statistics/service").await.expect(200).json();
    assert_eq!(counts, json!({"connectedDeviceCount": 1}));
    let device = owner.get("/devices/d1").await.expect(200).json();
    assert_eq!(device["connectionState"], "Connected");
}

#[tokio::test]
async fn edge_devices_have_scopes() {
    let server = server().await;
    let owner = server.owner();
    let edge = owner.put("/devices/e1", r#"{"capabilities":{"iotEdge":true}}"#).await.expect(200);
    let scope = edge.json()["deviceScope"].as_str().unwrap().to_owned();
    let body = json!({"deviceScope": scope}).to_string();
    let leaf = owner.put("/devices/leaf", body).await.expect(200).json();
    assert_eq!((&leaf["deviceScope"], &leaf["parentScopes"]), (&json!(scope), &json!([scope])));
}
