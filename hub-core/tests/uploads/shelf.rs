//! A store of files that is a map, and a device that uploads into it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hub_core::blob::{
    BlobAccess, BlobAddress, BlobError, BlobFolder, BlobInfo, BlobName, BlobReader, BlobStore,
    BlobWriter, FolderAddress, FolderProof,
};
use hub_core::time::Timestamp;

/// Files by their names, and what was asked of the store.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    files: Mutex<BTreeMap<String, Bytes>>,
    pub(crate) refuses: AtomicBool,
    pub(crate) stats: AtomicU64,
    pub(crate) swept: Mutex<Vec<Timestamp>>,
}

pub(crate) const WRITTEN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

impl Shelf {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn upload(&self, blob: &str, text: &'static str) {
        self.files.lock().unwrap().insert(blob.to_owned(), Bytes::from_static(text.as_bytes()));
    }

    fn get(&self, blob: &BlobName) -> Option<Bytes> {
        self.files.lock().unwrap().get(blob.as_str()).cloned()
    }
}

#[async_trait]
impl BlobStore for Shelf {
    async fn address(
        &self,
        blob: &BlobName,
        access: BlobAccess,
        now: Timestamp,
        valid: Duration,
    ) -> Result<BlobAddress, BlobError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(BlobError::refused("address", "told so"));
        }
        let until = now.after(valid).as_millis();
        let url = format!("https://files.test/box/{blob}?{access:?}&until={until}");
        Ok(BlobAddress::new(url).unwrap())
    }

    async fn stat(&self, blob: &BlobName) -> Result<Option<BlobInfo>, BlobError> {
        self.stats.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(BlobError::unavailable("stat", "told so"));
        }
        Ok(self.get(blob).map(|file| BlobInfo {
            size: file.len() as u64,
            modified: WRITTEN,
            url: format!("https://files.test/box/{blob}"),
        }))
    }

    async fn read(
        &self,
        blob: &BlobName,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn BlobReader>, BlobError> {
        let file = self.get(blob).ok_or_else(|| BlobError::not_found("read"))?;
        let range = range.unwrap_or(0..file.len() as u64);
        Ok(Box::new(Piece(Some(file.slice(range.start as usize..range.end as usize)))))
    }

    async fn write(&self, _: &BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        Err(BlobError::refused("write", "devices only"))
    }

    async fn folder_address(
        &self,
        _: &BlobFolder,
        _: Timestamp,
        _: Duration,
    ) -> Result<FolderAddress, BlobError> {
        Err(BlobError::refused("folder_address", "devices only"))
    }

    async fn folder(
        &self,
        _: &str,
        _: FolderProof,
        _: Timestamp,
    ) -> Result<Option<BlobFolder>, BlobError> {
        Ok(None)
    }

    async fn delete(&self, blob: &BlobName) -> Result<bool, BlobError> {
        Ok(self.files.lock().unwrap().remove(blob.as_str()).is_some())
    }

    async fn sweep(&self, untouched_since: Timestamp) -> Result<u64, BlobError> {
        self.swept.lock().unwrap().push(untouched_since);
        Ok(0)
    }
}

struct Piece(Option<Bytes>);

#[async_trait]
impl BlobReader for Piece {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        Ok(self.0.take())
    }
}
