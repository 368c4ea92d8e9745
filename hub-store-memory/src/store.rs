//! The store: one lock around its state.

use std::num::NonZeroU32;

use async_trait::async_trait;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, Claim, Document, Durability, Entry, Item, Kind, OneLock, Outcome, Record, Seek,
    Store, StoreError,
};
use hub_core::time::Timestamp;

use crate::state::State;

const LOG_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A store in the memory of its process.
///
/// Everything but [`nudged`](Store::nudged) is ready at the first poll, so no future of it can be
/// dropped half-way. Nothing fails. Several hubs of one process may share it in an `Arc`.
#[derive(Debug)]
pub struct MemoryStore(OneLock<State>);

impl MemoryStore {
    /// An empty store with the default bounds.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// An empty store with other bounds.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { log_bytes_max: LOG_BYTES_MAX }
    }

    /// How many log entries have been dropped because of [`MemoryStoreBuilder::log_bytes_max`].
    /// Those that [`trim`](Store::trim) forgot do not count.
    #[must_use]
    pub fn log_entries_dropped(&self) -> u64 {
        self.0.with(|state| state.log.dropped())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// The bounds of a [`MemoryStore`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MemoryStoreBuilder {
    log_bytes_max: u64,
}

impl MemoryStoreBuilder {
    /// Most bytes of log entries, over all partitions. Default: 512 MiB, a million and a half of small events.
    ///
    /// Counted are the bodies, 4 bytes for each entry and 160 for each append. When an append goes
    /// beyond, the oldest appends of all partitions are dropped until the rest fits; the newest one
    /// stays even if it is larger than the bound. Readers see what a
    /// [`trim`](Store::trim) would have left.
    pub fn log_bytes_max(mut self, bytes: u64) -> Self {
        self.log_bytes_max = bytes;
        self
    }

    /// The store.
    #[must_use]
    pub fn build(self) -> MemoryStore {
        MemoryStore(OneLock::new(State::new(self.log_bytes_max)))
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        self.0.read_now(asks)
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        self.0.scan_now(kind, after, limit)
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        self.0.commit_now(batch)
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        self.0.claim_now(now, claims)
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.0.tail_now(partition, from, limit)
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        self.0.seek_now(partition, to)
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        let forgotten = self.0.with(|state| state.log.trim(partition, below));
        // Freed here, after the lock: a trim may forget millions of appends.
        drop(forgotten);
        Ok(())
    }

    async fn nudged(&self, node: &NodeId) {
        self.0.nudged(node).await;
    }
}
