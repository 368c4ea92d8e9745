//! The schemas of the documents, for the description of the routes.

mod configurations;
mod kept;
mod registry_jobs;
mod routing;

use serde_json::{Value, json};

/// All schemas by name.
pub(crate) fn all() -> Value {
    let text = || json!({ "type": "string" });
    let nullable = || json!({ "type": ["string", "null"] });
    let number = || json!({ "type": "integer" });
    let flag = || json!({ "type": "boolean" });
    let time = || json!({ "type": "string", "format": "date-time" });
    let maybe_time = || json!({ "type": ["string", "null"], "format": "date-time" });
    let bytes = || json!({ "type": "string", "contentEncoding": "base64" });
    let any = || json!({});
    let object = || json!({ "type": "object" });
    let one = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let list = |item: Value| json!({ "type": "array", "items": item });
    let mut all = json!({
        "Anything": any(),
        "Error": shape(&["Message"], json!({
            "Message": text(),
            "ExceptionMessage": text(),
        })),
        "Authentication": shape(&["type"], json!({
            "type": { "enum": ["sas", "selfSigned", "certificateAuthority", "none"] },
            "symmetricKey": shape(&[], json!({
                "primaryKey": nullable(), "secondaryKey": nullable(),
            })),
            "x509Thumbprint": one("Thumbprints"),
        })),
        "Thumbprints": shape(&[], json!({
            "primaryThumbprint": nullable(), "secondaryThumbprint": nullable(),
        })),
        "Capabilities": shape(&[], json!({ "iotEdge": flag() })),
        "Device": shape(&["deviceId"], json!({
            "deviceId": text(),
            "generationId": text(),
            "etag": text(),
            "connectionState": { "enum": ["Connected", "Disconnected"] },
            "status": { "enum": ["enabled", "disabled"] },
            "statusReason": nullable(),
            "statusUpdatedTime": time(),
            "connectionStateUpdatedTime": time(),
            "lastActivityTime": time(),
            "cloudToDeviceMessageCount": number(),
            "authentication": one("Authentication"),
            "capabilities": one("Capabilities"),
            "deviceScope": text(),
            "parentScopes": list(text()),
        })),
        "Module": shape(&["deviceId", "moduleId"], json!({
            "deviceId": text(),
            "moduleId": text(),
            "managedBy": nullable(),
            "generationId": text(),
            "etag": text(),
            "connectionState": { "enum": ["Connected", "Disconnected"] },
            "connectionStateUpdatedTime": time(),
            "lastActivityTime": time(),
            "cloudToDeviceMessageCount": number(),
            "authentication": one("Authentication"),
        })),
        "DeviceStatistics": shape(&[], json!({
            "totalDeviceCount": number(),
            "enabledDeviceCount": number(),
            "disabledDeviceCount": number(),
        })),
        "ServiceStatistics": shape(&[], json!({ "connectedDeviceCount": number() })),
        "Twin": shape(&["deviceId", "etag", "version", "tags", "properties"], json!({
            "deviceId": text(),
            "moduleId": text(),
            "etag": text(),
            "deviceEtag": text(),
            "status": { "enum": ["enabled", "disabled"] },
            "statusReason": text(),
            "statusUpdateTime": time(),
            "connectionState": { "enum": ["Connected", "Disconnected"] },
            "lastActivityTime": time(),
            "cloudToDeviceMessageCount": number(),
            "authenticationType": text(),
            "x509Thumbprint": one("Thumbprints"),
            "modelId": text(),
            "version": number(),
            "properties": shape(&["desired", "reported"], json!({
                "desired": object(), "reported": object(),
            })),
            "capabilities": one("Capabilities"),
            "deviceScope": text(),
            "parentScopes": list(text()),
            "configurations": object(),
            "tags": object(),
        })),
        "TwinPatch": shape(&[], json!({
            "tags": { "type": ["object", "null"] },
            "properties": shape(&[], json!({ "desired": { "type": ["object", "null"] } })),
        })),
        "QueryRequest": shape(&["query"], json!({ "query": text() })),
        "QueryRow": object(),
        "JobRequest": shape(&["type", "queryCondition"], json!({
            "jobId": text(),
            "type": { "enum": ["scheduleUpdateTwin", "scheduleDeviceMethod"] },
            "queryCondition": text(),
            "startTime": time(),
            "maxExecutionTimeInSeconds": number(),
            "updateTwin": object(),
            "cloudToDeviceMethod": one("MethodRequest"),
        })),
        "Job": shape(&["jobId", "type", "status", "deviceJobStatistics"], json!({
            "jobId": text(),
            "queryCondition": text(),
            "createdTime": time(),
            "startTime": time(),
            "endTime": time(),
            "maxExecutionTimeInSeconds": number(),
            "type": { "enum": ["scheduleUpdateTwin", "scheduleDeviceMethod"] },
            "updateTwin": object(),
            "cloudToDeviceMethod": object(),
            "status": { "enum": ["queued", "running", "completed", "failed", "cancelled"] },
            "failureReason": text(),
            "statusMessage": text(),
            "deviceJobStatistics": shape(&["deviceCount"], json!({
                "deviceCount": number(),
                "failedCount": number(),
                "succeededCount": number(),
                "runningCount": number(),
                "pendingCount": number(),
            })),
        })),
        "MethodRequest": shape(&["methodName"], json!({
            "methodName": text(),
            "payload": any(),
            "responseTimeoutInSeconds": { "type": "integer", "minimum": 5, "maximum": 300 },
            "connectTimeoutInSeconds": { "type": "integer", "minimum": 0, "maximum": 300 },
        })),
        "MethodResult": shape(&["status", "payload"], json!({
            "status": number(), "payload": any(),
        })),
        "BulkItem": shape(&["id"], json!({
            "id": text(),
            "moduleId": text(),
            "importMode": { "enum": [
                "create", "update", "updateIfMatchETag", "createOrUpdate",
                "createOrUpdateIfMatchETag", "delete", "deleteIfMatchETag", "updateTwin",
                "updateTwinIfMatchETag",
            ] },
            "eTag": text(),
            "twinETag": text(),
            "status": { "enum": ["enabled", "disabled"] },
            "statusReason": nullable(),
            "authentication": one("Authentication"),
            "capabilities": one("Capabilities"),
            "deviceScope": text(),
            "parentScopes": list(text()),
            "tags": object(),
            "properties": shape(&[], json!({ "desired": object() })),
        })),
        "BulkResult": shape(&["isSuccessful", "errors", "warnings"], json!({
            "isSuccessful": flag(),
            "errors": list(shape(&["deviceId", "errorCode"], json!({
                "deviceId": text(),
                "moduleId": nullable(),
                "errorCode": text(),
                "errorStatus": text(),
                "operation": nullable(),
            }))),
            "warnings": list(shape(&["deviceId", "warningCode"], json!({
                "deviceId": text(), "warningCode": text(), "warningStatus": text(),
            }))),
        })),
        "SentMessage": shape(&["messageId", "sequenceNumber", "expiryTimeUtc"], json!({
            "messageId": text(),
            "sequenceNumber": number(),
            "expiryTimeUtc": time(),
            "depth": { "type": ["integer", "null"] },
            "depthMax": number(),
        })),
        "QueuedMessage": shape(&["sequenceNumber", "body"], json!({
            "sequenceNumber": number(),
            "enqueuedTimeUtc": time(),
            "expiryTimeUtc": time(),
            "lockedUntilUtc": maybe_time(),
            "deliveryCount": number(),
            "ack": { "enum": ["none", "positive", "negative", "full"] },
            "systemProperties": object(),
            "properties": object(),
            "body": bytes(),
        })),
        "PurgeResult": shape(&["deviceId", "moduleId", "totalMessagesPurged"], json!({
            "deviceId": text(), "moduleId": nullable(), "totalMessagesPurged": number(),
        })),
        "UploadRequest": shape(&["blobName"], json!({ "blobName": text() })),
        "UploadAddress": shape(
            &["correlationId", "hostName", "containerName", "blobName", "sasToken"],
            json!({
                "correlationId": text(),
                "hostName": text(),
                "containerName": text(),
                "blobName": text(),
                "sasToken": text(),
            }),
        ),
        "UploadNotification": shape(&["isSuccess"], json!({
            "correlationId": text(),
            "isSuccess": flag(),
            "statusCode": number(),
            "statusDescription": nullable(),
        })),
        "FileNotification": shape(&["deviceId", "blobUri", "blobName", "blobSizeInBytes"], json!({
            "deviceId": text(),
            "blobUri": text(),
            "blobName": text(),
            "lastUpdatedTime": time(),
            "blobSizeInBytes": number(),
            "enqueuedTimeUtc": time(),
        })),
        "FileAddress": shape(&["uri", "expiryTimeUtc"], json!({
            "uri": text(), "expiryTimeUtc": time(),
        })),
        "FeedbackRecord": shape(&["originalMessageId", "statusCode", "deviceId"], json!({
            "originalMessageId": text(),
            "enqueuedTimeUtc": time(),
            "statusCode": { "enum": [
                "Success", "Expired", "DeliveryCountExceeded", "Rejected", "Purged",
            ] },
            "description": text(),
            "deviceId": text(),
            "moduleId": text(),
            "deviceGenerationId": text(),
        })),
        "Partition": shape(&["partition", "first", "next"], json!({
            "partition": text(),
            "first": number(),
            "next": number(),
            "lastEnqueuedTime": maybe_time(),
        })),
        "Event": shape(&["partition", "sequenceNumber", "body"], json!({
            "partition": text(),
            "sequenceNumber": number(),
            "offset": text(),
            "enqueuedTime": time(),
            "systemProperties": object(),
            "properties": object(),
            "body": bytes(),
        })),
        "EventPage": shape(&["events", "next"], json!({
            "events": list(one("Event")), "next": number(),
        })),
        "Cursor": shape(&["next"], json!({ "next": { "type": ["integer", "null"] } })),
    });
    for more in [routing::all(), configurations::all(), registry_jobs::all(), kept::all()] {
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
    }
    all
}

/// An object with these members, of which some are always there.
fn shape(required: &[&str], properties: Value) -> Value {
    if required.is_empty() {
        json!({ "type": "object", "properties": properties })
    } else {
        json!({ "type": "object", "required": required, "properties": properties })
    }
}
