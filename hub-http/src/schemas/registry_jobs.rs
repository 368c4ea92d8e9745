//! The schemas of imports and exports of the registry.

use serde_json::{Value, json};

use super::shape;

pub(super) fn all() -> Value {
    let text = || json!({ "type": "string" });
    let nullable = || json!({ "type": ["string", "null"] });
    let number = || json!({ "type": "integer" });
    let flag = || json!({ "type": "boolean" });
    let time = || json!({ "type": "string", "format": "date-time" });
    json!({
        "RegistryJobRequest": shape(&["type", "outputBlobContainerUri"], json!({
            "type": { "enum": ["import", "export"] },
            "inputBlobContainerUri": text(),
            "inputBlobName": text(),
            "outputBlobContainerUri": text(),
            "outputBlobName": text(),
            "excludeKeysInExport": flag(),
            "storageAuthenticationType": { "enum": ["keyBased", "identityBased"] },
            "includeConfigurations": { "const": false },
        })),
        "RegistryJob": shape(&["jobId", "type", "status", "progress"], json!({
            "jobId": text(),
            "type": { "enum": ["import", "export"] },
            "status": { "enum": ["enqueued", "running", "completed", "failed", "cancelled"] },
            "progress": number(),
            "startTimeUtc": time(),
            "endTimeUtc": time(),
            "inputBlobContainerUri": text(),
            "inputBlobName": text(),
            "outputBlobContainerUri": text(),
            "outputBlobName": text(),
            "excludeKeysInExport": flag(),
            "storageAuthenticationType": { "enum": ["keyBased", "identityBased"] },
            "includeConfigurations": flag(),
            "failureReason": nullable(),
        })),
    })
}
