//! The port to files: what devices upload, and where back ends find it; and what the hub itself reads
//! and writes for back ends.
//!
//! The hub is not on the way of the bytes of devices. It asks the store for an address that lets
//! whoever holds it write one blob for some time; the device writes there by itself and tells the hub
//! when it is done; the hub looks whether the blob is there, and tells the back end.
//!
//! Back ends have folders of their own beside those of devices ([`BlobFolder`]). What they put there
//! the hub reads, and what it has to say it writes there: the import and export of the registry.
//!
//! # The contract
//!
//! - **B1** An address is for one blob and one [`BlobAccess`]; it cannot be used for another blob,
//!   for more than that, or from its expiry on.
//! - **B2** A blob is there whole or not at all: what is being written, by an address or by `write`,
//!   and what was cut off, is neither in `stat` nor in `read`, and what it was to replace is there
//!   until then.
//! - **B3** `stat` and `read` see a blob as soon as whoever wrote it was told that it is written, and
//!   after a restart.
//! - **B4** `read` gives the bytes as they were written, and of a range those of the range.
//! - **B5** `sweep` removes what was begun and not touched since, never a blob that is there.
//! - **B6** Dropping a future leaves either the whole effect or none.
//! - **B7** `delete` removes the one blob that it names, and says whether it was there.
//! - **B8** A blob that the hub writes is there when `finish` has said so; a writer that is dropped
//!   before leaves what was there.
//! - **B9** `folder` finds the folder of an address that `folder_address` made, until its expiry, and
//!   of no other: neither of another store, nor above the folder that was signed, nor one that was
//!   changed.

mod address;
mod error;
mod folder;
mod name;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::address::{BadAddress, BlobAddress};
pub use self::error::{BlobError, BlobErrorKind};
pub use self::folder::{BlobFolder, FOLDER_SEGMENT_MAX, FolderAddress, FolderProof, SERVICE};
pub use self::name::{BLOB_NAME_BYTES_MAX, BLOB_SEGMENT_BYTES_MAX, BlobName, BlobNameError};
use crate::time::Timestamp;

/// What an address lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobAccess {
    /// Write the blob, whole or in blocks, and read what was written.
    Upload,
    /// Read the blob.
    Download,
}

/// A blob as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// How many bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// Its URL, without any right to it.
    pub url: String,
}

/// A place that keeps files. It holds one container, which all devices of a hub share.
///
/// No method has a default, so nothing can be forgotten. Every method may be called from many tasks
/// at once.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Makes an address (B1), good from now on for so long. Makes no blob.
    async fn address(
        &self,
        blob: &BlobName,
        access: BlobAccess,
        now: Timestamp,
        valid: Duration,
    ) -> Result<BlobAddress, BlobError>;

    /// Looks at a blob (B2, B3). `None` if there is none.
    async fn stat(&self, blob: &BlobName) -> Result<Option<BlobInfo>, BlobError>;

    /// Opens a blob for reading (B2–B4). `range` is in bytes and may reach beyond the end; `None` is
    /// all. `NotFound` if there is none.
    async fn read(
        &self,
        blob: &BlobName,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn BlobReader>, BlobError>;

    /// Begins to write a blob in the hub's own process, over what is there (B2, B8). Memory is bounded
    /// whatever its size.
    async fn write(&self, blob: &BlobName) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// An address of a folder of back ends (B9). With a right in it, to read, write and delete what
    /// is in the folder until its expiry, where the store can sign one; without, where back ends need
    /// credentials of their own.
    async fn folder_address(
        &self,
        folder: &BlobFolder,
        now: Timestamp,
        valid: Duration,
    ) -> Result<FolderAddress, BlobError>;

    /// The folder that an address names, if it is one of this store and proves what it has to (B9).
    /// A slash at the end of its path means nothing.
    async fn folder(
        &self,
        address: &str,
        proof: FolderProof,
        now: Timestamp,
    ) -> Result<Option<BlobFolder>, BlobError>;

    /// Removes a blob (B7). Whether there was one.
    async fn delete(&self, blob: &BlobName) -> Result<bool, BlobError>;

    /// Removes what was begun, is not finished, and was not touched since (B5). How much that was.
    /// Stores whose service does that by itself do nothing.
    async fn sweep(&self, untouched_since: Timestamp) -> Result<u64, BlobError>;
}

/// The bytes of a blob, piece by piece.
#[async_trait]
pub trait BlobReader: Send {
    /// The next piece, at most a few hundred kibibytes and never empty; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError>;
}

/// A blob that is being written. Dropped before [`BlobWriter::finish`], it comes to nothing (B8).
#[async_trait]
pub trait BlobWriter: Send {
    /// Adds bytes at the end. After an error the writer is of no use.
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError>;

    /// Puts the blob into its place, durable. Its future dropped half-way leaves either the whole
    /// blob or what was there (B6).
    async fn finish(self: Box<Self>) -> Result<(), BlobError>;
}
