//! Routes: what is in force, how endpoints fare, and trying a route on a sample.
//!
//! The shapes are those of Azure's resource manager, which has these calls at another host; what is
//! more than there says more.

use axum::response::Response;
use http::StatusCode;
use hub_core::engine::{Action, EndpointHealth};
use hub_core::envelope::{EventSource, SystemProperty};
use hub_core::id::{Address, DeviceId, ModuleId};
use hub_core::query::{ParseError, SystemName};
use hub_core::route::{RouteCounts, RouteSpec, RoutingError, Sample, Trial};
use hub_core::security::Right;
use hub_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::problem::Problem;
use crate::respond;
use crate::route::{Answer, Content, Route, Verb};

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Get,
        "/routing/routes",
        "listRoutes",
        "Lists the routes in force, with how often each was asked and what came of it.",
        |call| Box::pin(list(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(&[(200, "The routes.", Content::Json("Routing"))]),
    Route::new(
        Verb::Post,
        "/routing/routes/$testnew",
        "testRoute",
        "Tries a route on a sample message. Nothing is delivered.",
        |call| Box::pin(test_new(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .takes(Content::Json("RouteTest"))
    .gives(&[(200, "What the condition came to.", Content::Json("RouteTestResult"))]),
    Route::new(
        Verb::Post,
        "/routing/routes/$testall",
        "testRoutes",
        "Tries all routes in force on a sample message. Nothing is delivered.",
        |call| Box::pin(test_all(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .takes(Content::Json("RoutesTest"))
    .gives(&[(
        200,
        "The routes that took it, and how each came to it.",
        Content::Json("RoutesTestResult"),
    )]),
    Route::new(
        Verb::Get,
        "/routingEndpointsHealth",
        "listEndpointHealth",
        "Says how the endpoints of routes fare.",
        |call| Box::pin(health(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(&[(200, "The endpoints.", Content::Json("EndpointHealths"))]),
];

/// Largest body of a test, beside the message.
const TEST_BYTES: usize = 256 * 1024;

fn route_json(route: &RouteSpec) -> Value {
    json!({
        "name": route.name,
        "source": route.source.routing_name(),
        "condition": route.condition,
        "endpointNames": [route.endpoint],
        "isEnabled": route.enabled,
    })
}

async fn list(call: Call) -> Answer {
    call.allow(Action::ReadRouting).await?;
    let table = call.hub().routing();
    let (spec, counts) = (table.spec(), table.counts());
    let mut counted = counts.routes.iter();
    let routes: Vec<Value> = spec
        .routes
        .iter()
        .map(|route| {
            let RouteCounts { matched, unmatched, undefined } =
                counted.next().map(|(_, counts)| *counts).unwrap_or_default();
            let mut shown = route_json(route);
            if let Value::Object(shown) = &mut shown {
                let counts = json!({
                    "matched": matched, "unmatched": unmatched, "undefined": undefined,
                });
                shown.insert("counts".to_owned(), counts);
            }
            shown
        })
        .collect();
    let enrichment = |enrichment: &hub_core::route::EnrichmentSpec| {
        json!({
            "key": enrichment.key, "value": enrichment.value, "endpointNames": enrichment.endpoints,
        })
    };
    let enrichments: Vec<Value> = spec.enrichments.iter().map(enrichment).collect();
    Ok(respond::json(
        StatusCode::OK,
        &json!({
            "routes": routes,
            "fallbackRoute": route_json(&spec.fallback.as_route()),
            "enrichments": enrichments,
            "counts": {
                "fallback": counts.fallback,
                "orphaned": counts.orphaned,
                "invalid": counts.invalid,
            },
        }),
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TestNew {
    message: Message,
    route: RouteJson,
    #[serde(default)]
    twin: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TestAll {
    #[serde(default)]
    routing_source: Option<String>,
    message: Message,
    #[serde(default)]
    twin: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Message {
    /// Text as it is, or a document.
    #[serde(default)]
    body: Value,
    #[serde(default)]
    app_properties: Map<String, Value>,
    #[serde(default)]
    system_properties: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RouteJson {
    #[serde(default)]
    name: Option<String>,
    source: String,
    #[serde(default)]
    condition: Option<String>,
    #[serde(default)]
    endpoint_names: Vec<String>,
    #[serde(default)]
    is_enabled: Option<bool>,
}

fn source(name: &str) -> Result<EventSource, Problem> {
    EventSource::from_name(name)
        .ok_or_else(|| Problem::argument(format!("{name} is no source of events")))
}

impl RouteJson {
    fn read(self) -> Result<RouteSpec, Problem> {
        let endpoint = self.endpoint_names.first().map_or("events", String::as_str);
        let condition = self.condition.as_deref().unwrap_or("true");
        let name = self.name.as_deref().unwrap_or("route");
        let route = RouteSpec::new(name, source(&self.source)?, condition, endpoint);
        Ok(if self.is_enabled == Some(false) { route.disabled() } else { route })
    }
}

/// The text of a property's value; none for null.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

impl Message {
    fn read(
        self,
        source: EventSource,
        twin: Option<Value>,
        now: Timestamp,
    ) -> Result<Sample, Problem> {
        let (mut device, mut module) = ("device".to_owned(), None);
        let mut sample = Sample::new(source, Address::from(id(&device)?), now);
        for (name, value) in self.system_properties {
            let Some(value) = text(value) else { continue };
            match system_name(&name) {
                Some(Named::Set(property)) => sample = sample.with_system(property, &value),
                Some(Named::Stamped(SystemName::ConnectionDeviceId)) => device = value,
                Some(Named::Stamped(SystemName::ConnectionModuleId)) => module = Some(value),
                Some(Named::Stamped(SystemName::DataSchema)) => sample.model = Some(value),
                Some(Named::Stamped(SystemName::EnqueuedTime)) => {
                    sample.at = Timestamp::parse(&value)
                        .ok_or_else(|| Problem::argument(format!("{name} is no time")))?;
                }
                // Who sent a sample was never authenticated.
                Some(Named::Stamped(_)) => {}
                None => {
                    return Err(Problem::argument(format!("{name} is no system property")));
                }
            }
        }
        sample.sender = match module {
            None => Address::from(id(&device)?),
            Some(module) => {
                let module =
                    ModuleId::new(&module).map_err(|e| Problem::argument(e.to_string()))?;
                Address::module(&id(&device)?, &module)
            }
        };
        for (name, value) in self.app_properties {
            sample = sample.with_application(&name, text(value).as_deref());
        }
        sample = sample.with_body(text(self.body).unwrap_or_default());
        Ok(match twin {
            None | Some(Value::Null) => sample,
            Some(twin) => sample.with_twin(twin),
        })
    }
}

fn id(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::new(text).map_err(|error| Problem::argument(error.to_string()))
}

enum Named {
    /// One that a device sets.
    Set(SystemProperty),
    /// One that the hub stamps.
    Stamped(SystemName),
}

/// A system property by its name in the log, or by the keyword that conditions have for it.
fn system_name(name: &str) -> Option<Named> {
    let set = SystemProperty::ALL.into_iter().find(|p| p.name().eq_ignore_ascii_case(name));
    if let Some(property) = set {
        return Some(Named::Set(property));
    }
    let name = match name.to_ascii_lowercase().as_str() {
        "iothub-connection-device-id" => SystemName::ConnectionDeviceId,
        "iothub-connection-module-id" => SystemName::ConnectionModuleId,
        "iothub-enqueuedtime" => SystemName::EnqueuedTime,
        keyword => SystemName::from_keyword(keyword)?,
    };
    Some(match name {
        SystemName::MessageId => Named::Set(SystemProperty::MessageId),
        SystemName::CorrelationId => Named::Set(SystemProperty::CorrelationId),
        SystemName::UserId => Named::Set(SystemProperty::UserId),
        SystemName::ContentType => Named::Set(SystemProperty::ContentType),
        SystemName::ContentEncoding => Named::Set(SystemProperty::ContentEncoding),
        SystemName::CreationTime => Named::Set(SystemProperty::CreationTime),
        SystemName::Subject => Named::Set(SystemProperty::Subject),
        stamped => Named::Stamped(stamped),
    })
}

async fn test_new(mut call: Call) -> Answer {
    let body = call.read_body(call.limits().telemetry_bytes_max + TEST_BYTES).await?;
    let test: TestNew = serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
    call.allow(Action::ReadRouting).await?;
    let route = test.route.read()?;
    let sample = test.message.read(route.source, test.twin, call.hub().now())?;
    Ok(match call.hub().test_route(&route, &sample) {
        Ok(trial) => respond::json(StatusCode::OK, &result(&trial)),
        Err(RoutingError::Condition { error, .. }) => wrong(&error),
        Err(error) => return Err(Problem::argument(error.to_string())),
    })
}

fn result(trial: &Trial) -> Value {
    json!({
        "result": trial.explanation.evaluation.truth.to_string(),
        "details": { "compilationErrors": [] },
        "explanation": explanation(trial),
    })
}

/// A condition that is none comes to nothing, and it is told where it is wrong.
fn wrong(error: &ParseError) -> Response {
    let place = json!({ "line": error.line(), "column": error.column() });
    let told = json!({
        "result": "undefined",
        "details": { "compilationErrors": [{
            "message": error.to_string(),
            "severity": "error",
            "location": { "start": place, "end": place },
        }] },
    });
    respond::json(StatusCode::OK, &told)
}

fn explanation(trial: &Trial) -> Value {
    let explanation = &trial.explanation;
    let operand = |operand: &hub_core::query::Operand| {
        json!({
            "offset": operand.at,
            "depth": operand.depth,
            "text": operand.text,
            "value": operand.value.to_string(),
            "result": operand.truth.to_string(),
        })
    };
    json!({
        "matched": trial.matched,
        "fault": explanation.evaluation.fault.map(|fault| fault.to_string()),
        "operands": explanation.operands.iter().map(operand).collect::<Vec<_>>(),
    })
}

async fn test_all(mut call: Call) -> Answer {
    let body = call.read_body(call.limits().telemetry_bytes_max + TEST_BYTES).await?;
    let test: TestAll = serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
    call.allow(Action::ReadRouting).await?;
    let source = source(test.routing_source.as_deref().unwrap_or("DeviceMessages"))?;
    let sample = test.message.read(source, test.twin, call.hub().now())?;
    let trials =
        call.hub().test_routes(&sample).map_err(|error| Problem::argument(error.to_string()))?;
    let matched = trials.iter().filter(|trial| trial.matched);
    let routes: Vec<Value> =
        matched.map(|trial| json!({ "properties": route_json(&trial.route) })).collect();
    let all: Vec<Value> = trials
        .iter()
        .map(|trial| {
            json!({
                "name": trial.route.name,
                "result": trial.explanation.evaluation.truth.to_string(),
                "explanation": explanation(trial),
            })
        })
        .collect();
    Ok(respond::json(StatusCode::OK, &json!({ "routes": routes, "explanations": all })))
}

async fn health(call: Call) -> Answer {
    call.allow(Action::ReadRouting).await?;
    let all = call.hub().endpoint_health().await?;
    let shown: Vec<Value> = all.iter().map(health_json).collect();
    Ok(respond::json(StatusCode::OK, &json!({ "value": shown })))
}

fn health_json(health: &EndpointHealth) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let error = health.last_error.as_ref();
    json!({
        "endpointId": health.name,
        "healthStatus": health.status.name(),
        "lastKnownError": error.map(|error| error.kind.name()),
        "lastKnownErrorMessage": error.map(|error| error.message.as_str()),
        "lastKnownErrorTime": error.map(|error| error.at.to_string()),
        "lastSuccessfulSendAttemptTime": time(health.last_success),
        "lastSendAttemptTime": time(health.last_attempt),
        "endpointType": health.kind,
        "node": health.node.as_ref().map(|node| node.as_str()),
        "lag": health.lag,
        "behindSeconds": health.behind.as_secs_f64(),
        "delivered": health.delivered,
        "invalid": health.invalid,
        "expired": health.expired,
    })
}
