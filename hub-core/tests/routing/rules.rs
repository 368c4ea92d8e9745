//! The rules of routing that are most often implemented wrong, by their numbers: `docs/rules.md`.

use hub_core::envelope::{EventSource, SystemProperty};
use hub_core::limits::Limits;
use hub_core::query::Truth;
use hub_core::route::{RouteSpec, RoutingError, Sample, try_route};
use serde_json::json;

use crate::sink::Sink;
use crate::world::{START, address, hub, log, register, soon};

/// The message of the worked examples.
fn sample() -> Sample {
    Sample::new(EventSource::Telemetry, address("d1"), START)
        .with_system(SystemProperty::ContentType, "application/json")
        .with_system(SystemProperty::ContentEncoding, "utf-8")
        .with_application("sev", Some("3"))
        .with_application("kind", Some("Alarm"))
        .with_application("a-b", Some("dash"))
        .with_application("n", None)
        .with_body(json!({"t": 50, "on": true, "s": "WA", "z": null}).to_string())
        .with_twin(json!({"tags": {"floor": "1"}}))
}

fn tried(condition: &str) -> Result<Truth, RoutingError> {
    let route = RouteSpec::new("r", EventSource::Telemetry, condition, "events");
    let trial = try_route(&route, &sample(), &Limits::default())?;
    Ok(trial.explanation.evaluation.truth)
}

#[track_caller]
fn are(truth: Truth, conditions: &[&str]) {
    for condition in conditions {
        assert_eq!(tried(condition), Ok(truth), "{condition}");
    }
}

#[track_caller]
fn are_refused(conditions: &[&str]) {
    for condition in conditions {
        let refused = matches!(tried(condition), Err(RoutingError::Condition { .. }));
        assert!(refused, "{condition}");
    }
}

#[tokio::test]
async fn b01_a_route_to_another_endpoint_takes_telemetry_away_from_the_log() {
    let sink = Sink::new();
    let (hub, _) = hub(|builder| {
        builder.endpoint("sink", sink.clone()).routes([RouteSpec::new(
            "hot",
            EventSource::Telemetry,
            "temperature = 'hot'",
            "sink",
        )])
    });
    register(&hub, "d1").await;
    let mut device = hub.device(&address("d1")).await.unwrap();
    for (body, temperature) in [("1", "hot"), ("2", "cold"), ("3", "hot")] {
        let property = hub_core::envelope::Property::Application("Temperature", Some(temperature));
        device.send(body.as_bytes(), &[property]).await.unwrap();
    }
    soon(async {
        while sink.seen().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(sink.seen(), ["1", "3"]);
    let logged: Vec<_> = log(&hub).await.into_iter().map(|event| event.body).collect();
    assert_eq!(logged, ["2"]);
}

#[tokio::test]
async fn b02_two_routes_to_the_log_make_one_entry() {
    let route = |name, condition| RouteSpec::new(name, EventSource::Telemetry, condition, "events");
    let (hub, _) = hub(|builder| builder.routes([route("a", "true"), route("b", "NOT false")]));
    register(&hub, "d1").await;
    hub.device(&address("d1")).await.unwrap().send(b"x", &[]).await.unwrap();
    assert_eq!(log(&hub).await.len(), 1);
}

#[test]
fn b03_undefined_is_not_false() {
    are(
        Truth::Undefined,
        &[
            "gone = 'x'",
            "gone != 'x'",
            "NOT (gone = 'x')",
            "gone = 'x' AND true",
            "gone = 'x' OR false",
            "n = 'x'",
            "$body.s",
            "$body.t AND true",
            "true OR $body.nope",
        ],
    );
    are(
        Truth::True,
        &["gone = 'x' OR true", "$body.gone != 'x'", "$body.nope = null", "is_null(n)"],
    );
    are(Truth::False, &["gone = 'x' AND false", "is_defined(gone)", "is_defined($body.nope)"]);
}

#[test]
fn b04_application_properties_are_text_and_names_ignore_case() {
    are(Truth::True, &["KIND = 'Alarm'", "as_number(sev) >= 3", "sev = '3'", "SEV < '4'"]);
    are(Truth::False, &["kind = 'alarm'", "$contentEncoding = 'UTF-8'", "$body.t = '50'"]);
    are(Truth::Undefined, &["as_number(kind) > 1"]);
    are_refused(&["sev = 3", "sev + 1 > 3", "sev AND true"]);
}

#[test]
fn b05_identifiers_swallow_operators_and_not_binds_tighter_than_equality() {
    // One name, and not a difference.
    are(Truth::True, &["a-b = 'dash'", "'a' || 'b' = 'ab'"]);
    are(Truth::Undefined, &["a||b = 'x'", "sev-1 = '2'"]);
    // `(NOT kind) = …`, and text is no truth value.
    are_refused(&["NOT kind = 'Alarm'", "gone ?? 'x' = 'y'"]);
    are(Truth::False, &["NOT (kind = 'Alarm')"]);
    are(Truth::True, &["(gone ?? 'd') = 'd'"]);
}
