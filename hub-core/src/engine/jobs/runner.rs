//! One node's share of one job.
//!
//! Nodes do not talk about jobs: each takes devices of a job out of its queues by claims, so they
//! share it as it comes. A node that stops leaves the devices it has taken, and they are taken again
//! when their claims end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::part::Worker;
use super::{Jobs, Look};
use crate::engine::hub::Hub;
use crate::engine::query::QueryRows;
use crate::engine::shutdown::Shutdown;
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, JobId};
use crate::job::{Finding, Job, Phase, Shelf, Work};
use crate::query::{Collection, Item as Column, Path, Query, Select, Source};
use crate::store::{Claim, DocumentRef, Item, ItemRef, Scope};
use crate::time::Timestamp;

/// How long without a sign until a job is looked at again: what other nodes do gives no sign here.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after a failed call of the store the next is tried.
const STORE_RETRY: Duration = Duration::from_millis(500);

pub(super) struct Runner {
    hub: Hub,
    id: JobId,
    active: ItemRef,
    stop: Shutdown,
}

/// What a turn came to.
enum Turn {
    /// There may be more to do at once.
    Go,
    /// There is nothing to do until then, or until something happens.
    Wait(Timestamp),
    /// The job is over.
    Over,
}

impl Runner {
    pub(super) fn new(hub: &Hub, id: JobId, active: ItemRef) -> Self {
        Self { hub: hub.without_owner(), id, active, stop: hub.shutdown_signal() }
    }

    /// Works on the job until it is over or the hub stops.
    pub(super) async fn run(mut self) -> JobId {
        let mut parts = JoinSet::new();
        while !self.stop.is_requested() {
            match self.turn(&mut parts).await {
                Ok(Turn::Over) => break,
                Ok(Turn::Go) => {}
                Ok(Turn::Wait(until)) => self.wait(until, &mut parts).await,
                Err(error) => {
                    tracing::debug!(job = %self.id, %error, "a job has to wait");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
            while parts.try_join_next().is_some() {}
        }
        while parts.join_next().await.is_some() {}
        self.id
    }

    async fn wait(&mut self, until: Timestamp, parts: &mut JoinSet<()>) {
        let core = &self.hub.inner.core;
        tokio::select! {
            () = core.clock.wait_until(until) => {}
            () = core.jobs_changed.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Some(_) = parts.join_next() => {}
            () = self.stop.requested() => {}
        }
    }

    /// Waits until a slot is free, or it is time to look again.
    async fn wait_for_slot(&self, slots: &Semaphore) {
        tokio::select! {
            // Given back at once: what is to be done is decided anew.
            _ = slots.acquire() => {}
            () = self.hub.inner.core.jobs_changed.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }

    fn jobs(&self) -> Jobs<'_> {
        self.hub.jobs()
    }

    async fn turn(&self, parts: &mut JoinSet<()>) -> Result<Turn, HubError> {
        let Some(Look { at, job, left }) = self.jobs().look(&self.id).await? else {
            return Ok(Turn::Over);
        };
        let now = self.hub.now();
        let finding = match &job.phase {
            Phase::Ended { .. } => return Ok(Turn::Over),
            Phase::Queued => {
                if let Some(job) = job.start(now) {
                    // On a conflict another node has started it, or somebody cancelled it.
                    self.jobs().commit(job.replace(&at)).await?;
                    return Ok(Turn::Go);
                }
                return Ok(Turn::Wait(job.start));
            }
            Phase::Running { finding, .. } => finding,
        };
        if let Finding::Before(next) = finding {
            if !self.find(&job, &at, next.as_deref(), now).await? {
                return Ok(Turn::Over);
            }
        } else if let Some(job) = job.complete(left, now) {
            self.jobs().commit(job.end(&at, &self.active)).await?;
            return Ok(Turn::Go);
        }
        let complete = *finding == Finding::Complete;
        let slots = &self.hub.inner.core.job_slots;
        let permits = at_once(slots);
        if permits.is_empty() && complete {
            self.wait_for_slot(slots).await;
            // The job may have been cancelled meanwhile.
            return Ok(Turn::Go);
        }
        let asked = permits.len();
        let taken = self.take(&job, asked, now).await?;
        let count = taken.len();
        let job = Arc::new(job);
        for (item, slot) in taken.into_iter().zip(permits) {
            let worker = Worker { hub: self.hub.without_owner(), job: job.clone() };
            parts.spawn(async move {
                worker.work(item).await;
                drop(slot);
            });
        }
        if !complete || (asked > 0 && count == asked) {
            return Ok(Turn::Go);
        }
        let retry = now.after(self.hub.limits().job_retry_every);
        let deadline = job.deadline().unwrap_or(Timestamp::MAX);
        // Past the deadline everything is taken at once, but for what others hold.
        Ok(Turn::Wait(if deadline > now { deadline.min(retry) } else { retry }))
    }

    /// Finds the next devices of the job. Whether it goes on.
    async fn find(
        &self,
        job: &Job,
        at: &DocumentRef,
        next: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, HubError> {
        let failed = if job.is_overdue(now) {
            job.fail("its time was over before all its devices were found", now)
        } else {
            match self.devices(job, next).await {
                Ok((devices, next)) => {
                    if let Some((job, pushes)) = job.found(devices, next, now) {
                        // On a conflict another node has found them.
                        self.jobs().commit(job.replace(at).and(pushes)).await?;
                    }
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::ArgumentInvalid => {
                    job.fail(error.message(), now)
                }
                Err(error) => return Err(error),
            }
        };
        if let Some(job) = failed {
            // On a conflict another node has found something: the supervisor looks again.
            self.jobs().commit(job.end(at, &self.active)).await?;
        }
        Ok(false)
    }

    async fn devices(
        &self,
        job: &Job,
        next: Option<&str>,
    ) -> Result<(Vec<Address>, Option<String>), HubError> {
        let limits = self.hub.limits();
        let query = Query::of_condition(Collection::Devices, &job.condition, limits)
            .map_err(|error| HubError::argument(error.to_string()))?;
        let id = Source::Field(Path::of(["deviceId"]));
        let select = Select::Items(vec![Column { source: id, alias: None }]);
        let query = Query { select, ..query };
        let page = self.hub.run_query(&query, Some(limits.job_find_max), next).await?;
        let QueryRows::Values(rows) = page.rows else { return Ok((Vec::new(), None)) };
        let device = |row: &serde_json::Map<String, serde_json::Value>| {
            Address::parse(row.get("deviceId")?.as_str()?).ok()
        };
        Ok((rows.iter().filter_map(device).collect(), page.continuation))
    }

    /// Takes so many devices, those that were not tried yet first.
    async fn take(&self, job: &Job, count: usize, now: Timestamp) -> Result<Vec<Item>, HubError> {
        let mut taken: Vec<Item> = Vec::with_capacity(count);
        let hide_until = now.after(self.tenure(job));
        for shelf in [Shelf::Todo, Shelf::Waiting] {
            let limit = u32::try_from(count - taken.len()).unwrap_or(u32::MAX);
            if limit == 0 {
                break;
            }
            let claim = Claim { scope: Scope::Queue(shelf.of(&self.id)), limit, hide_until };
            let lists = self.hub.core().store.claim(now, &[claim]).await?;
            taken.extend(lists.into_iter().flatten());
        }
        Ok(taken)
    }

    /// How long a device is taken at most: longer than its work takes.
    fn tenure(&self, job: &Job) -> Duration {
        let limits = self.hub.limits();
        let work = match &job.work {
            Work::UpdateTwin(_) => Duration::ZERO,
            Work::CallMethod(call) => call
                .response_timeout
                .max(limits.method_response_timeout_default)
                .saturating_add(call.connect_timeout),
        };
        // To look, to note that it is begun, to do it, to note its end.
        work.saturating_add(limits.call_timeout.saturating_mul(4))
    }
}

/// Those slots that are free now.
fn at_once(slots: &Arc<Semaphore>) -> Vec<OwnedSemaphorePermit> {
    std::iter::from_fn(|| slots.clone().try_acquire_owned().ok()).collect()
}
