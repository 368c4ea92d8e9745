//! What a job over the registry keeps beside its document.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::store::{Push, QueueId, QueueKind};
use crate::time::Timestamp;

/// The queues of a job over the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobQueue {
    /// Marks of the lines of the batch under way.
    Marks,
    /// Lines of the log, for what was refused so far.
    Refused,
}

impl JobQueue {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Marks, Self::Refused];

    /// The queue of a job. No job over devices has a slash in its id, so none has this queue.
    #[must_use]
    pub fn of(self, job: &JobId) -> QueueId {
        let name = match self {
            Self::Marks => "marks",
            Self::Refused => "refused",
        };
        QueueId { kind: QueueKind::JobDevice, id: format!("registry/{job}/{name}").into() }
    }

    /// Something for the queue. Bounded by the file that is imported.
    #[must_use]
    pub fn push(self, job: &JobId, body: Bytes) -> Push {
        let (capacity, visible, deadline) = (u32::MAX, Timestamp::ZERO, Timestamp::MAX);
        Push { queue: self.of(job), capacity, visible, deadline, body }
    }
}

/// How much of a record is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Its identity is updated, its twin is to be written.
    Identity,
    /// All of it.
    Whole,
}

/// Says that a line is done, in the change that does it: whoever goes on later leaves it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The line's number.
    pub line: u64,
    /// How much of it.
    pub step: Step,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u8,
    line: u64,
    step: Step,
}

const FORMAT: u8 = 1;

impl Mark {
    /// The body of its queue item: JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let body = Body { v: FORMAT, line: self.line, step: self.step };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads a body. `None` if it is none of this format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(Self { line: body.line, step: body.step })
    }
}
