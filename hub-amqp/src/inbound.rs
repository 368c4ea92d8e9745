//! Messages of peers, in the hub's words.

use std::borrow::Cow;

use bytes::Bytes;
use hub_core::envelope::{Ack, EventBatch, Message as HubMessage, Property, Stamp, SystemProperty};
use hub_core::{Address, Timestamp};

use crate::address::recipients;
use crate::codec::{Body, Items, Message, Value, binary_text, id_text, is_id, uuid_text};
use crate::problem::{AmqpError, condition};

/// A question that a peer asks of `$cbs` or `$management`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// What it wants done.
    pub operation: String,
    /// To what kind of thing.
    pub kind: String,
    /// To which.
    pub name: String,
    /// Which partition.
    pub partition: Option<String>,
    /// Its id with its type, to be echoed.
    pub id: Option<Box<[u8]>>,
    /// Where the answer goes: the target address of a link.
    pub reply_to: Option<String>,
    /// The token: the body.
    pub token: Option<String>,
}

/// Never prints a secret (T7).
impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question")
            .field("operation", &self.operation)
            .field("kind", &self.kind)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Question {
    /// Reads a question.
    ///
    /// # Errors
    /// `amqp:decode-error` and `amqp:invalid-field` for what is no message.
    pub fn read(payload: &[u8]) -> Result<Self, AmqpError> {
        let message = Message::read(payload)?;
        let field = |name: &str| -> Result<Option<String>, AmqpError> {
            let value = message.application.find(name)?;
            Ok(value.and_then(Value::as_text).map(str::to_owned))
        };
        let id = message.properties.message_id.filter(|id| is_id(id));
        let token = match message.body {
            Body::Value(value) => value.as_text().map(str::to_owned),
            _ => None,
        };
        Ok(Self {
            operation: field("operation")?.unwrap_or_default(),
            kind: field("type")?.unwrap_or_default(),
            name: field("name")?.unwrap_or_default(),
            partition: field("partition")?,
            id: id.map(Into::into),
            reply_to: message.properties.reply_to.map(str::to_owned),
            token,
        })
    }
}

/// A value as text; `None` for what is no single value.
fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Text(text) | Value::Symbol(text) => Cow::Borrowed(text),
        Value::Bool(flag) => Cow::Borrowed(if flag { "true" } else { "false" }),
        Value::Unsigned(number) => number.to_string().into(),
        Value::Signed(number) => number.to_string().into(),
        Value::Float(number) => number.to_string().into(),
        Value::Char(character) => character.to_string().into(),
        Value::Uuid(bytes) => uuid_text(&bytes).into(),
        Value::Binary(bytes) => binary_text(bytes).into(),
        Value::Timestamp(millis) => time(millis).to_string().into(),
        Value::Null
        | Value::Decimal(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Array(_)
        | Value::Described(_) => return None,
    })
}

/// Before 1970 is the beginning of time.
fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The bytes of a body: data sections one behind the other, or a single text or binary.
fn body<'a>(body: &Body<'a>) -> Result<Cow<'a, [u8]>, AmqpError> {
    match body {
        Body::Empty | Body::Value(Value::Null) => Ok(Cow::Borrowed(&[])),
        Body::Data(parts) => Ok(match parts.as_slice() {
            [one] => Cow::Borrowed(*one),
            parts => Cow::Owned(parts.concat()),
        }),
        Body::Value(Value::Binary(bytes)) => Ok(Cow::Borrowed(*bytes)),
        Body::Value(Value::Text(text)) => Ok(Cow::Borrowed(text.as_bytes())),
        Body::Value(_) | Body::Sequence => {
            Err(AmqpError::new(condition::NOT_IMPLEMENTED, "the body is neither data nor text"))
        }
    }
}

/// Everything a message says besides its body, as it is kept.
struct Kept<'a> {
    system: Vec<(SystemProperty, Cow<'a, str>)>,
    application: Vec<(&'a str, Option<Cow<'a, str>>)>,
    ack: Ack,
}

impl<'a> Kept<'a> {
    fn read(message: &Message<'a>) -> Result<Self, AmqpError> {
        let properties = &message.properties;
        let mut system = Vec::new();
        let mut add = |name: SystemProperty, value: Option<Cow<'a, str>>| {
            system.extend(value.map(|value| (name, value)));
        };
        add(SystemProperty::MessageId, properties.message_id.and_then(id_text).map(Cow::Owned));
        add(
            SystemProperty::CorrelationId,
            properties.correlation_id.and_then(id_text).map(Cow::Owned),
        );
        add(SystemProperty::UserId, properties.user_id.map(|user| binary_text(user).into()));
        add(SystemProperty::To, properties.to.map(Cow::Borrowed));
        add(SystemProperty::ContentType, properties.content_type.map(Cow::Borrowed));
        add(SystemProperty::ContentEncoding, properties.content_encoding.map(Cow::Borrowed));
        let expiry = properties.expiry.map(|millis| time(millis).to_string().into());
        add(SystemProperty::ExpiryTime, expiry);
        let mut annotations = message.annotations;
        while let Some((key, value)) = annotations.take_pair()? {
            if let Some(name) = key.as_text().and_then(annotated) {
                add(name, text(value));
            }
        }
        let (application, ack) = application(message.application)?;
        Ok(Self { system, application, ack })
    }

    fn properties(&self) -> impl Iterator<Item = Property<'_>> {
        let system = self.system.iter().map(|(name, value)| Property::System(*name, value));
        let application = self.application.iter();
        let application =
            application.map(|(name, value)| Property::Application(name, value.as_deref()));
        system.chain(application)
    }
}

/// The system properties that devices give as annotations.
fn annotated(name: &str) -> Option<SystemProperty> {
    SystemProperty::from_name(name).filter(|property| {
        matches!(
            property,
            SystemProperty::CreationTime
                | SystemProperty::OutputName
                | SystemProperty::InterfaceId
                | SystemProperty::Subject
                | SystemProperty::MessageSchema
                | SystemProperty::DiagnosticId
                | SystemProperty::DiagnosticContext
        )
    })
}

/// Names and values; no value where there was null.
type Pairs<'a> = Vec<(&'a str, Option<Cow<'a, str>>)>;

fn application(mut items: Items<'_>) -> Result<(Pairs<'_>, Ack), AmqpError> {
    let mut found = Vec::new();
    let mut ack = Ack::None;
    while let Some((key, value)) = items.take_pair()? {
        let name = key.as_text().ok_or_else(|| argument("the name of a property is not text"))?;
        if name.eq_ignore_ascii_case("iothub-ack") {
            let word = value.as_text().and_then(Ack::parse);
            ack = word.ok_or_else(|| argument("iothub-ack is none, positive, negative or full"))?;
            continue;
        }
        let value =
            match value {
                Value::Null => None,
                value => Some(text(value).ok_or_else(|| {
                    argument("the value of a property is neither text nor a number")
                })?),
            };
        found.push((name, value));
    }
    Ok((found, ack))
}

fn argument(why: &'static str) -> AmqpError {
    AmqpError::new(condition::ARGUMENT, why)
}

/// Reads a cloud-to-device message, and whom it may be for: the likelier first.
///
/// # Errors
/// `com.microsoft:argument-error` when it names nobody or has a property that is no text;
/// `amqp:decode-error` and its like for what is no message.
pub fn cloud_to_device(payload: &[u8]) -> Result<(Vec<Address>, HubMessage), AmqpError> {
    let message = Message::read(payload)?;
    let to = recipients(message.properties.to.unwrap_or(""));
    if to.is_empty() {
        return Err(argument("Amqp Message.Properties.To must contain the device identifier"));
    }
    let kept = Kept::read(&message)?;
    let expiry = message.properties.expiry.map(time);
    let properties = kept.properties().collect();
    let body = Bytes::copy_from_slice(&body(&message.body)?);
    let mut found = HubMessage::new(body).with_ack(kept.ack);
    (found.properties, found.expiry) = (properties, expiry);
    Ok((to, found))
}

/// Reads a telemetry message into a batch.
///
/// # Errors
/// `amqp:link:message-size-exceeded` when it is larger than `limit`; else as
/// [`cloud_to_device`].
pub fn telemetry(
    payload: &[u8],
    stamp: &Stamp,
    limit: usize,
    batch: &mut EventBatch,
) -> Result<(), AmqpError> {
    let message = Message::read(payload)?;
    let kept = Kept::read(&message)?;
    let ack =
        (kept.ack != Ack::None).then(|| Property::System(SystemProperty::Ack, kept.ack.name()));
    let body = body(&message.body)?;
    batch
        .push(stamp, kept.properties().chain(ack), &body, limit)
        .map_err(|refused| AmqpError::new(condition::MESSAGE_SIZE, refused.to_string()))
}

/// What a device wants of its twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TwinQuestion {
    /// All of it.
    Get,
    /// Its reported properties patched with JSON text, if they have this version.
    Report(Bytes, Option<u64>),
    /// To hear of changes of desired properties.
    Listen,
    /// Not to hear of them any more.
    Ignore,
}

/// The id of a question, with its type.
type Id = Option<Box<[u8]>>;

/// Reads a question about the twin, and the id to answer it with.
///
/// # Errors
/// `com.microsoft:argument-error` for an operation that there is none; else as
/// [`cloud_to_device`].
pub fn twin_question(payload: &[u8]) -> Result<(TwinQuestion, Id), AmqpError> {
    let message = Message::read(payload)?;
    let annotation = |name: &str| message.annotations.find(name);
    let operation = annotation("operation")?.and_then(Value::as_text).unwrap_or("");
    let resource = annotation("resource")?.and_then(Value::as_text).unwrap_or("");
    let resource = resource.trim_matches('/');
    let notices = resource.eq_ignore_ascii_case("notifications/twin/properties/desired");
    let reported = resource.eq_ignore_ascii_case("properties/reported");
    let version = annotation("version")?.and_then(Value::as_i64);
    let question = match operation.to_ascii_uppercase().as_str() {
        "GET" => TwinQuestion::Get,
        "PATCH" if reported => {
            let patch = Bytes::copy_from_slice(&body(&message.body)?);
            TwinQuestion::Report(patch, version.and_then(|version| u64::try_from(version).ok()))
        }
        "PUT" if notices => TwinQuestion::Listen,
        "DELETE" if notices => TwinQuestion::Ignore,
        _ => return Err(argument("there is no such operation on a twin")),
    };
    let id = message.properties.correlation_id.or(message.properties.message_id);
    Ok((question, id.filter(|id| is_id(id)).map(Into::into)))
}

/// Reads the answer to a direct method: the text of its id, its status and its payload.
///
/// # Errors
/// `com.microsoft:argument-error` when it lacks the id or the status; else as
/// [`cloud_to_device`].
pub fn method_answer(payload: &[u8]) -> Result<(String, i32, Bytes), AmqpError> {
    let message = Message::read(payload)?;
    let id = message.properties.correlation_id.and_then(id_text);
    let id = id.ok_or_else(|| argument("an answer without a correlation id"))?;
    let status = match message.application.find("IoThub-status")? {
        Some(Value::Text(text)) => text.trim().parse().ok(),
        Some(value) => value.as_i64().and_then(|status| i32::try_from(status).ok()),
        None => None,
    };
    let status = status.ok_or_else(|| argument("an answer without a status"))?;
    Ok((id, status, Bytes::copy_from_slice(&body(&message.body)?)))
}
