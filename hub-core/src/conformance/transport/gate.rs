//! A store whose commits can be held back.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::id::{NodeId, Partition, SequenceNumber};
use crate::store::{
    Ask, Batch, Claim, Document, Durability, Entry, Item, Kind, Outcome, Record, Seek, Store,
    StoreError,
};
use crate::time::Timestamp;

/// What stands before the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Commits that wait.
    pub batches: usize,
    /// Changes in them.
    pub changes: usize,
    /// About how many bytes these carry.
    pub bytes: usize,
}

/// Holds commits of a [`Gated`] store back, and lets them go. Clones are the same gate. Open at
/// first.
#[derive(Debug, Clone)]
pub struct Gate {
    shut: Arc<watch::Sender<bool>>,
    held: Arc<watch::Sender<Held>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            shut: Arc::new(watch::Sender::new(false)),
            held: Arc::new(watch::Sender::new(Held::default())),
        }
    }
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds every commit from now on.
    pub fn hold(&self) {
        self.shut.send_replace(true);
    }

    /// Lets go of those that wait, and holds no more.
    pub fn release(&self) {
        self.shut.send_replace(false);
    }

    /// What waits.
    #[must_use]
    pub fn held(&self) -> Held {
        *self.held.borrow()
    }

    /// Ends when a commit waits.
    pub async fn reached(&self) {
        // The sender lives as long as this gate, so there is no error to see.
        let _ = self.held.subscribe().wait_for(|held| held.batches > 0).await;
    }

    async fn pass(&self, batch: &Batch) {
        let mut shut = self.shut.subscribe();
        if !*shut.borrow_and_update() {
            return;
        }
        let bytes = batch.changes.iter().map(crate::store::Change::bytes).sum();
        let _waits = Waits::new(self, Held { batches: 1, changes: batch.changes.len(), bytes });
        let _ = shut.wait_for(|shut| !*shut).await;
    }
}

/// Counts a commit while it waits, also if its future is dropped.
struct Waits<'a>(&'a Gate, Held);

impl<'a> Waits<'a> {
    fn new(gate: &'a Gate, what: Held) -> Self {
        gate.held.send_modify(|held| {
            held.batches += what.batches;
            held.changes += what.changes;
            held.bytes += what.bytes;
        });
        Self(gate, what)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.held.send_modify(|held| {
            held.batches -= self.1.batches;
            held.changes -= self.1.changes;
            held.bytes -= self.1.bytes;
        });
    }
}

/// A store behind a [`Gate`]. Reads and claims pass it by.
pub struct Gated {
    store: Arc<dyn Store>,
    gate: Gate,
}

impl std::fmt::Debug for Gated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gated").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Gated {
    /// Puts a store behind a gate.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, gate: Gate) -> Self {
        Self { store, gate }
    }
}

#[async_trait]
impl Store for Gated {
    fn durability(&self) -> Durability {
        self.store.durability()
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        self.store.read(asks).await
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        self.store.scan(kind, after, limit).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        self.gate.pass(batch).await;
        self.store.commit(batch).await
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        self.store.claim(now, claims).await
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.store.tail(partition, from, limit).await
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        self.store.seek(partition, to).await
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        self.store.trim(partition, below).await
    }

    async fn nudged(&self, node: &NodeId) {
        self.store.nudged(node).await;
    }
}
