//! Properties of messages as headers, both ways.
//!
//! Application properties are headers `iothub-app-{name}`. The HTTP stack knows names of headers in
//! lower case only. Towards the hub they are therefore looked up in the head as it was sent, see
//! [`wire`](crate::wire); towards devices they are in lower case.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use hub_core::envelope::{Ack, Message, Property, SystemProperty};
use hub_core::frame::Delivery;
use hub_core::id::Address;
use hub_core::time::Timestamp;

use crate::problem::Problem;
use crate::respond::set;
use crate::wire::spelled;

/// What the headers of application properties begin with.
const APPLICATION: &str = "iothub-app-";

/// The headers of system properties, in lower case.
const SYSTEM: [(&str, SystemProperty); 12] = [
    ("iothub-messageid", SystemProperty::MessageId),
    ("iothub-correlationid", SystemProperty::CorrelationId),
    ("iothub-userid", SystemProperty::UserId),
    ("iothub-to", SystemProperty::To),
    ("iothub-expiry", SystemProperty::ExpiryTime),
    ("iothub-ack", SystemProperty::Ack),
    ("iothub-contenttype", SystemProperty::ContentType),
    ("iothub-contentencoding", SystemProperty::ContentEncoding),
    ("iothub-creationtimeutc", SystemProperty::CreationTime),
    ("iothub-messageschema", SystemProperty::MessageSchema),
    ("iothub-interface-id", SystemProperty::InterfaceId),
    ("dt-subject", SystemProperty::Subject),
];

/// What the name of a header, in any case, says about a message. `None` if nothing.
pub(crate) fn meaning<'a>(name: &'a str, value: Option<&'a str>) -> Option<Property<'a>> {
    let head = name.get(..APPLICATION.len());
    if head.is_some_and(|head| head.eq_ignore_ascii_case(APPLICATION)) {
        let name = name.get(APPLICATION.len()..).filter(|name| !name.is_empty())?;
        return Some(Property::Application(name, value));
    }
    let (_, property) = SYSTEM.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(Property::System(*property, value?))
}

/// The properties in the headers of a request. `head` is its head as it was sent, if that is known:
/// from there application properties have their spelling.
///
/// # Errors
/// A value is not UTF-8.
pub(crate) fn properties<'a>(
    headers: &'a HeaderMap,
    head: &'a [u8],
) -> Result<Vec<Property<'a>>, Problem> {
    let mut found = Vec::new();
    let mut spellings = None;
    for (name, value) in headers {
        // Looked at first, because most headers of a request are about something else.
        let Some(value) = meaning(name.as_str(), Some("")).map(|_| value) else { continue };
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
            return Err(Problem::argument(format!("the header {name} is not UTF-8")));
        };
        let mut name = name.as_str();
        if name.starts_with(APPLICATION) {
            let known = spellings.get_or_insert_with(|| spelled(head, APPLICATION));
            name = known.iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or(&name);
        }
        found.extend(meaning(name, Some(value)));
    }
    Ok(found)
}

/// A cloud-to-device message of headers and a body.
///
/// # Errors
/// The expiry is no instant, the word in `iothub-ack` is none, or a value is not UTF-8.
pub(crate) fn message(
    headers: &HeaderMap,
    head: &[u8],
    body: bytes::Bytes,
) -> Result<Message, Problem> {
    let mut message = Message::new(body);
    let properties = properties(headers, head)?;
    for property in &properties {
        match property {
            Property::System(SystemProperty::Ack, word) => {
                message.ack = Ack::parse(word.trim()).ok_or_else(|| {
                    Problem::argument("iothub-ack is none of none, positive, negative and full")
                })?;
            }
            Property::System(SystemProperty::ExpiryTime, text) => {
                let expiry = Timestamp::parse(text).ok_or_else(|| {
                    Problem::argument("iothub-expiry is not an instant in ISO 8601")
                })?;
                message.expiry = Some(expiry);
            }
            _ => {}
        }
    }
    message.properties = properties.into_iter().collect();
    Ok(message)
}

/// Writes a delivered message's properties into the headers of an answer.
pub(crate) fn write_delivery(headers: &mut HeaderMap, to: &Address, delivery: &Delivery) {
    let message = &delivery.message;
    set(headers, "etag", &format!("\"{}\"", delivery.token));
    set(headers, "iothub-messagelocktoken", &delivery.token.to_string());
    set(headers, "iothub-sequencenumber", &delivery.token.sequence.to_string());
    set(headers, "iothub-enqueuedtime", &message.enqueued.to_string());
    set(headers, "iothub-deliverycount", &delivery.delivery_count.to_string());
    set(headers, "iothub-expiry", &delivery.expiry.to_string());
    set(headers, "iothub-ack", message.ack.name());
    set(headers, "iothub-to", &target(to));
    for property in message.properties.iter() {
        let (name, value) = match property {
            Property::System(property, value) => (header_of(property), value),
            Property::Application(name, value) => {
                (HeaderName::from_bytes(&application(name)).ok(), value.unwrap_or(""))
            }
        };
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(&escape(value))) {
            headers.insert(name, value);
        }
    }
}

/// The path that a message for an identity is addressed to.
pub(crate) fn target(address: &Address) -> String {
    match address.module_str() {
        None => format!("/devices/{}/messages/deviceBound", address.device_str()),
        Some(module) => {
            format!("/devices/{}/modules/{module}/messages/deviceBound", address.device_str())
        }
    }
}

fn header_of(property: SystemProperty) -> Option<HeaderName> {
    Some(match property {
        SystemProperty::MessageId => HeaderName::from_static("iothub-messageid"),
        SystemProperty::CorrelationId => HeaderName::from_static("iothub-correlationid"),
        SystemProperty::UserId => HeaderName::from_static("iothub-userid"),
        // Without hyphens: so the service spells them towards devices.
        SystemProperty::ContentType => HeaderName::from_static("contenttype"),
        SystemProperty::ContentEncoding => HeaderName::from_static("contentencoding"),
        SystemProperty::CreationTime => HeaderName::from_static("iothub-creationtimeutc"),
        SystemProperty::MessageSchema => HeaderName::from_static("iothub-messageschema"),
        SystemProperty::InterfaceId => HeaderName::from_static("iothub-interface-id"),
        SystemProperty::Subject => HeaderName::from_static("dt-subject"),
        // The others are written from what the hub knows, or mean nothing to a device.
        _ => return None,
    })
}

/// The header of an application property. What cannot stand in the name of a header is escaped:
/// a message that could not be written at all would block its queue.
fn application(name: &str) -> Vec<u8> {
    let mut out = APPLICATION.as_bytes().to_vec();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// The value of a header: UTF-8 as it is, control characters escaped.
fn escape(value: &str) -> std::borrow::Cow<'_, [u8]> {
    let bad = |byte: &u8| *byte < b' ' || *byte == 0x7f;
    if !value.as_bytes().iter().any(bad) {
        return value.as_bytes().into();
    }
    let mut out = Vec::with_capacity(value.len() + 8);
    for byte in value.bytes() {
        if bad(&byte) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::envelope::Stored;
    use hub_core::frame::LockToken;
    use hub_core::id::SequenceNumber;
    use hub_core::store::Version;

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!(
            meaning("IoTHub-MessageId", Some("m")),
            Some(Property::System(SystemProperty::MessageId, "m"))
        );
        assert_eq!(
            meaning("iothub-app-Key", Some("v")),
            Some(Property::Application("Key", Some("v")))
        );
        assert!(meaning("dt-subject", Some("c")).is_some());
        for other in
            ["iothub-app-", "content-type", "authorization", "x", "iothub-app", "éééééééééé"]
        {
            assert_eq!(meaning(other, Some("v")), None, "{other}");
        }
    }

    #[test]
    fn a_message_is_read_from_headers() {
        let mut headers = HeaderMap::new();
        set(&mut headers, "iothub-messageid", "m1");
        set(&mut headers, "iothub-ack", "Full");
        set(&mut headers, "iothub-expiry", "2030-01-01T00:00:00Z");
        set(&mut headers, "iothub-app-k", "v");
        set(&mut headers, "content-type", "text/plain");
        let read = message(&headers, b"", "x".into()).unwrap();
        assert_eq!(read.message_id(), Some("m1"));
        assert_eq!((read.ack, read.expiry), (Ack::Full, Timestamp::parse("2030-01-01T00:00:00Z")));
        assert_eq!(read.properties.application(), [("k", Some("v"))]);
        set(&mut headers, "iothub-ack", "maybe");
        assert!(message(&headers, b"", "x".into()).is_err());
        set(&mut headers, "iothub-ack", "none");
        set(&mut headers, "iothub-expiry", "PT1H");
        assert!(message(&headers, b"", "x".into()).is_err());
    }

    #[test]
    fn application_properties_are_spelled_as_they_were_sent() {
        let mut headers = HeaderMap::new();
        set(&mut headers, "iothub-app-colour", "red");
        set(&mut headers, "iothub-app-other", "x");
        let head = b"POST / HTTP/1.1\r\nIoTHub-App-Colour: red\r\n\r\n";
        let want = [
            Property::Application("Colour", Some("red")),
            Property::Application("other", Some("x")),
        ];
        assert_eq!(properties(&headers, head).unwrap(), want);
    }

    #[test]
    fn values_that_are_no_utf8_are_refused() {
        let mut headers = HeaderMap::new();
        let bytes = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
        headers.insert("iothub-app-k", bytes.clone());
        assert!(properties(&headers, b"").is_err());
        headers.clear();
        headers.insert("x-other", bytes);
        assert_eq!(properties(&headers, b"").unwrap(), []);
    }

    #[test]
    fn whatever_a_message_contains_can_be_delivered() {
        let message = Message::new("body")
            .with(Property::System(SystemProperty::ContentType, "application/json"))
            .with(Property::System(SystemProperty::CorrelationId, "a\r\nb"))
            .with_property("name with: blanks", "é\t")
            .with(Property::Application("bare", None));
        let delivery = Delivery {
            token: LockToken {
                sequence: SequenceNumber(3),
                version: Version(4),
                until: Timestamp::from_millis(5),
            },
            message: Stored {
                ack: Ack::None,
                enqueued: Timestamp::from_millis(1_575_892_800_000),
                generation: 1,
                properties: message.properties,
                body: message.body,
            },
            expiry: Timestamp::from_millis(1_575_892_801_000),
            delivery_count: 2,
            redelivered: false,
        };
        let mut headers = HeaderMap::new();
        write_delivery(&mut headers, &Address::parse("d1").unwrap(), &delivery);
        let get = |name: &str| {
            headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
        };
        assert_eq!(get("etag"), Some(format!("\"{}\"", delivery.token)));
        assert_eq!(get("contenttype").as_deref(), Some("application/json"));
        assert_eq!(get("iothub-correlationid").as_deref(), Some("a%0D%0Ab"));
        assert_eq!(get("iothub-app-name%20with%3a%20blanks").as_deref(), Some("é%09"));
        assert_eq!(get("iothub-app-bare").as_deref(), Some(""));
        assert_eq!(get("iothub-to").as_deref(), Some("/devices/d1/messages/deviceBound"));
        assert_eq!(get("iothub-enqueuedtime").as_deref(), Some("2019-12-09T12:00:00.0000000Z"));
        assert_eq!(get("iothub-deliverycount").as_deref(), Some("2"));
    }
}
