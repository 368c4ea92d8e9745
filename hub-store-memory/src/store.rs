//! The store: one lock around its state, and the waiting for nudges beside it.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, Claim, Document, Durability, Entry, Item, Kind, Nudges, Outcome, Record, Seek,
    Store, StoreError,
};
use hub_core::time::Timestamp;

use crate::state::State;

const LOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A store in the memory of its process.
///
/// Everything but [`nudged`](Store::nudged) is ready at the first poll, so no future of it can be
/// dropped half-way. Nothing fails. Several hubs of one process may share it in an `Arc`.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    nudges: Nudges,
}

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
        self.lock().log.dropped()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics, so a poisoned lock means no broken state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Most bytes of log entries, over all partitions. Default: 1 GiB.
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
        MemoryStore { state: Mutex::new(State::new(self.log_bytes_max)), nudges: Nudges::default() }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        let state = self.lock();
        Ok(asks.iter().map(|ask| state.read(ask)).collect())
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        Ok(self.lock().scan(kind, after, limit))
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        let (outcomes, new) = self.lock().commit(batch);
        if new {
            self.nudges.nudge(&batch.nudges);
        }
        Ok(outcomes)
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        let mut state = self.lock();
        Ok(claims.iter().map(|claim| state.claim(now, claim)).collect())
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        Ok(self.lock().log.tail(partition, from, limit))
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        Ok(self.lock().log.seek(partition, to))
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        let forgotten = self.lock().log.trim(partition, below);
        // Freed here, after the lock: a trim may forget millions of appends.
        drop(forgotten);
        Ok(())
    }

    async fn nudged(&self, node: &NodeId) {
        self.nudges.wait(node).await;
    }
}
