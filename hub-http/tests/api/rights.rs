//! Which policy opens which route, and what the application's hook may add.

use async_trait::async_trait;
use hub_core::engine::{Action, Actor, Authorizer, Decision};

use crate::client::{server, server_with};
use http::Method;

#[tokio::test]
async fn each_route_needs_its_right() {
    let server = server().await;
    server.register("d1").await;
    let policies = ["iothubowner", "service", "device", "registryRead", "registryReadWrite"];
    for (method, path, may) in [
        (Method::GET, "/devices/d1", [true, false, false, true, true]),
        (Method::GET, "/devices", [true, false, false, true, true]),
        (Method::GET, "/statistics/devices", [true, false, false, true, true]),
        (Method::PUT, "/devices/d1", [true, false, false, false, true]),
        (Method::POST, "/devices", [true, false, false, false, true]),
        (Method::GET, "/statistics/service", [true, true, false, false, false]),
        (Method::GET, "/twins/d1", [true, true, false, false, false]),
        (Method::PATCH, "/twins/d1", [true, true, false, false, false]),
        (Method::POST, "/devices/query", [true, true, false, false, false]),
        (Method::POST, "/twins/d1/methods", [true, true, false, false, false]),
        (Method::DELETE, "/devices/d1/commands", [true, true, false, false, false]),
        (Method::POST, "/devices/d1/messages/deviceBound", [true, true, false, false, false]),
        (Method::GET, "/messages/deadLetters", [true, true, false, false, false]),
        (Method::DELETE, "/messages/deadLetters", [true, true, false, false, false]),
        (Method::GET, "/devices/d1/messages/deadLetters", [true, true, false, false, false]),
        (
            Method::POST,
            "/devices/d1/messages/deadLetters/1/replay",
            [true, true, false, false, false],
        ),
        (Method::GET, "/twins/d1/history", [true, true, false, false, false]),
        (Method::GET, "/twins/d1/history/2", [true, true, false, false, false]),
        (Method::GET, "/messages/events/partitions", [true, true, false, false, false]),
        (Method::GET, "/configurations", [true, false, false, true, true]),
        (Method::GET, "/configurations/c1", [true, false, false, true, true]),
        (Method::PUT, "/configurations/c1", [true, false, false, false, true]),
        (Method::DELETE, "/configurations/c1", [true, false, false, false, true]),
        (Method::POST, "/configurations/testQueries", [true, false, false, true, true]),
        (Method::POST, "/devices/d1/applyConfigurationContent", [true, false, false, false, true]),
        (Method::GET, "/digitaltwins/d1", [true, true, false, false, false]),
        (Method::PATCH, "/digitaltwins/d1", [true, true, false, false, false]),
        (Method::POST, "/digitaltwins/d1/commands/c", [true, true, false, false, false]),
        (Method::GET, "/routing/routes", [true, true, false, false, false]),
        (Method::POST, "/routing/routes/$testnew", [true, true, false, false, false]),
        (Method::GET, "/routingEndpointsHealth", [true, true, false, false, false]),
        (Method::GET, "/messages/serviceBound/feedback", [true, true, false, false, false]),
        (
            Method::GET,
            "/messages/serviceBound/fileNotifications",
            [true, true, false, false, false],
        ),
        (Method::GET, "/files/address", [true, true, false, false, false]),
        (Method::GET, "/files/container", [true, false, false, false, true]),
        (Method::POST, "/jobs/create", [true, false, false, false, true]),
        (Method::GET, "/jobs", [true, false, false, true, true]),
        (Method::GET, "/jobs/j1", [true, false, false, true, true]),
        (Method::DELETE, "/jobs/j1", [true, false, false, false, true]),
        (Method::POST, "/devices/d1/files", [true, false, true, false, false]),
        (Method::GET, "/devices/d1/messages/deviceBound", [true, false, true, false, false]),
    ] {
        for (policy, may) in policies.iter().zip(may) {
            let reply = server.policy(policy).send(method.clone(), path, &[], "").await;
            let refused = reply.status == 401 && reply.error() == "IotHubUnauthorizedAccess";
            assert_eq!(!refused, may, "{method} {path} as {policy}: {:?}", reply.body);
        }
        server
            .anonymous()
            .send(method, path, &[], "")
            .await
            .refuses(401, "IotHubUnauthorizedAccess");
    }
}

#[tokio::test]
async fn a_token_opens_only_its_resource() {
    let server = server().await;
    server.register("d1").await;
    server.register("d2").await;
    let narrow = server.policy_for("iothubowner", "hub.test/devices/d1");
    narrow.get("/devices/d1").await.expect(200);
    narrow.post("/devices/d1/messages/deviceBound", "x").await.expect(201);
    for other in ["/devices/d2", "/devices/d1%2F..%2Fd2", "/twins/d1", "/devices"] {
        let reply = narrow.get(other).await;
        assert!(matches!(reply.status.as_u16(), 400 | 401), "{other}: {}", reply.status);
    }
    let message = narrow.get("/devices/d2").await.json()["Message"].clone();
    assert!(message.as_str().unwrap().contains("'iothubowner' does not allow access"));
    // A device's own token is none of a back end's.
    server.device("d1").await.get("/devices/d1").await.refuses(401, "IotHubUnauthorizedAccess");
}

/// Lets nobody write, and keeps one device out.
struct ReadOnly;

#[async_trait]
impl Authorizer for ReadOnly {
    async fn authorize(&self, actor: Actor<'_>, action: Action<'_>) -> Decision {
        let denied = match (actor, action) {
            (Actor::Device(address), Action::Connect(_)) => address.as_str() == "out",
            (_, Action::Connect(_)) => false,
            (_, Action::Publish(count)) => count > 1,
            (_, Action::ReadTwin(_) | Action::ReadRegistry | Action::ReadEvents) => false,
            _ => true,
        };
        if denied { Decision::Deny } else { Decision::Allow }
    }
}

#[tokio::test]
async fn the_applications_hook_is_asked_about_every_operation() {
    let server = server_with(|hub| hub.authorizer(ReadOnly), |http| http).await;
    server.register("d1").await;
    server.register("out").await;
    let owner = server.owner();
    for path in ["/devices/d1", "/devices", "/twins/d1", "/statistics/devices"] {
        owner.get(path).await.expect(200);
    }
    for (method, path, body) in [
        (Method::PUT, "/devices/d2", "{}"),
        (Method::DELETE, "/devices/d1", ""),
        (Method::PATCH, "/twins/d1", "{}"),
        (Method::PUT, "/twins/d1", "{}"),
        (Method::POST, "/twins/d1/methods", r#"{"methodName":"m"}"#),
        (Method::POST, "/devices/d1/messages/deviceBound", "x"),
        (Method::DELETE, "/devices/d1/commands", ""),
        (Method::GET, "/routing/routes", ""),
        (Method::GET, "/routingEndpointsHealth", ""),
        (Method::GET, "/messages/serviceBound/feedback", ""),
    ] {
        owner.send(method, path, &[], body).await.refuses(403, "GenericForbidden");
    }
    let bulk = owner.post("/devices", r#"[{"id":"d3"}]"#).await.expect(400).json();
    assert_eq!(bulk["errors"][0]["errorCode"], "GenericForbidden");
    let device = server.device("d1").await;
    device.post("/devices/d1/messages/events", "x").await.expect(204);
    let batch = [("content-type", "application/vnd.microsoft.iothub.json")];
    let two = r#"[{"body":""},{"body":""}]"#;
    let path = "/devices/d1/messages/events";
    device.send(Method::POST, path, &batch, two).await.refuses(403, "GenericForbidden");
    device.get("/devices/d1/messages/deviceBound").await.refuses(403, "GenericForbidden");
    let out = server.device("out").await;
    out.post("/devices/out/messages/events", "x").await.refuses(403, "GenericForbidden");
}
