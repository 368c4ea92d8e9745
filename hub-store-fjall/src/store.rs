//! The store: the contract's methods, and opening and closing.

use std::any::Any;
use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, Claim, Document, Durability, Entry, Item, Kind, Nudges, Outcome, Record, Seek,
    Store, StoreError,
};
use hub_core::time::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::codec::index;
use crate::config::FileStoreConfig;
use crate::core::command::{Command, Reply};
use crate::core::read::{Source, entries, first_at};
use crate::core::run::{Core, Shared, Tuning};
use crate::core::work::Work;
use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::engine::{self, Message, Request};
use crate::error::OpenError;
use crate::format::{LOCK, identify};
use crate::journal::writer::Sync;
use crate::readers::{Readers, closed, failed};
use crate::tree::Tree;
use crate::tree::fjall::FjallTree;
use crate::view::{self, Fetched};

/// Commands that wait for the writer.
const WAITING: usize = 1024;
/// Kibibytes of commands that wait for the writer.
const WAITING_KIB: usize = 64 * 1024;
/// How long an opening waits for a process that is just ending.
const PATIENCE: Duration = Duration::from_secs(2);

/// A store in one directory of the local file system.
///
/// See the [crate's documentation](crate) for what is where and how durable it is. Dropping the store
/// ends its threads soon after, without a farewell: the next opening then reads the end of the
/// journal again. [`FileStore::close`] waits for that, and leaves less to read.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    readers: Readers,
    nudges: Arc<Nudges>,
    durability: Durability,
}

impl FileStore {
    /// Opens the store in a directory, or begins one in an empty or new directory.
    ///
    /// Blocks while it reads: the index of the log, the heads of all queue items, and what was
    /// written to the journal since the last checkpoint, which is at most a few segments.
    ///
    /// # Errors
    /// [`OpenError`], whose message says what to do. Nothing on disk is changed then, except that a
    /// new directory may have been made.
    pub fn open(directory: impl AsRef<Path>, config: FileStoreConfig) -> Result<Self, OpenError> {
        let path = directory.as_ref();
        fs::create_dir_all(path).map_err(|error| OpenError::io(path, error))?;
        let lock = lock(path)?;
        let disk = RealDisk::new(path).map_err(|error| OpenError::io(path, error))?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let store = identify(&*disk, &path.display().to_string())?;
        let state = path.join("state");
        let tree = FjallTree::open(&state, config.cache_bytes)
            .map_err(|error| OpenError::io(&state, error))?;
        Self::over(disk, Arc::new(tree), store, &config, Box::new(lock))
    }

    /// Opens the store over a disk and a tree.
    pub(crate) fn over(
        disk: Arc<dyn Disk>,
        tree: Arc<dyn Tree>,
        store: u128,
        config: &FileStoreConfig,
        lock: Box<dyn Any + Send>,
    ) -> Result<Self, OpenError> {
        let tuning = Tuning {
            segment_bytes: config.segment_bytes,
            dirty_bytes: index(config.dirty_bytes),
            cache_bytes: index(config.cache_bytes),
            log_bytes_max: config.log_bytes_max.max(config.segment_bytes.saturating_mul(4)),
            recent_bytes: index(config.recent_bytes),
        };
        let (sync, durability) = match config.synced {
            true => (Sync::Each, Durability::Synced),
            false => (Sync::Never, Durability::Volatile),
        };
        let path = disk.describe("");
        let started = |error| OpenError::io(&path, error);
        let core = Core::open(disk, tree, store, sync, tuning)?;
        let shared = Arc::clone(&core.shared);
        shared.guard(lock);
        let nudges = Arc::new(Nudges::default());
        let (messages, waiting) = mpsc::channel(WAITING);
        let (readers, threads) = Readers::start(&shared).map_err(started)?;
        let wake = messages.downgrade();
        engine::start(core, waiting, wake, Arc::clone(&nudges), threads).map_err(started)?;
        let room = Arc::new(Semaphore::new(WAITING_KIB));
        Ok(Self { shared, messages, room, readers, nudges, durability })
    }

    /// Ends the store: writes what waits, brings the state on disk up to the journal, ends the
    /// threads and gives the directory free. Every call after it fails, and a second close does
    /// nothing.
    pub async fn close(&self) {
        self.readers.close();
        let (done, ended) = oneshot::channel();
        if self.messages.send(Message::Close(done)).await.is_ok() {
            // An error is the end as well.
            drop(ended.await);
        }
    }

    /// How many log entries have been dropped because of [`FileStoreConfig::log_bytes_max`] since the
    /// store was opened. Those that [`trim`](Store::trim) forgot do not count.
    #[must_use]
    pub fn log_entries_dropped(&self) -> u64 {
        self.shared.lock().log.dropped()
    }

    /// Why the store takes nothing any more, if it does not: a sync has failed.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.lock().poisoned.clone()
    }

    /// Has the writer run a command. Dropping the future after the first poll or later leaves the
    /// whole effect or none.
    async fn ask(&self, operation: &'static str, command: Command) -> Result<Reply, StoreError> {
        let kib = u32::try_from(command.bytes().div_ceil(1024).min(WAITING_KIB)).unwrap_or(1);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.ok();
        let (answer, answered) = oneshot::channel();
        let request = Message::Request(Request { command, answer, room });
        self.messages.send(request).await.map_err(|_| closed(operation))?;
        answered.await.map_err(|_| closed(operation))?
    }
}

fn lock(path: &Path) -> Result<fs::File, OpenError> {
    let name = path.join(LOCK);
    let failed = |error| OpenError::io(&name, error);
    let mut options = fs::File::options();
    let file = options.create(true).truncate(false).write(true).open(&name).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(fs::TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { directory: path.display().to_string() });
            }
        }
    }
}

fn other(operation: &'static str) -> StoreError {
    StoreError::fatal(operation, io::Error::other("the writer answered something else"))
}

#[async_trait]
impl Store for FileStore {
    fn durability(&self) -> Durability {
        self.durability
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut fetched = Fetched::default();
        loop {
            let wanted = match view::read(&mut self.shared.lock(), asks, &fetched) {
                Ok(records) => return Ok(records),
                Err(wanted) => wanted,
            };
            fetched = self.readers.run("read", move |shared| wanted.fetch(shared, fetched)).await?;
        }
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        let after = after.map(str::to_owned);
        let scan = move |shared: &Shared| view::scan(shared, kind, after.as_deref(), limit);
        self.readers.run("scan", scan).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        match self.ask("commit", Command::Commit(Work::new(batch))).await? {
            Reply::Outcomes(outcomes) => Ok(outcomes),
            _ => Err(other("commit")),
        }
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        match self.ask("claim", Command::Claim(now, claims.to_vec())).await? {
            Reply::Items(items) => Ok(items),
            _ => Err(other("claim")),
        }
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        let plan = self.shared.lock().log.plan(partition, from.0, u64::from(limit.get()));
        let Some(plan) = plan else { return Ok(Vec::new()) };
        match entries(&plan, Source::Memory) {
            Ok(Some(entries)) => return Ok(entries),
            Ok(None) => {}
            Err(error) => return Err(failed("tail", error)),
        }
        let read = move |_: &Shared| entries(&plan, Source::Disk);
        Ok(self.readers.run("tail", read).await?.unwrap_or_default())
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        let planned = self.shared.lock().log.seek(partition, to);
        let (plan, time) = match (planned, to) {
            (Ok(number), _) => return Ok(number),
            (Err(plan), Seek::Time(time)) => (plan, time),
            (Err(plan), _) => return Ok(SequenceNumber(plan.from)),
        };
        let end = plan.until;
        let read = move |_: &Shared| first_at(&plan, time, Source::Disk);
        let found = self.readers.run("seek", read).await?;
        Ok(SequenceNumber(found.unwrap_or(end)))
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        self.ask("trim", Command::Trim(partition, below)).await.map(drop)
    }

    async fn nudged(&self, node: &NodeId) {
        self.nudges.wait(node).await;
    }
}
