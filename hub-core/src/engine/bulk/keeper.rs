//! Finds the job over the registry that goes on, and forgets those that have long ended.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::runner::Runner;
use crate::bulk::RegistryJob;
use crate::engine::hub::Hub;
use crate::engine::shutdown::Shutdown;
use crate::error::{ErrorKind, HubError};
use crate::id::JobId;
use crate::store::{Ask, DocumentRef, Outcome, Record};
use crate::time::Timestamp;

/// How long without a sign until a node looks by itself: jobs asked for at other nodes give no sign
/// here.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often jobs that have long ended are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Starts working on jobs over the registry.
pub(in crate::engine) fn start(hub: &Hub) -> JoinHandle<()> {
    let keeper = Keeper { hub: hub.without_owner(), stop: hub.shutdown_signal(), tidied: None };
    tokio::spawn(keeper.run())
}

/// A job as it was read.
pub(super) struct Held {
    pub(super) at: DocumentRef,
    /// The document that names the job that goes on, if it names this one.
    pub(super) slot: Option<DocumentRef>,
    pub(super) job: RegistryJob,
}

/// A job as it stands.
pub(super) async fn read(hub: &Hub, id: &JobId) -> Result<Option<Held>, HubError> {
    let asks = [RegistryJob::key(id), RegistryJob::slot()].map(Ask::Document);
    let mut found = hub.core().store.read(&asks).await?.into_iter();
    let Some(Record::Document(document)) = found.next().flatten() else { return Ok(None) };
    let job = RegistryJob::decode(&document.body)
        .ok_or_else(|| HubError::new(ErrorKind::Internal, "a stored job cannot be read"))?;
    let slot = match found.next().flatten() {
        Some(Record::Document(slot)) if slot.body == id.as_str().as_bytes() => Some(slot.at),
        _ => None,
    };
    Ok(Some(Held { at: document.at, slot, job }))
}

struct Keeper {
    hub: Hub,
    stop: Shutdown,
    /// When jobs that have long ended were looked for.
    tidied: Option<Timestamp>,
}

impl Keeper {
    async fn run(mut self) {
        let inner = self.hub.inner.clone();
        while !self.stop.is_requested() {
            let changed = inner.core.jobs_changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that a job asked for in between is not missed.
            changed.as_mut().enable();
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "jobs over the registry have to wait");
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.stop.requested() => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), HubError> {
        if let Some(id) = self.active().await? {
            self.work(&id).await?;
        }
        let now = self.hub.now();
        if self.tidied.is_none_or(|last| now.since(last) >= TIDY_EVERY) {
            self.tidied = Some(now);
            self.tidy(now).await?;
        }
        Ok(())
    }

    /// The job that goes on, if there is one.
    async fn active(&self) -> Result<Option<JobId>, HubError> {
        let asks = [Ask::Document(RegistryJob::slot())];
        let found = self.hub.core().store.read(&asks).await?.into_iter().next().flatten();
        let Some(Record::Document(slot)) = found else { return Ok(None) };
        Ok(std::str::from_utf8(&slot.body).ok().and_then(|id| JobId::new(id).ok()))
    }

    /// Takes the job, unless another node has it, and works on it.
    async fn work(&self, id: &JobId) -> Result<(), HubError> {
        // Another node may know the files.
        let Some(blobs) = self.hub.blobs().cloned() else { return Ok(()) };
        let Some(Held { at, slot: Some(slot), job }) = read(&self.hub, id).await? else {
            return Ok(());
        };
        let (now, node) = (self.hub.now(), self.hub.node());
        if job.taken_until(node, now).is_some() {
            return Ok(());
        }
        let until = now.after(self.hub.limits().registry_job_tenure);
        let Some(job) = job.held_by(node, until, now) else { return Ok(()) };
        let outcome = self.hub.registry_jobs().commit(job.replace(&at)).await?;
        // On a conflict another node has taken it, or somebody has cancelled it.
        let Outcome::Committed(issued) = outcome else { return Ok(()) };
        let at = DocumentRef::new(at.key().clone(), issued.version);
        let hub = self.hub.without_owner();
        Runner { hub, blobs, stop: self.stop.clone(), at, slot, job }.run().await;
        Ok(())
    }

    /// Forgets jobs that are not kept any longer, and the oldest of too many.
    async fn tidy(&self, now: Timestamp) -> Result<(), HubError> {
        let (jobs, limits) = (self.hub.registry_jobs(), self.hub.limits());
        let all = jobs.all().await?;
        let kept: BTreeSet<(Timestamp, JobId)> = all
            .iter()
            .filter(|(_, job)| !job.is_expired(now, limits))
            .filter_map(|(_, job)| Some((job.ended()?, job.id.clone())))
            .collect();
        let surplus = kept.len().saturating_sub(limits.jobs_kept_max);
        let surplus: BTreeSet<JobId> = kept.into_iter().take(surplus).map(|(_, id)| id).collect();
        for (at, job) in all {
            if job.is_expired(now, limits) || surplus.contains(&job.id) {
                // On a conflict another node has forgotten it.
                jobs.commit(crate::store::Change::new().remove(&at)).await?;
            }
        }
        Ok(())
    }
}
