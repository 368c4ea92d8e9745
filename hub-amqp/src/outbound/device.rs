//! What a device hears: messages, its twin, direct methods.

use hub_core::envelope::{Ack, SystemProperty};
use hub_core::frame::{Delivery, MethodRef};
use hub_core::{Address, HubError};
use serde_json::json;

use super::{long, millis, text_value};
use crate::codec::{MessageProperties, MessageWriter, Write as _};
use crate::problem::status;

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
