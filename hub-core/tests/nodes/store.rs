//! One node's view of a store that all nodes share.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, Change, Claim, Document, Durability, Entry, Item, Kind, Op, Outcome, Record, Seek,
    Store, StoreError,
};
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;
use tokio::sync::Semaphore;

/// Tells a [`View`] what to do. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Control(Arc<State>);

#[derive(Default)]
struct State {
    gate: Mutex<Option<Arc<Semaphore>>>,
    devices_only: AtomicBool,
    deaf: AtomicBool,
}

impl Control {
    /// Cuts the node off from the store: whatever it asks waits.
    pub(crate) fn stall(&self) {
        *self.0.gate.lock().unwrap() = Some(Arc::new(Semaphore::new(0)));
    }

    /// Only what devices do waits; the node's own document is written.
    pub(crate) fn stall_devices(&self) {
        self.0.devices_only.store(true, Ordering::SeqCst);
        self.stall();
    }

    /// The store answers again, also what was asked meanwhile.
    pub(crate) fn resume(&self) {
        self.0.gate.lock().unwrap().take().unwrap().close();
    }

    /// Nudges do not reach the node any more.
    pub(crate) fn lose_nudges(&self) {
        self.0.deaf.store(true, Ordering::SeqCst);
    }

    async fn pass_batch(&self, batch: &Batch) {
        let own = |op: &Op| matches!(op, Op::Put(key, ..) if key.kind == Kind::Node);
        let of_node = batch.changes.iter().flat_map(Change::ops).all(own);
        if !(of_node && self.0.devices_only.load(Ordering::SeqCst)) {
            self.pass().await;
        }
    }

    async fn pass(&self) {
        let gate = self.0.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            // An error is the gate that was taken away.
            assert!(gate.acquire().await.is_err());
        }
    }
}

pub(crate) struct View {
    pub(crate) inner: Arc<MemoryStore>,
    pub(crate) control: Control,
}

#[async_trait]
impl Store for View {
    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        self.control.pass().await;
        self.inner.read(asks).await
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        if kind != Kind::Node || !self.control.0.devices_only.load(Ordering::SeqCst) {
            self.control.pass().await;
        }
        self.inner.scan(kind, after, limit).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        self.control.pass_batch(batch).await;
        self.inner.commit(batch).await
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        self.control.pass().await;
        self.inner.claim(now, claims).await
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.control.pass().await;
        self.inner.tail(partition, from, limit).await
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        self.control.pass().await;
        self.inner.seek(partition, to).await
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        self.control.pass().await;
        self.inner.trim(partition, below).await
    }

    async fn nudged(&self, node: &NodeId) {
        if self.control.0.deaf.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.nudged(node).await;
    }
}
