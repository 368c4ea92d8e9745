//! A job over the registry, and what may become of it.

use bytes::Bytes;

use super::mark::JobQueue;
use crate::blob::{BlobName, FolderProof};
use crate::id::{JobId, NodeId};
use crate::limits::Limits;
use crate::store::{Change, DocumentRef, Key, Kind};
use crate::time::Timestamp;

/// A job over the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryJob {
    /// Its id, which the hub makes.
    pub id: JobId,
    /// What it does.
    pub work: RegistryWork,
    /// What the addresses of its folders had to prove.
    pub proof: FolderProof,
    /// When it was asked for.
    pub created: Timestamp,
    /// How far it is.
    pub phase: RegistryPhase,
}

/// A file in a folder, and the folder's URL without any right to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFile {
    /// The folder's URL, as whoever asked for the job wrote it, without its query.
    pub folder: String,
    /// The file's name in the folder.
    pub name: String,
    /// The file.
    pub blob: BlobName,
}

/// What a job over the registry does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryWork {
    /// It writes all identities with their twins into a file.
    Export {
        /// The file.
        output: JobFile,
        /// Without symmetric keys.
        exclude_keys: bool,
    },
    /// It carries out what a file says.
    Import {
        /// The file.
        input: JobFile,
        /// Where it says which lines were refused.
        log: JobFile,
    },
}

/// How far a job over the registry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryPhase {
    /// No node has taken it yet.
    Enqueued,
    /// It goes on.
    Running {
        /// Since when.
        started: Timestamp,
        /// Who works on it. None once that node has let go of it.
        tenure: Option<Tenure>,
        /// How far it came.
        progress: Progress,
    },
    /// It is over.
    Ended {
        /// When it started, if it did.
        started: Option<Timestamp>,
        /// Since when.
        ended: Timestamp,
        /// How.
        end: RegistryEnd,
        /// How far it came.
        progress: Progress,
    },
}

/// Which node works on a job, and until when no other takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenure {
    /// The node.
    pub node: NodeId,
    /// Until when, unless it is renewed.
    pub until: Timestamp,
}

/// How far a job over the registry came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Of 100.
    pub percent: u8,
    /// Identities that were written to the file, or lines that were done.
    pub succeeded: u64,
    /// Lines that were refused.
    pub failed: u64,
    /// Where an import goes on.
    pub place: Option<ImportPlace>,
}

/// Where an import goes on, and in which version of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportPlace {
    /// Where the next line begins, in bytes.
    pub offset: u64,
    /// How many lines come before.
    pub lines: u64,
    /// How large the file is.
    pub size: u64,
    /// When the file was last written.
    pub modified: Timestamp,
}

/// How a job over the registry ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryEnd {
    /// All is written, or every line was done or refused.
    Completed,
    /// It could not be done, and why.
    Failed(String),
    /// Somebody cancelled it.
    Cancelled,
}

/// The document that names the job that goes on, if there is one. No job has an empty id, and none has
/// a slash in it.
const SLOT: &str = "registry/";

impl RegistryJob {
    /// A job that no node has taken.
    #[must_use]
    pub fn new(id: JobId, work: RegistryWork, proof: FolderProof, now: Timestamp) -> Self {
        Self { id, work, proof, created: now, phase: RegistryPhase::Enqueued }
    }

    /// The key of a job's document.
    #[must_use]
    pub fn key(id: &JobId) -> Key {
        Key::new(Kind::Job, &format!("{SLOT}{id}"))
    }

    /// The id of the job that has a document of this name, if it is one over the registry.
    #[must_use]
    pub fn id_of(key: &Key) -> Option<JobId> {
        JobId::new(key.id.strip_prefix(SLOT)?).ok()
    }

    /// The key of the document that names the job that goes on.
    #[must_use]
    pub fn slot() -> Key {
        Key::new(Kind::Job, SLOT)
    }

    /// The name of that document, which those of all jobs over the registry follow.
    #[must_use]
    pub const fn first_key() -> &'static str {
        SLOT
    }

    /// Writes a new job. Refused while another one goes on.
    #[must_use]
    pub fn create(&self) -> Change {
        let id = Bytes::copy_from_slice(self.id.as_str().as_bytes());
        Change::new().create(Self::key(&self.id), self.encode()).create(Self::slot(), id)
    }

    /// Writes how far a job came.
    #[must_use]
    pub fn replace(&self, at: &DocumentRef) -> Change {
        Change::new().replace(at, self.encode())
    }

    /// Writes the end of a job, and makes room for the next one.
    #[must_use]
    pub fn end(&self, at: &DocumentRef, slot: &DocumentRef) -> Change {
        let change = self.replace(at).remove(slot);
        JobQueue::ALL.into_iter().fold(change, |change, queue| change.clear(queue.of(&self.id)))
    }

    /// Which node works on it.
    #[must_use]
    pub fn tenure(&self) -> Option<&Tenure> {
        match &self.phase {
            RegistryPhase::Running { tenure, .. } => tenure.as_ref(),
            _ => None,
        }
    }

    /// Until when another node works on it; `None` if this one may.
    #[must_use]
    pub fn taken_until(&self, node: &NodeId, now: Timestamp) -> Option<Timestamp> {
        let tenure = self.tenure()?;
        (tenure.node != *node && tenure.until > now).then_some(tenure.until)
    }

    /// The job in the hands of a node until then. `None` if it is over.
    #[must_use]
    pub fn held_by(&self, node: &NodeId, until: Timestamp, now: Timestamp) -> Option<Self> {
        let tenure = Some(Tenure { node: node.clone(), until });
        self.running(now, tenure, self.progress().clone())
    }

    /// The job further on, in the same hands until then. `None` if it is over.
    #[must_use]
    pub fn advanced(&self, progress: Progress, until: Timestamp, now: Timestamp) -> Option<Self> {
        let RegistryPhase::Running { tenure, .. } = &self.phase else { return None };
        let tenure = tenure.clone().map(|tenure| Tenure { until, ..tenure });
        self.running(now, tenure, progress)
    }

    /// The job in nobody's hands. `None` if it is over.
    #[must_use]
    pub fn let_go(&self, now: Timestamp) -> Option<Self> {
        self.running(now, None, self.progress().clone())
    }

    fn running(&self, now: Timestamp, tenure: Option<Tenure>, progress: Progress) -> Option<Self> {
        if self.ended().is_some() {
            return None;
        }
        let started = self.started().unwrap_or(now);
        Some(Self { phase: RegistryPhase::Running { started, tenure, progress }, ..self.clone() })
    }

    /// The job at its end. `None` if it is over.
    #[must_use]
    pub fn over(&self, end: RegistryEnd, now: Timestamp) -> Option<Self> {
        if self.ended().is_some() {
            return None;
        }
        let mut progress = self.progress().clone();
        if end == RegistryEnd::Completed {
            progress.percent = 100;
        }
        let phase = RegistryPhase::Ended { started: self.started(), ended: now, end, progress };
        Some(Self { phase, ..self.clone() })
    }

    /// How far it came.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        const NONE: &Progress = &Progress { percent: 0, succeeded: 0, failed: 0, place: None };
        match &self.phase {
            RegistryPhase::Enqueued => NONE,
            RegistryPhase::Running { progress, .. } | RegistryPhase::Ended { progress, .. } => {
                progress
            }
        }
    }

    /// When it started, if it did.
    #[must_use]
    pub fn started(&self) -> Option<Timestamp> {
        match &self.phase {
            RegistryPhase::Enqueued => None,
            RegistryPhase::Running { started, .. } => Some(*started),
            RegistryPhase::Ended { started, .. } => *started,
        }
    }

    /// When it ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<Timestamp> {
        match &self.phase {
            RegistryPhase::Ended { ended, .. } => Some(*ended),
            _ => None,
        }
    }

    /// Why it failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.phase {
            RegistryPhase::Ended { end: RegistryEnd::Failed(why), .. } => Some(why),
            _ => None,
        }
    }

    /// The word for its state, as back ends know it.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match &self.phase {
            RegistryPhase::Enqueued => "enqueued",
            RegistryPhase::Running { .. } => "running",
            RegistryPhase::Ended { end: RegistryEnd::Completed, .. } => "completed",
            RegistryPhase::Ended { end: RegistryEnd::Failed(_), .. } => "failed",
            RegistryPhase::Ended { end: RegistryEnd::Cancelled, .. } => "cancelled",
        }
    }

    /// Whether it is to be forgotten.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp, limits: &Limits) -> bool {
        self.ended().is_some_and(|ended| ended.after(limits.jobs_retention) <= now)
    }
}
