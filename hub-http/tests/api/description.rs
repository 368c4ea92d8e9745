//! The OpenAPI description, held against what the server does.

use crate::client::{Client, Server, server};
use http::Method;
use hub_core::engine::DeviceEvent;
use hub_core::frame::Interest;
use serde_json::{Value, json};

async fn described(server: &Server) -> Value {
    server.anonymous().get("/openapi.json").await.expect(200).json()
}

/// All operations: method, path, and what is said of them.
fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let method = Method::from_bytes(verb.to_uppercase().as_bytes()).unwrap();
            found.push((method, path.clone(), operation.clone()));
        }
    }
    found
}

fn filled(path: &str) -> String {
    path.replace("{deviceId}", "d1")
        .replace("{moduleId}", "m1")
        .replace("{lockToken}", &"0".repeat(48))
        .replace("{correlationId}", &"0".repeat(64))
        .replace("{jobId}", "j1")
        .replace("{number}", "1")
        .replace("{version}", "1")
        .replace("{group}", "g")
        .replace("{partition}", "0")
}

#[tokio::test]
async fn every_described_operation_is_served() {
    let server = server().await;
    let document = described(&server).await;
    let operations = operations(&document);
    assert!(operations.len() > 40, "{}", operations.len());
    for (method, path, operation) in operations {
        server.hub.registry().delete(&"d1".parse().unwrap(), None).await.ok();
        server.register("d1").await;
        server.register("d1/m1").await;
        let reply = server.owner().send(method.clone(), &filled(&path), &[], "").await;
        // The devices there are make every 404 one of a path; methods and jobs are the exceptions.
        let absent =
            ["DeviceNotOnline", "JobNotFound", "DeadLetterNotFound", "TwinVersionNotFound"];
        let found = reply.status != 404 || absent.contains(&reply.error());
        assert!(found && reply.status != 405, "{method} {path}: {} {:?}", reply.status, reply.body);
        assert!(!reply.status.is_server_error(), "{method} {path}: {}", reply.status);
        let secured = operation.get("security").is_some();
        let refused = server.anonymous().send(method.clone(), &filled(&path), &[], "").await;
        assert_eq!(refused.status == 401, secured, "{method} {path}");
        let versioned = operation["parameters"]
            .as_array()
            .is_some_and(|all| all.iter().any(|parameter| parameter["name"] == "api-version"));
        let bare = format!("{}?none", filled(&path));
        let reply = server.owner().send(method.clone(), &bare, &[], "").await;
        let demanded = reply.error() == "InvalidProtocolVersion";
        assert_eq!(demanded, versioned, "{method} {path}: {}", reply.status);
    }
}

#[tokio::test]
async fn undescribed_methods_are_not_served() {
    let server = server().await;
    let document = described(&server).await;
    let verbs = [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE];
    let described: Vec<(Method, String)> =
        operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    for path in document["paths"].as_object().unwrap().keys() {
        for verb in &verbs {
            let path = filled(path);
            let covered =
                described.iter().any(|(method, other)| method == verb && matches(other, &path));
            let reply = server.owner().send(verb.clone(), &path, &[], "").await;
            assert_eq!(reply.status != 405, covered, "{verb} {path}");
        }
    }
}

/// Whether a path is one that a template stands for.
fn matches(template: &str, path: &str) -> bool {
    let (parts, segments) = (template.split('/'), path.split('/'));
    template.matches('/').count() == path.matches('/').count()
        && parts.zip(segments).all(|(part, segment)| part.starts_with('{') || part == segment)
}

/// Whether a document keeps to a schema. Members that the schema does not name are errors: what
/// the server sends must be described.
fn check(document: &Value, schema: &Value, value: &Value, path: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        return check(document, target, value, path);
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{path}: {value}");
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    match &schema["type"] {
        Value::String(name) => assert_eq!(name, kind, "{path}: {value}"),
        Value::Array(names) => assert!(names.contains(&json!(kind)), "{path}: {value}"),
        _ => {}
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        let there = value.get(required.as_str().unwrap()).is_some();
        assert!(there, "{path}: {required} is missing in {value}");
    }
    if let (Some(members), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, member) in members {
            let schema = known.get(name).unwrap_or_else(|| panic!("{path}: {name} is unknown"));
            check(document, schema, member, &format!("{path}.{name}"));
        }
    }
    if let Some(items) = value.as_array() {
        for item in items {
            check(document, &schema["items"], item, &format!("{path}[]"));
        }
    }
}

/// Does something, and checks the answer against what is described for it.
async fn checked(
    document: &Value,
    client: &Client,
    method: Method,
    template: &str,
    headers: &[(&str, &str)],
    body: &str,
) {
    let verb = method.as_str().to_lowercase();
    let operation = &document["paths"][template][&verb];
    let reply = client.send(method, &filled(template), headers, body.to_owned()).await;
    let status = reply.status.as_u16().to_string();
    let response = match operation["responses"].get(&status) {
        Some(response) => response,
        None => &operation["responses"]["default"],
    };
    assert!(response.is_object(), "{verb} {template}: {status}");
    match response.pointer("/content/application~1json/schema") {
        Some(schema) => check(document, schema, &reply.json(), template),
        None => assert!(reply.body.is_empty() || response["content"].is_object(), "{template}"),
    }
}

#[tokio::test]
async fn answers_are_as_described() {
    let server = server().await;
    let document = &described(&server).await;
    let owner = &server.owner();
    let edge = r#"{"capabilities":{"iotEdge":true},"statusReason":"x"}"#;
    let device = "/devices/{deviceId}";
    let module = "/devices/{deviceId}/modules/{moduleId}";
    let queue = "/devices/{deviceId}/messages/deviceBound";
    let group = "/messages/events/ConsumerGroups/{group}/Partitions/{partition}";
    let none: &[(&str, &str)] = &[];
    let bulk = r#"[{"id":"d1","importMode":"create"},{"id":"d2","tags":{"a.b":1}}]"#;
    let twin = r#"{"tags":{"a":1},"properties":{"desired":{"b":[1,{"c":"d"}]}}}"#;
    let job = r#"{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"tags":{"c":1}}}"#;
    for (method, template, body) in [
        (Method::PUT, device, edge),
        (Method::PUT, device, edge),
        (Method::GET, device, ""),
        (Method::GET, "/devices", ""),
        (Method::POST, "/devices", bulk),
        (Method::PUT, module, "{}"),
        (Method::GET, module, ""),
        (Method::GET, "/devices/{deviceId}/modules", ""),
        (Method::GET, "/statistics/devices", ""),
        (Method::GET, "/statistics/service", ""),
        (Method::GET, "/twins/{deviceId}", ""),
        (Method::PATCH, "/twins/{deviceId}", twin),
        (Method::PUT, "/twins/{deviceId}/modules/{moduleId}", twin),
        (Method::POST, "/twins/{deviceId}/methods", r#"{"methodName":"m"}"#),
        (Method::POST, queue, "hello"),
        (Method::GET, "/devices/{deviceId}/messages/deviceBound/peek", ""),
        (Method::DELETE, "/devices/{deviceId}/commands", ""),
        (Method::POST, "/devices/{deviceId}/messages/events", "x"),
        (Method::GET, "/messages/events/partitions", ""),
        (Method::GET, group, ""),
        (
            Method::PUT,
            "/messages/events/ConsumerGroups/{group}/Partitions/{partition}/cursor",
            r#"{"next":1}"#,
        ),
        (Method::GET, "/messages/events/ConsumerGroups/{group}/Partitions/{partition}/cursor", ""),
        (Method::PUT, "/jobs/v2/{jobId}", job),
        (Method::GET, "/jobs/v2/{jobId}", ""),
        (Method::GET, "/jobs/v2/query", ""),
        (Method::POST, "/jobs/v2/{jobId}/cancel", ""),
        (Method::GET, "/openapi.json", ""),
        (Method::GET, "/$iothub/websocket", ""),
    ] {
        checked(document, owner, method, template, none, body).await;
    }
    let mut live = server.hub.device(&"d1".parse().unwrap()).await.unwrap();
    live.subscribe(Interest::Methods).await.unwrap();
    tokio::spawn(async move {
        while let DeviceEvent::Method(call, ..) = live.next().await {
            live.reply(call, 200, "{\"a\":1}").await;
        }
    });
    let call = r#"{"methodName":"m"}"#;
    checked(document, owner, Method::POST, "/twins/{deviceId}/methods", none, call).await;
}
