//! The schemas of configurations and digital twins.

use serde_json::{Value, json};

use super::shape;

/// The schemas by name.
pub(super) fn all() -> Value {
    let text = || json!({ "type": "string" });
    let nullable = || json!({ "type": ["string", "null"] });
    let number = || json!({ "type": "integer" });
    let time = || json!({ "type": "string", "format": "date-time" });
    let object = || json!({ "type": "object" });
    let one = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let by_name = |value: Value| json!({ "type": "object", "additionalProperties": value });
    json!({
        "Configuration": shape(&["id"], json!({
            "id": text(),
            "schemaVersion": text(),
            "labels": { "type": ["object", "null"] },
            "content": one("ConfigurationContent"),
            "targetCondition": text(),
            "createdTimeUtc": time(),
            "lastUpdatedTimeUtc": time(),
            "priority": number(),
            "systemMetrics": one("ConfigurationMetrics"),
            "metrics": one("ConfigurationMetrics"),
            "etag": text(),
        })),
        "ConfigurationContent": shape(&[], json!({
            "deviceContent": object(),
            "moduleContent": object(),
            "modulesContent": object(),
        })),
        "ConfigurationMetrics": shape(&[], json!({
            "results": by_name(number()), "queries": by_name(text()),
        })),
        "ConfigurationQueries": shape(&[], json!({
            "targetCondition": nullable(), "customMetricQueries": by_name(text()),
        })),
        "ConfigurationQueryErrors": shape(
            &["targetConditionError", "customMetricQueryErrors"],
            json!({
                "targetConditionError": nullable(),
                "customMetricQueryErrors": by_name(text()),
            }),
        ),
        "DigitalTwin": shape(&["$dtId", "$metadata"], json!({
            "$dtId": text(), "$metadata": object(),
        })),
        "DigitalTwinOperation": shape(&["op", "path"], json!({
            "op": { "enum": ["add", "replace", "remove"] },
            "path": text(),
            "value": {},
        })),
    })
}
