//! Answers to questions of back ends: about tokens, and about the log.

use hub_core::Timestamp;
use hub_core::engine::PartitionInfo;

use super::{Last, long, millis};
use crate::codec::{MessageProperties, MessageWriter, Write as _, array_text, text_array};
use crate::problem::AmqpError;

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
