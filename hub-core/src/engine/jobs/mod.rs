//! Jobs: asking for them, looking at them, cancelling them. What a job does is in [`crate::job`].

mod part;
mod rows;
mod runner;
mod supervisor;

use std::num::NonZeroU32;

pub(super) use self::rows::query_page;
pub use self::rows::{PartPage, PartState};
pub(super) use self::supervisor::start;

use super::hub::Hub;
use crate::error::{ErrorKind, HubError};
use crate::id::{JobId, SequenceNumber};
use crate::job::{Job, JobKind, JobSpec, JobStatus, Shelf, Statistics};
use crate::store::{Ask, Change, DocumentRef, Item, ItemRef, Kind, Outcome, QueueId, Record};

/// A job with how far it has come.
#[derive(Debug, Clone, PartialEq)]
pub struct JobState {
    /// The job.
    pub job: Job,
    /// What became of its devices.
    pub statistics: Statistics,
}

/// Which jobs are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only jobs with this sort of work.
    pub kind: Option<JobKind>,
    /// Only jobs in this state.
    pub status: Option<JobStatus>,
}

impl JobFilter {
    fn selects(&self, job: &Job) -> bool {
        self.kind.is_none_or(|kind| job.work.kind() == kind)
            && self.status.is_none_or(|status| job.status() == status)
    }
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPage {
    /// The jobs, in byte order of their ids.
    pub jobs: Vec<JobState>,
    /// Where the list goes on: to be given back. `None` on the last page.
    pub continuation: Option<JobId>,
}

/// The jobs of a hub. Nodes that share a store share them, too.
#[derive(Debug, Clone, Copy)]
pub struct Jobs<'a> {
    hub: &'a Hub,
}

impl Hub {
    /// The jobs of the hub.
    #[must_use]
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs { hub: self }
    }
}

/// A job as it was read.
struct Read {
    at: DocumentRef,
    state: JobState,
}

/// A job as whoever works on it sees it.
struct Look {
    at: DocumentRef,
    job: Job,
    /// Devices that have neither succeeded nor failed.
    left: u64,
}

impl Jobs<'_> {
    /// Asks for a job. It is durable when this returns, and goes on whatever becomes of this node.
    ///
    /// # Errors
    /// As [`JobSpec::check`]; `JobAlreadyExists` while a job of this id is kept; `TooManyJobs` beyond
    /// `Limits::jobs_active_max`; `Unavailable` when the store cannot be reached.
    pub async fn create(&self, spec: JobSpec) -> Result<JobState, HubError> {
        let job = Job::new(spec, self.hub.now(), self.hub.limits())?;
        match self.commit(job.create(self.hub.limits())).await? {
            Outcome::Committed(_) => {
                self.hub.core().jobs_changed.notify_waiters();
                Ok(JobState { job, statistics: Statistics::default() })
            }
            Outcome::Conflict => Err(HubError::new(
                ErrorKind::JobAlreadyExists,
                format!("there is a job {}", job.id),
            )),
            Outcome::Full(_) => Err(HubError::new(
                ErrorKind::TooManyJobs,
                format!("there may be {} jobs at once", self.hub.limits().jobs_active_max),
            )),
        }
    }

    /// A job.
    ///
    /// # Errors
    /// `JobNotFound`; `Unavailable` when the store cannot be reached.
    pub async fn get(&self, id: &JobId) -> Result<JobState, HubError> {
        self.read(id).await?.map(|read| read.state).ok_or_else(|| not_found(id))
    }

    /// Cancels a job: no further device is begun, and those that are worked on end. A job that is
    /// over stays as it is.
    ///
    /// # Errors
    /// `JobNotFound`; `Busy`; `Unavailable` when the store cannot be reached.
    pub async fn cancel(&self, id: &JobId) -> Result<JobState, HubError> {
        for _ in 0..=self.hub.limits().conflict_rounds_max {
            let Read { at, state } = self.read(id).await?.ok_or_else(|| not_found(id))?;
            let Some(job) = state.job.cancel(self.hub.now()) else { return Ok(state) };
            let active = self.active().await?.into_iter().find(|(active, _)| active == id);
            let change = match &active {
                Some((_, item)) => job.end(&at, item),
                None => job.replace(&at),
            };
            if let Outcome::Committed(_) = self.commit(change).await? {
                self.hub.core().jobs_changed.notify_waiters();
                return self.get(id).await;
            }
        }
        Err(HubError::new(ErrorKind::Busy, "the job has changed too often"))
    }

    /// Jobs in byte order of their ids, after `after`: at most `size` (`None`: as many as
    /// `Limits::query_page_default`; never more than `query_page_max`).
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn list(
        &self,
        filter: JobFilter,
        size: Option<u32>,
        after: Option<&JobId>,
    ) -> Result<JobPage, HubError> {
        let limits = self.hub.limits();
        let most = limits.query_page_max.max(1);
        let size = size.unwrap_or(limits.query_page_default).clamp(1, most);
        let wanted = usize::try_from(size).unwrap_or(usize::MAX);
        let mut after = after.map(|id| id.as_str().to_owned());
        let mut found: Vec<JobId> = Vec::new();
        loop {
            let documents = self.hub.core().store.scan(Kind::Job, after.as_deref(), SCAN).await?;
            let Some(last) = documents.last() else { break };
            after = Some(last.at.key().id.to_string());
            let jobs = documents.iter().filter_map(|document| Job::decode(&document.body));
            found.extend(jobs.filter(|job| filter.selects(job)).map(|job| job.id));
            if found.len() > wanted {
                break;
            }
        }
        let more = found.len() > wanted;
        found.truncate(wanted);
        let continuation = found.last().filter(|_| more).cloned();
        let mut jobs = Vec::with_capacity(found.len());
        for id in &found {
            // One may have been forgotten since the scan.
            jobs.extend(self.read(id).await?.map(|read| read.state));
        }
        Ok(JobPage { jobs, continuation })
    }

    /// A job with what became of its devices, all as they stand at one instant.
    async fn read(&self, id: &JobId) -> Result<Option<Read>, HubError> {
        let hub = self.hub;
        let mut asks = vec![Ask::Document(Job::key(id))];
        asks.extend(Shelf::ALL.map(|shelf| Ask::Depth(shelf.of(id))));
        // Those that are taken are the first of the first two queues.
        let first = SequenceNumber::default();
        let most = hub.limits().list_page_max;
        asks.extend(
            [Shelf::Todo, Shelf::Waiting].map(|shelf| Ask::Items(shelf.of(id), first, most)),
        );
        let mut records = hub.core().store.read(&asks).await?.into_iter();
        let Some(Record::Document(document)) = records.next().flatten() else { return Ok(None) };
        let job = decode(&document.body)?;
        let mut depth = || match records.next().flatten() {
            Some(Record::Depth(depth)) => depth,
            _ => 0,
        };
        let (todo, waiting, succeeded, failed) = (depth(), depth(), depth(), depth());
        let now = hub.now();
        let taken = records
            .flatten()
            .map(|record| match record {
                Record::Items(items) => items.iter().filter(|item| is_taken(item, now)).count(),
                _ => 0,
            })
            .sum::<usize>();
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        let over = job.ended().is_some();
        let statistics = Statistics::new(todo, waiting, succeeded, failed, taken, over);
        Ok(Some(Read { at: document.at, state: JobState { job, statistics } }))
    }

    /// What has to be known to work on a job, as it stands at one instant.
    async fn look(&self, id: &JobId) -> Result<Option<Look>, HubError> {
        let depth = |shelf: Shelf| Ask::Depth(shelf.of(id));
        let asks = [Ask::Document(Job::key(id)), depth(Shelf::Todo), depth(Shelf::Waiting)];
        let mut records = self.hub.core().store.read(&asks).await?.into_iter();
        let Some(Record::Document(document)) = records.next().flatten() else { return Ok(None) };
        let job = decode(&document.body)?;
        let left = records.flatten().map(|record| match record {
            Record::Depth(depth) => u64::from(depth),
            _ => 0,
        });
        Ok(Some(Look { at: document.at, job, left: left.sum() }))
    }

    /// The jobs that have not ended, with their places among them.
    async fn active(&self) -> Result<Vec<(JobId, ItemRef)>, HubError> {
        // Bounded where jobs are asked for.
        let asks = [Ask::Items(QueueId::jobs(), SequenceNumber::default(), u32::MAX)];
        let records = self.hub.core().store.read(&asks).await?;
        let Some(Some(Record::Items(items))) = records.into_iter().next() else {
            return Ok(Vec::new());
        };
        let id = |item: &Item| JobId::new(std::str::from_utf8(&item.body).ok()?).ok();
        Ok(items.into_iter().filter_map(|item| Some((id(&item)?, item.at))).collect())
    }

    async fn commit(&self, change: Change) -> Result<Outcome, HubError> {
        let shard = self.hub.inner.shards.first();
        let shard = shard.ok_or_else(|| HubError::new(ErrorKind::Internal, "there is no shard"))?;
        shard.commit(change, self.hub.limits().call_timeout).await
    }
}

/// How many jobs are read at once: their documents may be large.
const SCAN: NonZeroU32 = match NonZeroU32::new(50) {
    Some(count) => count,
    None => NonZeroU32::MIN,
};

fn decode(body: &[u8]) -> Result<Job, HubError> {
    Job::decode(body)
        .ok_or_else(|| HubError::new(ErrorKind::Internal, "a stored job cannot be read"))
}

fn is_taken(item: &Item, now: crate::time::Timestamp) -> bool {
    item.claims > 0 && item.visible > now
}

fn not_found(id: &JobId) -> HubError {
    HubError::new(ErrorKind::JobNotFound, format!("there is no job {id}"))
}
