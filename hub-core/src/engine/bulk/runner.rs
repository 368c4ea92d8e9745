//! A job over the registry in the hands of this node.

mod export;
mod import;
mod source;

use std::sync::Arc;
use std::time::Duration;

use crate::blob::{BlobError, BlobErrorKind, BlobStore};
use crate::bulk::{Progress, RegistryEnd, RegistryJob, RegistryWork};
use crate::engine::hub::Hub;
use crate::engine::shutdown::Shutdown;
use crate::error::{ErrorKind, HubError};
use crate::store::{Change, DocumentRef, Outcome};

/// How long after something that passes it is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How often the store of files may fail in a row.
const BLOB_FAILURES_MAX: u32 = 20;

/// Why a node does not go on with a job.
#[derive(Debug)]
pub(super) enum Off {
    /// The hub stops.
    Stopping,
    /// Somebody else has it, or it was cancelled.
    Lost,
    /// It cannot be done, and why.
    Failed(String),
    /// The hub's store does not answer.
    Store(HubError),
    /// The store of files does not answer.
    Files(String),
}

impl From<HubError> for Off {
    fn from(error: HubError) -> Self {
        match error.kind() {
            ErrorKind::Internal => Self::Failed(error.message().to_owned()),
            _ => Self::Store(error),
        }
    }
}

impl From<BlobError> for Off {
    fn from(error: BlobError) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%error, source, "the store of files failed");
        match error.kind() {
            BlobErrorKind::Unavailable => Self::Files(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Whether an error says nothing about what was asked, so that asking again may go well.
pub(super) fn passes(error: &HubError) -> bool {
    matches!(error.kind(), ErrorKind::Busy | ErrorKind::Throttled | ErrorKind::Unavailable)
}

/// Works on one job.
pub(super) struct Runner {
    pub(super) hub: Hub,
    pub(super) blobs: Arc<dyn BlobStore>,
    pub(super) stop: Shutdown,
    /// The write of the job's document that this node made last: the guard of all that it does.
    pub(super) at: DocumentRef,
    pub(super) slot: DocumentRef,
    pub(super) job: RegistryJob,
}

impl Runner {
    /// Works until the job is over, or this node has it no longer.
    pub(super) async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let work = self.job.work.clone();
            let off = match &work {
                RegistryWork::Export { output, exclude_keys } => {
                    self.export(output, *exclude_keys).await
                }
                RegistryWork::Import { input, log } => self.import(input, log).await,
            };
            let Err(off) = off else { return };
            let why = match off {
                Off::Lost => return,
                Off::Stopping => return self.let_go().await,
                Off::Failed(why) => why,
                Off::Store(error) => {
                    tracing::debug!(job = %self.job.id, %error, "the job has to wait");
                    self.pause().await;
                    continue;
                }
                Off::Files(why) => {
                    failures += 1;
                    if failures < BLOB_FAILURES_MAX {
                        self.pause().await;
                        continue;
                    }
                    why
                }
            };
            match self.end(RegistryEnd::Failed(why)).await {
                Err(Off::Stopping) => return self.let_go().await,
                Ok(()) | Err(Off::Lost) => return,
                Err(_) => self.pause().await,
            }
        }
    }

    async fn pause(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = self.stop.requested() => {}
        }
    }

    /// Between two pages or batches: lets others have their turn, also where the store answers at once,
    /// and looks whether the hub stops.
    async fn turn(&self) -> Result<(), Off> {
        tokio::task::yield_now().await;
        if self.stop.is_requested() { Err(Off::Stopping) } else { Ok(()) }
    }

    /// Whether half of the time is over for which this node keeps the job without a sign.
    fn is_half_over(&self) -> bool {
        let half = self.hub.limits().registry_job_tenure / 2;
        self.job.tenure().is_none_or(|tenure| tenure.until <= self.hub.now().after(half))
    }

    /// Notes how far the job came, and keeps it. `also` happens with it or not at all.
    async fn advance(&mut self, progress: Progress, also: Change) -> Result<(), Off> {
        let now = self.hub.now();
        let until = now.after(self.hub.limits().registry_job_tenure);
        let job = self.job.advanced(progress, until, now).ok_or(Off::Lost)?;
        let change = job.replace(&self.at).and(also);
        let outcome = self.hub.registry_jobs().commit(change).await?;
        let Outcome::Committed(issued) = outcome else { return Err(Off::Lost) };
        self.at = DocumentRef::new(self.at.key().clone(), issued.version);
        self.job = job;
        Ok(())
    }

    /// Ends the job.
    async fn end(&mut self, end: RegistryEnd) -> Result<(), Off> {
        let job = self.job.over(end, self.hub.now()).ok_or(Off::Lost)?;
        let outcome = self.hub.registry_jobs().commit(job.end(&self.at, &self.slot)).await?;
        match outcome {
            Outcome::Committed(_) => Ok(()),
            _ => Err(Off::Lost),
        }
    }

    /// Another node need not wait for the end of the tenure.
    async fn let_go(self) {
        let Some(job) = self.job.let_go(self.hub.now()) else { return };
        // In vain only if it is lost already, or the store with it.
        let _ = self.hub.registry_jobs().commit(job.replace(&self.at)).await;
    }
}
