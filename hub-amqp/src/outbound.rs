//! What the hub says, as messages.

use std::fmt::Write as _;

use hub_core::delivery::FeedbackRecord;
use hub_core::engine::{FeedbackBatch, PartitionInfo, ReceivedFileNotification};
use hub_core::envelope::{Ack, Event, Property, SystemProperty};
use hub_core::frame::{Delivery, MethodRef};
use hub_core::{Address, HubError, Timestamp};
use serde_json::{Value as Json, json};

use crate::codec::{
    MapWriter, MessageProperties, MessageWriter, Write as _, array_text, text_array,
};
use crate::problem::{AmqpError, status};

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// A number of the log as the type that clients expect.
fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The bytes of a string, constructor included.
fn text_value(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 5);
    out.text(text);
    out
}

/// The first instant of .NET, which clients of the service know as "never".
const NEVER: i64 = -62_135_596_800_000;

/// Writes events of the log. Keeps memory from event to event.
#[derive(Debug, Default)]
pub struct EventWriter {
    number: String,
    scratch: Vec<u8>,
}

impl EventWriter {
    /// Writes one event. `info` is written beside it, for readers that asked for it: what the
    /// partition holds and when that was looked up.
    ///
    /// There is no section of properties when the sender set none: clients show empty ones
    /// differently.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        event: &Event,
        info: Option<(&PartitionInfo, Timestamp)>,
    ) {
        let mut message = MessageWriter::new(out);
        if let Some((info, at)) = info {
            let mut map = message.delivery_annotations();
            let last = Last::of(info);
            map.symbol_key("last_enqueued_sequence_number").long(last.sequence);
            map.symbol_key("last_enqueued_offset").text(&last.offset);
            map.symbol_key("last_enqueued_time_utc").timestamp(last.time);
            map.symbol_key("runtime_info_retrieval_time_utc").timestamp(millis(at));
            map.end();
        }
        self.annotations(&mut message, event);
        self.properties(&mut message, event);
        let application = event.properties.application();
        if !application.is_empty() {
            let mut map = message.application();
            for (name, value) in application {
                map.text_key(name).text_or_null(value);
            }
            map.end();
        }
        message.data(&event.body);
    }

    fn annotations(&mut self, message: &mut MessageWriter<'_>, event: &Event) {
        let mut map = message.annotations();
        map.symbol_key("iothub-connection-device-id").text(event.sender.device_str());
        if let Some(module) = event.sender.module_str() {
            map.symbol_key("iothub-connection-module-id").text(module);
        }
        if let Some(auth) = event.auth {
            map.symbol_key("iothub-connection-auth-method").text(auth.to_json());
            map.symbol_key("iothub-connection-auth-generation-id").text(&event.generation);
        }
        map.symbol_key("iothub-enqueuedtime").timestamp(millis(event.enqueued));
        map.symbol_key("iothub-message-source").text(event.source.name());
        if let Some(model) = &event.model {
            map.symbol_key("dt-dataschema").text(model);
        }
        annotated(&mut map, event);
        map.symbol_key("x-opt-sequence-number").long(long(event.sequence.0));
        self.number.clear();
        // Writing to memory cannot fail.
        let _ = write!(self.number, "{}", event.sequence);
        map.symbol_key("x-opt-offset").text(&self.number);
        map.symbol_key("x-opt-enqueued-time").timestamp(millis(event.enqueued));
        map.end();
    }

    fn properties(&mut self, message: &mut MessageWriter<'_>, event: &Event) {
        // Sent by the sender more than once, the last one counts.
        let (mut found, mut any) = (MessageProperties::default(), false);
        let (mut message_id, mut correlation_id) = (None, None);
        for property in event.properties.iter() {
            let Property::System(name, value) = property else { continue };
            match name {
                SystemProperty::MessageId => message_id = Some(value),
                SystemProperty::CorrelationId => correlation_id = Some(value),
                SystemProperty::UserId => found.user_id = Some(value.as_bytes()),
                SystemProperty::To => found.to = Some(value),
                SystemProperty::ContentType => found.content_type = Some(value),
                SystemProperty::ContentEncoding => found.content_encoding = Some(value),
                SystemProperty::ExpiryTime => {
                    let Some(at) = Timestamp::parse(value) else { continue };
                    found.expiry = Some(millis(at));
                }
                _ => continue,
            }
            any = true;
        }
        if !any {
            return;
        }
        self.scratch.clear();
        if let Some(id) = message_id {
            self.scratch.text(id);
        }
        let middle = self.scratch.len();
        if let Some(id) = correlation_id {
            self.scratch.text(id);
        }
        let (first, second) = self.scratch.split_at_checked(middle).unwrap_or((&[], &[]));
        found.message_id = message_id.map(|_| first);
        found.correlation_id = correlation_id.map(|_| second);
        message.properties(&found);
    }
}

/// The system properties that AMQP has no field for.
fn annotated(map: &mut MapWriter<'_>, event: &Event) {
    const NAMES: [SystemProperty; 8] = [
        SystemProperty::Subject,
        SystemProperty::InterfaceId,
        SystemProperty::CreationTime,
        SystemProperty::OutputName,
        SystemProperty::MessageSchema,
        SystemProperty::DiagnosticId,
        SystemProperty::DiagnosticContext,
        SystemProperty::Ack,
    ];
    let mut values: [Option<&str>; NAMES.len()] = [None; NAMES.len()];
    let mut any = false;
    for property in event.properties.iter() {
        if let Property::System(name, value) = property
            && let Some(at) = NAMES.iter().position(|known| *known == name)
            && let Some(slot) = values.get_mut(at)
        {
            (*slot, any) = (Some(value), true);
        }
    }
    if !any {
        return;
    }
    for (name, value) in NAMES.iter().zip(values) {
        if let Some(value) = value {
            map.symbol_key(name.name()).text(value);
        }
    }
}

/// The last event of a partition, in the words of clients.
struct Last {
    sequence: i64,
    offset: String,
    time: i64,
}

impl Last {
    fn of(info: &PartitionInfo) -> Self {
        let time = info.last_enqueued.map_or(NEVER, millis);
        match info.next.0.checked_sub(1).filter(|last| *last > 0) {
            Some(last) => Self { sequence: long(last), offset: last.to_string(), time },
            // Nothing was ever there.
            None => Self { sequence: -1, offset: "-1".to_owned(), time },
        }
    }
}

/// Begins the answer to a question: its id, a status, and a word about it.
fn answer<'w>(
    out: &'w mut Vec<u8>,
    id: Option<&[u8]>,
    to: Option<&str>,
    status: i32,
    error: Option<&AmqpError>,
) -> MessageWriter<'w> {
    let mut message = MessageWriter::new(out);
    message.properties(&MessageProperties {
        correlation_id: id,
        to,
        ..MessageProperties::default()
    });
    let mut map = message.application();
    // Exactly an `int`: one client waits for ever when it is anything else.
    map.text_key("status-code").int(status);
    let description = error.map_or("OK", |error| &error.description);
    map.text_key("status-description").text(description);
    if let Some(error) = error {
        map.text_key("error-condition").symbol(error.condition);
    }
    map.end();
    message
}

/// Writes the answer to a token that was put.
pub fn token_answer(
    out: &mut Vec<u8>,
    id: Option<&[u8]>,
    to: Option<&str>,
    refused: Option<(i32, &AmqpError)>,
) {
    let (status, error) = match refused {
        None => (200, None),
        Some((status, error)) => (status, Some(error)),
    };
    answer(out, id, to, status, error).value().null();
}

/// Writes the answer to a question about the log that was refused.
pub fn management_refusal(
    out: &mut Vec<u8>,
    id: Option<&[u8]>,
    to: Option<&str>,
    refused: (i32, &AmqpError),
) {
    answer(out, id, to, refused.0, Some(refused.1)).value().null();
}

/// Writes what the log is: its name and partitions.
pub fn log_answer(
    out: &mut Vec<u8>,
    id: Option<&[u8]>,
    to: Option<&str>,
    name: &str,
    created: Timestamp,
    partitions: u16,
) {
    let mut message = answer(out, id, to, 200, None);
    let mut map = message.value_map();
    map.text_key("name").text(name);
    map.text_key("type").text("com.microsoft:eventhub");
    map.text_key("created_at").timestamp(millis(created));
    map.text_key("partition_count").int(i32::from(partitions));
    let out = map.text_key("partition_ids");
    let ids = text_array(out);
    for partition in 0..partitions {
        array_text(out, &partition.to_string());
    }
    ids.end(out, u32::from(partitions));
    map.end();
}

/// Writes what a partition holds.
pub fn partition_answer(
    out: &mut Vec<u8>,
    id: Option<&[u8]>,
    to: Option<&str>,
    name: &str,
    info: &PartitionInfo,
) {
    let last = Last::of(info);
    let begin = if last.sequence < 0 { 0 } else { long(info.first.0) };
    let mut message = answer(out, id, to, 200, None);
    let mut map = message.value_map();
    map.text_key("name").text(name);
    map.text_key("type").text("com.microsoft:partition");
    map.text_key("partition").text(&info.partition.to_string());
    map.text_key("begin_sequence_number").long(begin);
    map.text_key("last_enqueued_sequence_number").long(last.sequence);
    map.text_key("last_enqueued_offset").text(&last.offset);
    map.text_key("last_enqueued_time_utc").timestamp(last.time);
    map.text_key("is_partition_empty").boolean(info.first == info.next);
    map.end();
}

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

/// Writes a cloud-to-device message to its device.
pub fn offer(out: &mut Vec<u8>, delivery: &Delivery, device: &Address) {
    let stored = &delivery.message;
    let mut message = MessageWriter::new(out);
    let mut map = message.annotations();
    map.symbol_key("iothub-sequence-number").ulong(delivery.token.sequence.0);
    map.symbol_key("iothub-enqueuedtime").timestamp(millis(stored.enqueued));
    map.symbol_key("iothub-deliverycount").uint(delivery.delivery_count.into());
    map.symbol_key("iothub-messagelocktoken").text(&delivery.token.to_string());
    map.end();
    let to = match device.module_str() {
        Some(module) => {
            format!("/devices/{}/modules/{module}/messages/devicebound", device.device_str())
        }
        None => format!("/devices/{}/messages/devicebound", device.device_str()),
    };
    let system = |name| stored.properties.system(name);
    let message_id = system(SystemProperty::MessageId).map(text_value);
    let correlation_id = system(SystemProperty::CorrelationId).map(text_value);
    message.properties(&MessageProperties {
        message_id: message_id.as_deref(),
        user_id: system(SystemProperty::UserId).map(str::as_bytes),
        to: Some(&to),
        correlation_id: correlation_id.as_deref(),
        content_type: system(SystemProperty::ContentType),
        content_encoding: system(SystemProperty::ContentEncoding),
        expiry: Some(millis(delivery.expiry)),
        ..MessageProperties::default()
    });
    let application = stored.properties.application();
    if !application.is_empty() || stored.ack != Ack::None {
        let mut map = message.application();
        if stored.ack != Ack::None {
            map.text_key("iothub-ack").text(stored.ack.name());
        }
        for (name, value) in application {
            map.text_key(name).text_or_null(value);
        }
        map.end();
    }
    message.data(&stored.body);
}

/// Writes the answer to a question about the twin: a status, a version where there is one, and JSON
/// text.
pub fn twin_answer(
    out: &mut Vec<u8>,
    id: Option<&[u8]>,
    status: i32,
    version: Option<u64>,
    body: &[u8],
) {
    let mut message = MessageWriter::new(out);
    let mut map = message.annotations();
    map.symbol_key("status").int(status);
    if let Some(version) = version {
        map.symbol_key("version").long(long(version));
    }
    map.end();
    message.properties(&MessageProperties { correlation_id: id, ..MessageProperties::default() });
    message.data(body);
}

/// Writes the refusal of a question about the twin.
pub fn twin_refusal(out: &mut Vec<u8>, id: Option<&[u8]>, error: &HubError) {
    let body = json!({ "errorCode": status(error.kind()) * 1000, "message": error.message() });
    twin_answer(out, id, status(error.kind()), None, body.to_string().as_bytes());
}

/// Writes a change of desired properties. It has no id, by which clients tell it from answers.
pub fn desired(out: &mut Vec<u8>, version: u64, patch: &[u8]) {
    let mut message = MessageWriter::new(out);
    let mut map = message.annotations();
    map.symbol_key("operation").text("PATCH");
    map.symbol_key("resource").text("/properties/desired");
    map.symbol_key("version").long(long(version));
    map.end();
    message.data(patch);
}

/// The id of a direct method call on the wire.
#[must_use]
pub fn method_id(call: MethodRef) -> String {
    format!("{:016x}", call.0)
}

/// The call with this id.
#[must_use]
pub fn method_ref(id: &str) -> Option<MethodRef> {
    u64::from_str_radix(id, 16).ok().map(MethodRef)
}

/// Writes a direct method call.
pub fn method(out: &mut Vec<u8>, call: MethodRef, name: &str, payload: &[u8]) {
    let mut message = MessageWriter::new(out);
    let id = text_value(&method_id(call));
    message.properties(&MessageProperties {
        correlation_id: Some(&id),
        ..MessageProperties::default()
    });
    let mut map = message.application();
    map.text_key("IoThub-methodname").text(name);
    map.end();
    message.data(payload);
}
