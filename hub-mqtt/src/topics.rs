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

/// The topic of a direct method. The request id is the call in lower-case hexadecimal, as the
/// service counts them, and the last thing in the topic, because an SDK takes everything after
/// `?$rid=` for the id. It is not used again on a later connection, so that a late answer ends no
/// other call.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topics(address: &str) -> Topics {
        Topics::new(&Address::parse(address).unwrap())
    }

    #[track_caller]
    fn check(address: &str, topic: &str, want: Result<Operation<'_>, TopicError>) {
        assert_eq!(topics(address).operation(topic), want, "{address}: {topic}");
    }

    #[test]
    fn telemetry_is_the_own_identitys() {
        check("d1", "devices/d1/messages/events", Ok(Operation::Telemetry("")));
        check("d1", "devices/d1/messages/events/", Ok(Operation::Telemetry("")));
        check("d1", "devices/d1/messages/events/a=b", Ok(Operation::Telemetry("a=b")));
        check("a#+$", "devices/a#+$/messages/events/x", Ok(Operation::Telemetry("x")));
        let module = "devices/d1/modules/m1/messages/events/%24.on=o/";
        check("d1/m1", module, Ok(Operation::Telemetry("%24.on=o/")));
        let foreign = [
            ("d1", "devices/d2/messages/events/"),
            ("d1", "devices/D1/messages/events/"),
            ("d1", "devices/d1/messages/eventsx"),
            ("d1", "devices/d1/messages/devicebound/"),
            ("d1", "/devices/d1/messages/events/"),
            ("d1", module),
            ("d1/m1", "devices/d1/messages/events/"),
            ("d1/m1", "devices/d1/modules/m2/messages/events/"),
            ("d1", ""),
            ("d1", "a/b"),
            ("d1", "$SYS/x"),
        ];
        for (address, topic) in foreign {
            check(address, topic, Err(TopicError::Unknown));
        }
    }

    #[test]
    fn twin_requests_carry_an_id() {
        let report = |request, version| Ok(Operation::Report { request, version });
        check("d1", "$iothub/twin/GET/?$rid=e8-9", Ok(Operation::GetTwin("e8-9")));
        check("d1", "$iothub/twin/GET/?$rid=%20&x=1", Ok(Operation::GetTwin("%20")));
        check("d1", "$iothub/twin/GET/", Err(TopicError::NoRequestId));
        check("d1", "$iothub/twin/GET/x?$rid=1", Err(TopicError::Unknown));
        check("d1", "$iothub/twin/GETx", Err(TopicError::Unknown));
        let reported = "$iothub/twin/PATCH/properties/reported/";
        check("d1", &format!("{reported}?$rid=1"), report(Some("1"), None));
        check("d1", &format!("{reported}?$rid=1&$version=7"), report(Some("1"), Some(7)));
        check("d1", &format!("{reported}?$version=0&$rid=1"), report(Some("1"), Some(0)));
        check("d1", reported, report(None, None));
        check("d1", &format!("{reported}?$rid=1&$version=x"), Err(TopicError::Version));
        check("d1", "$iothub/twin/PATCH/properties/desired/?$rid=1", Err(TopicError::Unknown));
        let long = "x".repeat(REQUEST_ID_MAX + 1);
        check("d1", &format!("$iothub/twin/GET/?$rid={long}"), Err(TopicError::RequestIdLength));
    }

    #[test]
    fn method_responses_name_their_call() {
        let call = |n| Ok(Operation::MethodResponse(Some(MethodRef(n)), 200));
        check("d1", "$iothub/methods/res/200/?$rid=1", call(1));
        check("d1", "$iothub/methods/res/200/?$rid=1a", call(26));
        check("d1", "$iothub/methods/res/200/?$rid=a&x=y", call(10));
        for unknown in ["0", "01", "A", "x", "", "+1", "11112222333344445"] {
            let topic = format!("$iothub/methods/res/-5/?$rid={unknown}");
            check("d1", &topic, Ok(Operation::MethodResponse(None, -5)));
        }
        check("d1", "$iothub/methods/res/ok/?$rid=1", Err(TopicError::Status));
        check("d1", "$iothub/methods/res/99999999999/?$rid=1", Err(TopicError::Status));
        check("d1", "$iothub/methods/res/200", Err(TopicError::Unknown));
        check("d1", "$iothub/methods/POST/x/?$rid=1", Err(TopicError::Unknown));
    }

    #[track_caller]
    fn check_filter(address: &str, filter: &str, want: Option<Interest>) {
        assert_eq!(topics(address).interest(filter).ok(), want, "{address}: {filter}");
    }

    #[test]
    fn filters_are_the_documented_ones() {
        use Interest::{DesiredProperties, Inputs, Messages, Methods, TwinResponses};
        for address in ["d1", "d1/m1"] {
            check_filter(address, "$iothub/twin/res/#", Some(TwinResponses));
            check_filter(
                address,
                "$iothub/twin/PATCH/properties/desired/#",
                Some(DesiredProperties),
            );
            check_filter(address, "$iothub/methods/POST/#", Some(Methods));
        }
        check_filter("d1", "devices/d1/messages/devicebound/#", Some(Messages));
        check_filter("d1", "devices/+/messages/devicebound/#", Some(Messages));
        check_filter("a+b", "devices/a+b/messages/devicebound/#", Some(Messages));
        check_filter("+", "devices/+/messages/devicebound/#", Some(Messages));
        check_filter("#", "devices/#/messages/devicebound/#", Some(Messages));
        check_filter("d1/m1", "devices/d1/modules/m1/messages/devicebound/#", Some(Messages));
        check_filter("d1/m1", "devices/d1/modules/m1/inputs/#", Some(Inputs));
        check_filter("d1/m1", "devices/+/modules/+/inputs/#", Some(Inputs));
        check_filter("d1/m1", "devices/d1/modules/m1/#", Some(Inputs));
        for (address, filter) in [
            ("d1", "devices/d2/messages/devicebound/#"),
            ("d1", "devices/d1/messages/devicebound/"),
            ("d1", "devices/d1/messages/devicebound/x/#"),
            ("d1", "devices/d1/messages/events/#"),
            ("d1", "devices/d1/#"),
            ("d1", "+/d1/messages/devicebound/#"),
            ("d1", "devices/d1/modules/m1/inputs/#"),
            ("d1/m1", "devices/d1/messages/devicebound/#"),
            ("d1/m1", "devices/d1/modules/m2/inputs/#"),
            ("d1/m1", "devices/d1/+/m1/inputs/#"),
            ("d1", "$iothub/methods/POST/reboot/#"),
            ("d1", "$iothub/twin/#"),
            ("d1", "$iothub/twin/res/200/#"),
            ("d1", "#"),
            ("d1", "+"),
        ] {
            check_filter(address, filter, None);
        }
    }

    #[test]
    fn topics_to_the_device_are_as_captured() {
        let mut out = String::new();
        let mut written = |write: &dyn Fn(&mut String)| {
            out.clear();
            write(&mut out);
            out.clone()
        };
        assert_eq!(
            written(&|out| write_twin_response(204, "c3-9", Some(8), out)),
            "$iothub/twin/res/204/?$rid=c3-9&$version=8"
        );
        assert_eq!(
            written(&|out| write_twin_response(200, "1", None, out)),
            "$iothub/twin/res/200/?$rid=1"
        );
        assert_eq!(
            written(&|out| write_desired(13, out)),
            "$iothub/twin/PATCH/properties/desired/?$version=13"
        );
        assert_eq!(
            written(&|out| write_method("thermostat*getMax", MethodRef(31), out)),
            "$iothub/methods/POST/thermostat*getMax/?$rid=1f"
        );
        assert_eq!(
            written(&|out| write_method("a b/é#", MethodRef(1), out)),
            "$iothub/methods/POST/a%20b%2F%C3%A9%23/?$rid=1"
        );
        let module = topics("d/m");
        assert_eq!(
            written(&|out| module.write_to(out)),
            "/devices/d/modules/m/messages/devicebound"
        );
        assert_eq!(
            written(&|out| topics("d").write_devicebound(out)),
            "devices/d/messages/devicebound/"
        );
    }

    /// Prints an operation as a device would.
    fn print(topics: &Topics, operation: &Operation<'_>) -> String {
        match operation {
            Operation::Telemetry(bag) => format!("{}/{bag}", topics.events),
            Operation::GetTwin(request) => format!("{TWIN_GET}?$rid={request}"),
            Operation::Report { request, version } => {
                let request = request.map(|r| format!("$rid={r}"));
                let version = version.map(|v| format!("$version={v}"));
                let both: Vec<String> = request.into_iter().chain(version).collect();
                format!("{TWIN_REPORT}?{}", both.join("&"))
            }
            Operation::MethodResponse(call, status) => {
                let call = call.map_or(String::new(), |call| format!("{:x}", call.0));
                format!("{METHOD_RESPONSE}{status}/?$rid={call}")
            }
        }
    }

    proptest! {
        #[test]
        fn an_operation_prints_and_parses_back(
            (which, text, number) in (0_u8..4, "[^&]{0,30}", any::<u64>()),
            (some, status, module) in (any::<bool>(), any::<i32>(), any::<bool>()),
        ) {
            let topics = topics(if module { "d#1/m+1" } else { "d#1" });
            let operation = match which {
                0 => Operation::Telemetry(&text),
                1 => Operation::GetTwin(&text),
                2 => Operation::Report {
                    request: some.then_some(&*text),
                    version: (number % 2 == 0).then_some(number),
                },
                _ => Operation::MethodResponse(some.then_some(MethodRef(number.max(1))), status),
            };
            let topic = print(&topics, &operation);
            prop_assert_eq!(topics.operation(&topic), Ok(operation));
        }

        #[test]
        fn any_text_is_a_topic_and_a_filter_or_is_not(
            head in prop_oneof![
                Just(""), Just(TWIN_GET), Just(TWIN_REPORT), Just(METHOD_RESPONSE),
                Just("devices/d1/messages/events"), Just("devices/d1/modules/m1/"),
            ],
            tail in ".{0,60}",
        ) {
            for topics in [topics("d1"), topics("d1/m1")] {
                let text = format!("{head}{tail}");
                let _ = topics.operation(&text);
                let _ = topics.interest(&text);
            }
        }
    }
}
