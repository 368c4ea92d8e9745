//! Direct methods.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use hub_core::engine::Action;
use hub_core::error::{ErrorKind, HubError};
use hub_core::id::Address;
use hub_core::limits::Limits;
use hub_core::method::{MethodCall, MethodReply};
use hub_core::security::Right;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::call::Call;
use crate::problem::Problem;
use crate::respond;
use crate::route::{Answer, Content, Route, Verb};

const REPLY: &[(u16, &str, Content)] =
    &[(200, "What the device answered, whatever its status.", Content::Json("MethodResult"))];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Post,
        "/twins/{deviceId}/methods",
        "invokeMethod",
        "Calls a direct method of a device and waits for its answer.",
        |call| Box::pin(invoke(call)),
    )
    .service(Right::ServiceConnect)
    .unversioned()
    .takes(Content::Json("MethodRequest"))
    .gives(REPLY),
    Route::new(
        Verb::Post,
        "/twins/{deviceId}/modules/{moduleId}/methods",
        "invokeModuleMethod",
        "Calls a direct method of a module and waits for its answer.",
        |call| Box::pin(invoke(call)),
    )
    .service(Right::ServiceConnect)
    .unversioned()
    .takes(Content::Json("MethodRequest"))
    .gives(REPLY),
];

/// A request. Unknown members are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(default)]
    method_name: Option<String>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    response_timeout_in_seconds: Option<u64>,
    #[serde(default)]
    connect_timeout_in_seconds: Option<u64>,
}

/// Room for the members of a request besides its payload.
const FRAME_BYTES_MAX: usize = 4096;

/// How much earlier than asked an answer is given up for. The Node SDK waits exactly as long as
/// both time-outs together; an answer at the last moment would find it gone, and it would call
/// again.
const EARLY: Duration = Duration::from_millis(200);

async fn invoke(mut call: Call) -> Answer {
    let address = call.address()?;
    let bytes_max = call.limits().method_payload_bytes_max + FRAME_BYTES_MAX;
    let body = call.read_body(bytes_max).await?;
    let request: Request<'_> =
        serde_json::from_slice(&body).map_err(|error| Problem::json(&error).nested(None))?;
    let waits = Waits::of(&request, call.limits()).map_err(|p| p.nested(None))?;
    let method = request.method_name.as_deref().unwrap_or("");
    let payload = request.payload.map_or("null", RawValue::get);
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    let reply = invoke_within(&call, &address, method, payload, &waits).await?;
    Ok(respond::json_text(StatusCode::OK, answer(&reply).into()))
}

/// Calls a method within a time of which the wait for its turn is a part.
pub(super) async fn invoke_within(
    call: &Call,
    address: &Address,
    name: &str,
    payload: Bytes,
    waits: &Waits,
) -> Result<MethodReply, Problem> {
    let began = Instant::now();
    call.allow_bytes(Action::InvokeMethod(address, name), payload.len()).await?;
    // What was spent on waiting for its turn is not there for waiting for the answer.
    let patience = waits.patience().checked_sub(began.elapsed()).filter(|left| *left >= EARLY);
    let Some(patience) = patience else {
        let message = "the time of the call was over before its turn came";
        return Err(HubError::new(ErrorKind::Throttled, message).into());
    };
    let method = MethodCall::new(name)
        .with_payload(payload)
        .with_response_timeout(patience)
        .when_online_within(waits.connect);
    call.hub().invoke(address, method).await.map_err(|error| problem(error, waits))
}

/// How long to wait, for what.
pub(super) struct Waits {
    response: Duration,
    connect: Duration,
}

impl Waits {
    /// How long an answer is really waited for.
    fn patience(&self) -> Duration {
        self.response.saturating_sub(EARLY).max(EARLY)
    }

    fn of(request: &Request<'_>, limits: &Limits) -> Result<Self, Problem> {
        let (response, connect) =
            (request.response_timeout_in_seconds, request.connect_timeout_in_seconds);
        Self::new(response, connect, limits)
    }

    /// Of seconds; what is absent is as usual.
    pub(super) fn new(
        response: Option<u64>,
        connect: Option<u64>,
        limits: &Limits,
    ) -> Result<Self, Problem> {
        let check =
            |name: &str, given: Option<u64>, default: Duration, min: Duration, max: Duration| {
                let wait = given.map_or(default, Duration::from_secs);
                if given.is_some() && !(min..=max).contains(&wait) {
                    let (min, max) = (min.as_secs(), max.as_secs());
                    return Err(Problem::argument(format!(
                        "{name} must be within [{min}; {max}]."
                    )));
                }
                Ok(wait)
            };
        Ok(Self {
            response: check(
                "responseTimeoutInSeconds",
                response,
                limits.method_response_timeout_default,
                limits.method_response_timeout_min,
                limits.method_response_timeout_max,
            )?,
            connect: check(
                "connectTimeoutInSeconds",
                connect,
                Duration::ZERO,
                Duration::ZERO,
                limits.method_connect_timeout_max,
            )?,
        })
    }
}

/// `{"status":…,"payload":…}`, the payload as the device sent it: the hub has checked that it is
/// JSON.
fn answer(reply: &MethodReply) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + reply.payload.len());
    out.extend_from_slice(b"{\"status\":");
    out.extend_from_slice(reply.status.to_string().as_bytes());
    out.extend_from_slice(b",\"payload\":");
    out.extend_from_slice(&reply.payload);
    out.push(b'}');
    out
}

/// Errors of a call have the newer body, except that no such identity has the one by which the
/// Node SDK knows it.
fn problem(error: HubError, waits: &Waits) -> Problem {
    let timeout = match error.kind() {
        ErrorKind::DeviceNotFound | ErrorKind::ModuleNotFound => return error.into(),
        ErrorKind::DeviceNotOnline => Some(waits.connect.as_secs()),
        ErrorKind::MethodTimeout => Some(waits.response.as_secs()),
        _ => None,
    };
    Problem::from(error).nested(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Request<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn requests_of_both_sdks_are_read() {
        let python = request(
            r#"{"methodName":"reboot","payload":{"x":1},"responseTimeoutInSeconds":10,"connectTimeoutInSeconds":5}"#,
        );
        assert_eq!(python.method_name.as_deref(), Some("reboot"));
        assert_eq!(python.payload.map(RawValue::get), Some("{\"x\":1}"));
        let waits = Waits::of(&python, &Limits::default()).unwrap();
        assert_eq!((waits.response.as_secs(), waits.connect.as_secs()), (10, 5));
        assert_eq!(waits.patience(), Duration::from_millis(9800));
        let empty = request(r#"{"methodName":"reboot","payload":"","timeoutInSeconds":1}"#);
        assert_eq!(empty.payload.map(RawValue::get), Some("\"\""));
        let waits = Waits::of(&empty, &Limits::default()).unwrap();
        assert_eq!((waits.response.as_secs(), waits.connect.as_secs()), (30, 0));
        assert_eq!(request(r#"{"payload":null}"#).payload.map(RawValue::get), None);
    }

    #[test]
    fn time_outs_have_their_range() {
        let limits = Limits::default();
        for (member, bad, good) in [
            ("responseTimeoutInSeconds", [4, 301], [5, 300]),
            ("connectTimeoutInSeconds", [301, u64::MAX], [0, 300]),
        ] {
            for seconds in bad {
                let json = format!("{{\"{member}\":{seconds}}}");
                let refused = Waits::of(&request(&json), &limits).err().unwrap();
                assert!(refused.message().starts_with(member), "{}", refused.message());
            }
            for seconds in good {
                assert!(
                    Waits::of(&request(&format!("{{\"{member}\":{seconds}}}")), &limits).is_ok()
                );
            }
        }
        let refused = Waits::of(&request(r#"{"responseTimeoutInSeconds":1}"#), &limits).err();
        let want = "responseTimeoutInSeconds must be within [5; 300].";
        assert_eq!(refused.unwrap().message(), want);
        for bad in
            [r#"{"responseTimeoutInSeconds":-1}"#, r#"{"responseTimeoutInSeconds":"5"}"#, "[]"]
        {
            // An array is read as members in order, so it is no error of JSON but lacks a name.
            let parsed = serde_json::from_str::<Request<'_>>(bad);
            assert!(parsed.is_err() || parsed.unwrap().method_name.is_none(), "{bad}");
        }
    }

    #[test]
    fn the_answer_carries_the_devices_text() {
        let reply = MethodReply { status: -3, payload: "{\"a\": 1.0}".into() };
        assert_eq!(answer(&reply), b"{\"status\":-3,\"payload\":{\"a\": 1.0}}");
    }
}
