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

    /// Sets how long to wait for an offline device to come and listen for methods.
    #[must_use]
    pub fn with_connect_timeout(mut self, wait: Duration) -> Self {
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

/// What a device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodReply {
    /// The status the device chose. Any number is a successful call.
    pub status: i32,
    /// Its payload: JSON text, `null` if it sent nothing.
    pub payload: Bytes,
}
