//! What the cases ask a store with: short calls, and fresh batch ids.

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use bytes::Bytes;

use super::Fixture;
use crate::id::{NodeId, Partition, SequenceNumber};
use crate::store::{
    Ask, Batch, BatchId, Change, Claim, Document, DocumentRef, Entries, Entry, Issued, Item, Key,
    Kind, Outcome, Push, QueueId, QueueKind, Record, Scope, Seek, Store, StoreError, Version,
};
use crate::time::Timestamp;

/// A store under test. Clones share it.
#[derive(Debug)]
pub(super) struct Probe<S> {
    store: Arc<S>,
    batches: Arc<AtomicU64>,
}

impl<S> Clone for Probe<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), batches: Arc::clone(&self.batches) }
    }
}

impl<S: Store> Probe<S> {
    /// A fresh and empty store.
    pub(super) async fn open<F: Fixture<Store = S>>(fixture: &mut F) -> Self {
        let store = Arc::new(fixture.open().await);
        Self { store, batches: Arc::default() }
    }

    /// The same store after a crash, if it keeps anything. All clones must be gone.
    pub(super) async fn reopen<F: Fixture<Store = S>>(self, fixture: &mut F) -> Option<Self> {
        let Ok(store) = Arc::try_unwrap(self.store) else {
            panic!("the case still uses the store it wants to reopen")
        };
        let store = Arc::new(fixture.reopen(store).await?);
        Some(Self { store, batches: self.batches })
    }

    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// A batch with an id of its own.
    pub(super) fn batch(&self, changes: Vec<Change>) -> Batch {
        let id = BatchId(u128::from(self.batches.fetch_add(1, Ordering::Relaxed)) + 1);
        Batch { id, changes, nudges: Vec::new() }
    }

    pub(super) async fn send(&self, batch: &Batch) -> Vec<Outcome> {
        let outcomes = answered(self.store.commit(batch).await);
        assert_eq!(outcomes.len(), batch.changes.len(), "one outcome per change: {outcomes:?}");
        outcomes
    }

    /// Commits changes as one batch.
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Vec<Outcome> {
        self.send(&self.batch(changes)).await
    }

    /// Commits one change.
    pub(super) async fn one(&self, change: Change) -> Outcome {
        self.commit(vec![change]).await.remove(0)
    }

    /// Commits one change that must succeed.
    pub(super) async fn done(&self, change: Change) -> Issued {
        committed(self.one(change).await)
    }

    /// Creates a document.
    pub(super) async fn create(&self, key: &Key, body: &'static str) -> DocumentRef {
        let issued = self.done(Change::new().create(key.clone(), body.into())).await;
        DocumentRef::new(key.clone(), issued.version)
    }

    pub(super) async fn read(&self, asks: &[Ask]) -> Vec<Option<Record>> {
        let records = answered(self.store.read(asks).await);
        assert_eq!(records.len(), asks.len(), "one answer per ask: {records:?}");
        records
    }

    pub(super) async fn document(&self, key: &Key) -> Option<Document> {
        match self.read(&[Ask::Document(key.clone())]).await.remove(0) {
            None => None,
            Some(Record::Document(document)) => Some(document),
            Some(other) => panic!("asked for a document, got {other:?}"),
        }
    }

    /// The body of a document; empty if there is none.
    pub(super) async fn body(&self, key: &Key) -> Bytes {
        self.document(key).await.map(|document| document.body).unwrap_or_default()
    }

    pub(super) async fn item(&self, queue: &QueueId, sequence: SequenceNumber) -> Option<Item> {
        match self.read(&[Ask::Item(queue.clone(), sequence)]).await.remove(0) {
            None => None,
            Some(Record::Item(item)) => Some(item),
            Some(other) => panic!("asked for an item, got {other:?}"),
        }
    }

    pub(super) async fn depth(&self, queue: &QueueId) -> u32 {
        match self.read(&[Ask::Depth(queue.clone())]).await.remove(0) {
            Some(Record::Depth(depth)) => depth,
            other => panic!("asked for a depth, got {other:?}"),
        }
    }

    /// Pushes one item that must find room.
    pub(super) async fn push(&self, push: Push) -> SequenceNumber {
        self.done(Change::new().push(push)).await.sequences[0]
    }

    /// One claim.
    pub(super) async fn claim(
        &self,
        now: u64,
        scope: Scope,
        limit: u32,
        hide_until: u64,
    ) -> Vec<Item> {
        let claim = Claim { scope, limit, hide_until: at(hide_until) };
        self.claims(at(now), &[claim]).await.remove(0)
    }

    /// All a queue gives now.
    pub(super) async fn claim_all(&self, now: u64, queue: &QueueId, hide_until: u64) -> Vec<Item> {
        self.claim(now, Scope::Queue(queue.clone()), u32::MAX, hide_until).await
    }

    pub(super) async fn claims(&self, now: Timestamp, claims: &[Claim]) -> Vec<Vec<Item>> {
        let lists = answered(self.store.claim(now, claims).await);
        assert_eq!(lists.len(), claims.len(), "one list per claim: {lists:?}");
        lists
    }

    /// Appends entries as one change.
    pub(super) async fn append(&self, partition: Partition, millis: u64, bodies: &[&str]) -> u64 {
        let change = Change::new().append(partition, at(millis), entries(bodies));
        self.done(change).await.sequences[0].0
    }

    pub(super) async fn tail(&self, partition: Partition, from: u64, limit: u32) -> Vec<Entry> {
        let limit = NonZeroU32::new(limit).unwrap();
        answered(self.store.tail(partition, SequenceNumber(from), limit).await)
    }

    /// The bodies of all entries of a partition, as text.
    pub(super) async fn texts(&self, partition: Partition) -> Vec<String> {
        self.tail(partition, 0, u32::MAX).await.iter().map(|entry| text(&entry.body)).collect()
    }

    pub(super) async fn seek(&self, partition: Partition, to: Seek) -> u64 {
        answered(self.store.seek(partition, to).await).0
    }

    pub(super) async fn trim(&self, partition: Partition, below: u64) {
        answered(self.store.trim(partition, SequenceNumber(below)).await);
    }

    pub(super) async fn scan(&self, kind: Kind, after: Option<&str>, limit: u32) -> Vec<Document> {
        answered(self.store.scan(kind, after, NonZeroU32::new(limit).unwrap()).await)
    }
}

/// A call's answer. The kit expects one from every call: a store that may fail is driven through
/// [`Retry`](super::Retry).
fn answered<T>(answer: Result<T, StoreError>) -> T {
    answer.unwrap_or_else(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        panic!("{error}: {source:?}")
    })
}

/// What was issued for a change that must have been committed.
pub(super) fn committed(outcome: Outcome) -> Issued {
    match outcome {
        Outcome::Committed(issued) => issued,
        other => panic!("the change should have been committed, it was refused as {other:?}"),
    }
}

/// Whether a change was committed.
pub(super) fn is_committed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Committed(_))
}

pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(super) fn twin(id: &str) -> Key {
    Key::new(Kind::Twin, id)
}

pub(super) fn mailbox(id: &str) -> QueueId {
    queue(QueueKind::Mailbox, id)
}

pub(super) fn queue(kind: QueueKind, id: &str) -> QueueId {
    QueueId { kind, id: id.into() }
}

pub(super) fn node(id: &str) -> NodeId {
    NodeId::new(id).unwrap()
}

/// An item that is visible at once, has no deadline, and finds room.
pub(super) fn item(queue: &QueueId, body: &str) -> Push {
    Push {
        queue: queue.clone(),
        capacity: 1000,
        visible: Timestamp::ZERO,
        deadline: Timestamp::MAX,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// The same push with a capacity.
pub(super) fn within(capacity: u32, push: Push) -> Push {
    Push { capacity, ..push }
}

/// Pushes an item and reads it back.
pub(super) async fn pushed<S: Store>(probe: &Probe<S>, queue: &QueueId, body: &str) -> Item {
    let sequence = probe.push(item(queue, body)).await;
    probe.item(queue, sequence).await.unwrap()
}

pub(super) fn entries(bodies: &[&str]) -> Entries {
    let ends = bodies.iter().scan(0, |end, body| {
        *end += body.len() as u32;
        Some(*end)
    });
    Entries::from_parts(bodies.concat().into(), ends.collect::<Vec<_>>()).unwrap()
}

pub(super) fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

/// The bodies of items, as text.
pub(super) fn texts(items: &[Item]) -> Vec<String> {
    items.iter().map(|item| text(&item.body)).collect()
}

/// A version no store has issued.
pub(super) const NEVER: Version = Version(u64::MAX);

/// Runs futures at once and gives their results in order. Fails as soon as one does.
///
/// They are dealt out to three tasks. Between tasks they run in parallel, as the machine has it;
/// within a task one goes on wherever another waits, which finds what needs exact turns also on a
/// machine that is busy.
pub(super) async fn together<T: Send + 'static>(
    all: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut groups = [const { Vec::new() }; 3];
    for (index, future) in all.into_iter().enumerate() {
        groups[index % 3].push(async move { (index, future.await) });
    }
    let tasks = groups.map(|group| tokio::spawn(futures::future::join_all(group)));
    let mut results = match futures::future::try_join_all(tasks).await {
        Ok(groups) => groups.into_iter().flatten().collect::<Vec<_>>(),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Polls a future at most this often and drops it if it has not ended.
pub(super) async fn poll_at_most<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context)));
        if let Poll::Ready(result) = polled.await {
            return Some(result);
        }
        tokio::task::yield_now().await;
    }
    None
}
