//! A store with one bug, planted.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hub_core::conformance::store::Fixture;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, BatchId, Change, Claim, Document, DocumentRef, Durability, Entry, Item, Kind,
    Marks, Op, Outcome, Push, Record, Scope, Seek, Store, StoreError,
};
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;
use tokio::task::yield_now;

/// What is wrong with a [`Planted`] store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Nothing: the wrapper itself keeps the contract.
    None,
    /// `Require` is not looked at.
    RequireDropped,
    /// A document is replaced whatever version it has.
    ReplaceUnguarded,
    /// A write of the same body is no write.
    SameBodySkipped,
    /// Any push finds room.
    CapacitySkipped,
    /// Claims look first and hide later.
    ClaimShared,
    /// A claimed item is visible a millisecond early.
    HiddenTooShort,
    /// A sweep takes what is visible, overdue or not.
    SweepTakesAll,
    /// Claims give the youngest item first.
    ClaimReversed,
    /// Claims give items without their marks.
    MarksLost,
    /// A refused append has taken its numbers.
    GapInSequence,
    /// Entries of a refused change are appended all the same.
    HalfChange,
    /// The changes of a batch are committed one by one.
    BatchSplit,
    /// A repeated batch is a new one.
    BatchForgotten,
    /// A batch is remembered over a thousand later ones only.
    BatchForgottenEarly,
    /// The last refusal of a batch stops what comes behind it.
    RefusalStopsBatch,
    /// A tail that finds several entries leaves one out now and then.
    TailSkips,
    /// `read` looks at one record after the other.
    ReadTorn,
    /// `scan` begins with `after` itself.
    ScanInclusive,
    /// `trim` forgets one entry too many.
    TrimTooMuch,
    /// `seek` by time gives the first entry after it.
    SeekStrict,
    /// No nudge is ever heard.
    NeverNudged,
    /// Calls itself synced and has nothing after a crash.
    CrashLosesAll,
    /// After a crash the batches of before are unknown.
    CrashForgetsBatches,
}

#[derive(Debug)]
pub(crate) struct Planted {
    inner: MemoryStore,
    bug: Bug,
    calls: AtomicU64,
    /// How often each batch was sent under another name, and when it was first seen.
    names: Mutex<HashMap<BatchId, (u128, u64)>>,
    /// Entries that nobody may see: they make the gaps.
    gaps: Mutex<Vec<(Partition, SequenceNumber)>>,
    crashes: u128,
}

#[derive(Debug)]
pub(crate) struct Bugs(pub(crate) Bug);

#[async_trait]
impl Fixture for Bugs {
    type Store = Planted;

    async fn open(&mut self) -> Planted {
        Planted {
            inner: MemoryStore::new(),
            bug: self.0,
            calls: AtomicU64::new(0),
            names: Mutex::default(),
            gaps: Mutex::default(),
            crashes: 0,
        }
    }

    async fn reopen(&mut self, mut store: Planted) -> Option<Planted> {
        store.crashes += 1;
        if self.0 == Bug::CrashLosesAll {
            store.inner = MemoryStore::new();
        }
        Some(store)
    }
}

impl Planted {
    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    /// The batch under the name the inner store is to know it by.
    fn name(&self, id: BatchId) -> BatchId {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut names = self.names.lock().unwrap();
        let (tries, first) = names.entry(id).or_insert((0, call));
        if self.has(Bug::BatchForgotten)
            || self.has(Bug::BatchForgottenEarly) && call - *first > 1000
        {
            *tries += 1;
        }
        let crashes = if self.has(Bug::CrashForgetsBatches) { self.crashes } else { 0 };
        BatchId(id.0 | (*tries << 64) | (crashes << 96))
    }

    /// The change as the bug makes it.
    async fn spoil(&self, change: &Change) -> Result<Change, StoreError> {
        let mut spoilt = Change::new();
        for op in change.ops() {
            spoilt = match op {
                Op::Require(..) if self.has(Bug::RequireDropped) => spoilt,
                Op::Require(key, None) => spoilt.require_absent(key.clone()),
                Op::Require(key, Some(version)) => {
                    spoilt.require(&DocumentRef::new(key.clone(), *version))
                }
                Op::Put(key, read, body) => {
                    let found = self.inner.read(&[Ask::Document(key.clone())]).await?.remove(0);
                    match found {
                        Some(Record::Document(found))
                            if self.has(Bug::ReplaceUnguarded) && read.is_some() =>
                        {
                            spoilt.replace(&found.at, body.clone())
                        }
                        Some(Record::Document(found))
                            if self.has(Bug::SameBodySkipped)
                                && found.body == *body
                                && *read == Some(found.at.version()) =>
                        {
                            spoilt.require(&found.at)
                        }
                        _ => spoilt.write(key, *read, body.clone()),
                    }
                }
                Op::Remove(key, version) => spoilt.remove(&DocumentRef::new(key.clone(), *version)),
                Op::Push(push) if self.has(Bug::CapacitySkipped) => {
                    spoilt.push(Push { capacity: u32::MAX, ..push.clone() })
                }
                Op::Push(push) => spoilt.push(push.clone()),
                Op::Retime(item, visible, marks) => spoilt.retime(item, *visible, *marks),
                Op::Settle(item) => spoilt.settle(item),
                Op::Clear(queue) => spoilt.clear(queue.clone()),
                Op::Append(partition, at, entries) => {
                    spoilt.append(*partition, *at, entries.clone())
                }
            };
        }
        Ok(spoilt)
    }

    /// What the bug does once a change was refused.
    async fn after_refusal(&self, id: u128, change: &Change) -> Result<(), StoreError> {
        let appends = change.ops().iter().filter_map(|op| match op {
            Op::Append(partition, at, entries) => Some((*partition, *at, entries.clone())),
            _ => None,
        });
        for (index, (partition, at, entries)) in appends.enumerate() {
            let count = entries.len() as u64;
            let id = BatchId(id | (1 << 120) | ((index as u128) << 110));
            let changes = vec![Change::new().append(partition, at, entries)];
            let batch = Batch { id, changes, nudges: vec![] };
            let outcomes = self.inner.commit(&batch).await?;
            if let (Bug::GapInSequence, [Outcome::Committed(issued)]) = (self.bug, &outcomes[..]) {
                let gap = (0..count).map(|n| (partition, issued.sequences[0].plus(n)));
                self.gaps.lock().unwrap().extend(gap);
            }
        }
        Ok(())
    }

    async fn commit_split(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::new();
        for (index, change) in batch.changes.iter().enumerate() {
            let id = BatchId(batch.id.0 | ((index as u128 + 1) << 64));
            let one = Batch { id, changes: vec![change.clone()], nudges: batch.nudges.clone() };
            outcomes.extend(self.inner.commit(&one).await?);
            yield_now().await;
        }
        Ok(outcomes)
    }
}

#[async_trait]
impl Store for Planted {
    fn durability(&self) -> Durability {
        Durability::Synced
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        if !self.has(Bug::ReadTorn) {
            return self.inner.read(asks).await;
        }
        let mut records = Vec::new();
        for ask in asks {
            records.extend(self.inner.read(std::slice::from_ref(ask)).await?);
            yield_now().await;
        }
        Ok(records)
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        if !self.has(Bug::ScanInclusive) {
            return self.inner.scan(kind, after, limit).await;
        }
        let mut all = self.inner.scan(kind, None, NonZeroU32::MAX).await?;
        all.retain(|document| after.is_none_or(|after| *document.at.key().id >= *after));
        all.truncate(limit.get() as usize);
        Ok(all)
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        if self.has(Bug::BatchSplit) {
            return self.commit_split(batch).await;
        }
        let mut spoilt = Batch { id: self.name(batch.id), ..batch.clone() };
        for change in &mut spoilt.changes {
            *change = self.spoil(change).await?;
        }
        if self.has(Bug::RefusalStopsBatch) {
            let mut outcomes = self.commit_split(&spoilt).await?;
            if let Some(last) = outcomes.iter().position(|o| *o == Outcome::Conflict) {
                outcomes[last..].fill(Outcome::Conflict);
            }
            return Ok(outcomes);
        }
        let outcomes = self.inner.commit(&spoilt).await?;
        if self.has(Bug::GapInSequence) || self.has(Bug::HalfChange) {
            for (index, (change, outcome)) in batch.changes.iter().zip(&outcomes).enumerate() {
                if !matches!(outcome, Outcome::Committed(_)) {
                    self.after_refusal(batch.id.0 | ((index as u128) << 80), change).await?;
                }
            }
        }
        Ok(outcomes)
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        let mut claims = claims.to_vec();
        for claim in &mut claims {
            if self.has(Bug::HiddenTooShort) {
                claim.hide_until = claim.hide_until.before(Duration::from_millis(1));
            }
            if let (Scope::Overdue(kind), Bug::SweepTakesAll) = (&claim.scope, self.bug) {
                claim.scope = Scope::Any(*kind);
            }
        }
        let mut looked = None;
        if self.has(Bug::ClaimShared) {
            let look = claims.iter().cloned().map(|claim| Claim { hide_until: now, ..claim });
            looked = Some(self.inner.claim(now, &look.collect::<Vec<_>>()).await?);
            yield_now().await;
        }
        let mut lists = self.inner.claim(now, &claims).await?;
        if let Some(looked) = looked {
            lists = looked;
        }
        for list in &mut lists {
            if self.has(Bug::ClaimReversed) {
                list.reverse();
            }
            if self.has(Bug::MarksLost) {
                list.iter_mut().for_each(|item| item.marks = Marks::default());
            }
            if self.has(Bug::HiddenTooShort) {
                list.iter_mut().for_each(|item| {
                    item.visible = item.visible.after(Duration::from_millis(1));
                });
            }
        }
        Ok(lists)
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.inner.tail(partition, from, limit).await?;
        let gaps = self.gaps.lock().unwrap();
        entries.retain(|entry| !gaps.contains(&(partition, entry.sequence)));
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.has(Bug::TailSkips) && entries.len() > 1 && call.is_multiple_of(3) {
            entries.remove(entries.len() - 2);
        }
        Ok(entries)
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        let to = match to {
            Seek::Time(time) if self.has(Bug::SeekStrict) => {
                Seek::Time(time.after(Duration::from_millis(1)))
            }
            other => other,
        };
        self.inner.seek(partition, to).await
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        let below = if self.has(Bug::TrimTooMuch) { below.next() } else { below };
        self.inner.trim(partition, below).await
    }

    async fn nudged(&self, node: &NodeId) {
        if self.has(Bug::NeverNudged) {
            std::future::pending().await
        }
        self.inner.nudged(node).await;
    }
}
