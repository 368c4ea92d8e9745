//! What a back end may ask a job to do.

use std::time::Duration;

use serde_json::Value;

use crate::error::HubError;
use crate::id::JobId;
use crate::limits::Limits;
use crate::method::MethodCall;
use crate::query::Filter;
use crate::registry::IfMatch;
use crate::time::Timestamp;
use crate::twin::ServicePatch;

/// The work of a job.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Work {
    /// Merge this document into the twin of each device, as
    /// [`Hub::patch_twin`](crate::Hub::patch_twin) does: tags and desired properties. A member `etag`
    /// other than `*` is the etag that each twin must have.
    UpdateTwin(Value),
    /// Call a direct method of each device.
    CallMethod(MethodCall),
}

/// What sort of work a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobKind {
    /// It writes twins.
    UpdateTwin,
    /// It calls direct methods.
    CallMethod,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::UpdateTwin, Self::CallMethod];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpdateTwin => "scheduleUpdateTwin",
            Self::CallMethod => "scheduleDeviceMethod",
        }
    }
}

impl Work {
    /// What sort of work it is.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self {
            Self::UpdateTwin(_) => JobKind::UpdateTwin,
            Self::CallMethod(_) => JobKind::CallMethod,
        }
    }
}

/// A job as a back end asks for it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobSpec {
    /// Its id: of no other job that is kept.
    pub id: JobId,
    /// The work.
    pub work: Work,
    /// Which devices: a condition on twins, `*` for all.
    pub condition: String,
    /// When it starts; at once if that is absent or in the past. Its devices are found then.
    pub start: Option<Timestamp>,
    /// How long after its start it goes on; [`Limits::job_execution_default`] if absent. Devices that
    /// are not done by then have failed.
    pub max_execution: Option<Duration>,
}

impl JobSpec {
    /// A job that starts at once.
    #[must_use]
    pub fn new(id: JobId, work: Work, condition: impl Into<String>) -> Self {
        Self { id, work, condition: condition.into(), start: None, max_execution: None }
    }

    /// Sets when it starts.
    #[must_use]
    pub fn starting(mut self, at: Timestamp) -> Self {
        self.start = Some(at);
        self
    }

    /// Sets how long after its start it goes on.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.max_execution = Some(time);
        self
    }

    /// The condition for these devices, in the order given: `deviceId IN ['a','b']`.
    #[must_use]
    pub fn of_devices<'d>(devices: impl IntoIterator<Item = &'d crate::id::DeviceId>) -> String {
        let quoted =
            devices.into_iter().map(|id| format!("'{}'", id.as_str().replace('\'', "\\'")));
        format!("deviceId IN [{}]", quoted.collect::<Vec<_>>().join(","))
    }

    /// Checks all that can be known before the job starts.
    ///
    /// # Errors
    /// `ArgumentInvalid` for a condition that cannot be read, with the place; for work that no device
    /// could do; for a time of execution that is zero or longer than [`Limits::job_execution_max`].
    /// `TooLarge` for too large a payload, `TwinTooLarge` as for a patch.
    pub fn check(&self, limits: &Limits) -> Result<(), HubError> {
        Filter::parse(&self.condition, limits)
            .map_err(|error| HubError::argument(error.to_string()))?;
        match &self.work {
            Work::UpdateTwin(document) => {
                let size = document.to_string().len();
                // Names and blanks are not counted by the limits of the sections.
                let most = 4 * (limits.tags_bytes_max + limits.desired_bytes_max);
                if size > most {
                    let message = format!("the twin has {size} bytes, it may have {most}");
                    return Err(HubError::new(crate::error::ErrorKind::TwinTooLarge, message));
                }
                twin_update(document, limits)?;
            }
            Work::CallMethod(call) => {
                call.clone().checked(limits)?;
            }
        }
        match self.max_execution {
            Some(time) if time.is_zero() || time > limits.job_execution_max => {
                Err(HubError::argument(format!(
                    "a job may go on for 1 to {} seconds",
                    limits.job_execution_max.as_secs()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Reads the document of [`Work::UpdateTwin`]: what is written, and the etag that each twin must
/// have, if any.
///
/// # Errors
/// As [`ServicePatch::parse`]; `ArgumentInvalid` for what is no object, or an etag that is no text.
pub fn twin_update(
    document: &Value,
    limits: &Limits,
) -> Result<(ServicePatch, Option<String>), HubError> {
    let etag = match document.get("etag") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => match IfMatch::parse(text) {
            IfMatch::Any => None,
            IfMatch::Etag(etag) => Some(etag),
        },
        Some(_) => return Err(HubError::argument("the etag is not a string")),
    };
    Ok((ServicePatch::from_value(document, limits)?, etag))
}
