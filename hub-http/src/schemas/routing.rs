//! The schemas of routes and endpoints.

use serde_json::{Value, json};

use super::shape;

/// All of them by name.
pub(super) fn all() -> Value {
    let text = || json!({ "type": "string" });
    let nullable = || json!({ "type": ["string", "null"] });
    let number = || json!({ "type": "integer" });
    let flag = || json!({ "type": "boolean" });
    let maybe_time = || json!({ "type": ["string", "null"], "format": "date-time" });
    let object = || json!({ "type": "object" });
    let one = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let list = |item: Value| json!({ "type": "array", "items": item });
    json!({
        "Route": shape(&["name", "source", "condition", "endpointNames", "isEnabled"], json!({
            "name": text(),
            "source": text(),
            "condition": text(),
            "endpointNames": list(text()),
            "isEnabled": flag(),
            "counts": shape(&[], json!({
                "matched": number(), "unmatched": number(), "undefined": number(),
            })),
        })),
        "Routing": shape(&["routes", "fallbackRoute", "enrichments", "counts"], json!({
            "routes": list(one("Route")),
            "fallbackRoute": one("Route"),
            "enrichments": list(shape(&[], json!({
                "key": text(), "value": text(), "endpointNames": list(text()),
            }))),
            "counts": shape(&[], json!({
                "fallback": number(), "orphaned": number(), "invalid": number(),
            })),
        })),
        "SampleMessage": shape(&[], json!({
            "body": {}, "appProperties": object(), "systemProperties": object(),
        })),
        "RouteTest": shape(&["message", "route"], json!({
            "message": one("SampleMessage"),
            "route": shape(&["source"], json!({
                "name": text(),
                "source": text(),
                "condition": text(),
                "endpointNames": list(text()),
                "isEnabled": flag(),
            })),
            "twin": object(),
        })),
        "RoutesTest": shape(&["message"], json!({
            "routingSource": text(), "message": one("SampleMessage"), "twin": object(),
        })),
        "RouteExplanation": shape(&["matched", "operands"], json!({
            "matched": flag(),
            "fault": nullable(),
            "operands": list(shape(&["offset", "depth", "text", "value", "result"], json!({
                "offset": number(),
                "depth": number(),
                "text": text(),
                "value": text(),
                "result": one("TruthValue"),
            }))),
        })),
        "TruthValue": { "enum": ["true", "false", "undefined"] },
        "RouteTestResult": shape(&["result", "details"], json!({
            "result": one("TruthValue"),
            "details": shape(&["compilationErrors"], json!({
                "compilationErrors": list(object()),
            })),
            "explanation": one("RouteExplanation"),
        })),
        "RoutesTestResult": shape(&["routes", "explanations"], json!({
            "routes": list(shape(&["properties"], json!({ "properties": one("Route") }))),
            "explanations": list(shape(&["name", "result", "explanation"], json!({
                "name": text(),
                "result": one("TruthValue"),
                "explanation": one("RouteExplanation"),
            }))),
        })),
        "EndpointHealths": shape(&["value"], json!({ "value": list(one("EndpointHealth")) })),
        "EndpointHealth": shape(&["endpointId", "healthStatus", "lag"], json!({
            "endpointId": text(),
            "healthStatus": { "enum": ["unknown", "healthy", "unhealthy", "dead"] },
            "lastKnownError": nullable(),
            "lastKnownErrorMessage": nullable(),
            "lastKnownErrorTime": maybe_time(),
            "lastSuccessfulSendAttemptTime": maybe_time(),
            "lastSendAttemptTime": maybe_time(),
            "endpointType": text(),
            "node": nullable(),
            "lag": number(),
            "behindSeconds": { "type": "number" },
            "delivered": number(),
            "invalid": number(),
            "expired": number(),
        })),
    })
}
