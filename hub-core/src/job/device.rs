//! A device's part in a job: where it lies, and how it moves on.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::failure::{Cause, Failure};
use super::state::Job;
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, JobId};
use crate::method::MethodReply;
use crate::store::{Change, Item, Marks, Push, QueueId, QueueKind};
use crate::time::Timestamp;

/// Which of a job's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// Devices that were not tried yet.
    Todo,
    /// Devices that are tried again later.
    Waiting,
    /// Devices whose part succeeded.
    Succeeded,
    /// Devices whose part failed.
    Failed,
}

impl Shelf {
    /// All of them, in the order in which devices move on: whoever reads them one after another
    /// misses none.
    pub const ALL: [Self; 4] = [Self::Todo, Self::Waiting, Self::Succeeded, Self::Failed];

    /// The queue of a job.
    #[must_use]
    pub fn of(self, job: &JobId) -> QueueId {
        let name = match self {
            Self::Todo => "todo",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        };
        QueueId { kind: QueueKind::JobDevice, id: format!("{job}/{name}").into() }
    }
}

/// A device's part in a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The device.
    pub device: Address,
    /// When the job found it.
    pub created: Timestamp,
    /// When it was first tried.
    pub started: Option<Timestamp>,
    /// When this was last changed.
    pub updated: Timestamp,
    /// How it ended, or how it went the last time.
    pub result: Option<Result<Done, Failure>>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The twin was written.
    Updated,
    /// The device answered.
    Answered(MethodReply),
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u8,
    device: String,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<u64>,
    updated: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    done: bool,
}

const FORMAT: u8 = 1;

impl Part {
    /// A device that was found.
    #[must_use]
    pub fn new(device: Address, now: Timestamp) -> Self {
        Self { device, created: now, started: None, updated: now, result: None }
    }

    /// The body of its queue item: JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (status, payload, failure, done) = match &self.result {
            None => (None, None, None, false),
            Some(Ok(Done::Updated)) => (None, None, None, true),
            Some(Ok(Done::Answered(MethodReply { status, payload }))) => {
                (Some(*status), Some(String::from_utf8_lossy(payload).into_owned()), None, true)
            }
            Some(Err(failure)) => (None, None, Some(failure.clone()), false),
        };
        let body = Body {
            v: FORMAT,
            device: self.device.as_str().to_owned(),
            created: self.created.as_millis(),
            started: self.started.map(Timestamp::as_millis),
            updated: self.updated.as_millis(),
            status,
            payload,
            failure,
            done,
        };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads a body. `None` if it is none of this format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        let result = match (body.failure, body.status, body.done) {
            (Some(failure), ..) => Some(Err(failure)),
            (None, Some(status), _) => {
                let payload = body.payload.unwrap_or_else(|| "null".to_owned()).into();
                Some(Ok(Done::Answered(MethodReply { status, payload })))
            }
            (None, None, true) => Some(Ok(Done::Updated)),
            (None, None, false) => None,
        };
        Some(Self {
            device: Address::parse(&body.device).ok()?,
            created: Timestamp::from_millis(body.created),
            started: body.started.map(Timestamp::from_millis),
            updated: Timestamp::from_millis(body.updated),
            result,
        })
    }

    /// A part to do.
    #[must_use]
    pub fn begin(&self, job: &JobId) -> Push {
        self.push(Shelf::Todo.of(job), Timestamp::ZERO)
    }

    fn push(&self, queue: QueueId, visible: Timestamp) -> Push {
        // Bounded by the registry: a device has one part in a job.
        let (capacity, deadline) = (u32::MAX, Timestamp::MAX);
        Push { queue, capacity, visible, deadline, body: self.encode() }
    }
}

/// Set on an item before its method is called.
const DISPATCHED: u8 = 1;

/// What is to be done with a part that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The work.
    Work,
    /// Nothing: it has failed.
    Fail(Failure),
}

impl Step {
    /// Decides on a part as it was taken.
    #[must_use]
    pub fn of(job: &Job, item: &Item, part: &Part, now: Timestamp) -> Self {
        if item.marks.as_bytes() == [DISPATCHED] {
            return Self::Fail(Failure::new(
                Cause::OutcomeUnknown,
                "the node that called the method stopped before it knew the end",
            ));
        }
        if !job.is_overdue(now) {
            return Self::Work;
        }
        Self::Fail(match &part.result {
            Some(Err(failure)) => failure.clone(),
            _ => Failure::new(Cause::JobTimedOut, "the job's time was over"),
        })
    }

    /// Notes that a method is about to be called, while the part is taken until then. Whoever takes
    /// the part later knows by this that it must not call again.
    #[must_use]
    pub fn dispatch(item: &Item, until: Timestamp) -> Change {
        let marks = Marks::new(&[DISPATCHED]).unwrap_or_default();
        Change::new().retime(&item.at, until, marks)
    }
}

/// Ends a part that was taken. Refused if somebody else has ended it, or taken it since.
#[must_use]
pub fn ended(
    job: &JobId,
    item: &Item,
    part: &Part,
    result: Result<Done, Failure>,
    now: Timestamp,
) -> (Part, Change) {
    let shelf = if result.is_ok() { Shelf::Succeeded } else { Shelf::Failed };
    let part = Part {
        started: part.started.or(Some(now)),
        updated: now,
        result: Some(result),
        ..part.clone()
    };
    let change = Change::new().settle(&item.at).push(part.push(shelf.of(job), Timestamp::ZERO));
    (part, change)
}

/// Puts a part that was taken off until a time, if what happened is nothing that lasts.
#[must_use]
pub fn retried(
    job: &JobId,
    item: &Item,
    part: &Part,
    error: &HubError,
    now: Timestamp,
    again: Timestamp,
) -> Option<Change> {
    let passes = matches!(
        error.kind(),
        ErrorKind::DeviceNotOnline
            | ErrorKind::TooManyMethods
            | ErrorKind::Throttled
            | ErrorKind::Busy
            | ErrorKind::Unavailable
    );
    passes.then(|| {
        let part = Part {
            started: part.started.or(Some(now)),
            updated: now,
            result: Some(Err(Failure::from(error))),
            ..part.clone()
        };
        Change::new().settle(&item.at).push(part.push(Shelf::Waiting.of(job), again))
    })
}
