//! What is asked of a device, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{ErrorKind, HubError};
use crate::limits::Limits;

/// A direct method call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodCall {
    pub(crate) name: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) response_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

impl MethodCall {
    /// A call without payload, with the hub's default response timeout, of a device that must be
    /// online now.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            payload: Bytes::from_static(b"null"),
            response_timeout: Duration::ZERO,
            connect_timeout: Duration::ZERO,
        }
    }

    /// Sets the payload: JSON text. Nothing at all is sent as `null`, because stock SDKs do not
    /// accept an empty request.
    #[must_use]
    pub fn with_payload(mut self, json: impl Into<Bytes>) -> Self {
        self.payload = json.into();
        if self.payload.is_empty() {
            self.payload = Bytes::from_static(b"null");
        }
        self
    }

    /// Sets how long to wait for the answer after the call was dispatched; zero is the default of
    /// [`Limits::method_response_timeout_default`]. In process any length is allowed.
    #[must_use]
    pub fn with_response_timeout(mut self, wait: Duration) -> Self {
        self.response_timeout = wait;
        self
    }

    /// Waits for a device that is offline, or does not listen for methods, until it does, for so
    /// long: the call is dispatched as soon as it comes, to whatever node. In process any time is
    /// allowed; over HTTP it is `connectTimeoutInSeconds`, and bounded by
    /// [`Limits::method_connect_timeout_max`]. The default is not to wait.
    ///
    /// The call waits in the memory of the node that was asked, and on behalf of its caller: it is gone
    /// when the future is dropped or the node ends, and was never dispatched then. For a call that
    /// outlives its node there are jobs. How many may wait so is bounded by
    /// [`Limits::methods_patient_max`].
    ///
    /// A device that comes at the end of that time, to the millisecond, comes too late.
    #[must_use]
    pub fn when_online_within(mut self, wait: Duration) -> Self {
        self.connect_timeout = wait;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its payload: JSON text.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// How long the answer is waited for; zero is the hub's default.
    #[must_use]
    pub fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// How long an offline device is waited for.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Checks name and payload, and fills in the default timeout.
    ///
    /// # Errors
    /// `ArgumentInvalid` for a blank or overlong name, one with characters that a method name may
    /// not have, or a payload that is not JSON; `TooLarge` for an overlong payload.
    pub fn checked(mut self, limits: &Limits) -> Result<Self, HubError> {
        let length = self.name.chars().count();
        if self.name.trim().is_empty() || length > limits.method_name_max {
            return Err(HubError::argument(format!(
                "method name has {length} characters, it must have 1 to {}",
                limits.method_name_max
            )));
        }
        if let Some(bad) = self.name.chars().find(|c| !allowed(*c)) {
            return Err(HubError::argument(format!("method name has the character {bad:?}")));
        }
        if self.payload.len() > limits.method_payload_bytes_max {
            return Err(HubError::new(
                ErrorKind::TooLarge,
                format!("method payload is larger than {} bytes", limits.method_payload_bytes_max),
            ));
        }
        if !is_json(&self.payload) {
            return Err(HubError::argument("method payload is not JSON"));
        }
        if self.response_timeout.is_zero() {
            self.response_timeout = limits.method_response_timeout_default;
        }
        Ok(self)
    }
}

/// Printable US-ASCII but the separators of HTTP headers, space and tab (developer guide, direct
/// methods).
fn allowed(c: char) -> bool {
    // A pattern and not a search in a text: this is asked of every character of every call.
    let separator = matches!(c, '"' | '(' | ')' | ',' | '/' | ':'..='@' | '['..=']' | '{' | '}');
    c.is_ascii_graphic() && !separator
}

pub(crate) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// What is known of a call that failed: whether it may be made again without fear that the device
/// does twice what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dispatched {
    /// It was never dispatched, and never will be.
    Never,
    /// It was dispatched, or may have been, and nobody knows what the device did: no answer came.
    Unanswered,
    /// The device did answer. The answer cannot be used.
    Answered,
}

impl Dispatched {
    /// What an error of [`Hub::invoke`](crate::engine::Hub::invoke) says of its call.
    #[must_use]
    pub fn of(error: &HubError) -> Self {
        match error.kind() {
            ErrorKind::BadDeviceResponse => Self::Answered,
            // The call itself is refused, or the caller, or the device is none.
            ErrorKind::ArgumentInvalid
            | ErrorKind::TooLarge
            | ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::DeviceNotFound
            | ErrorKind::ModuleNotFound
            | ErrorKind::DeviceDisabled
            // It has no room, or no turn.
            | ErrorKind::TooManyMethods
            | ErrorKind::Throttled
            | ErrorKind::QuotaExceeded
            // The device is not there.
            | ErrorKind::DeviceNotOnline => Self::Never,
            // It timed out or the connection was lost; or the store or the node failed while the
            // call was on its way.
            _ => Self::Unanswered,
        }
    }
}

/// What a device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodReply {
    /// The status the device chose. Any number is a successful call.
    pub status: i32,
    /// Its payload: JSON text, `null` if it sent nothing.
    pub payload: Bytes,
}
