//! What is where in the directory, and how a file gets to its place whole. All of it blocks.
//!
//! ```text
//! key                        the account's key
//! files/{device}/{name…}     the blobs, by their names
//! properties/{hash}          what is known of a blob besides its bytes
//! staging/new/{random}       what is being written
//! staging/blocks/{hash}/{id} blocks that no list has committed
//! ```
//!
//! `{hash}` is the SHA-256 of the blob's name. A blob's bytes come to their place by a rename, and its
//! properties after them; they name the version of the bytes that they belong to, so that those of
//! an older or newer version are never taken for it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use hub_core::blob::BlobName;
use sha2::{Digest as _, Sha256};

use crate::properties::Properties;

/// Names one version of a blob: when its bytes were last touched, in nanoseconds since 1970. No two
/// versions that this process writes have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) u64);

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"0x{:X}\"", self.0)
    }
}

/// A blob as it stands on disk.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) file: File,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
    pub(crate) tag: Tag,
}

/// Why a blob was not put into its place.
#[derive(Debug)]
pub(crate) enum NotPut<E> {
    /// The caller's condition does not hold.
    Condition(E),
    /// The name is one of a folder of other blobs, or leads through another blob.
    Occupied,
    /// The disk failed.
    Io(io::Error),
}

impl<E> From<io::Error> for NotPut<E> {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Self::Occupied,
            _ => Self::Io(error),
        }
    }
}

/// How many locks the names of blobs share.
const LOCKS: usize = 64;

/// How often a read that met a change begins anew.
const ATTEMPTS: usize = 5;

/// How many blobs' staged blocks are counted in memory. Those of others are counted anew.
const COUNTED_MAX: usize = 10_000;

/// What is staged for a blob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Staged {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
}

/// How much may be staged for a blob.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StageLimits {
    pub(crate) blocks_max: u64,
    pub(crate) bytes_max: u64,
}

/// Why a block was not staged.
#[derive(Debug)]
pub(crate) enum NotStaged {
    /// As many blocks are staged as may be.
    Blocks,
    /// With it, more bytes would be staged than may be.
    Bytes,
    /// The disk failed.
    Io(io::Error),
}

impl From<io::Error> for NotStaged {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Staged {
    /// What is staged with a block of this size, in the place of one of that size if there is one.
    fn with(self, size: u64, before: Option<u64>, limits: StageLimits) -> Result<Self, NotStaged> {
        let blocks = self.blocks + u64::from(before.is_none());
        let bytes = self.bytes.saturating_sub(before.unwrap_or(0)).saturating_add(size);
        match () {
            () if blocks > limits.blocks_max => Err(NotStaged::Blocks),
            () if bytes > limits.bytes_max => Err(NotStaged::Bytes),
            () => Ok(Self { blocks, bytes }),
        }
    }
}

pub(crate) struct Disk {
    root: PathBuf,
    /// Held while a blob of their share is put into its place or removed.
    locks: Vec<Mutex<()>>,
    staged: Mutex<HashMap<String, Staged>>,
    last_tag: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a blob's folder of blocks, and of its properties.
fn hash(blob: &BlobName) -> String {
    hex(&Sha256::digest(blob.as_str().as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// `Ok(None)` where there is nothing.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

/// A file that is being written. Dropped, it is gone.
pub(crate) struct NewFile {
    pub(crate) file: File,
    path: Option<PathBuf>,
}

impl NewFile {
    /// Keeps the file: it was renamed.
    fn kept(&mut self) {
        self.path = None;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        if let Some(path) = self.path.take() {
            let _ = fs::remove_file(path);
        }
    }
}

impl Disk {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        for folder in ["files", "properties", "staging/new", "staging/blocks"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let root = fs::canonicalize(root)?;
        sync_directory(&root)?;
        Ok(Self {
            root,
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            staged: Mutex::default(),
            last_tag: AtomicU64::new(0),
        })
    }

    /// The text of a small file beside the blobs, made with this text if there is none. Only its
    /// owner can read it. Of several processes that make it at once, one has its way.
    pub(crate) fn secret(&self, name: &str, text: &str) -> io::Result<String> {
        use std::io::Write as _;
        let place = self.root.join(name);
        if let Some(text) = if_there(fs::read_to_string(&place))? {
            return Ok(text);
        }
        let mut new = self.new_file()?;
        new.file.write_all(text.as_bytes())?;
        new.file.sync_all()?;
        if let Some(path) = &new.path
            && let Err(error) = fs::hard_link(path, &place)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        sync_directory(&self.root)?;
        fs::read_to_string(&place)
    }

    fn lock_of(&self, blob: &BlobName) -> Option<MutexGuard<'_, ()>> {
        let first = Sha256::digest(blob.as_str().as_bytes()).first().copied().unwrap_or(0);
        self.locks.get(usize::from(first) % LOCKS).map(lock)
    }

    fn place(&self, blob: &BlobName) -> PathBuf {
        let mut place = self.root.join("files");
        // No segment is empty, `.` or `..`, and none has a separator: the path stays below.
        place.extend(blob.segments());
        place
    }

    fn properties_of(&self, blob: &BlobName) -> PathBuf {
        self.root.join("properties").join(hash(blob))
    }

    fn blocks_of(&self, blob: &BlobName) -> PathBuf {
        self.root.join("staging/blocks").join(hash(blob))
    }

    /// Begins a file that is nowhere yet.
    pub(crate) fn new_file(&self) -> io::Result<NewFile> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.root.join("staging/new").join(hex(&random()?));
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(NewFile { file, path: Some(path) })
    }

    /// Opens a blob.
    pub(crate) fn open_blob(&self, blob: &BlobName) -> io::Result<Option<Stored>> {
        let Some(file) = if_there(File::open(self.place(blob)))? else { return Ok(None) };
        let about = file.metadata()?;
        // The folder of other blobs is none.
        if !about.is_file() {
            return Ok(None);
        }
        let modified = about.modified()?;
        Ok(Some(Stored { size: about.len(), modified, tag: tag_of(modified), file }))
    }

    /// Opens a blob with its properties. Those that were not written yet, or are lost, are the
    /// default.
    pub(crate) fn open_with_properties(
        &self,
        blob: &BlobName,
    ) -> io::Result<Option<(Stored, Properties)>> {
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.open_blob(blob)? else { return Ok(None) };
            let found = self.properties(blob, stored.tag)?;
            if let Some(properties) = found {
                return Ok(Some((stored, properties)));
            }
            // Either there are none, or the blob is being replaced at this moment.
            if self.open_blob(blob)?.is_some_and(|now| now.tag == stored.tag) {
                return Ok(Some((stored, Properties::default())));
            }
        }
        let stored = self.open_blob(blob)?;
        Ok(stored.map(|stored| (stored, Properties::default())))
    }

    fn properties(&self, blob: &BlobName, tag: Tag) -> io::Result<Option<Properties>> {
        let file = if_there(File::open(self.properties_of(blob)))?;
        file.map_or(Ok(None), |file| Properties::read(file, tag))
    }

    /// The blocks that a blob was made of, with their sizes, if it was made of blocks.
    pub(crate) fn committed_blocks(
        &self,
        blob: &BlobName,
        tag: Tag,
    ) -> io::Result<Vec<(String, u64)>> {
        let file = if_there(File::open(self.properties_of(blob)))?;
        file.map_or(Ok(Vec::new()), |file| Properties::read_blocks(file, tag))
    }

    /// A tag that is later than all others of this process.
    fn next_tag(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let last = self.last_tag.fetch_max(now, Ordering::SeqCst);
        if last < now { now } else { self.last_tag.fetch_add(1, Ordering::SeqCst) + 1 }
    }

    /// Puts a new file into a blob's place, if the condition on what is there holds. With
    /// `exclusive` nothing may be there, also if another process puts something there at once.
    ///
    /// When this returns, all of it is on stable storage.
    pub(crate) fn put<E>(
        &self,
        blob: &BlobName,
        mut new: NewFile,
        properties: &Properties,
        blocks: &[(String, u64)],
        exclusive: bool,
        condition: impl Fn(Option<&Stored>) -> Result<(), E>,
    ) -> Result<Stored, NotPut<E>> {
        let modified = UNIX_EPOCH + std::time::Duration::from_nanos(self.next_tag());
        new.file.set_modified(modified)?;
        new.file.sync_all()?;
        let place = self.place(blob);
        let Some(from) = new.path.clone() else {
            return Err(NotPut::Io(io::ErrorKind::NotFound.into()));
        };
        let _held = self.lock_of(blob);
        condition(self.open_blob(blob)?.as_ref()).map_err(NotPut::Condition)?;
        for attempt in 1.. {
            self.make_folders(blob)?;
            let moved =
                if exclusive { fs::hard_link(&from, &place) } else { fs::rename(&from, &place) };
            match moved {
                Ok(()) => break,
                // Whoever deleted the last other blob took the folder with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let there = self.open_blob(blob)?;
                    condition(there.as_ref()).map_err(NotPut::Condition)?;
                    return Err(NotPut::Occupied);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !exclusive {
            new.kept();
        }
        if let Some(folder) = place.parent() {
            sync_directory(folder)?;
        }
        let about = new.file.metadata()?;
        let modified = about.modified()?;
        let tag = tag_of(modified);
        self.write_properties(blob, tag, properties, blocks)?;
        let file = new.file.try_clone()?;
        Ok(Stored { file, size: about.len(), modified, tag })
    }

    fn write_properties(
        &self,
        blob: &BlobName,
        tag: Tag,
        properties: &Properties,
        blocks: &[(String, u64)],
    ) -> io::Result<()> {
        let place = self.properties_of(blob);
        let mut new = self.new_file()?;
        properties.write(&mut new.file, tag, blocks)?;
        new.file.sync_all()?;
        if let Some(from) = &new.path {
            fs::rename(from, &place)?;
        }
        new.kept();
        sync_directory(&self.root.join("properties"))
    }

    /// Makes the folders of a blob; those that were made are on stable storage.
    fn make_folders(&self, blob: &BlobName) -> io::Result<()> {
        let mut folder = self.root.join("files");
        let mut segments = blob.segments().peekable();
        while let Some(segment) = segments.next() {
            if segments.peek().is_none() {
                break;
            }
            let parent = folder.clone();
            folder.push(segment);
            match fs::create_dir(&folder) {
                Ok(()) => sync_directory(&parent)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !fs::metadata(&folder)?.is_dir() {
                        return Err(io::ErrorKind::NotADirectory.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes a blob that meets the condition. Whether there was one.
    pub(crate) fn delete<E>(
        &self,
        blob: &BlobName,
        condition: impl Fn(Option<&Stored>) -> Result<(), E>,
    ) -> Result<bool, NotPut<E>> {
        let _held = self.lock_of(blob);
        let there = self.open_blob(blob)?;
        condition(there.as_ref()).map_err(NotPut::Condition)?;
        if there.is_none() {
            return Ok(false);
        }
        let place = self.place(blob);
        if if_there(fs::remove_file(&place))?.is_none() {
            return Ok(false);
        }
        if_there(fs::remove_file(self.properties_of(blob)))?;
        let files = self.root.join("files");
        let mut folder = place.parent();
        // Folders that are empty now go too; the first that is not stops this.
        while let Some(path) = folder.filter(|path| *path != files) {
            if fs::remove_dir(path).is_err() {
                break;
            }
            folder = path.parent();
        }
        sync_directory(folder.unwrap_or(&files)).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        Ok(true)
    }

    /// What is staged for a blob.
    pub(crate) fn staged(&self, blob: &BlobName) -> io::Result<Staged> {
        let _held = self.lock_of(blob);
        self.count_staged(blob)
    }

    /// What is staged for a blob whose lock is held: as it is remembered, or else counted.
    fn count_staged(&self, blob: &BlobName) -> io::Result<Staged> {
        let name = hash(blob);
        if let Some(staged) = lock(&self.staged).get(&name) {
            return Ok(*staged);
        }
        let mut staged = Staged::default();
        if let Some(blocks) = if_there(fs::read_dir(self.blocks_of(blob)))? {
            for block in blocks {
                // One that was removed meanwhile is none.
                let size = if_there(block?.metadata())?.map_or(0, |about| about.len());
                staged.blocks += 1;
                staged.bytes = staged.bytes.saturating_add(size);
            }
        }
        let mut all = lock(&self.staged);
        if all.len() >= COUNTED_MAX {
            all.clear();
        }
        all.insert(name, staged);
        Ok(staged)
    }

    /// Stages a block of a blob, if there is room for it. When this returns, it is on stable storage.
    ///
    /// The room is looked for under the blob's lock: blocks that come at once do not take the same.
    pub(crate) fn stage(
        &self,
        blob: &BlobName,
        id: &[u8],
        mut new: NewFile,
        limits: StageLimits,
    ) -> Result<(), NotStaged> {
        new.file.sync_all()?;
        let size = new.file.metadata()?.len();
        let folder = self.blocks_of(blob);
        let place = folder.join(hex(id));
        let _held = self.lock_of(blob);
        let staged = self.count_staged(blob)?;
        let before = if_there(fs::metadata(&place))?.map(|about| about.len());
        let staged = staged.with(size, before, limits)?;
        for attempt in 1.. {
            match fs::create_dir(&folder) {
                Ok(()) => sync_directory(&self.root.join("staging/blocks"))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
            let Some(from) = &new.path else { break };
            match fs::rename(from, &place) {
                Ok(()) => break,
                // A sweep took the folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        new.kept();
        sync_directory(&folder)?;
        if let Some(known) = lock(&self.staged).get_mut(&hash(blob)) {
            *known = staged;
        }
        Ok(())
    }

    /// Opens a staged block, with its size.
    pub(crate) fn staged_block(
        &self,
        blob: &BlobName,
        id: &[u8],
    ) -> io::Result<Option<(File, u64)>> {
        let file = if_there(File::open(self.blocks_of(blob).join(hex(id))))?;
        file.map(|file| Ok((file.metadata()?.len(), file)).map(|(size, file)| (file, size)))
            .transpose()
    }

    /// Marks what is staged for a blob as in use, so that a sweep leaves it alone.
    pub(crate) fn touch_staged(&self, blob: &BlobName) -> io::Result<()> {
        match if_there(File::open(self.blocks_of(blob)))? {
            Some(folder) => folder.set_modified(SystemTime::now()),
            None => Ok(()),
        }
    }

    /// Drops what is staged for a blob.
    pub(crate) fn drop_staged(&self, blob: &BlobName) -> io::Result<()> {
        let _held = self.lock_of(blob);
        lock(&self.staged).remove(&hash(blob));
        if_there(fs::remove_dir_all(self.blocks_of(blob))).map(drop)
    }

    /// Removes what was begun and not touched since. How much that was.
    pub(crate) fn sweep(&self, untouched_since: SystemTime) -> io::Result<u64> {
        let mut removed = 0;
        for folder in ["staging/new", "staging/blocks"] {
            for entry in fs::read_dir(self.root.join(folder))? {
                let entry = entry?;
                let Some(about) = if_there(entry.metadata())? else { continue };
                if about.modified()? >= untouched_since {
                    continue;
                }
                if about.is_dir() {
                    lock(&self.staged).remove(&*entry.file_name().to_string_lossy());
                    if_there(fs::remove_dir_all(entry.path()))?;
                } else {
                    if_there(fs::remove_file(entry.path()))?;
                }
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn tag_of(modified: SystemTime) -> Tag {
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Tag(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
