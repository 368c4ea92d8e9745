//! Files of an IoT hub's devices and back ends in an object store.
//!
//! [`ObjectStoreBlobs`] makes a [`BlobStore`] of any store of the
//! [`object_store`] crate that can sign URLs: Amazon S3 and what is compatible with it, Azure Blob
//! Storage, Google Cloud Storage. Devices write to the service itself, by a URL that was signed for
//! one object; no byte of a file passes through the hub.
//!
//! The application builds the store, with the features, credentials and retries that it wants:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use hub_blob_object_store::ObjectStoreBlobs;
//! use hub_core::Hub;
//! use hub_store_memory::MemoryStore;
//! use object_store::aws::AmazonS3Builder;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bucket = AmazonS3Builder::new()
//!     .with_region("eu-central-1")
//!     .with_bucket_name("device-files")
//!     .with_access_key_id("id")
//!     .with_secret_access_key("secret")
//!     .build()?;
//! let hub = Hub::builder(MemoryStore::new()).blobs(Arc::new(ObjectStoreBlobs::new(bucket))).start()?;
//! # hub.shutdown(std::time::Duration::from_secs(1)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - An upload address allows one `PUT`; the service's own limit for that is the largest file. With
//!   Azure Blob Storage it allows staged blocks as well, so the stock SDKs of devices work unmodified.
//!   S3 and Google Cloud Storage answer a `PUT` with 200, where Azure's storage clients expect 201:
//!   devices use a plain HTTP client there.
//! - The hub's clock plays no part: the service decides when an address has expired.
//! - What a device began and did not finish is the service's to remove: set a lifecycle rule, also for
//!   multipart uploads. [`BlobStore::sweep`] does nothing.
//! - The services sign no folders. The address of a folder of back ends is its URL in the bucket, without
//!   a right: back ends use credentials of their own there.
//! - The container that devices are told is the first segment of the signed URL's path. With S3 that is
//!   the bucket, unless the store was built for virtual hosts.

mod writer;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hub_core::blob::{
    BlobAccess, BlobAddress, BlobError, BlobFolder, BlobInfo, BlobName, BlobReader, BlobStore,
    BlobWriter, FolderAddress, FolderProof, SERVICE,
};
use hub_core::time::Timestamp;
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use object_store::{Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _};

use self::writer::Writer;

/// Largest piece that is handed on at once.
const PIECE: usize = 256 * 1024;

/// Files in an object store. What the crate's documentation says of its service holds.
pub struct ObjectStoreBlobs<S> {
    store: Arc<S>,
}

impl<S: fmt::Debug> fmt::Debug for ObjectStoreBlobs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreBlobs").finish_non_exhaustive()
    }
}

impl<S: ObjectStore + Signer> ObjectStoreBlobs<S> {
    /// Keeps files in this store, each under its own name.
    pub fn new(store: S) -> Self {
        Self { store: Arc::new(store) }
    }

    async fn signed(
        &self,
        operation: &'static str,
        blob: &BlobName,
        access: BlobAccess,
        valid: Duration,
    ) -> Result<BlobAddress, BlobError> {
        let method = match access {
            BlobAccess::Upload => Method::PUT,
            BlobAccess::Download => Method::GET,
        };
        let url = self
            .store
            .signed_url(method, &path(operation, blob)?, valid)
            .await
            .map_err(|error| failed(operation, error))?;
        BlobAddress::new(url.as_str()).map_err(|error| BlobError::refused(operation, error))
    }

    /// The URL of a folder: that of something in it, which the store knows.
    async fn folder_url(
        &self,
        operation: &'static str,
        folder: &BlobFolder,
    ) -> Result<String, BlobError> {
        let inside = folder.blob("x").map_err(|error| BlobError::refused(operation, error))?;
        let valid = Duration::from_secs(1);
        let address = self.signed(operation, &inside, BlobAccess::Download, valid).await?;
        let url = address.without_right();
        Ok(url.strip_suffix("/x").unwrap_or(url).to_owned())
    }

    async fn head(
        &self,
        operation: &'static str,
        blob: &BlobName,
    ) -> Result<Option<ObjectMeta>, BlobError> {
        match self.store.head(&path(operation, blob)?).await {
            Ok(meta) => Ok(Some(meta)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(operation, error)),
        }
    }
}

/// The name as it is. No name of a blob has what a path must not have.
fn path(operation: &'static str, blob: &BlobName) -> Result<Path, BlobError> {
    Path::parse(blob.as_str()).map_err(|error| BlobError::refused(operation, error))
}

fn failed(operation: &'static str, error: Error) -> BlobError {
    match error {
        Error::NotFound { .. } => BlobError::not_found(operation),
        // What does not go away by itself.
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::InvalidPath { .. }
        | Error::UnknownConfigurationKey { .. } => BlobError::refused(operation, error),
        _ => BlobError::unavailable(operation, error),
    }
}

#[async_trait]
impl<S: ObjectStore + Signer> BlobStore for ObjectStoreBlobs<S> {
    async fn address(
        &self,
        blob: &BlobName,
        access: BlobAccess,
        _: Timestamp,
        valid: Duration,
    ) -> Result<BlobAddress, BlobError> {
        self.signed("address", blob, access, valid).await
    }

    async fn stat(&self, blob: &BlobName) -> Result<Option<BlobInfo>, BlobError> {
        let Some(meta) = self.head("stat", blob).await? else { return Ok(None) };
        // The store knows the URL of an object only together with a signature.
        let address = self.signed("stat", blob, BlobAccess::Download, Duration::from_secs(1));
        let url = address.await?.without_right().to_owned();
        let millis = meta.last_modified.timestamp_millis();
        let modified = Timestamp::from_millis(u64::try_from(millis).unwrap_or(0));
        Ok(Some(BlobInfo { size: meta.size, modified, url }))
    }

    async fn read(
        &self,
        blob: &BlobName,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn BlobReader>, BlobError> {
        let mut options = GetOptions::new();
        if let Some(range) = range {
            // Services refuse a range that begins behind the end; here it is empty.
            let meta = self.head("read", blob).await?;
            let size = meta.ok_or_else(|| BlobError::not_found("read"))?.size;
            let range = range.start..range.end.min(size);
            if range.is_empty() {
                return Ok(Box::new(Pieces::default()));
            }
            options = options.with_range(Some(range));
        }
        let found = self.store.get_opts(&path("read", blob)?, options).await;
        let found = found.map_err(|error| failed("read", error))?;
        Ok(Box::new(Pieces { stream: Some(found.into_stream()), rest: Bytes::new() }))
    }

    async fn write(&self, blob: &BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(Writer::new(self.store.clone(), path("write", blob)?)))
    }

    async fn folder_address(
        &self,
        folder: &BlobFolder,
        _: Timestamp,
        _: Duration,
    ) -> Result<FolderAddress, BlobError> {
        Ok(FolderAddress::from(self.folder_url("folder_address", folder).await?))
    }

    async fn folder(
        &self,
        address: &str,
        _: FolderProof,
        _: Timestamp,
    ) -> Result<Option<BlobFolder>, BlobError> {
        let root = self.folder_url("folder", &BlobFolder::root()).await?;
        let url = address.split('?').next().unwrap_or("");
        let url = url.strip_suffix('/').unwrap_or(url);
        let inside = url.strip_prefix(root.as_str());
        Ok(inside.and_then(|inside| BlobFolder::parse(&format!("{SERVICE}{inside}"))))
    }

    async fn delete(&self, blob: &BlobName) -> Result<bool, BlobError> {
        // Services do not say whether there was something to delete.
        if self.head("delete", blob).await?.is_none() {
            return Ok(false);
        }
        match self.store.delete(&path("delete", blob)?).await {
            Ok(()) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed("delete", error)),
        }
    }

    async fn sweep(&self, _: Timestamp) -> Result<u64, BlobError> {
        Ok(0)
    }
}

/// The bytes as the service sends them, in pieces that are not too large.
#[derive(Default)]
struct Pieces {
    stream: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    rest: Bytes,
}

#[async_trait]
impl BlobReader for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        while self.rest.is_empty() {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            match stream.next().await {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Err(failed("read", error)),
                None => self.stream = None,
            }
        }
        Ok(Some(self.rest.split_to(self.rest.len().min(PIECE))))
    }
}
