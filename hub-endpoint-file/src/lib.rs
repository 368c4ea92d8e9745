//! Files: events that are written to a directory as lines of JSON.
//!
//! Each event is a line in the form of [`write_event`], in a file
//! that is named by a [`Pattern`]: by default `{iothub}/{partition}/{YYYY}/{MM}/{DD}/{HH}/{mm}`, as
//! IoT Hub names what it writes to storage. The time is that at which the hub accepted the event, so
//! an event goes to the same file however late it is written. A file has the events of one
//! partition in their order.
//!
//! A batch is appended and synced before it counts as kept. A batch that came twice, because the
//! hub ended before it could note the first time, stands there twice; the sequence numbers tell.
//! What a crash left of a line that was half written is cut off before the next is appended.
//!
//! ```no_run
//! use hub_endpoint_file::{FileEndpoint, Pattern};
//!
//! let endpoint = FileEndpoint::new("/var/lib/hub/events", Pattern::default());
//! ```

mod pattern;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hub_core::endpoint::{Endpoint, Failure, FailureKind, Outgoing, write_event};

pub use self::pattern::{Pattern, PatternError};

/// A directory that events are written to.
#[derive(Debug, Clone)]
pub struct FileEndpoint {
    directory: PathBuf,
    pattern: Pattern,
    /// Held while a batch is written. The hub gives up a batch that takes too long, but what was
    /// begun goes on; the next batch must not take its half-written line for that of a crash.
    writing: Arc<Mutex<()>>,
}

impl FileEndpoint {
    /// A directory, and how files in it are named. The directory is made when there is something to
    /// write.
    pub fn new(directory: impl Into<PathBuf>, pattern: Pattern) -> Self {
        Self { directory: directory.into(), pattern, writing: Arc::default() }
    }

    /// Writes a batch, file by file. How many events are kept, and why not all.
    fn write(&self, batch: &Outgoing) -> Result<(), (usize, io::Error)> {
        let mut kept = 0;
        while let Some(first) = batch.events.get(kept) {
            let name = self.pattern.name(&batch.hub, batch.partition, first.enqueued);
            let mut lines = Vec::new();
            let mut count = 0;
            for event in batch.events.iter().skip(kept) {
                if self.pattern.name(&batch.hub, batch.partition, event.enqueued) != name {
                    break;
                }
                write_event(&mut lines, event);
                lines.push(b'\n');
                count += 1;
            }
            append(&self.directory, &name, &lines).map_err(|error| (kept, error))?;
            kept += count;
        }
        Ok(())
    }
}

#[async_trait]
impl Endpoint for FileEndpoint {
    fn kind(&self) -> &'static str {
        "file"
    }

    async fn deliver(&self, batch: &Outgoing) -> Result<(), Failure> {
        let (this, batch) = (self.clone(), batch.clone());
        // Syncing a file blocks for as long as the disk takes.
        let written = tokio::task::spawn_blocking(move || {
            let _held = this.writing.lock().unwrap_or_else(PoisonError::into_inner);
            this.write(&batch)
        })
        .await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err((kept, error))) => Err(failure(&error).after(kept)),
            Err(error) => Err(Failure::new(FailureKind::Internal, error.to_string())),
        }
    }
}

fn failure(error: &io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => FailureKind::Unauthorized,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::Throttled,
        _ => FailureKind::Transient,
    };
    Failure::new(kind, format!("the file cannot be written: {error}"))
}

/// Appends lines to a file and syncs it; when it is new, also the directories that name it.
fn append(directory: &Path, name: &str, lines: &[u8]) -> io::Result<()> {
    let path = directory.join(name);
    let new = !path.exists();
    if new && let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
    mend(&mut file)?;
    file.write_all(lines)?;
    file.sync_data()?;
    if new {
        for parent in path.ancestors().skip(1) {
            File::open(parent)?.sync_all()?;
            if parent == directory {
                break;
            }
        }
    }
    Ok(())
}

/// Cuts off a last line without an end.
fn mend(file: &mut File) -> io::Result<()> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let whole = end;
    let mut block = [0_u8; 4096];
    while end > 0 {
        let size = end.min(4096);
        let from = end - size;
        file.seek(SeekFrom::Start(from))?;
        let block = block.get_mut(..usize::try_from(size).unwrap_or(0)).unwrap_or_default();
        file.read_exact(block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            end = from + u64::try_from(at).unwrap_or(0) + 1;
            break;
        }
        end = from;
    }
    if end < whole { file.set_len(end) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
