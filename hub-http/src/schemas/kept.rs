//! The schemas of what the hub keeps: dead letters, and the history of twins.

use serde_json::{Value, json};

use super::shape;

/// All of them by name.
pub(super) fn all() -> Value {
    let text = || json!({ "type": "string" });
    let nullable = || json!({ "type": ["string", "null"] });
    let number = || json!({ "type": "integer" });
    let time = || json!({ "type": "string", "format": "date-time" });
    let object = || json!({ "type": "object" });
    let list = |item: Value| json!({ "type": "array", "items": item });
    let properties =
        || shape(&["desired", "reported"], json!({ "desired": object(), "reported": object() }));
    let sections = || {
        shape(
            &[],
            json!({
                "tags": object(),
                "properties": shape(&[], json!({ "desired": object(), "reported": object() })),
            }),
        )
    };
    json!({
        "DeadLetter": shape(&["number", "deviceId", "moduleId", "cause", "deadTimeUtc", "body"], json!({
            "number": number(),
            "deviceId": text(),
            "moduleId": nullable(),
            "cause": { "enum": ["Rejected", "Expired", "DeliveryCountExceeded", "Purged"] },
            "deadTimeUtc": time(),
            "keptUntilUtc": time(),
            "deliveryCount": number(),
            "sequenceNumber": number(),
            "enqueuedTimeUtc": time(),
            "expiryTimeUtc": time(),
            "ack": { "enum": ["none", "positive", "negative", "full"] },
            "systemProperties": object(),
            "properties": object(),
            "body": { "type": "string", "contentEncoding": "base64" },
        })),
        "DeadLetterPurgeResult": shape(&["totalLettersPurged"], json!({
            "totalLettersPurged": number(),
        })),
        "TwinVersion": shape(&["version", "timeUtc", "opType", "by", "sections"], json!({
            "version": number(),
            "timeUtc": time(),
            "opType": { "enum": ["updateTwin", "replaceTwin"] },
            "by": { "enum": ["device", "service"] },
            "sections": list(json!({
                "enum": ["tags", "properties.desired", "properties.reported"],
            })),
            "patch": sections(),
            "previous": sections(),
        })),
        "PastTwin": shape(&["deviceId", "etag", "version", "tags", "properties"], json!({
            "deviceId": text(),
            "moduleId": text(),
            "etag": text(),
            "version": number(),
            "properties": properties(),
            "tags": object(),
        })),
    })
}
