//! A job and what may become of it.

use std::time::Duration;

use super::device::{Part, Shelf};
use super::spec::{JobSpec, Work};
use crate::error::HubError;
use crate::id::{Address, JobId};
use crate::limits::Limits;
use crate::store::{Change, DocumentRef, ItemRef, Key, Kind, Push, QueueId};
use crate::time::Timestamp;

/// A job.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub work: Work,
    /// Which devices, as it was asked for.
    pub condition: String,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it is to start.
    pub start: Timestamp,
    /// How long after its start it goes on.
    pub max_execution: Duration,
    /// How far it is.
    pub phase: Phase,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It waits for its start.
    Queued,
    /// It goes on.
    Running {
        /// Since when.
        started: Timestamp,
        /// Which devices it has found.
        finding: Finding,
    },
    /// It is over.
    Ended {
        /// When it started, if it did.
        started: Option<Timestamp>,
        /// Since when.
        ended: Timestamp,
        /// How.
        end: End,
    },
}

/// Which of its devices a job has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Those before this place of the answer to its query.
    Before(Option<String>),
    /// All.
    Complete,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every device has succeeded or failed.
    Completed,
    /// It could not be done, and why.
    Failed(String),
    /// Somebody cancelled it.
    Cancelled,
}

/// The state of a job, as back ends name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobStatus {
    /// It waits for its start.
    Queued,
    /// It goes on.
    Running,
    /// Every device has succeeded or failed.
    Completed,
    /// It could not be done.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl JobStatus {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Job {
    /// A new job.
    ///
    /// # Errors
    /// As [`JobSpec::check`].
    pub fn new(spec: JobSpec, now: Timestamp, limits: &Limits) -> Result<Self, HubError> {
        spec.check(limits)?;
        Ok(Self {
            id: spec.id,
            work: spec.work,
            condition: spec.condition,
            created: now,
            start: spec.start.map_or(now, |start| start.max(now)),
            max_execution: spec.max_execution.unwrap_or(limits.job_execution_default),
            phase: Phase::Queued,
        })
    }

    /// The key of a job's document.
    #[must_use]
    pub fn key(id: &JobId) -> Key {
        Key::new(Kind::Job, id.as_str())
    }

    /// Writes a new job. Refused if there is one of this id, or if there are too many.
    #[must_use]
    pub fn create(&self, limits: &Limits) -> Change {
        Change::new().create(Self::key(&self.id), self.encode()).push(Push {
            queue: QueueId::jobs(),
            capacity: limits.jobs_active_max,
            visible: Timestamp::ZERO,
            deadline: Timestamp::MAX,
            body: bytes::Bytes::copy_from_slice(self.id.as_str().as_bytes()),
        })
    }

    /// Writes what became of a job.
    #[must_use]
    pub fn replace(&self, at: &DocumentRef) -> Change {
        Change::new().replace(at, self.encode())
    }

    /// Writes the end of a job, which stood there among those that have not ended.
    #[must_use]
    pub fn end(&self, at: &DocumentRef, active: &ItemRef) -> Change {
        self.replace(at).settle(active)
    }

    /// Forgets a job that has ended.
    #[must_use]
    pub fn forget(id: &JobId, at: &DocumentRef) -> Change {
        Shelf::ALL
            .into_iter()
            .fold(Change::new().remove(at), |change, shelf| change.clear(shelf.of(id)))
    }

    /// The state, as back ends name it.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        match &self.phase {
            Phase::Queued => JobStatus::Queued,
            Phase::Running { .. } => JobStatus::Running,
            Phase::Ended { end: End::Completed, .. } => JobStatus::Completed,
            Phase::Ended { end: End::Failed(_), .. } => JobStatus::Failed,
            Phase::Ended { end: End::Cancelled, .. } => JobStatus::Cancelled,
        }
    }

    /// When it started, if it did.
    #[must_use]
    pub fn started(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Queued => None,
            Phase::Running { started, .. } => Some(*started),
            Phase::Ended { started, .. } => *started,
        }
    }

    /// When it ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Ended { ended, .. } => Some(*ended),
            _ => None,
        }
    }

    /// Why it failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.phase {
            Phase::Ended { end: End::Failed(why), .. } => Some(why),
            _ => None,
        }
    }

    /// When its time is over, once it has started.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.started().map(|started| started.after(self.max_execution))
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    fn with(&self, phase: Phase) -> Self {
        Self { phase, ..self.clone() }
    }

    fn over(&self, end: End, now: Timestamp) -> Option<Self> {
        if self.ended().is_some() {
            return None;
        }
        Some(self.with(Phase::Ended { started: self.started(), ended: now, end }))
    }

    /// Starts it, once its start has come.
    #[must_use]
    pub fn start(&self, now: Timestamp) -> Option<Self> {
        let due = self.phase == Phase::Queued && self.start <= now;
        let finding = Finding::Before(None);
        due.then(|| self.with(Phase::Running { started: now, finding }))
    }

    /// Notes devices that it has found, and where to look for more; `None`: there are none. Gives the
    /// job, and what the change that writes it has to add.
    #[must_use]
    pub fn found(
        &self,
        devices: impl IntoIterator<Item = Address>,
        next: Option<String>,
        now: Timestamp,
    ) -> Option<(Self, Change)> {
        let Phase::Running { started, finding: Finding::Before(_) } = &self.phase else {
            return None;
        };
        let finding = next.map_or(Finding::Complete, |next| Finding::Before(Some(next)));
        let pushes = devices.into_iter().fold(Change::new(), |change, device| {
            change.push(Part::new(device, now).begin(&self.id))
        });
        Some((self.with(Phase::Running { started: *started, finding }), pushes))
    }

    /// Ends it, if all devices are found and so many are left to do.
    #[must_use]
    pub fn complete(&self, left: u64, now: Timestamp) -> Option<Self> {
        let found = matches!(self.phase, Phase::Running { finding: Finding::Complete, .. });
        if found && left == 0 { self.over(End::Completed, now) } else { None }
    }

    /// Ends it for a reason, unless it is over.
    #[must_use]
    pub fn fail(&self, why: impl Into<String>, now: Timestamp) -> Option<Self> {
        self.over(End::Failed(why.into()), now)
    }

    /// Cancels it, unless it is over.
    #[must_use]
    pub fn cancel(&self, now: Timestamp) -> Option<Self> {
        self.over(End::Cancelled, now)
    }

    /// Whether it is to be forgotten.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp, limits: &Limits) -> bool {
        self.ended().is_some_and(|ended| ended.after(limits.jobs_retention) <= now)
    }
}
