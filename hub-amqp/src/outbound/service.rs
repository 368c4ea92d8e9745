//! What the hub itself tells back ends: feedback and file notifications.

use hub_core::Timestamp;
use hub_core::delivery::FeedbackRecord;
use hub_core::engine::{FeedbackBatch, ReceivedFileNotification};
use serde_json::{Value as Json, json};

use super::{millis, text_value};
use crate::codec::{MessageProperties, MessageWriter, Write as _};

/// Writes a message of the hub's own to back ends: annotated as the service does, with a body of
/// JSON. `id` is its message id, `user` the hub's name.
fn service_bound(
    out: &mut Vec<u8>,
    (to, content_type): (&str, &str),
    (id, user): (&str, &str),
    (enqueued, deliveries): (Timestamp, u32),
    body: &Json,
) {
    let mut message = MessageWriter::new(out);
    let mut map = message.annotations();
    map.symbol_key("iothub-enqueuedtime").timestamp(millis(enqueued));
    map.symbol_key("iothub-deliverycount").ulong(deliveries.saturating_sub(1).into());
    map.end();
    message.properties(&MessageProperties {
        message_id: Some(&text_value(id)),
        user_id: Some(user.as_bytes()),
        to: Some(to),
        content_type: Some(content_type),
        ..MessageProperties::default()
    });
    message.data(body.to_string().as_bytes());
}

/// Writes a batch of feedback. `hub` is the hub's name.
pub fn feedback(out: &mut Vec<u8>, batch: &FeedbackBatch, hub: &str, now: Timestamp) {
    let records: Vec<Json> = batch.records.iter().map(record).collect();
    // The newest record was the reason to make the batch.
    let enqueued = batch.records.iter().map(|record| record.at).max().unwrap_or(now);
    let id = batch.token.to_string();
    service_bound(
        out,
        ("/messages/serviceBound/feedback", "application/vnd.microsoft.iothub.feedback.json"),
        (&id, hub),
        (enqueued, batch.deliveries),
        &Json::Array(records),
    );
}

/// Writes a file notification. `hub` is the hub's name.
pub fn file_notification(out: &mut Vec<u8>, received: &ReceivedFileNotification, hub: &str) {
    let notification = &received.notification;
    let content_type = "application/vnd.microsoft.iothub.filenotification.json";
    service_bound(
        out,
        ("/messages/serviceBound/filenotifications", content_type),
        (&received.token.to_string(), hub),
        (notification.enqueued, received.deliveries),
        &json!({
            "deviceId": notification.device_str(),
            "blobUri": notification.url,
            "blobName": notification.blob.as_str(),
            "lastUpdatedTime": notification.modified.to_string(),
            "blobSizeInBytes": notification.size,
            "enqueuedTimeUtc": notification.enqueued.to_string(),
        }),
    );
}

fn record(record: &FeedbackRecord) -> Json {
    let mut json = json!({
        "originalMessageId": record.message_id,
        "enqueuedTimeUtc": record.at.to_string(),
        "statusCode": record.status.name(),
        "description": record.status.name(),
        "deviceId": record.target.device_str(),
        "deviceGenerationId": record.generation.to_string(),
    });
    if let (Json::Object(json), Some(module)) = (&mut json, record.target.module_str()) {
        json.insert("moduleId".to_owned(), module.into());
    }
    json
}
