//! Events of the log.

use std::fmt::Write as _;

use hub_core::Timestamp;
use hub_core::engine::PartitionInfo;
use hub_core::envelope::{Event, Property, SystemProperty};

use super::{Last, long, millis};
use crate::codec::{MapWriter, MessageProperties, MessageWriter, Write as _};

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
