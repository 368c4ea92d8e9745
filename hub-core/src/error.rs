//! What the hub answers when it cannot do what it was asked.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::blob::{BlobError, BlobErrorKind};
use crate::store::{StoreError, StoreErrorKind};

/// Why an operation was refused. Adapters map each kind to their protocol's own code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong.
    ArgumentInvalid,
    /// No such device (or it is disabled, where that is not told apart).
    DeviceNotFound,
    /// The device has no such module.
    ModuleNotFound,
    /// The device exists already.
    DeviceAlreadyExists,
    /// The module exists already.
    ModuleAlreadyExists,
    /// The identity is disabled.
    DeviceDisabled,
    /// The etag or version given is not the current one.
    PreconditionFailed,
    /// The lock token is not the latest claim of its message, or its lock has run out.
    MessageLockLost,
    /// There is no such dead letter.
    DeadLetterNotFound,
    /// That version of the twin is not kept, or there was none.
    TwinVersionNotFound,
    /// The queue is full.
    QueueFull,
    /// The expiry is in the past or too far ahead.
    InvalidExpiry,
    /// The message or payload is larger than the limit.
    TooLarge,
    /// The device has as many modules as it may have.
    TooManyModules,
    /// The twin section would grow beyond its limit.
    TwinTooLarge,
    /// The device is not connected, or does not listen for methods. Nothing was dispatched.
    DeviceNotOnline,
    /// The method was dispatched and no answer came in time.
    MethodTimeout,
    /// The method was dispatched and the connection was lost before an answer came.
    DeviceDisconnected,
    /// The device's answer cannot be used.
    BadDeviceResponse,
    /// As many methods are in flight for the device as may be.
    TooManyMethods,
    /// The hub has no store of files.
    NoBlobStore,
    /// The store of files refuses the hub: its credentials or settings have to be changed.
    BlobStoreRefused,
    /// There is no such file.
    BlobNotFound,
    /// The device has no such upload open.
    UploadNotFound,
    /// The upload has expired.
    UploadExpired,
    /// The device has as many uploads open as it may.
    TooManyUploads,
    /// There is no such job.
    JobNotFound,
    /// There is a job of this id, or was one not long ago.
    JobAlreadyExists,
    /// There are as many jobs as may be that have not ended.
    TooManyJobs,
    /// There is no such configuration.
    ConfigurationNotFound,
    /// There is a configuration of this id.
    ConfigurationAlreadyExists,
    /// There are as many configurations as may be.
    TooManyConfigurations,
    /// The target condition of a configuration is none.
    ConfigurationTargetInvalid,
    /// The content of a configuration cannot be applied.
    ConfigurationContentInvalid,
    /// The content of a configuration cannot be changed.
    ConfigurationContentImmutable,
    /// A metric of a configuration is no query that can be counted.
    ConfigurationMetricInvalid,
    /// A patch of a digital twin is no JSON patch of properties and components.
    DigitalTwinPatchInvalid,
    /// A patch of a digital twin names what cannot be there, or is not there.
    DigitalTwinPathInvalid,
    /// A patch of a digital twin has a value that cannot be there.
    DigitalTwinValueInvalid,
    /// A job over the registry goes on: there is one at a time.
    RegistryJobActive,
    /// The address is that of no folder of the hub's store of files, it has no right to it, or what
    /// has to be there is not.
    BlobFolderInvalid,
    /// The consumer group or partition does not exist.
    NoSuchPartition,
    /// The credentials are missing, wrong or expired.
    Unauthorized,
    /// The credentials are good and do not allow this.
    Forbidden,
    /// Others changed the same record too often; try again.
    Busy,
    /// Too much is waiting, or comes too fast; try again later.
    Throttled,
    /// The hub has taken as many messages today as it may.
    QuotaExceeded,
    /// The store cannot be reached, or the hub shuts down; try again later.
    Unavailable,
    /// The hub cannot go on.
    Internal,
}

/// A refusal: what kind, and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HubError {
    kind: ErrorKind,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl HubError {
    /// A refusal.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// With the time after which there is room, as far as is known now.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// After what time there is room, if that is known: of refusals by quotas.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What kind of refusal.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The request is wrong.
    pub fn argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::ArgumentInvalid, message)
    }

    /// No such identity.
    #[must_use]
    pub fn not_found(address: &crate::id::Address) -> Self {
        let kind =
            if address.is_module() { ErrorKind::ModuleNotFound } else { ErrorKind::DeviceNotFound };
        Self::new(kind, format!("{address}"))
    }
}

impl From<&StoreError> for HubError {
    fn from(error: &StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Fatal => Self::new(ErrorKind::Internal, "the store has failed"),
            _ => Self::new(ErrorKind::Unavailable, "the store cannot be reached"),
        }
    }
}

impl From<StoreError> for HubError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&BlobError> for HubError {
    fn from(error: &BlobError) -> Self {
        match error.kind() {
            BlobErrorKind::NotFound => Self::new(ErrorKind::BlobNotFound, "there is no such file"),
            BlobErrorKind::Unavailable => {
                Self::new(ErrorKind::Unavailable, "the store of files cannot be reached")
            }
            BlobErrorKind::Refused => {
                Self::new(ErrorKind::BlobStoreRefused, "the store of files refuses the hub")
            }
        }
    }
}

/// Why the hub ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The same identity connected anew.
    TakenOver,
    /// The identity was disabled.
    IdentityDisabled,
    /// The identity was deleted.
    IdentityDeleted,
    /// The credential used is no longer valid.
    CredentialRevoked,
    /// The token has expired and its grace is over.
    CredentialExpired,
    /// The peer takes too little of what it is sent.
    PeerStuck,
    /// A hook of the application denied an operation that has no negative answer.
    Denied,
    /// The peer sends faster than it may, and its protocol has no other way to say so.
    Throttled,
    /// The hub shuts down.
    Shutdown,
    /// The hub cannot go on with this connection.
    Internal,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TakenOver => "taken over by a new connection",
            Self::IdentityDisabled => "identity disabled",
            Self::IdentityDeleted => "identity deleted",
            Self::CredentialRevoked => "credential revoked",
            Self::CredentialExpired => "credential expired",
            Self::PeerStuck => "peer stuck",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal error",
        })
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectCause {
    /// The peer said goodbye.
    Clean,
    /// The transport broke, or the peer went away without a word.
    ConnectionLost,
    /// The peer was silent for longer than its keep-alive allows.
    KeepAlive,
    /// The peer broke the protocol.
    Protocol,
    /// The hub closed it.
    Closed(CloseReason),
}
