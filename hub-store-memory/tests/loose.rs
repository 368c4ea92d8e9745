//! The kit on a store whose versions are as loose as the contract lets them be: each record counts its
//! own, so those of two records are often the same. The kit must find nothing wrong with it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::num::NonZeroU32;

use async_trait::async_trait;
use hub_core::conformance::store::Fresh;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, BatchId, Change, Claim, Document, DocumentRef, Durability, Entry, Issued, Item,
    ItemRef, Key, Kind, Op, Outcome, QueueId, Record, Seek, Store, StoreError, Version,
};
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;
use tokio::sync::Mutex;

hub_core::store_tests!(Fresh(Loose::default));

/// The name of a record. It is remembered when the record is gone: no version comes twice for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Document(Key),
    Item(QueueId, SequenceNumber),
}

fn item(at: &ItemRef) -> Name {
    Name::Item(at.queue().clone(), at.sequence())
}

/// Which version of the inner store a version of a record stands for.
#[derive(Debug, Default)]
struct Versions {
    last: HashMap<Name, u64>,
    inner: HashMap<(Name, Version), Version>,
    outer: HashMap<(Name, Version), Version>,
    answers: HashMap<BatchId, Vec<Outcome>>,
}

impl Versions {
    /// These records were written at once: the least version that none of them had before.
    fn wrote(&mut self, names: Vec<Name>, inner: Version) -> Version {
        let last = names.iter().filter_map(|name| self.last.get(name)).max();
        let outer = Version(last.map_or(1, |last| last + 1));
        for name in names {
            self.last.insert(name.clone(), outer.0);
            self.inner.insert((name.clone(), outer), inner);
            self.outer.insert((name, inner), outer);
        }
        outer
    }

    fn inner(&self, name: Name, outer: Version) -> Version {
        self.inner.get(&(name, outer)).copied().unwrap_or(Version(u64::MAX))
    }

    fn document_at(&self, key: &Key, outer: Version) -> DocumentRef {
        DocumentRef::new(key.clone(), self.inner(Name::Document(key.clone()), outer))
    }

    fn item_at(&self, at: &ItemRef) -> ItemRef {
        ItemRef::new(at.queue().clone(), at.sequence(), self.inner(item(at), at.version()))
    }

    fn change(&self, change: &Change) -> Change {
        change.ops().iter().fold(Change::new(), |inner, op| match op {
            Op::Require(key, None) => inner.require_absent(key.clone()),
            Op::Require(key, Some(version)) => inner.require(&self.document_at(key, *version)),
            Op::Put(key, read, body) => {
                let read = read.map(|version| self.document_at(key, version).version());
                inner.write(key, read, body.clone())
            }
            Op::Remove(key, version) => inner.remove(&self.document_at(key, *version)),
            Op::Push(push) => inner.push(push.clone()),
            Op::Retime(at, visible, marks) => inner.retime(&self.item_at(at), *visible, *marks),
            Op::Settle(at) => inner.settle(&self.item_at(at)),
            Op::Clear(queue) => inner.clear(queue.clone()),
            Op::Append(partition, at, entries) => inner.append(*partition, *at, entries.clone()),
        })
    }

    fn issued(&mut self, change: &Change, issued: Issued) -> Issued {
        let (mut names, mut numbers) = (Vec::new(), issued.sequences.iter());
        for op in change.ops() {
            match op {
                Op::Put(key, ..) => names.push(Name::Document(key.clone())),
                Op::Push(push) => {
                    names.push(Name::Item(push.queue.clone(), *numbers.next().unwrap()));
                }
                Op::Append(..) => drop(numbers.next()),
                Op::Retime(at, ..) => names.push(item(at)),
                Op::Require(..) | Op::Remove(..) | Op::Settle(_) | Op::Clear(_) => {}
            }
        }
        Issued { version: self.wrote(names, issued.version), ..issued }
    }

    fn document(&self, found: Document) -> Document {
        let (key, version) = (found.at.key().clone(), found.at.version());
        let version = self.outer[&(Name::Document(key.clone()), version)];
        Document { at: DocumentRef::new(key, version), ..found }
    }

    fn item(&self, found: Item) -> Item {
        let version = self.outer[&(item(&found.at), found.at.version())];
        let at = ItemRef::new(found.at.queue().clone(), found.at.sequence(), version);
        Item { at, ..found }
    }
}

#[derive(Debug, Default)]
struct Loose {
    store: MemoryStore,
    versions: Mutex<Versions>,
}

#[async_trait]
impl Store for Loose {
    fn durability(&self) -> Durability {
        self.store.durability()
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        let versions = self.versions.lock().await;
        let records = self.store.read(asks).await?.into_iter();
        let records = records.map(|record| match record? {
            Record::Document(found) => Some(Record::Document(versions.document(found))),
            Record::Item(found) => Some(Record::Item(versions.item(found))),
            Record::Items(found) => {
                Some(Record::Items(found.into_iter().map(|found| versions.item(found)).collect()))
            }
            depth @ Record::Depth(_) => Some(depth),
        });
        Ok(records.collect())
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        let versions = self.versions.lock().await;
        let found = self.store.scan(kind, after, limit).await?.into_iter();
        Ok(found.map(|found| versions.document(found)).collect())
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        let mut versions = self.versions.lock().await;
        if let Some(outcomes) = versions.answers.get(&batch.id) {
            return Ok(outcomes.clone());
        }
        // Nothing waits between here and the end: the inner store is ready at the first poll.
        let mut outcomes = Vec::new();
        for (index, change) in batch.changes.iter().enumerate() {
            // A version that this batch has issued may be guarded by a later change of it.
            let changes = vec![versions.change(change)];
            let id = BatchId(batch.id.0 | (index as u128 + 1) << 96);
            let one = Batch { id, changes, nudges: Vec::new() };
            outcomes.push(match self.store.commit(&one).await?.remove(0) {
                Outcome::Committed(issued) => Outcome::Committed(versions.issued(change, issued)),
                refused => refused,
            });
        }
        versions.answers.insert(batch.id, outcomes.clone());
        let last = Batch { id: batch.id, changes: Vec::new(), nudges: batch.nudges.clone() };
        self.store.commit(&last).await?;
        Ok(outcomes)
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        let mut versions = self.versions.lock().await;
        let lists = self.store.claim(now, claims).await?;
        for found in lists.iter().flatten() {
            versions.wrote(vec![item(&found.at)], found.at.version());
        }
        let outer = |list: Vec<Item>| list.into_iter().map(|found| versions.item(found)).collect();
        Ok(lists.into_iter().map(outer).collect())
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
