//! Cloud-to-device messages, as a back end sees them: send, look, purge.
//!
//! Purging is Azure's. Sending and looking are the hub's own: Azure sends over AMQP only, and shows
//! no queue to anybody.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use hub_core::engine::{Action, QueuedMessage};
use hub_core::envelope::{Property, Stored, SystemProperty};
use hub_core::id::{Address, SequenceNumber};
use hub_core::security::Right;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::headers;
use crate::problem::Problem;
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, header, query};

const MESSAGE: &[Parameter] = &[
    header("iothub-messageid", "The message's id; the hub makes one if there is none."),
    header("iothub-correlationid", "Free text."),
    header("iothub-userid", "Free text."),
    header("iothub-expiry", "An instant in ISO 8601, after which it is not delivered."),
    header("iothub-ack", "What feedback is wanted: none, positive, negative or full."),
    header("iothub-contenttype", "The content type of the message's body."),
    header("iothub-contentencoding", "The content encoding of the message's body."),
    header("iothub-app-{name}", "An application property."),
];

const PEEK: &[Parameter] = &[
    query("after", "Only messages behind this sequence number."),
    query("max", "How many at most."),
];

const SENT: &[(u16, &str, Content)] =
    &[(201, "The message is in the queue, and durable.", Content::Json("SentMessage"))];
const QUEUED: &[(u16, &str, Content)] = &[(200, "The messages.", Content::List("QueuedMessage"))];
const PURGED: &[(u16, &str, Content)] = &[(200, "How many.", Content::Json("PurgeResult"))];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Delete,
        "/devices/{deviceId}/commands",
        "purgeDeviceMessages",
        "Removes all messages from a device's queue.",
        |call| Box::pin(purge(call)),
    )
    .service(Right::ServiceConnect)
    .gives(PURGED),
    Route::new(
        Verb::Delete,
        "/devices/{deviceId}/modules/{moduleId}/commands",
        "purgeModuleMessages",
        "Removes all messages from a module's queue.",
        |call| Box::pin(purge(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .gives(PURGED),
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/messages/deviceBound",
        "sendDeviceMessage",
        "Sends a cloud-to-device message to a device.",
        |call| Box::pin(send(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .takes(Content::Bytes)
    .with(MESSAGE)
    .gives(SENT),
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/modules/{moduleId}/messages/deviceBound",
        "sendModuleMessage",
        "Sends a cloud-to-device message to a module.",
        |call| Box::pin(send(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .takes(Content::Bytes)
    .with(MESSAGE)
    .gives(SENT),
    Route::new(
        Verb::Get,
        "/devices/{deviceId}/messages/deviceBound/peek",
        "peekDeviceMessages",
        "Looks at a device's queue without taking anything.",
        |call| Box::pin(peek(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(PEEK)
    .gives(QUEUED),
    Route::new(
        Verb::Get,
        "/devices/{deviceId}/modules/{moduleId}/messages/deviceBound/peek",
        "peekModuleMessages",
        "Looks at a module's queue without taking anything.",
        |call| Box::pin(peek(call)),
    )
    .service(Right::ServiceConnect)
    .own()
    .with(PEEK)
    .gives(QUEUED),
];

async fn send(mut call: Call) -> Answer {
    let address = call.address()?;
    let body = call.read_body(call.limits().c2d_bytes_max).await?;
    let mut message = headers::message(&call.parts.headers, call.head(), body)?;
    if message.message_id().is_none_or(str::is_empty) {
        // Without an id no feedback could be told from another.
        message = message.with_message_id(&random_id()?);
    }
    let id = message.message_id().unwrap_or("").to_owned();
    call.allow_bytes(Action::SendMessage(&address), message.size()).await?;
    let sent = call.hub().send(&address, message).await?;
    // The message is sent. What cannot be said about its queue is left open, since a client that saw
    // an error would send again.
    let depth = call.hub().queue_depth(&address).await.ok();
    let document = json!({
        "messageId": id,
        "sequenceNumber": sent.sequence.0,
        "expiryTimeUtc": sent.expiry.to_string(),
        "depth": depth,
        "depthMax": call.limits().c2d_depth_max,
    });
    Ok(respond::json(StatusCode::CREATED, &document))
}

/// A random UUID.
fn random_id() -> Result<String, Problem> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| Problem::internal("no random numbers"))?;
    let number = u128::from_be_bytes(bytes);
    // Version 4, variant 1.
    let number = number & !(0xf << 76) | 0x4 << 76;
    let number = number & !(0x3 << 62) | 0x2 << 62;
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or("");
    Ok(format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)))
}

async fn purge(call: Call) -> Answer {
    let address = call.address()?;
    call.allow(Action::SendMessage(&address)).await?;
    let purged = call.hub().purge(&address).await?;
    let document = json!({
        "deviceId": address.device_str(),
        "moduleId": address.module_str(),
        "totalMessagesPurged": purged,
    });
    Ok(respond::json(StatusCode::OK, &document))
}

/// How many messages a look gives if nothing is said.
const PEEK_DEFAULT: u64 = 50;

async fn peek(call: Call) -> Answer {
    let address = call.address()?;
    let after = call.number("after")?.map(SequenceNumber);
    let max = call.number("max")?.unwrap_or(PEEK_DEFAULT);
    call.allow(Action::SendMessage(&address)).await?;
    // A queue of nobody would be empty, which is not the same.
    call.hub().registry().get(&address).await?;
    let max = u32::try_from(max).unwrap_or(u32::MAX);
    let queued = call.hub().peek(&address, after, max).await?;
    let documents: Vec<Value> = queued.iter().map(|message| document(&address, message)).collect();
    Ok(respond::json(StatusCode::OK, &documents))
}

fn document(to: &Address, queued: &QueuedMessage) -> Value {
    let mut document = contents(to, &queued.message);
    let own = [
        ("sequenceNumber", queued.sequence.0.into()),
        ("expiryTimeUtc", queued.expiry.to_string().into()),
        ("lockedUntilUtc", queued.locked_until.map(|until| until.to_string()).into()),
        ("deliveryCount", queued.delivery_count.into()),
    ];
    document.extend(own.map(|(name, value): (&str, Value)| (name.to_owned(), value)));
    Value::Object(document)
}

/// What a message has wherever it lies.
pub(super) fn contents(to: &Address, message: &Stored) -> Map<String, Value> {
    let mut system = Map::new();
    for property in message.properties.iter() {
        if let Property::System(name, value) = property {
            system.insert(name.name().to_owned(), value.into());
        }
    }
    system.insert(SystemProperty::To.name().to_owned(), headers::target(to).into());
    let application = message.properties.application();
    let properties: Map<String, Value> =
        application.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let contents = [
        ("enqueuedTimeUtc", message.enqueued.to_string().into()),
        ("ack", message.ack.name().into()),
        ("systemProperties", system.into()),
        ("properties", properties.into()),
        ("body", BASE64_STANDARD.encode(&message.body).into()),
    ];
    contents.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_ids_are_random_uuids() {
        let (one, two) = (random_id().unwrap(), random_id().unwrap());
        assert_ne!(one, two);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]));
    }
}
