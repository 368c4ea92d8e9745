//! The directory as a store of files.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use axum::Router;
use hub_core::blob::{
    BlobAccess, BlobAddress, BlobError, BlobFolder, BlobInfo, BlobName, BlobReader, BlobStore,
    BlobWriter, FolderAddress, FolderProof,
};
use hub_core::engine::Clock;
use hub_core::security::SymmetricKey;
use hub_core::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Semaphore;

use crate::config::{BlobDirectoryConfig, OpenError, check};
use crate::disk::{Disk, NotPut};
use crate::query::Query;
use crate::reader::Reader;
use crate::sas::{Account, Resource};
use crate::serve;
use crate::writer::Writer;

/// What stays as it is in a path.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What the store and its router share.
pub(crate) struct Inner {
    pub(crate) disk: Disk,
    pub(crate) account: Account,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: BlobDirectoryConfig,
    /// Places for bodies that are written.
    pub(crate) writes: Arc<Semaphore>,
    /// Places for block lists.
    pub(crate) lists: Arc<Semaphore>,
    requests: AtomicU64,
}

impl Inner {
    /// Names a request.
    pub(crate) fn next_request(&self) -> String {
        format!("{:016x}", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// The URL of a blob or a folder.
    fn url(&self, name: &str) -> String {
        let name = utf8_percent_encode(name, ESCAPED);
        format!("{}/{}/{name}", self.config.base_url, self.account.container)
    }

    /// The folder that a URL without a query names, if it is one of this directory.
    fn folder(&self, url: &str) -> Option<BlobFolder> {
        let path = url.strip_prefix(self.config.base_url.as_str())?.strip_prefix('/')?;
        let name = path.strip_prefix(self.account.container.as_str())?.strip_prefix('/')?;
        // Its name needs no escapes, so the folder that is meant can be written in one way only.
        BlobFolder::parse(name.strip_suffix('/').unwrap_or(name))
    }
}

/// Files in a directory: a [`BlobStore`], and the router through which clients write and read them.
///
/// Cheap to clone; all clones are the same directory. Several processes on one machine may use it at
/// once.
#[derive(Clone)]
pub struct BlobDirectory {
    inner: Arc<Inner>,
}

impl fmt::Debug for BlobDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobDirectory").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl BlobDirectory {
    /// Opens a directory, which is made if it is not there. Blocks for a moment.
    ///
    /// # Errors
    /// [`OpenError`] for a directory that cannot be used and settings that cannot work.
    pub fn open(path: impl AsRef<Path>, config: BlobDirectoryConfig) -> Result<Self, OpenError> {
        check(&config)?;
        let disk = Disk::open(path.as_ref())?;
        let key = match &config.key {
            Some(key) => key.clone(),
            None => {
                let mut random = [0_u8; 32];
                getrandom::fill(&mut random)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                let new = SymmetricKey::generate(&random);
                SymmetricKey::from_base64(disk.secret("key", new.to_base64())?.trim())?
            }
        };
        let places = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let account =
            Account { name: config.account.clone(), container: config.container.clone(), key };
        Ok(Self {
            inner: Arc::new(Inner {
                disk,
                account,
                clock: config.clock.clone(),
                writes: places(config.writes_max),
                lists: places(config.lists_max),
                requests: AtomicU64::new(0),
                config,
            }),
        })
    }

    /// The routes of the container, for a server that clients reach under the base URL.
    pub fn router(&self) -> Router {
        serve::router(self.inner.clone())
    }

    /// The account's key: whoever has it can make signatures for every blob, with any storage SDK.
    #[must_use]
    pub fn key(&self) -> &SymmetricKey {
        &self.inner.account.key
    }

    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(io::Error::other)
            .flatten()
            .map_err(|error| BlobError::unavailable(operation, error))
    }
}

#[async_trait]
impl BlobStore for BlobDirectory {
    async fn address(
        &self,
        blob: &BlobName,
        access: BlobAccess,
        now: Timestamp,
        valid: Duration,
    ) -> Result<BlobAddress, BlobError> {
        let permissions = match access {
            BlobAccess::Upload => "rw",
            BlobAccess::Download => "r",
        };
        let resource = Resource::Blob(blob.as_str());
        let query = self.inner.account.sign(resource, permissions, now.after(valid));
        BlobAddress::new(format!("{}{query}", self.inner.url(blob.as_str())))
            .map_err(|error| BlobError::refused("address", error))
    }

    async fn stat(&self, blob: &BlobName) -> Result<Option<BlobInfo>, BlobError> {
        let name = blob.clone();
        let found = self.blocking("stat", move |inner| inner.disk.open_blob(&name)).await?;
        Ok(found.map(|stored| BlobInfo {
            size: stored.size,
            modified: timestamp(stored.modified),
            url: self.inner.url(blob.as_str()),
        }))
    }

    async fn read(
        &self,
        blob: &BlobName,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn BlobReader>, BlobError> {
        let name = blob.clone();
        let found = self.blocking("read", move |inner| inner.disk.open_blob(&name)).await?;
        let stored = found.ok_or_else(|| BlobError::not_found("read"))?;
        let range = range.unwrap_or(0..stored.size);
        let range = range.start..range.end.min(stored.size);
        Ok(Box::new(Reader::new(stored.file, range)))
    }

    async fn write(&self, blob: &BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        let new = self.blocking("write", |inner| inner.disk.new_file()).await?;
        Ok(Box::new(Writer::new(self.inner.clone(), blob.clone(), new)))
    }

    async fn folder_address(
        &self,
        folder: &BlobFolder,
        now: Timestamp,
        valid: Duration,
    ) -> Result<FolderAddress, BlobError> {
        let resource = Resource::Folder(folder.as_str());
        let query = self.inner.account.sign(resource, "rcwd", now.after(valid));
        Ok(FolderAddress::from(format!("{}{query}", self.inner.url(folder.as_str()))))
    }

    async fn folder(
        &self,
        address: &str,
        proof: FolderProof,
        now: Timestamp,
    ) -> Result<Option<BlobFolder>, BlobError> {
        let (url, query) = address.split_once('?').unwrap_or((address, ""));
        let Some(folder) = self.inner.folder(url) else { return Ok(None) };
        if proof == FolderProof::Hub {
            return Ok(Some(folder));
        }
        let wanted = Resource::Folder(folder.as_str());
        let rights = self.inner.account.verify(Query(query), wanted, now);
        let good = rights.is_ok_and(|rights| rights.read && rights.write);
        Ok(good.then_some(folder))
    }

    async fn delete(&self, blob: &BlobName) -> Result<bool, BlobError> {
        let name = blob.clone();
        self.blocking("delete", move |inner| {
            let deleted = inner.disk.delete(&name, |_| Ok::<_, std::convert::Infallible>(()));
            deleted.map_err(|not| match not {
                NotPut::Io(error) => error,
                NotPut::Condition(never) => match never {},
                NotPut::Occupied => io::ErrorKind::IsADirectory.into(),
            })
        })
        .await
    }

    async fn sweep(&self, untouched_since: Timestamp) -> Result<u64, BlobError> {
        let since = UNIX_EPOCH + Duration::from_millis(untouched_since.as_millis());
        self.blocking("sweep", move |inner| inner.disk.sweep(since)).await
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
