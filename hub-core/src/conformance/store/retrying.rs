//! A store that asks again until it is answered.

use std::num::NonZeroU32;

use async_trait::async_trait;

use crate::id::{NodeId, Partition, SequenceNumber};
use crate::store::{
    Ask, Batch, Claim, Document, Durability, Entry, Item, Kind, Outcome, Record, Seek, Store,
    StoreError, StoreErrorKind,
};
use crate::time::Timestamp;

/// Repeats every call that ended as `Unavailable` or `Unknown`, a batch under its own id, until it
/// answers. What the hub's engine does, without its patience: there is no pause between the tries.
///
/// A claim whose answer was lost is repeated as well. What the lost one took stays hidden for its
/// time, as it does in the hub.
#[derive(Debug)]
pub struct Retry<S> {
    inner: S,
}

/// Most tries. A store that fails this often in a row does not come back.
const TRIES_MAX: u32 = 10_000;

impl<S> Retry<S> {
    /// Around a store.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The store inside, without the retries.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// Evaluates a call until it is answered. A macro, because the calls borrow what they are given.
macro_rules! until_answered {
    ($call:expr) => {{
        let mut tries = 1;
        loop {
            match $call.await {
                Err(error) if error.kind() != StoreErrorKind::Fatal && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::task::yield_now().await;
                }
                answer => break answer,
            }
        }
    }};
}

#[async_trait]
impl<S: Store> Store for Retry<S> {
    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        until_answered!(self.inner.read(asks))
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        until_answered!(self.inner.scan(kind, after, limit))
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        until_answered!(self.inner.commit(batch))
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        until_answered!(self.inner.claim(now, claims))
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        until_answered!(self.inner.tail(partition, from, limit))
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        until_answered!(self.inner.seek(partition, to))
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        until_answered!(self.inner.trim(partition, below))
    }

    async fn nudged(&self, node: &NodeId) {
        self.inner.nudged(node).await;
    }
}
