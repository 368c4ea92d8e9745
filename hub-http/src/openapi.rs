//! The OpenAPI description of all routes, made of the same table that the dispatcher uses.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::respond;
use crate::route::{Access, Answer, Content, Origin, Route, Verb, Version};
use crate::schemas;

pub(crate) static ROUTES: &[Route] = &[Route::new(
    Verb::Get,
    "/openapi.json",
    "getDescription",
    "Gives this description.",
    |call| Box::pin(describe(call)),
)
.own()
.gives(&[(200, "An OpenAPI document.", Content::Json("Anything"))])];

async fn describe(_: Call) -> Answer {
    Ok(respond::json(StatusCode::OK, &document(crate::routes())))
}

/// What is said of every route that Azure IoT Hub does not have.
const OWN: &str = "A route of this hub's own: Azure IoT Hub offers this over AMQP only, or not at \
                   all.";

fn document(routes: impl Iterator<Item = &'static Route>) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(item) = item {
            item.insert(route.verb.name().to_ascii_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "IoT hub",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The HTTP routes of the hub. Literal segments of paths are matched \
                            without regard to case, a slash at the end is ignored. Operations with \
                            `x-iothub-own` are this hub's own; the others are Azure IoT Hub's.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "A shared access signature.",
                },
                "certificate": {
                    "type": "mutualTLS",
                    "description": "The certificate of a device or module.",
                },
            },
            "schemas": schemas::all(),
        },
    })
}

fn operation(route: &Route) -> Value {
    let own = route.origin == Origin::Own;
    let mut operation = Map::new();
    operation.insert("operationId".into(), route.name.into());
    operation.insert("summary".into(), route.about.into());
    if own {
        operation.insert("description".into(), OWN.into());
        operation.insert("x-iothub-own".into(), true.into());
    }
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    match route.access {
        Access::Open => {}
        Access::Device => {
            operation.insert("security".into(), json!([{"token": []}, {"certificate": []}]));
            operation.insert("x-iothub-right".into(), "DeviceConnect".into());
        }
        Access::Service(right) => {
            operation.insert("security".into(), json!([{"token": []}]));
            operation.insert("x-iothub-right".into(), right.as_str().into());
        }
    }
    if let Some(content) = content(route.request) {
        operation.insert("requestBody".into(), json!({ "content": content }));
    }
    let mut responses = Map::new();
    for (status, about, body) in route.answers {
        let mut response = json!({ "description": about });
        if let (Value::Object(response), Some(content)) = (&mut response, content(*body)) {
            response.insert("content".into(), content);
        }
        responses.insert(status.to_string(), response);
    }
    let error = content(Content::Json("Error")).unwrap_or_default();
    responses.insert(
        "default".into(),
        json!({
            "description": "An error. The header `iothub-errorcode` has its name.",
            "content": error,
        }),
    );
    operation.insert("responses".into(), responses.into());
    Value::Object(operation)
}

fn parameters(route: &Route) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let mut all: Vec<Value> = route
        .variables()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": text}))
        .collect();
    if route.version != Version::Optional {
        all.push(json!({"name": "api-version", "in": "query", "required": true, "schema": text}));
    }
    all.extend(route.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "in": parameter.place,
            "description": parameter.about,
            "schema": text,
        })
    }));
    all
}

fn content(content: Content) -> Option<Value> {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    Some(match content {
        Content::Nothing => return None,
        Content::Bytes => json!({ "application/octet-stream": {} }),
        Content::Json(name) => json!({ "application/json": { "schema": reference(name) } }),
        Content::List(name) => json!({
            "application/json": { "schema": { "type": "array", "items": reference(name) } },
        }),
        Content::Events => json!({
            "application/json": { "schema": reference("EventPage") },
            "application/x-ndjson": { "schema": reference("Event") },
            "text/event-stream": { "schema": reference("Event") },
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn references<'a>(value: &'a Value, found: &mut HashSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described_once() {
        let document = document(crate::routes());
        let paths = document["paths"].as_object().unwrap();
        let described: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(described, crate::routes().count());
        let names: HashSet<&str> = crate::routes().map(|route| route.name).collect();
        assert_eq!(names.len(), described, "operation ids are unique");
    }

    #[test]
    fn every_reference_leads_to_a_schema_and_every_schema_is_used() {
        let document = document(crate::routes());
        let mut found = HashSet::new();
        references(&document, &mut found);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let names: HashSet<String> =
            schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        let found: HashSet<String> = found.into_iter().map(str::to_owned).collect();
        assert_eq!(found, names);
    }

    #[test]
    fn our_own_routes_are_marked() {
        let document = document(crate::routes());
        let own = |path: &str, verb: &str| document["paths"][path][verb]["x-iothub-own"] == true;
        assert!(own("/devices/{deviceId}/messages/deviceBound", "post"));
        assert!(!own("/devices/{deviceId}/messages/deviceBound", "get"));
        assert!(own("/messages/events/partitions", "get"));
        assert!(!own("/twins/{deviceId}", "patch"));
    }

    #[test]
    fn every_route_says_what_it_gives() {
        for route in crate::routes() {
            assert!(!route.answers.is_empty(), "{}", route.name);
            assert!(route.about.ends_with('.'), "{}", route.name);
        }
    }
}
