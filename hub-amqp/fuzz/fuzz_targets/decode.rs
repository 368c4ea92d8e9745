//! Any bytes are values, frames, performatives and messages or are refused, and what they say lies
//! within them.
#![no_main]

use hub_amqp::codec::{
    Decoded, FrameBody, Items, Message, Performative, Value, decode, performative, read, sasl_init,
};
use hub_amqp::{filter, inbound};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(value) = read(&mut rest) {
        walk(value, 0);
    }
    let mut rest = bytes;
    while let Ok(Decoded::Frame(frame)) = decode(rest, 100_000) {
        assert!(frame.length >= 8 && frame.length <= rest.len());
        match frame.body {
            FrameBody::Amqp(_, body) => amqp(body),
            FrameBody::Sasl(body) => drop(sasl_init(body)),
        }
        rest = &rest[frame.length..];
    }
    amqp(bytes);
    message(bytes);
});

fn amqp(body: &[u8]) {
    match performative(body) {
        Ok(Performative::Attach(attach)) => {
            if let Ok(attach) = attach.read() {
                items(attach.properties, 0);
                if let Some(source) = attach.source {
                    let _ = filter::position(source.filter);
                    assert!(source.raw.len() <= body.len());
                }
            }
        }
        Ok(Performative::Transfer(_, payload)) => message(payload),
        _ => {}
    }
}

fn message(payload: &[u8]) {
    if let Ok(message) = Message::read(payload) {
        items(message.annotations, 0);
        items(message.application, 0);
    }
    let _ = inbound::Question::read(payload);
    let _ = inbound::cloud_to_device(payload);
    let _ = inbound::twin_question(payload);
    let _ = inbound::method_answer(payload);
}

fn items(mut items: Items<'_>, depth: usize) {
    while let Ok(Some(item)) = items.take() {
        walk(item, depth + 1);
    }
}

fn walk(value: Value<'_>, depth: usize) {
    if depth > 8 {
        return;
    }
    match value {
        Value::List(found) | Value::Map(found) | Value::Array(found) => items(found, depth),
        Value::Described(described) => {
            walk(described.value().expect("it was read before"), depth + 1);
        }
        _ => {}
    }
}
