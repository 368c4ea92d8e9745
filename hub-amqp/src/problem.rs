//! Refusals in AMQP's words: conditions, as the service's SDKs know them.

use std::borrow::Cow;

use hub_core::error::{CloseReason, ErrorKind, HubError};
use hub_core::hello::Refusal;

use crate::codec::DecodeError;

/// Why something failed: a condition, which programs read, and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmqpError {
    /// The condition.
    pub condition: &'static str,
    /// The sentence.
    pub description: Cow<'static, str>,
}

/// Conditions of the standard, and of the service. A wrong name would be read as an unknown error.
pub mod condition {
    /// The peer may not do this.
    pub const UNAUTHORIZED: &str = "amqp:unauthorized-access";
    /// The peer may do this, but not now or not so.
    pub const NOT_ALLOWED: &str = "amqp:not-allowed";
    /// There is no such thing.
    pub const NOT_FOUND: &str = "amqp:not-found";
    /// More than there is room for.
    pub const RESOURCE_LIMIT: &str = "amqp:resource-limit-exceeded";
    /// A value that a field cannot have.
    pub const INVALID_FIELD: &str = "amqp:invalid-field";
    /// Bytes that are not AMQP.
    pub const DECODE_ERROR: &str = "amqp:decode-error";
    /// A feature that the hub does not have.
    pub const NOT_IMPLEMENTED: &str = "amqp:not-implemented";
    /// The hub cannot go on.
    pub const INTERNAL: &str = "amqp:internal-error";
    /// Something that may not be said in this state.
    pub const ILLEGAL_STATE: &str = "amqp:illegal-state";
    /// Bytes that are no frame.
    pub const FRAMING: &str = "amqp:connection:framing-error";
    /// The hub ends the connection.
    pub const FORCED: &str = "amqp:connection:forced";
    /// A transfer beyond the window of its session.
    pub const WINDOW: &str = "amqp:session:window-violation";
    /// A handle that is in use.
    pub const HANDLE_IN_USE: &str = "amqp:session:handle-in-use";
    /// A handle that names no link.
    pub const UNATTACHED: &str = "amqp:session:unattached-handle";
    /// A message larger than the link takes.
    pub const MESSAGE_SIZE: &str = "amqp:link:message-size-exceeded";
    /// A delivery beyond the credit of its link.
    pub const TRANSFER_LIMIT: &str = "amqp:link:transfer-limit-exceeded";
    /// The hub ends the link.
    pub const DETACH_FORCED: &str = "amqp:link:detach-forced";
    /// Another link has taken the place of this.
    pub const STOLEN: &str = "amqp:link:stolen";
    /// A wrong argument.
    pub const ARGUMENT: &str = "com.microsoft:argument-error";
    /// The lock of a message has ended.
    pub const LOCK_LOST: &str = "com.microsoft:message-lock-lost";
    /// Too much at once.
    pub const THROTTLED: &str = "com.microsoft:device-container-throttled";
    /// All that is allowed is used up.
    pub const QUOTA: &str = "com.microsoft:quota-exceeded";
    /// Not in time.
    pub const TIMEOUT: &str = "com.microsoft:timeout";
    /// The record has changed.
    pub const PRECONDITION: &str = "com.microsoft:precondition-failed";
    /// It is there already.
    pub const ALREADY_EXISTS: &str = "com.microsoft:device-already-exists";
}

impl AmqpError {
    /// An error.
    pub fn new(condition: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self { condition, description: description.into() }
    }
}

/// The status of a refusal in an answer to a request, as HTTP has it.
#[must_use]
pub fn status(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::ArgumentInvalid | ErrorKind::InvalidExpiry | ErrorKind::TwinTooLarge => 400,
        ErrorKind::Unauthorized => 401,
        ErrorKind::Forbidden
        | ErrorKind::DeviceDisabled
        | ErrorKind::QuotaExceeded
        | ErrorKind::QueueFull
        | ErrorKind::TooManyMethods => 403,
        ErrorKind::DeviceNotFound
        | ErrorKind::ModuleNotFound
        | ErrorKind::DeviceNotOnline
        | ErrorKind::DeviceDisconnected
        | ErrorKind::NoSuchPartition => 404,
        ErrorKind::DeviceAlreadyExists | ErrorKind::ModuleAlreadyExists => 409,
        ErrorKind::PreconditionFailed | ErrorKind::MessageLockLost => 412,
        ErrorKind::TooLarge | ErrorKind::TooManyModules => 413,
        ErrorKind::Throttled => 429,
        ErrorKind::BadDeviceResponse => 502,
        ErrorKind::Unavailable | ErrorKind::Busy => 503,
        ErrorKind::MethodTimeout => 504,
        // `Internal`, and kinds that are younger than this table.
        _ => 500,
    }
}

impl From<&HubError> for AmqpError {
    fn from(error: &HubError) -> Self {
        let condition = match error.kind() {
            ErrorKind::ArgumentInvalid | ErrorKind::InvalidExpiry | ErrorKind::TwinTooLarge => {
                condition::ARGUMENT
            }
            ErrorKind::DeviceNotFound
            | ErrorKind::ModuleNotFound
            | ErrorKind::NoSuchPartition
            | ErrorKind::DeviceNotOnline
            | ErrorKind::DeviceDisconnected => condition::NOT_FOUND,
            ErrorKind::QueueFull | ErrorKind::TooManyMethods | ErrorKind::TooManyModules => {
                condition::RESOURCE_LIMIT
            }
            ErrorKind::TooLarge => condition::MESSAGE_SIZE,
            ErrorKind::Unauthorized => condition::UNAUTHORIZED,
            ErrorKind::Forbidden | ErrorKind::DeviceDisabled => condition::NOT_ALLOWED,
            ErrorKind::MessageLockLost => condition::LOCK_LOST,
            ErrorKind::PreconditionFailed => condition::PRECONDITION,
            ErrorKind::DeviceAlreadyExists | ErrorKind::ModuleAlreadyExists => {
                condition::ALREADY_EXISTS
            }
            ErrorKind::Throttled | ErrorKind::Busy => condition::THROTTLED,
            ErrorKind::QuotaExceeded => condition::QUOTA,
            ErrorKind::Unavailable | ErrorKind::MethodTimeout => condition::TIMEOUT,
            _ => condition::INTERNAL,
        };
        Self::new(condition, error.message().to_owned())
    }
}

/// Whom a refusal concerns is not repeated: a stranger need not learn what is registered.
impl From<&Refusal> for AmqpError {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Unavailable(why) => Self::new(condition::TIMEOUT, *why),
            Refusal::Throttled(_) => Self::new(condition::THROTTLED, refusal.to_string()),
            Refusal::Unauthorized(why) | Refusal::Malformed(why) => {
                Self::new(condition::UNAUTHORIZED, *why)
            }
            Refusal::Unknown(_) | Refusal::Disabled(_) => {
                Self::new(condition::UNAUTHORIZED, "the identity is not allowed in")
            }
            _ => Self::new(condition::UNAUTHORIZED, "denied by the application"),
        }
    }
}

/// Why a connection was closed, as the close of a link or connection.
#[must_use]
pub fn closed(reason: CloseReason) -> AmqpError {
    let condition = match reason {
        CloseReason::TakenOver => condition::STOLEN,
        CloseReason::IdentityDeleted => condition::NOT_FOUND,
        CloseReason::IdentityDisabled
        | CloseReason::CredentialRevoked
        | CloseReason::CredentialExpired
        | CloseReason::Denied => condition::UNAUTHORIZED,
        CloseReason::PeerStuck => condition::RESOURCE_LIMIT,
        CloseReason::Throttled => condition::THROTTLED,
        CloseReason::Shutdown => condition::FORCED,
        _ => condition::INTERNAL,
    };
    AmqpError::new(condition, reason.to_string())
}

impl From<DecodeError> for AmqpError {
    fn from(error: DecodeError) -> Self {
        let condition = match error {
            DecodeError::Head | DecodeError::Oversize { .. } => condition::FRAMING,
            DecodeError::Performative => condition::NOT_ALLOWED,
            DecodeError::Missing | DecodeError::Type => condition::INVALID_FIELD,
            _ => condition::DECODE_ERROR,
        };
        Self::new(condition, error.to_string())
    }
}
