//! A device's part in a job, as queries show it.

use serde_json::{Map, Value, json};

use super::device::{Done, Part, Shelf};
use super::state::Job;
use crate::store::Item;
use crate::time::Timestamp;

/// How far a device's part is, as back ends name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartStatus {
    /// It was not tried yet.
    Pending,
    /// It is tried again.
    Scheduled,
    /// It is worked on.
    Running,
    /// It succeeded.
    Completed,
    /// It failed.
    Failed,
    /// The job ended before it.
    Canceled,
}

impl PartStatus {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// How far a part is, of where it lies.
#[must_use]
pub fn status(job: &Job, shelf: Shelf, item: &Item, now: Timestamp) -> PartStatus {
    match shelf {
        Shelf::Succeeded => PartStatus::Completed,
        Shelf::Failed => PartStatus::Failed,
        _ if item.claims > 0 && item.visible > now => PartStatus::Running,
        _ if job.ended().is_some() => PartStatus::Canceled,
        Shelf::Todo => PartStatus::Pending,
        Shelf::Waiting => PartStatus::Scheduled,
    }
}

/// The row of `devices.jobs` for a part.
#[must_use]
pub fn row(job: &Job, part: &Part, status: PartStatus) -> Map<String, Value> {
    let mut row = Map::new();
    let mut set = |name: &str, value: Value| {
        row.insert(name.to_owned(), value);
    };
    let text = |time: Timestamp| Value::from(time.to_string());
    set("deviceId", part.device.device_str().into());
    set("jobId", job.id.as_str().into());
    set("jobType", job.work.kind().name().into());
    set("status", status.name().into());
    if let Some(started) = part.started {
        set("startTimeUtc", text(started));
    }
    if let PartStatus::Completed | PartStatus::Failed = status {
        set("endTimeUtc", text(part.updated));
    }
    set("createdDateTimeUtc", text(part.created));
    set("lastUpdatedDateTimeUtc", text(part.updated));
    let outcome = match &part.result {
        Some(Ok(Done::Answered(reply))) => {
            // A device's payload is JSON: it was parsed when it came.
            let payload: Value = serde_json::from_slice(&reply.payload).unwrap_or_default();
            json!({ "deviceMethodResponse": { "status": reply.status, "payload": payload } })
        }
        Some(Ok(Done::Updated)) => json!({ "deviceMethodResponse": null }),
        _ => Value::Null,
    };
    set("outcome", outcome);
    if let Some(Err(failure)) = &part.result {
        set("error", json!({ "code": failure.cause, "description": failure.description }));
    }
    row
}
