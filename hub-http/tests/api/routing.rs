//! Routes: what is in force, trying them, and how endpoints fare.

use hub_core::endpoint::{Failure, FailureKind, Outgoing};
use hub_core::engine::{HandlerEndpoint, HubBuilder};
use hub_core::envelope::EventSource;
use hub_core::route::{EnrichmentSpec, RouteSpec};
use serde_json::{Value, json};

use crate::client::{Server, server_with};

fn routes(hub: HubBuilder) -> HubBuilder {
    let broken = HandlerEndpoint::new(|_: Outgoing| async {
        Err(Failure::new(FailureKind::Unauthorized, "who are you"))
    });
    hub.endpoint("broken", broken)
        .routes([
            RouteSpec::new("hot", EventSource::Telemetry, "as_number(t) > 30", "broken"),
            RouteSpec::new("alarm", EventSource::Telemetry, "$body.alarm", "events"),
        ])
        .event_source(EventSource::TwinChange)
        .enrichment(EnrichmentSpec::new("hub", "$iothubname", ["events"]))
}

async fn server() -> Server {
    server_with(routes, |http| http).await
}

fn test(condition: &str, message: &Value) -> String {
    let route = json!({
        "name": "r", "source": "DeviceMessages", "condition": condition,
        "endpointNames": ["events"], "isEnabled": true,
    });
    json!({"message": message, "route": route, "twin": {"tags": {"floor": "1"}}}).to_string()
}

#[tokio::test]
async fn the_routes_are_listed_with_their_counts() {
    let server = server().await;
    server.register("d1").await;
    server.device("d1").await.post("/devices/d1/messages/events", "x").await.expect(204);
    let listed = server.policy("service").get("/routing/routes").await.expect(200).json();
    assert_eq!(
        listed["routes"][0],
        json!({
            "name": "hot",
            "source": "DeviceMessages",
            "condition": "as_number(t) > 30",
            "endpointNames": ["broken"],
            "isEnabled": true,
            "counts": {"matched": 0, "unmatched": 0, "undefined": 1},
        })
    );
    assert_eq!(listed["routes"].as_array().unwrap().len(), 3);
    let fallback = &listed["fallbackRoute"];
    assert_eq!((&fallback["name"], &fallback["isEnabled"]), (&json!("$fallback"), &json!(true)));
    assert_eq!(listed["counts"], json!({"fallback": 1, "orphaned": 0, "invalid": 0}));
    assert_eq!(listed["enrichments"][0]["value"], "$iothubname");
}

#[tokio::test]
async fn a_route_is_tried_on_a_sample_and_each_operand_explained() {
    let server = server().await;
    let service = server.policy("service");
    let path = "/routing/routes/$testnew";
    let message = json!({
        "body": "{\"t\":50}",
        "appProperties": {"Kind": "Alarm", "n": 7},
        "systemProperties": {
            "contentType": "application/json",
            "content-encoding": "utf-8",
            "connectionDeviceId": "d7",
        },
    });
    for (condition, want) in [
        ("kind = 'Alarm' AND $body.t = 50", "true"),
        ("as_number(n) = 7 AND $connectionDeviceId = 'd7'", "true"),
        ("$twin.tags.floor = '2'", "false"),
        ("gone = 'x'", "undefined"),
    ] {
        let tried = service.post(path, test(condition, &message)).await.expect(200).json();
        assert_eq!(tried["result"], want, "{condition}");
        assert_eq!(tried["details"]["compilationErrors"], json!([]));
        assert_eq!(tried["explanation"]["matched"], want == "true");
    }
    let tried = service.post(path, test("$body.t > 60", &message)).await.expect(200).json();
    let operands = tried["explanation"]["operands"].as_array().unwrap();
    let of = |text: &str| {
        let found = operands.iter().find(|operand| operand["text"] == text);
        found.map(|operand| operand["value"].clone())
    };
    assert_eq!(of("$body.t > 60"), Some(json!("false")));
    assert_eq!(of("$body.t"), Some(json!("50")));
    // The sample is tried as it is: without its content type a body cannot be looked into.
    let bare = json!({"body": "{\"t\":50}"});
    let tried = service.post(path, test("$body.t = 50", &bare)).await.expect(200).json();
    assert_eq!(tried["result"], "undefined");
    assert_eq!(tried["explanation"]["fault"], "the content type is not application/json");
}

#[tokio::test]
async fn a_wrong_condition_is_told_with_its_place() {
    let server = server().await;
    let body = test("kind = 3", &json!({}));
    let tried =
        server.policy("service").post("/routing/routes/$testnew", body).await.expect(200).json();
    assert_eq!(tried["result"], "undefined");
    assert_eq!(
        tried["details"]["compilationErrors"],
        json!([{
            "message": "line 1, column 8: expected text, found a number",
            "severity": "error",
            "location": {"start": {"line": 1, "column": 8}, "end": {"line": 1, "column": 8}},
        }])
    );
}

#[tokio::test]
async fn all_routes_are_tried_and_the_fallback_if_none_takes_it() {
    let server = server().await;
    let service = server.policy("service");
    let names = |tried: &Value| -> Vec<String> {
        let routes = tried["routes"].as_array().unwrap().iter();
        routes.map(|route| route["properties"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let path = "/routing/routes/$testall";
    let message = |properties: Value| json!({"message": {"appProperties": properties}}).to_string();
    let hot = service.post(path, message(json!({"t": "31"}))).await.expect(200).json();
    assert_eq!(names(&hot), ["hot"]);
    assert_eq!(hot["explanations"].as_array().unwrap().len(), 3);
    let cold = service.post(path, message(json!({"t": "3"}))).await.expect(200).json();
    assert_eq!(names(&cold), ["$fallback"]);
    let twins = json!({"routingSource": "TwinChangeEvents", "message": {}}).to_string();
    let twins = service.post(path, twins).await.expect(200).json();
    assert_eq!(names(&twins), ["twinChangeEvents"]);
}

#[tokio::test]
async fn a_test_that_is_none_is_refused() {
    let server = server().await;
    let service = server.policy("service");
    for body in [
        "".to_owned(),
        "[]".to_owned(),
        json!({"message": {}}).to_string(),
        json!({"message": {}, "route": {"source": "Invalid"}}).to_string(),
        test("true", &json!({"systemProperties": {"color": "red"}})),
        test("true", &json!({"systemProperties": {"connectionDeviceId": "a/b"}})),
        test("true", &json!({"systemProperties": {"enqueuedTime": "now"}})),
    ] {
        service.post("/routing/routes/$testnew", body).await.refuses(400, "ArgumentInvalid");
    }
}

#[tokio::test]
async fn endpoints_say_how_they_fare() {
    let server = server().await;
    server.register("d1").await;
    let device = server.device("d1").await;
    let sent = device.send(
        http::Method::POST,
        "/devices/d1/messages/events",
        &[("iothub-app-t", "99")],
        "x",
    );
    sent.await.expect(204);
    let service = server.policy("service");
    let fares = async {
        loop {
            let fares = service.get("/routingEndpointsHealth").await.expect(200).json();
            if fares["value"][0]["healthStatus"] == "unhealthy" {
                break fares;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let fares = tokio::time::timeout(std::time::Duration::from_secs(20), fares).await.unwrap();
    let broken = &fares["value"][0];
    assert_eq!(
        (&broken["endpointId"], &broken["endpointType"]),
        (&json!("broken"), &json!("handler"))
    );
    assert_eq!(broken["lastKnownError"], "Unauthorized");
    assert_eq!(broken["lastKnownErrorMessage"], "who are you");
    assert_eq!((&broken["lag"], &broken["delivered"]), (&json!(1), &json!(0)));
    assert!(broken["lastSendAttemptTime"].is_string());
    assert!(broken["lastSuccessfulSendAttemptTime"].is_null());
}
