//! Jobs over the registry: asking for them, looking at them, cancelling them.

use std::sync::Arc;

use super::keeper::{Held, read};
use crate::blob::{BlobFolder, BlobStore, FolderAddress, FolderProof};
use crate::bulk::{DEVICES_FILE, ERRORS_FILE, JobFile, RegistryEnd, RegistryJob, RegistryWork};
use crate::engine::hub::Hub;
use crate::error::{ErrorKind, HubError};
use crate::id::JobId;
use crate::store::{Change, Kind, Outcome};

/// A job that writes the registry into a file of a folder of the hub's store of files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportJobSpec {
    /// The address of the folder: [`Hub::folder_address`] gives one.
    pub output: FolderAddress,
    /// The file's name; [`DEVICES_FILE`] if absent.
    pub blob: Option<String>,
    /// Whether symmetric keys are left out.
    pub exclude_keys: bool,
    /// What the address has to prove.
    pub proof: FolderProof,
}

impl ExportJobSpec {
    /// An export into this folder, with keys.
    pub fn new(output: impl Into<FolderAddress>) -> Self {
        let proof = FolderProof::Signature;
        Self { output: output.into(), blob: None, exclude_keys: false, proof }
    }
}

/// A job that carries out the lines of a file in a folder of the hub's store of files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportJobSpec {
    /// The address of the file's folder: [`Hub::folder_address`] gives one.
    pub input: FolderAddress,
    /// The file's name; [`DEVICES_FILE`] if absent.
    pub blob: Option<String>,
    /// The address of the folder in which the job says what was refused, in [`ERRORS_FILE`].
    pub output: FolderAddress,
    /// What the addresses have to prove.
    pub proof: FolderProof,
}

impl ImportJobSpec {
    /// An import from and a log to these folders.
    pub fn new(input: impl Into<FolderAddress>, output: impl Into<FolderAddress>) -> Self {
        let proof = FolderProof::Signature;
        Self { input: input.into(), blob: None, output: output.into(), proof }
    }
}

/// The jobs over the registry of a hub. Nodes that share a store share them, too.
#[derive(Debug, Clone, Copy)]
pub struct RegistryJobs<'a> {
    hub: &'a Hub,
}

impl Hub {
    /// The jobs over the registry.
    #[must_use]
    pub fn registry_jobs(&self) -> RegistryJobs<'_> {
        RegistryJobs { hub: self }
    }
}

/// How many documents of jobs are read at once.
const SCAN: std::num::NonZeroU32 = match std::num::NonZeroU32::new(100) {
    Some(count) => count,
    None => std::num::NonZeroU32::MIN,
};

impl RegistryJobs<'_> {
    /// Asks for an export. It is durable when this returns, and goes on whatever becomes of this node.
    ///
    /// # Errors
    /// `NoBlobStore`; `BlobFolderInvalid` for an address that is none of the store's folders, or does
    /// not prove what it has to; `ArgumentInvalid` for a file's name that is none; `RegistryJobActive`
    /// while another job over the registry goes on; `BlobStoreRefused`, `Unavailable`.
    pub async fn export(&self, spec: ExportJobSpec) -> Result<RegistryJob, HubError> {
        let blobs = self.hub.blob_store()?;
        let output = self.file(blobs, &spec.output, spec.proof, spec.blob.as_deref()).await?;
        let exclude_keys = spec.exclude_keys;
        self.create(RegistryWork::Export { output, exclude_keys }, spec.proof).await
    }

    /// Asks for an import, else as [`RegistryJobs::export`].
    ///
    /// # Errors
    /// As [`RegistryJobs::export`]; `BlobFolderInvalid` also when the file is not there.
    pub async fn import(&self, spec: ImportJobSpec) -> Result<RegistryJob, HubError> {
        let blobs = self.hub.blob_store()?;
        let input = self.file(blobs, &spec.input, spec.proof, spec.blob.as_deref()).await?;
        let log = self.file(blobs, &spec.output, spec.proof, Some(ERRORS_FILE)).await?;
        if input.blob == log.blob {
            return Err(HubError::argument("an import cannot read the log that it writes"));
        }
        if blobs.stat(&input.blob).await.map_err(|error| HubError::from(&error))?.is_none() {
            let message = format!("there is no file {} to import", input.blob);
            return Err(HubError::new(ErrorKind::BlobFolderInvalid, message));
        }
        self.create(RegistryWork::Import { input, log }, spec.proof).await
    }

    async fn file(
        &self,
        blobs: &Arc<dyn BlobStore>,
        address: &FolderAddress,
        proof: FolderProof,
        name: Option<&str>,
    ) -> Result<JobFile, HubError> {
        let found = blobs.folder(address.as_str(), proof, self.hub.now()).await;
        let folder: Option<BlobFolder> = found.map_err(|error| HubError::from(&error))?;
        let folder = folder.ok_or_else(|| {
            let message = "the address is none of the hub's own folders, or has no right to it";
            HubError::new(ErrorKind::BlobFolderInvalid, message)
        })?;
        let name = name.unwrap_or(DEVICES_FILE).to_owned();
        let blob = folder.blob(&name).map_err(|error| HubError::argument(error.to_string()))?;
        let folder = address.without_right().to_owned();
        Ok(JobFile { folder, name, blob })
    }

    async fn create(
        &self,
        work: RegistryWork,
        proof: FolderProof,
    ) -> Result<RegistryJob, HubError> {
        let job = RegistryJob::new(new_id()?, work, proof, self.hub.now());
        match self.commit(job.create()).await? {
            Outcome::Committed(_) => {
                self.hub.core().jobs_changed.notify_waiters();
                Ok(job)
            }
            _ => Err(HubError::new(
                ErrorKind::RegistryJobActive,
                "another import or export goes on: there is one at a time",
            )),
        }
    }

    /// A job.
    ///
    /// # Errors
    /// `JobNotFound`; `Unavailable` when the store cannot be reached.
    pub async fn get(&self, id: &JobId) -> Result<RegistryJob, HubError> {
        let found = read(self.hub, id).await?;
        found.map(|held| held.job).ok_or_else(|| not_found(id))
    }

    /// All jobs over the registry that are kept, those asked for last first.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn list(&self) -> Result<Vec<RegistryJob>, HubError> {
        let mut jobs: Vec<RegistryJob> =
            self.all().await?.into_iter().map(|(_, job)| job).collect();
        jobs.sort_by(|one, other| (other.created, &one.id).cmp(&(one.created, &other.id)));
        Ok(jobs)
    }

    /// All of them with their documents. Bounded by `Limits::jobs_kept_max`, but for those that were
    /// asked for since they were last looked at.
    pub(super) async fn all(
        &self,
    ) -> Result<Vec<(crate::store::DocumentRef, RegistryJob)>, HubError> {
        let store = &self.hub.core().store;
        let mut after = RegistryJob::first_key().to_owned();
        let mut jobs = Vec::new();
        loop {
            let found = store.scan(Kind::Job, Some(&after), SCAN).await?;
            let Some(last) = found.last() else { return Ok(jobs) };
            after = last.at.key().id.to_string();
            for document in found {
                // Behind those over the registry come those over devices.
                if RegistryJob::id_of(document.at.key()).is_none() {
                    return Ok(jobs);
                }
                jobs.extend(RegistryJob::decode(&document.body).map(|job| (document.at, job)));
            }
        }
    }

    /// Cancels a job: no further line is begun, and no file is written. What was done stays. A job that
    /// is over stays as it is.
    ///
    /// # Errors
    /// `JobNotFound`; `Busy`; `Unavailable` when the store cannot be reached.
    pub async fn cancel(&self, id: &JobId) -> Result<RegistryJob, HubError> {
        for _ in 0..=self.hub.limits().conflict_rounds_max {
            let Held { at, slot, job } = read(self.hub, id).await?.ok_or_else(|| not_found(id))?;
            let Some(job) = job.over(RegistryEnd::Cancelled, self.hub.now()) else {
                return Ok(job);
            };
            let Some(slot) = slot else { continue };
            if let Outcome::Committed(_) = self.commit(job.end(&at, &slot)).await? {
                self.hub.core().jobs_changed.notify_waiters();
                return Ok(job);
            }
        }
        Err(HubError::new(ErrorKind::Busy, "the job has changed too often"))
    }

    pub(super) async fn commit(&self, change: Change) -> Result<Outcome, HubError> {
        let shard = self.hub.inner.shards.first();
        let shard = shard.ok_or_else(|| HubError::new(ErrorKind::Internal, "there is no shard"))?;
        shard.commit(change, self.hub.limits().call_timeout).await
    }
}

fn not_found(id: &JobId) -> HubError {
    HubError::new(ErrorKind::JobNotFound, format!("there is no import or export {id}"))
}

/// An id that nobody had: random, in the form that the service's have.
fn new_id() -> Result<JobId, HubError> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)
        .map_err(|_| HubError::new(ErrorKind::Internal, "no random numbers"))?;
    let number = u128::from_be_bytes(random);
    let digits = format!("{number:032x}");
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    let text = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
    JobId::new(&text).map_err(|_| HubError::new(ErrorKind::Internal, "no id"))
}
