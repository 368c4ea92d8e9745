//! What operators ask: how the hub is, in words and in numbers.

use std::fmt::Write as _;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use hub_core::Hub;
use hub_core::engine::Health;
use serde_json::json;

use crate::api::{Api, Counters};
use crate::respond;

/// The operator's routes: `GET /healthz`, and `GET /metrics` in the text format of Prometheus.
///
/// Neither asks for credentials: put them where only operators come. The router keeps the hub
/// alive.
///
/// `/healthz` answers 200 while the hub can do its work, else 503; the body has the word.
pub fn operations_router(hub: Hub) -> Router {
    let for_metrics = hub.clone();
    Router::new()
        .route("/healthz", get(move || async move { health(&hub) }))
        .route("/metrics", get(move || async move { metrics(&for_metrics, None) }))
}

/// Answers a request if it is an operator's.
pub(crate) fn answer(api: &Api, request: &Request) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    match request.uri().path() {
        "/healthz" => Some(health(&api.hub)),
        "/metrics" => Some(metrics(&api.hub, Some(&api.counters))),
        _ => None,
    }
}

fn health(hub: &Hub) -> Response {
    let (status, word) = match hub.health() {
        Health::Ok => (StatusCode::OK, "ok"),
        Health::Degraded => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
        Health::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        Health::Failed => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
    };
    respond::json(status, &json!({ "status": word }))
}

fn metrics(hub: &Hub, http: Option<&Counters>) -> Response {
    let mut response = Response::new(Body::from(text(hub, http)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn text(hub: &Hub, http: Option<&Counters>) -> String {
    let gauges = hub.gauges();
    let healthy = usize::from(hub.health() == Health::Ok);
    let mut out = String::with_capacity(2048);
    for (name, kind, about, value) in [
        ("hub_healthy", "gauge", "1 while the hub can do its work.", healthy),
        ("hub_connections", "gauge", "Open connections.", gauges.connections),
        ("hub_devices_loaded", "gauge", "Loaded machines of devices.", gauges.devices),
        (
            "hub_changes_waiting",
            "gauge",
            "Changes that wait for the store.",
            gauges.waiting_changes,
        ),
        (
            "hub_bytes_waiting",
            "gauge",
            "Bytes of changes that wait for the store.",
            gauges.waiting_bytes,
        ),
        ("hub_batches_total", "counter", "Batches sent to the store.", gauges.batches),
        ("hub_changes_total", "counter", "Changes sent to the store.", gauges.changes),
        (
            "hub_conflicts_total",
            "counter",
            "Changes that lost against another writer.",
            gauges.conflicts,
        ),
        ("hub_batch_retries_total", "counter", "Batches that were sent again.", gauges.retries),
    ] {
        // Writing to a string cannot fail.
        let _ = write!(out, "# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    if let Some(counters) = http {
        out.push_str("# HELP hub_http_requests_total Requests answered, by class of status.\n");
        out.push_str("# TYPE hub_http_requests_total counter\n");
        for (class, count) in counters.read() {
            let _ = writeln!(out, "hub_http_requests_total{{status=\"{class}xx\"}} {count}");
        }
    }
    out
}
