//! The contract as a program: a map, and a clock that is moved by hand.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Fixture;
use crate::blob::{
    BlobAccess, BlobAddress, BlobError, BlobFolder, BlobInfo, BlobName, BlobReader, BlobStore,
    BlobWriter, FolderAddress, FolderProof,
};
use crate::time::Timestamp;

/// Where its blobs are said to be.
const BASE: &str = "model://blobs/box/";
/// Longest piece of a reader.
const PIECE: usize = 64 * 1024;

/// Files in memory. Clones are the same files.
#[derive(Debug, Clone, Default)]
pub struct Model {
    files: Arc<Mutex<BTreeMap<BlobName, Bytes>>>,
    secret: RandomState,
}

impl Model {
    /// Without files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<BlobName, Bytes>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A blob, whole.
    #[must_use]
    pub fn get(&self, blob: &BlobName) -> Option<Bytes> {
        self.files().get(blob).cloned()
    }

    /// Puts a blob into its place.
    pub fn put(&self, blob: &BlobName, body: impl Into<Bytes>) {
        self.files().insert(blob.clone(), body.into());
    }

    /// `letter` is what may be done: `u`, `d`, or `f` for all in a folder.
    fn right(&self, letter: char, name: &str, until: Timestamp) -> String {
        let until = until.as_millis();
        let tag = self.secret.hash_one((letter, name, until));
        format!("{letter}.{until}.{tag}")
    }

    fn is_right(&self, right: &str, name: &str, now: Timestamp) -> Option<char> {
        let mut parts = right.split('.');
        let letter = parts.next()?.chars().next()?;
        let until = Timestamp::from_millis(parts.next()?.parse().ok()?);
        (now < until && self.right(letter, name, until) == right).then_some(letter)
    }

    /// The blob that an address is for, if it has this right now.
    fn allowed(&self, address: &str, wanted: &str, now: Timestamp) -> Option<BlobName> {
        let (url, right) = address.split_once('?')?;
        let blob = BlobName::parse(url.strip_prefix(BASE)?).ok()?;
        let letter = self.is_right(right, blob.as_str(), now);
        if letter.is_some_and(|letter| wanted.contains(letter)) {
            return Some(blob);
        }
        let folders =
            blob.as_str().match_indices('/').filter_map(|(at, _)| blob.as_str().get(..at));
        let mut letters = folders.map(|folder| self.is_right(right, folder, now));
        letters.any(|letter| letter == Some('f')).then(|| blob.clone())
    }
}

#[async_trait]
impl BlobStore for Model {
    async fn address(
        &self,
        blob: &BlobName,
        access: BlobAccess,
        now: Timestamp,
        valid: Duration,
    ) -> Result<BlobAddress, BlobError> {
        let letter = match access {
            BlobAccess::Upload => 'u',
            BlobAccess::Download => 'd',
        };
        let right = self.right(letter, blob.as_str(), now.after(valid));
        BlobAddress::new(format!("{BASE}{blob}?{right}"))
            .map_err(|error| BlobError::refused("address", error))
    }

    async fn stat(&self, blob: &BlobName) -> Result<Option<BlobInfo>, BlobError> {
        Ok(self.get(blob).map(|body| BlobInfo {
            size: body.len() as u64,
            modified: Timestamp::ZERO,
            url: format!("{BASE}{blob}"),
        }))
    }

    async fn read(
        &self,
        blob: &BlobName,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn BlobReader>, BlobError> {
        let body = self.get(blob).ok_or_else(|| BlobError::not_found("read"))?;
        let all = 0..body.len() as u64;
        let range = range.unwrap_or_else(|| all.clone());
        let at = |place: u64| usize::try_from(place.min(all.end)).unwrap_or(usize::MAX);
        let (from, to) = (at(range.start), at(range.end));
        Ok(Box::new(Pieces(body.slice(from..to.max(from)))))
    }

    async fn write(&self, blob: &BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(Writing { model: self.clone(), blob: blob.clone(), body: Vec::new() }))
    }

    async fn folder_address(
        &self,
        folder: &BlobFolder,
        now: Timestamp,
        valid: Duration,
    ) -> Result<FolderAddress, BlobError> {
        let right = self.right('f', folder.as_str(), now.after(valid));
        Ok(FolderAddress::from(format!("{BASE}{folder}?{right}")))
    }

    async fn folder(
        &self,
        address: &str,
        proof: FolderProof,
        now: Timestamp,
    ) -> Result<Option<BlobFolder>, BlobError> {
        let (url, right) = address.split_once('?').unwrap_or((address, ""));
        let url = url.strip_suffix('/').unwrap_or(url);
        let folder = url.strip_prefix(BASE).and_then(BlobFolder::parse);
        Ok(folder.filter(|folder| {
            proof == FolderProof::Hub || self.is_right(right, folder.as_str(), now) == Some('f')
        }))
    }

    async fn delete(&self, blob: &BlobName) -> Result<bool, BlobError> {
        Ok(self.files().remove(blob).is_some())
    }

    async fn sweep(&self, _: Timestamp) -> Result<u64, BlobError> {
        Ok(0)
    }
}

struct Pieces(Bytes);

#[async_trait]
impl BlobReader for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let piece = self.0.split_to(self.0.len().min(PIECE));
        Ok((!piece.is_empty()).then_some(piece))
    }
}

struct Writing {
    model: Model,
    blob: BlobName,
    body: Vec<u8>,
}

#[async_trait]
impl BlobWriter for Writing {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.body.extend_from_slice(&piece);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), BlobError> {
        self.model.put(&self.blob, self.body);
        Ok(())
    }
}

/// The model with its clients.
#[derive(Debug)]
pub struct Modelled {
    model: Model,
    now: Timestamp,
}

impl Default for Modelled {
    fn default() -> Self {
        Self { model: Model::new(), now: Timestamp::from_millis(1_800_000_000_000) }
    }
}

#[async_trait]
impl Fixture for Modelled {
    type Store = Model;

    async fn open(&mut self) -> Model {
        self.model.clone()
    }

    async fn reopen(&mut self, _: Model) -> Option<Model> {
        Some(self.model.clone())
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    async fn pass(&mut self, time: Duration) -> bool {
        self.now = self.now.after(time);
        true
    }

    async fn put(&mut self, address: &str, body: Bytes) -> bool {
        let blob = self.model.allowed(address, "u", self.now);
        blob.map(|blob| self.model.put(&blob, body)).is_some()
    }

    async fn put_half(&mut self, _: &str, _: Bytes) {
        // What does not come whole does not come: there is no way between the two.
    }

    async fn get(&mut self, address: &str) -> Option<Bytes> {
        self.model.get(&self.model.allowed(address, "ud", self.now)?)
    }
}
