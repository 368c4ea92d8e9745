//! Why a device's part in a job failed.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, HubError};

/// What went wrong. The names are what back ends find in `error.code`, and what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// There is no such device any more.
    DeviceNotFound,
    /// It was not online while the job went on.
    DeviceNotOnline,
    /// The method was dispatched and no answer came in time.
    GatewayTimeout,
    /// The method was dispatched and the connection was lost before an answer came.
    DeviceConnectionClosedRemotely,
    /// The device's answer cannot be used.
    GenericBadGateway,
    /// Its twin has another etag.
    PreconditionFailed,
    /// Its twin would grow beyond its limit.
    TwinTooLarge,
    /// The work is nothing that a device could do.
    ArgumentInvalid,
    /// The node that called the method stopped before it knew the end: it may have happened.
    OutcomeUnknown,
    /// The job's time was over.
    JobTimedOut,
    /// Too much was waiting while the job went on.
    ThrottlingException,
    /// The store could not be reached while the job went on.
    ServiceUnavailable,
    /// Anything else.
    ServerError,
}

/// Why a device's part failed: what for programs, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub cause: Cause,
    /// The sentence.
    pub description: String,
}

impl Failure {
    /// A failure.
    pub fn new(cause: Cause, description: impl Into<String>) -> Self {
        Self { cause, description: description.into() }
    }
}

impl From<&HubError> for Failure {
    fn from(error: &HubError) -> Self {
        let cause = match error.kind() {
            ErrorKind::DeviceNotFound | ErrorKind::ModuleNotFound => Cause::DeviceNotFound,
            ErrorKind::DeviceNotOnline => Cause::DeviceNotOnline,
            ErrorKind::MethodTimeout => Cause::GatewayTimeout,
            ErrorKind::DeviceDisconnected => Cause::DeviceConnectionClosedRemotely,
            ErrorKind::BadDeviceResponse => Cause::GenericBadGateway,
            ErrorKind::PreconditionFailed => Cause::PreconditionFailed,
            ErrorKind::TwinTooLarge => Cause::TwinTooLarge,
            ErrorKind::ArgumentInvalid | ErrorKind::TooLarge => Cause::ArgumentInvalid,
            ErrorKind::TooManyMethods | ErrorKind::Throttled => Cause::ThrottlingException,
            ErrorKind::Busy | ErrorKind::Unavailable => Cause::ServiceUnavailable,
            _ => Cause::ServerError,
        };
        Self::new(cause, error.message())
    }
}
