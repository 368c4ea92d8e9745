//! The words that metrics and logs use for outcomes.

use crate::delivery::MessageOutcome;
use crate::error::{CloseReason, DisconnectCause, ErrorKind};
use crate::frame::Inbound;
use crate::hello::Refusal;
use crate::quota::Reason;
use crate::store::{Outcome, StoreErrorKind};

/// A word for one of a closed set of values, and the set's words.
pub(super) trait Named {
    #[cfg(feature = "metrics")]
    const ALL: &'static [&'static str];
    fn name(&self) -> &'static str;
}

/// Writes the list of words and the match together, so that neither can lack one of the other's.
macro_rules! named {
    ($type:ty { $($word:literal: $pattern:pat,)+ }) => {
        impl Named for $type {
            #[cfg(feature = "metrics")]
            const ALL: &'static [&'static str] = &[$($word),+];

            fn name(&self) -> &'static str {
                match self {
                    $($pattern => $word,)+
                }
            }
        }
    };
}

named!(DisconnectCause {
    "clean": Self::Clean,
    "connection_lost": Self::ConnectionLost,
    "keep_alive": Self::KeepAlive,
    "protocol": Self::Protocol,
    "taken_over": Self::Closed(CloseReason::TakenOver),
    "identity_disabled": Self::Closed(CloseReason::IdentityDisabled),
    "identity_deleted": Self::Closed(CloseReason::IdentityDeleted),
    "credential_revoked": Self::Closed(CloseReason::CredentialRevoked),
    "credential_expired": Self::Closed(CloseReason::CredentialExpired),
    "peer_stuck": Self::Closed(CloseReason::PeerStuck),
    "denied": Self::Closed(CloseReason::Denied),
    "throttled": Self::Closed(CloseReason::Throttled),
    "shutdown": Self::Closed(CloseReason::Shutdown),
    "internal": Self::Closed(CloseReason::Internal),
});

named!(Refusal {
    "unauthorized": Self::Unauthorized(_),
    "unknown": Self::Unknown(_),
    "disabled": Self::Disabled(_),
    "malformed": Self::Malformed(_),
    "denied": Self::Denied,
    "throttled": Self::Throttled(_),
    "unavailable": Self::Unavailable(_),
});

named!(Inbound {
    "telemetry": Self::Telemetry(..),
    "settle": Self::Settle(..),
    "report": Self::Report(..),
    "get_twin": Self::GetTwin(_),
    "reply": Self::Reply(..),
    "subscribe": Self::Subscribe(..),
    "unsubscribe": Self::Unsubscribe(..),
    "heard": Self::Heard(..),
});

named!(Reason {
    "device": Self::Device,
    "hub": Self::Hub,
    "daily": Self::Daily,
});

named!(Outcome {
    "committed": Self::Committed(_),
    "conflict": Self::Conflict,
    "full": Self::Full(_),
});

named!(StoreErrorKind {
    "unavailable": Self::Unavailable,
    "unknown": Self::Unknown,
    "fatal": Self::Fatal,
});

named!(MessageOutcome {
    "completed": Self::Completed,
    "rejected": Self::Rejected,
    "expired": Self::Expired,
    "delivery_count_exceeded": Self::DeliveryCountExceeded,
    "purged": Self::Purged,
});

named!(ErrorKind {
    "argument_invalid": Self::ArgumentInvalid,
    "device_not_found": Self::DeviceNotFound,
    "module_not_found": Self::ModuleNotFound,
    "device_already_exists": Self::DeviceAlreadyExists,
    "module_already_exists": Self::ModuleAlreadyExists,
    "device_disabled": Self::DeviceDisabled,
    "precondition_failed": Self::PreconditionFailed,
    "message_lock_lost": Self::MessageLockLost,
    "dead_letter_not_found": Self::DeadLetterNotFound,
    "twin_version_not_found": Self::TwinVersionNotFound,
    "queue_full": Self::QueueFull,
    "invalid_expiry": Self::InvalidExpiry,
    "too_large": Self::TooLarge,
    "too_many_modules": Self::TooManyModules,
    "twin_too_large": Self::TwinTooLarge,
    "device_not_online": Self::DeviceNotOnline,
    "method_timeout": Self::MethodTimeout,
    "device_disconnected": Self::DeviceDisconnected,
    "bad_device_response": Self::BadDeviceResponse,
    "too_many_methods": Self::TooManyMethods,
    "no_blob_store": Self::NoBlobStore,
    "blob_store_refused": Self::BlobStoreRefused,
    "blob_not_found": Self::BlobNotFound,
    "upload_not_found": Self::UploadNotFound,
    "upload_expired": Self::UploadExpired,
    "job_not_found": Self::JobNotFound,
    "job_already_exists": Self::JobAlreadyExists,
    "too_many_jobs": Self::TooManyJobs,
    "too_many_uploads": Self::TooManyUploads,
    "configuration_not_found": Self::ConfigurationNotFound,
    "configuration_already_exists": Self::ConfigurationAlreadyExists,
    "too_many_configurations": Self::TooManyConfigurations,
    "configuration_target_invalid": Self::ConfigurationTargetInvalid,
    "configuration_content_invalid": Self::ConfigurationContentInvalid,
    "configuration_content_immutable": Self::ConfigurationContentImmutable,
    "configuration_metric_invalid": Self::ConfigurationMetricInvalid,
    "digital_twin_patch_invalid": Self::DigitalTwinPatchInvalid,
    "digital_twin_path_invalid": Self::DigitalTwinPathInvalid,
    "digital_twin_value_invalid": Self::DigitalTwinValueInvalid,
    "no_such_partition": Self::NoSuchPartition,
    "unauthorized": Self::Unauthorized,
    "forbidden": Self::Forbidden,
    "busy": Self::Busy,
    "throttled": Self::Throttled,
    "quota_exceeded": Self::QuotaExceeded,
    "unavailable": Self::Unavailable,
    "registry_job_active": Self::RegistryJobActive,
    "blob_folder_invalid": Self::BlobFolderInvalid,
    "internal": Self::Internal,
});

/// What a back end or a device asked for, as it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was done.
    Done,
    /// It was refused.
    Refused(ErrorKind),
    /// Whoever asked stopped waiting.
    Dropped,
}

impl<T> From<&Result<T, crate::error::HubError>> for Ended {
    fn from(result: &Result<T, crate::error::HubError>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) => Self::Refused(error.kind()),
        }
    }
}
