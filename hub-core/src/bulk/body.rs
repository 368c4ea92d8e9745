//! Jobs over the registry as the store keeps them: JSON objects with a format number. Times are
//! milliseconds.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::job::{
    ImportPlace, JobFile, Progress, RegistryEnd, RegistryJob, RegistryPhase, RegistryWork, Tenure,
};
use crate::blob::{BlobName, FolderProof};
use crate::id::{JobId, NodeId};
use crate::time::Timestamp;

const FORMAT: u8 = 1;

/// No job over devices has a member `registry`, so neither is ever taken for the other.
#[derive(Serialize, Deserialize)]
struct Body {
    v: u8,
    registry: StoredWork,
    id: String,
    own_rights: bool,
    created: u64,
    phase: StoredPhase,
    percent: u8,
    succeeded: u64,
    failed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<StoredPlace>,
}

#[derive(Serialize, Deserialize)]
struct StoredFile {
    folder: String,
    name: String,
    blob: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredWork {
    Export { output: StoredFile, exclude_keys: bool },
    Import { input: StoredFile, log: StoredFile },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase")]
enum StoredPhase {
    Enqueued,
    Running { started: u64, node: Option<String>, until: u64 },
    Completed { started: Option<u64>, ended: u64 },
    Failed { started: Option<u64>, ended: u64, why: String },
    Cancelled { started: Option<u64>, ended: u64 },
}

#[derive(Serialize, Deserialize)]
struct StoredPlace {
    offset: u64,
    lines: u64,
    size: u64,
    modified: u64,
}

impl StoredFile {
    fn of(file: &JobFile) -> Self {
        let (folder, name) = (file.folder.clone(), file.name.clone());
        Self { folder, name, blob: file.blob.as_str().to_owned() }
    }

    fn file(self) -> Option<JobFile> {
        let blob = BlobName::parse(&self.blob).ok()?;
        Some(JobFile { folder: self.folder, name: self.name, blob })
    }
}

impl RegistryJob {
    /// The body for the store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let registry = match &self.work {
            RegistryWork::Export { output, exclude_keys } => {
                StoredWork::Export { output: StoredFile::of(output), exclude_keys: *exclude_keys }
            }
            RegistryWork::Import { input, log } => {
                StoredWork::Import { input: StoredFile::of(input), log: StoredFile::of(log) }
            }
        };
        let phase = match &self.phase {
            RegistryPhase::Enqueued => StoredPhase::Enqueued,
            RegistryPhase::Running { started, tenure, .. } => StoredPhase::Running {
                started: started.as_millis(),
                node: tenure.as_ref().map(|tenure| tenure.node.as_str().to_owned()),
                until: tenure.as_ref().map_or(0, |tenure| tenure.until.as_millis()),
            },
            RegistryPhase::Ended { started, ended, end, .. } => {
                let (started, ended) = (started.map(Timestamp::as_millis), ended.as_millis());
                match end {
                    RegistryEnd::Completed => StoredPhase::Completed { started, ended },
                    RegistryEnd::Failed(why) => {
                        StoredPhase::Failed { started, ended, why: why.clone() }
                    }
                    RegistryEnd::Cancelled => StoredPhase::Cancelled { started, ended },
                }
            }
        };
        let Progress { percent, succeeded, failed, place } = self.progress();
        let body = Body {
            v: FORMAT,
            registry,
            id: self.id.as_str().to_owned(),
            own_rights: self.proof == FolderProof::Hub,
            created: self.created.as_millis(),
            phase,
            percent: *percent,
            succeeded: *succeeded,
            failed: *failed,
            place: place.as_ref().map(|place| StoredPlace {
                offset: place.offset,
                lines: place.lines,
                size: place.size,
                modified: place.modified.as_millis(),
            }),
        };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads a body from the store. `None` if it is none of this format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        let time = Timestamp::from_millis;
        let work = match body.registry {
            StoredWork::Export { output, exclude_keys } => {
                RegistryWork::Export { output: output.file()?, exclude_keys }
            }
            StoredWork::Import { input, log } => {
                RegistryWork::Import { input: input.file()?, log: log.file()? }
            }
        };
        let place = body.place.map(|place| ImportPlace {
            offset: place.offset,
            lines: place.lines,
            size: place.size,
            modified: time(place.modified),
        });
        let progress = Progress {
            percent: body.percent,
            succeeded: body.succeeded,
            failed: body.failed,
            place,
        };
        let ended = |started: Option<u64>, ended, end, progress| RegistryPhase::Ended {
            started: started.map(time),
            ended: time(ended),
            end,
            progress,
        };
        let phase = match body.phase {
            StoredPhase::Enqueued => RegistryPhase::Enqueued,
            StoredPhase::Running { started, node, until } => {
                let node = node.and_then(|node| NodeId::new(&node).ok());
                let tenure = node.map(|node| Tenure { node, until: time(until) });
                RegistryPhase::Running { started: time(started), tenure, progress }
            }
            StoredPhase::Completed { started, ended: at } => {
                ended(started, at, RegistryEnd::Completed, progress)
            }
            StoredPhase::Failed { started, ended: at, why } => {
                ended(started, at, RegistryEnd::Failed(why), progress)
            }
            StoredPhase::Cancelled { started, ended: at } => {
                ended(started, at, RegistryEnd::Cancelled, progress)
            }
        };
        Some(Self {
            id: JobId::new(&body.id).ok()?,
            work,
            proof: if body.own_rights { FolderProof::Hub } else { FolderProof::Signature },
            created: time(body.created),
            phase,
        })
    }
}
