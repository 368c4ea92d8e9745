//! What devices and modules do over HTTP: telemetry, alone and in batches, and their
//! cloud-to-device messages.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::CONTENT_TYPE;
use hub_core::engine::Action;
use hub_core::envelope::{EventBatch, EventSource, Property, Stamp};
use hub_core::frame::{Disposition, LockToken};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::call::Call;
use crate::headers;
use crate::problem::{Code, Problem};
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, header, query};

const TELEMETRY: &[Parameter] = &[
    header("iothub-messageid", "The message's id, and so on with the other system properties."),
    header("iothub-app-{name}", "An application property."),
    header("Content-Type", "`application/vnd.microsoft.iothub.json` marks a batch."),
];

const RECEIVED: &[(u16, &str, Content)] = &[
    (200, "A message. Its lock token is in `ETag`, its properties are in headers.", Content::Bytes),
    (204, "There is none.", Content::Nothing),
];

const LOCK: &[Parameter] = &[
    header("iothub-messagelocktimeout", "How long the message is locked, in seconds."),
    query("iothub-messagelocktimeout", "The same; the header goes before."),
];

const REJECT: &[Parameter] =
    &[query("reject", "With any value but `false`, or none: dead-letter the message.")];

const DONE: &[(u16, &str, Content)] = &[(204, "Done, and durable.", Content::Nothing)];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/messages/events",
        "sendDeviceEvents",
        "Sends telemetry of a device: one message, or a batch.",
        |call| Box::pin(send(call)),
    )
    .device()
    .takes(Content::Bytes)
    .with(TELEMETRY)
    .gives(DONE),
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/modules/{moduleId}/messages/events",
        "sendModuleEvents",
        "Sends telemetry of a module: one message, or a batch.",
        |call| Box::pin(send(call)),
    )
    .device()
    .takes(Content::Bytes)
    .with(TELEMETRY)
    .gives(DONE),
    Route::new(
        Verb::Get,
        "/devices/{deviceId}/messages/deviceBound",
        "receiveDeviceMessage",
        "Receives and locks a device's next cloud-to-device message.",
        |call| Box::pin(receive(call)),
    )
    .device()
    .with(LOCK)
    .gives(RECEIVED),
    Route::new(
        Verb::Get,
        "/devices/{deviceId}/modules/{moduleId}/messages/deviceBound",
        "receiveModuleMessage",
        "Receives and locks a module's next cloud-to-device message.",
        |call| Box::pin(receive(call)),
    )
    .device()
    .with(LOCK)
    .gives(RECEIVED),
    Route::new(
        Verb::Delete,
        "/devices/{deviceId}/messages/deviceBound/{lockToken}",
        "completeDeviceMessage",
        "Completes or rejects a message that a device has received.",
        |call| Box::pin(complete(call)),
    )
    .device()
    .with(REJECT)
    .gives(DONE),
    Route::new(
        Verb::Delete,
        "/devices/{deviceId}/modules/{moduleId}/messages/deviceBound/{lockToken}",
        "completeModuleMessage",
        "Completes or rejects a message that a module has received.",
        |call| Box::pin(complete(call)),
    )
    .device()
    .with(REJECT)
    .gives(DONE),
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/messages/deviceBound/{lockToken}/abandon",
        "abandonDeviceMessage",
        "Gives a message back to the device's queue.",
        |call| Box::pin(abandon(call)),
    )
    .device()
    .gives(DONE),
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/modules/{moduleId}/messages/deviceBound/{lockToken}/abandon",
        "abandonModuleMessage",
        "Gives a message back to the module's queue.",
        |call| Box::pin(abandon(call)),
    )
    .device()
    .gives(DONE),
];

/// The content type that marks a batch.
const BATCH: &str = "application/vnd.microsoft.iothub.json";

async fn send(mut call: Call) -> Answer {
    let limits = call.limits();
    let (telemetry_bytes_max, batch_max) = (limits.telemetry_bytes_max, limits.telemetry_batch_max);
    let body = call.read_body(telemetry_bytes_max).await?;
    let (address, grant) = call.device()?;
    let generation = grant.generation.to_string();
    let stamp = Stamp::new(EventSource::Telemetry, address, &generation, Some(grant.auth), None);
    let mut batch = EventBatch::new();
    let mut push = |properties: &[Property<'_>], body: &[u8]| {
        batch
            .push(&stamp, properties.iter().copied(), body, telemetry_bytes_max)
            .map_err(|error| Problem::new(Code::TOO_LARGE, error.to_string()))
    };
    if is_batch(call.header(CONTENT_TYPE)?) {
        let messages: Vec<BatchMessage<'_>> =
            serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
        if messages.len() > batch_max {
            return Err(Problem::argument(format!("a batch has at most {batch_max} messages")));
        }
        for message in &messages {
            push(&message.properties()?, &message.body()?)?;
        }
    } else {
        push(&headers::properties(&call.parts.headers, call.head())?, &body)?;
    }
    call.allow(Action::Publish(batch.len())).await?;
    call.hub().publish(address, &mut batch).await?;
    Ok(respond::no_content())
}

fn is_batch(content_type: Option<&str>) -> bool {
    let kind = content_type.unwrap_or("").split(';').next().unwrap_or("");
    kind.trim().eq_ignore_ascii_case(BATCH)
}

/// One message of a batch.
#[derive(Deserialize)]
struct BatchMessage<'a> {
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    properties: Option<Properties<'a>>,
    #[serde(default, rename = "base64Encoded")]
    base64: Option<bool>,
}

/// Names and values in the order given, which a map would not keep.
struct Properties<'a>(Vec<(Cow<'a, str>, Option<String>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Properties<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Properties<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut found = Vec::new();
                while let Some(name) = map.next_key::<Key<'de>>()? {
                    let value = map.next_value::<&RawValue>()?;
                    found.push((name.0, scalar(value).map_err(serde::de::Error::custom)?));
                }
                Ok(Properties(found))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value of a property: a string, or a number or boolean as it is spelled; null is no value.
fn scalar(value: &RawValue) -> Result<Option<String>, &'static str> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map(Some).map_err(|_| "not a string"),
        Some(b'{' | b'[') => Err("the value of a property is an object or array"),
        _ if text == "null" => Ok(None),
        _ => Ok(Some(text.to_owned())),
    }
}

impl BatchMessage<'_> {
    fn body(&self) -> Result<Cow<'_, [u8]>, Problem> {
        let text = self.body.as_deref().unwrap_or("");
        if self.base64 == Some(false) {
            return Ok(text.as_bytes().into());
        }
        match BASE64_STANDARD.decode(text) {
            Ok(bytes) => Ok(bytes.into()),
            Err(_) => Err(Problem::argument("a body in the batch is not base64")),
        }
    }

    /// Names that say nothing about a message are ignored, as headers of a single one would be.
    fn properties(&self) -> Result<Vec<Property<'_>>, Problem> {
        let given = self.properties.iter().flat_map(|properties| &properties.0);
        Ok(given.filter_map(|(name, value)| headers::meaning(name, value.as_deref())).collect())
    }
}

/// Longest lock that a receiver may ask for.
const LOCK_MAX: Duration = Duration::from_secs(300);

async fn receive(call: Call) -> Answer {
    let lock = lock_time(&call)?;
    let (address, _) = call.device()?;
    call.allow(Action::ReceiveMessages).await?;
    let Some(delivery) = call.hub().receive(address, lock).await? else {
        return Ok(respond::no_content());
    };
    let mut response = Response::new(Body::from(delivery.message.body.clone()));
    headers::write_delivery(response.headers_mut(), address, &delivery);
    Ok(response)
}

/// How long to lock: what the header or the query asks for, between a second and [`LOCK_MAX`].
fn lock_time(call: &Call) -> Result<Duration, Problem> {
    const NAME: &str = "iothub-messagelocktimeout";
    let asked = match call.header(NAME)? {
        Some(text) => Some(Cow::from(text)),
        None => call.query().get(NAME),
    };
    let Some(text) = asked else { return Ok(call.limits().c2d_lock) };
    let seconds: u64 = text
        .trim()
        .parse()
        .map_err(|_| Problem::argument("the lock time-out is not a number of seconds"))?;
    Ok(Duration::from_secs(seconds).clamp(Duration::from_secs(1), LOCK_MAX))
}

async fn complete(call: Call) -> Answer {
    let reject = call.query().get("reject");
    let reject = reject.is_some_and(|value| !value.eq_ignore_ascii_case("false"));
    settle(&call, if reject { Disposition::Reject } else { Disposition::Complete }).await
}

async fn abandon(call: Call) -> Answer {
    settle(&call, Disposition::Abandon).await
}

async fn settle(call: &Call, disposition: Disposition) -> Answer {
    let token = lock_token(call)?;
    let (address, _) = call.device()?;
    call.allow(Action::ReceiveMessages).await?;
    call.hub().settle(address, token, disposition).await?;
    Ok(respond::no_content())
}

/// The lock token in the path. What is none was never given out, so its lock is as good as lost.
pub(crate) fn lock_token(call: &Call) -> Result<LockToken, Problem> {
    let text = call.value("lockToken")?.trim_matches('"');
    text.parse().map_err(|_| {
        let kind = hub_core::ErrorKind::MessageLockLost;
        Problem::new(Code::of(kind), "the lock token is none of this hub's")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_known_by_its_content_type() {
        assert!(is_batch(Some("application/vnd.microsoft.iothub.json")));
        assert!(is_batch(Some("Application/Vnd.Microsoft.IotHub.Json; charset=utf-8")));
        assert!(!is_batch(Some("application/json")));
        assert!(!is_batch(None));
    }

    #[test]
    fn messages_of_a_batch_have_bodies_in_base64_or_text() {
        let json = r#"[{"body":"YTE="},
            {"body":"YjI=","properties":{"iothub-app-P\u0041":"q\n","IoTHub-MessageId":"m2","n":1}},
            {"body":"plain \u00e9","base64Encoded":false,"properties":{"iothub-app-n":7,"iothub-app-b":null}},
            {"properties":null}]"#;
        let batch: Vec<BatchMessage<'_>> = serde_json::from_str(json).unwrap();
        let bodies: Vec<_> = batch.iter().map(|m| m.body().unwrap().into_owned()).collect();
        assert_eq!(bodies, [&b"a1"[..], b"b2", "plain é".as_bytes(), b""]);
        let system = |id| Property::System(hub_core::envelope::SystemProperty::MessageId, id);
        let want = [Property::Application("PA", Some("q\n")), system("m2")];
        assert_eq!(batch[1].properties().unwrap(), want);
        let want = [Property::Application("n", Some("7")), Property::Application("b", None)];
        assert_eq!(batch[2].properties().unwrap(), want);
    }

    #[test]
    fn bad_batches_are_refused() {
        for bad in [
            r#"{"body":""}"#,
            r#"[{"body":1}]"#,
            r#"[{"properties":[]}]"#,
            r#"[{"properties":{"a":{}}}]"#,
            r#"[null]"#,
            "[",
        ] {
            assert!(serde_json::from_str::<Vec<BatchMessage<'_>>>(bad).is_err(), "{bad}");
        }
        let batch: Vec<BatchMessage<'_>> = serde_json::from_str(r#"[{"body":"!"}]"#).unwrap();
        assert!(batch[0].body().is_err());
    }
}
