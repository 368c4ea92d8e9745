//! A memory store that can be held, made to fail, and made to lie.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, Claim, Document, Durability, Entry, Item, Kind, Outcome, Record, Seek, Store,
    StoreError, StoreErrorKind,
};
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;
use tokio::sync::Semaphore;

type Lie = Box<dyn Fn(Option<Record>) -> Option<Record> + Send>;

/// Tells a [`TestStore`] what to do. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Control(Arc<State>);

#[derive(Default)]
struct State {
    gate: Mutex<Option<Arc<Semaphore>>>,
    commits_fail: Mutex<Option<StoreErrorKind>>,
    reads_fail: Mutex<Option<StoreErrorKind>>,
    lie: Mutex<Option<Lie>>,
    commits: AtomicUsize,
    reads: AtomicUsize,
}

impl Control {
    /// Holds every commit from now on.
    pub(crate) fn hold(&self) {
        *self.0.gate.lock().unwrap() = Some(Arc::new(Semaphore::new(0)));
    }

    /// Lets one commit go.
    pub(crate) fn pass_one(&self) {
        self.0.gate.lock().unwrap().as_ref().unwrap().add_permits(1);
    }

    /// Lets all go, and holds no more.
    pub(crate) fn release(&self) {
        self.0.gate.lock().unwrap().take().unwrap().close();
    }

    pub(crate) fn fail_commits(&self, kind: Option<StoreErrorKind>) {
        *self.0.commits_fail.lock().unwrap() = kind;
    }

    pub(crate) fn fail_reads(&self, kind: Option<StoreErrorKind>) {
        *self.0.reads_fail.lock().unwrap() = kind;
    }

    /// Changes every record that is read.
    pub(crate) fn lie(&self, lie: impl Fn(Option<Record>) -> Option<Record> + Send + 'static) {
        *self.0.lie.lock().unwrap() = Some(Box::new(lie));
    }

    pub(crate) fn be_honest(&self) {
        *self.0.lie.lock().unwrap() = None;
    }

    /// How many commits and reads were asked for so far.
    pub(crate) fn asked(&self) -> (usize, usize) {
        (self.0.commits.load(Ordering::SeqCst), self.0.reads.load(Ordering::SeqCst))
    }
}

#[derive(Default)]
pub(crate) struct TestStore {
    inner: MemoryStore,
    control: Control,
}

impl TestStore {
    pub(crate) fn new() -> (Self, Control) {
        let store = Self::default();
        let control = store.control.clone();
        (store, control)
    }
}

fn fail(operation: &'static str, kind: &Mutex<Option<StoreErrorKind>>) -> Result<(), StoreError> {
    match *kind.lock().unwrap() {
        None => Ok(()),
        Some(StoreErrorKind::Fatal) => Err(StoreError::fatal(operation, "as told")),
        Some(StoreErrorKind::Unknown) => Err(StoreError::unknown(operation, "as told")),
        Some(_) => Err(StoreError::unavailable(operation, "as told")),
    }
}

#[async_trait]
impl Store for TestStore {
    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        self.control.0.reads.fetch_add(1, Ordering::SeqCst);
        fail("read", &self.control.0.reads_fail)?;
        let records = self.inner.read(asks).await?;
        Ok(match &*self.control.0.lie.lock().unwrap() {
            None => records,
            Some(lie) => records.into_iter().map(lie).collect(),
        })
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        self.inner.scan(kind, after, limit).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        self.control.0.commits.fetch_add(1, Ordering::SeqCst);
        let gate = self.control.0.gate.lock().unwrap().clone();
        if let Some(gate) = gate
            && let Ok(permit) = gate.acquire().await
        {
            permit.forget();
        }
        fail("commit", &self.control.0.commits_fail)?;
        self.inner.commit(batch).await
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        self.inner.claim(now, claims).await
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.inner.tail(partition, from, limit).await
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        self.inner.seek(partition, to).await
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        self.inner.trim(partition, below).await
    }

    async fn nudged(&self, node: &NodeId) {
        self.inner.nudged(node).await;
    }
}
