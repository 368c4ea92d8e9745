//! Finds jobs that go on, and forgets those that have long ended.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};

use super::runner::Runner;
use super::{Jobs, SCAN};
use crate::engine::hub::Hub;
use crate::engine::shutdown::Shutdown;
use crate::error::HubError;
use crate::id::JobId;
use crate::job::Job;
use crate::store::{DocumentRef, Kind};
use crate::time::Timestamp;

/// How long without a sign until a node looks by itself: jobs asked for at other nodes give no sign
/// here.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often jobs that have long ended are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Starts working on jobs.
pub(in crate::engine) fn start(hub: &Hub) -> JoinHandle<()> {
    let supervisor = Supervisor {
        hub: hub.without_owner(),
        stop: hub.shutdown_signal(),
        tidied: None,
        runs: JoinSet::new(),
        known: BTreeSet::new(),
    };
    tokio::spawn(supervisor.run())
}

struct Supervisor {
    hub: Hub,
    stop: Shutdown,
    /// When jobs that have long ended were looked for.
    tidied: Option<Timestamp>,
    /// One for each job that goes on. Dropped, they stop.
    runs: JoinSet<JobId>,
    known: BTreeSet<JobId>,
}

impl Supervisor {
    async fn run(mut self) {
        let inner = self.hub.inner.clone();
        loop {
            let changed = inner.core.jobs_changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that a job asked for in between is not missed.
            changed.as_mut().enable();
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "jobs could not be looked for");
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Some(ended) = self.runs.join_next() => self.forget_run(ended),
                () = self.stop.requested() => break,
            }
        }
        // What is under way is noted before the end, so that it is not done again.
        while self.runs.join_next().await.is_some() {}
    }

    fn forget_run(&mut self, ended: Result<JobId, tokio::task::JoinError>) {
        match ended {
            Ok(id) => {
                self.known.remove(&id);
            }
            // A panic: which job's is not told, so all are looked at again. Two runs of a job do no
            // harm.
            Err(_) => self.known.clear(),
        }
    }

    async fn look(&mut self) -> Result<(), HubError> {
        for (id, active) in self.hub.jobs().active().await? {
            if self.known.insert(id.clone()) {
                self.runs.spawn(Runner::new(&self.hub, id, active).run());
            }
        }
        let now = self.hub.now();
        if self.tidied.is_none_or(|last| now.since(last) >= TIDY_EVERY) {
            self.tidied = Some(now);
            self.tidy(now).await?;
        }
        Ok(())
    }

    /// Forgets jobs that are not kept any longer, and the oldest of too many.
    async fn tidy(&self, now: Timestamp) -> Result<(), HubError> {
        let (jobs, limits): (Jobs<'_>, _) = (self.hub.jobs(), self.hub.limits());
        let mut kept: BTreeSet<(Timestamp, JobId)> = BTreeSet::new();
        let mut doomed: Vec<(JobId, DocumentRef)> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let documents = self.hub.core().store.scan(Kind::Job, after.as_deref(), SCAN).await?;
            let Some(last) = documents.last() else { break };
            after = Some(last.at.key().id.to_string());
            for document in documents {
                let Some(job) = Job::decode(&document.body) else { continue };
                let Some(ended) = job.ended() else { continue };
                if job.is_expired(now, limits) {
                    doomed.push((job.id, document.at));
                } else {
                    kept.insert((ended, job.id));
                }
            }
        }
        let surplus = kept.len().saturating_sub(limits.jobs_kept_max);
        for (_, id) in kept.into_iter().take(surplus) {
            if let Some(read) = jobs.read(&id).await? {
                doomed.push((id, read.at));
            }
        }
        for (id, at) in doomed {
            // On a conflict another node has forgotten it.
            jobs.commit(Job::forget(&id, &at)).await?;
        }
        Ok(())
    }
}
