//! Topics and filters, and what they mean to the hub.
//!
//! Source: the device-facing topics of Azure IoT Hub. Everything not listed there is refused, and
//! the connection is closed: a SUBACK with a failure code is taken for success by stock SDKs.

use std::fmt::Write as _;

use hub_core::frame::{Interest, MethodRef};
use hub_core::id::Address;

use crate::bag::percent_encode;

/// Longest request id of a twin request, in bytes. SDKs send UUIDs and numbers; the hub keeps the
/// id until it answers, so it must not be a way to make the hub keep anything large.
pub const REQUEST_ID_MAX: usize = 1024;

const TWIN_GET: &str = "$iothub/twin/GET/";
const TWIN_REPORT: &str = "$iothub/twin/PATCH/properties/reported/";
const TWIN_RESPONSE: &str = "$iothub/twin/res/";
const TWIN_DESIRED: &str = "$iothub/twin/PATCH/properties/desired/";
const METHOD_CALL: &str = "$iothub/methods/POST/";
const METHOD_RESPONSE: &str = "$iothub/methods/res/";

/// What a device means by publishing to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// A message with these properties, still encoded.
    Telemetry(&'a str),
    /// Asks for the twin, and wants this id in the answer.
    GetTwin(&'a str),
    /// A patch of the reported properties. Without an id there is no answer.
    Report {
        /// What to answer by.
        request: Option<&'a str>,
        /// The version that the reported properties must have.
        version: Option<u64>,
    },
    /// An answer to a direct method, with its status. Without a call it answers none that the hub
    /// ever made, and means nothing.
    MethodResponse(Option<MethodRef>, i32),
}

/// Why a topic or filter means nothing to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// It is none of the hub's topics, or another identity's.
    #[error("topic is not served")]
    Unknown,
    /// A twin request without an id, where one is needed.
    #[error("topic has no request id")]
    NoRequestId,
    /// The request id is longer than [`REQUEST_ID_MAX`].
    #[error("request id is too long")]
    RequestIdLength,
    /// The version is not a number.
    #[error("version is not a number")]
    Version,
    /// The status of a method response is not a number.
    #[error("status is not a number")]
    Status,
}

/// The topics of one identity.
///
/// Keeps the beginning of the telemetry topic, so that telemetry is recognised by one comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// `devices/{did}` or `devices/{did}/modules/{mid}`, and `/messages/events`.
    events: Box<str>,
}

const MESSAGES: &str = "/messages/events";

impl Topics {
    /// The topics of an identity. Ids are never encoded in topics.
    #[must_use]
    pub fn new(address: &Address) -> Self {
        let device = address.device_str();
        let events = match address.module_str() {
            None => format!("devices/{device}{MESSAGES}"),
            Some(module) => format!("devices/{device}/modules/{module}{MESSAGES}"),
        };
        Self { events: events.into() }
    }

    /// `devices/{did}` or `devices/{did}/modules/{mid}`.
    fn path(&self) -> &str {
        self.events.strip_suffix(MESSAGES).unwrap_or(&self.events)
    }

    fn is_module(&self) -> bool {
        // The id of a device has no `/`, so a third one is a module's.
        self.path().split('/').count() > 2
    }

    /// What a publish to this topic means.
    ///
    /// # Errors
    /// [`TopicError`] when it means nothing; the connection must be closed.
    #[inline]
    pub fn operation<'a>(&self, topic: &'a str) -> Result<Operation<'a>, TopicError> {
        if let Some(rest) = topic.strip_prefix(&*self.events) {
            return self.telemetry(rest);
        }
        if let Some(query) = topic.strip_prefix(TWIN_GET) {
            let query = Query::parse(query)?;
            return Ok(Operation::GetTwin(query.request.ok_or(TopicError::NoRequestId)?));
        }
        if let Some(query) = topic.strip_prefix(TWIN_REPORT) {
            let Query { request, version } = Query::parse(query)?;
            let version = version.map(str::parse).transpose().map_err(|_| TopicError::Version)?;
            return Ok(Operation::Report { request, version });
        }
        if let Some(rest) = topic.strip_prefix(METHOD_RESPONSE) {
            let (status, query) = rest.split_once('/').ok_or(TopicError::Unknown)?;
            let status = status.parse().map_err(|_| TopicError::Status)?;
            let call = Query::parse(query)?.request.and_then(method_ref);
            return Ok(Operation::MethodResponse(call, status));
        }
        Err(TopicError::Unknown)
    }

    #[inline]
    fn telemetry<'a>(&self, rest: &'a str) -> Result<Operation<'a>, TopicError> {
        match rest.strip_prefix('/') {
            Some(bag) => Ok(Operation::Telemetry(bag)),
            None if rest.is_empty() => Ok(Operation::Telemetry("")),
            None => Err(TopicError::Unknown),
        }
    }

    /// What a subscription to this filter means.
    ///
    /// Filters are compared as text, with the ids of this identity or `+` in their places: ids may
    /// hold `#` and `+`, and the hub serves whole topics only, never a part of one.
    ///
    /// # Errors
    /// [`TopicError::Unknown`] when it means nothing.
    pub fn interest(&self, filter: &str) -> Result<Interest, TopicError> {
        let own = match filter.strip_suffix('#') {
            Some(TWIN_RESPONSE) => Some(Interest::TwinResponses),
            Some(TWIN_DESIRED) => Some(Interest::DesiredProperties),
            Some(METHOD_CALL) => Some(Interest::Methods),
            Some(rest) => self.own_interest(rest),
            None => None,
        };
        own.ok_or(TopicError::Unknown)
    }

    fn own_interest(&self, filter: &str) -> Option<Interest> {
        let mut rest = filter;
        for level in self.path().split('/') {
            let after = rest.strip_prefix(level).and_then(|rest| rest.strip_prefix('/'));
            let any =
                || rest.strip_prefix("+/").filter(|_| !matches!(level, "devices" | "modules"));
            rest = after.or_else(any)?;
        }
        match (rest, self.is_module()) {
            ("messages/devicebound/", _) => Some(Interest::Messages),
            ("inputs/" | "", true) => Some(Interest::Inputs),
            _ => None,
        }
    }

    /// The path of this identity's cloud-to-device messages, as their `to` property has it.
    pub fn write_to(&self, out: &mut String) {
        out.push('/');
        out.push_str(self.path());
        out.push_str("/messages/devicebound");
    }

    /// The topic of a cloud-to-device message, up to its bag.
    pub fn write_devicebound(&self, out: &mut String) {
        out.push_str(self.path());
        out.push_str("/messages/devicebound/");
    }

    /// Whether this is a telemetry topic of this identity; if so, its bag.
    #[must_use]
    pub fn will_bag<'a>(&self, topic: &'a str) -> Option<&'a str> {
        match self.operation(topic) {
            Ok(Operation::Telemetry(bag)) => Some(bag),
            _ => None,
        }
    }
}

/// The topic of an answer to a twin request. SDKs want `/?$rid=` literally, the id first, three
/// digits of status, and the `$` unescaped.
pub fn write_twin_response(status: u32, request: &str, version: Option<u64>, out: &mut String) {
    let _ = write!(out, "{TWIN_RESPONSE}{status:03}/?$rid={request}");
    if let Some(version) = version {
        let _ = write!(out, "&$version={version}");
    }
}

/// The topic of a change of desired properties.
pub fn write_desired(version: u64, out: &mut String) {
    let _ = write!(out, "{TWIN_DESIRED}?$version={version}");
}

/// The topic of a direct method. The request id is the last thing in the topic, because an SDK takes
/// everything after `?$rid=` for the id. It is the call in lower-case hexadecimal, as the cloud
/// service writes it. There it counts from 1 on every connection, here on the first of an identity;
/// later ones have numbers of their own above that, so that a late answer ends no other call.
pub fn write_method(name: &str, call: MethodRef, out: &mut String) {
    out.push_str(METHOD_CALL);
    // The Node SDK does not decode the name, so what is legal in a topic stays. Commands of
    // components are `component*command`.
    percent_encode(name, b"*!'()", out);
    let _ = write!(out, "/?$rid={:x}", call.0);
}

/// The call of a request id as [`write_method`] writes it. Only that very spelling is an id of
/// the hub.
fn method_ref(request: &str) -> Option<MethodRef> {
    let canonical = !request.is_empty()
        && !request.starts_with('0')
        && request.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    canonical.then(|| u64::from_str_radix(request, 16).ok()).flatten().map(MethodRef)
}

/// What stands behind the last `/` of a twin or method topic.
struct Query<'a> {
    request: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Query<'a> {
    /// Parameters come in any order, unknown ones mean nothing, of duplicates the first counts.
    /// The id is not decoded: it is echoed byte for byte.
    fn parse(text: &'a str) -> Result<Self, TopicError> {
        let mut found = Self { request: None, version: None };
        let text = match text.strip_prefix('?') {
            Some(text) => text,
            None if text.is_empty() => text,
            None => return Err(TopicError::Unknown),
        };
        for parameter in text.split('&') {
            match parameter.split_once('=') {
                Some(("$rid", value)) => found.request = found.request.or(Some(value)),
                Some(("$version", value)) => found.version = found.version.or(Some(value)),
                _ => {}
            }
        }
        match found.request {
            Some(request) if request.len() > REQUEST_ID_MAX => Err(TopicError::RequestIdLength),
            _ => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests;
