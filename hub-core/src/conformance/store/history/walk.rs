//! A store and the model side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::super::probe::Probe;
use super::super::{Fixture, Model};
use super::steps::Step;
use crate::id::{Partition, SequenceNumber};
use crate::store::{
    Ask, Batch, BatchId, Change, Claim, Document, DocumentRef, Issued, Item, ItemRef, Key, Op,
    Outcome, QueueId, Record, Scope, Store, Version,
};
use crate::time::Timestamp;

/// Both, and how the names of one translate to the other's. All names here are the model's.
#[derive(Debug)]
pub(super) struct Walk<S> {
    probe: Probe<S>,
    model: Model,
    seed: u64,
    step: u64,
    documents: BTreeMap<Key, Version>,
    /// All versions that each document has had.
    old_versions: BTreeMap<Key, Vec<Version>>,
    items: BTreeMap<(QueueId, SequenceNumber), Version>,
    old_items: Vec<ItemRef>,
    longest_log: u64,
    /// When entries were appended.
    appended: Vec<Timestamp>,
    batches: Vec<(Batch, Batch, Vec<Outcome>)>,
    versions: BTreeMap<Version, Version>,
    numbers: BTreeMap<(QueueId, SequenceNumber), SequenceNumber>,
    /// The store's versions of each record, to find one issued twice (S6).
    used: BTreeSet<(Name, Version)>,
}

/// The name of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Document(Key),
    Item(QueueId, SequenceNumber),
}

impl<S: Store> Walk<S> {
    pub(super) async fn open<F: Fixture<Store = S>>(fixture: &mut F, seed: u64) -> Self {
        Self {
            probe: Probe::open(fixture).await,
            model: Model::new(),
            seed,
            step: 0,
            documents: BTreeMap::new(),
            old_versions: BTreeMap::new(),
            items: BTreeMap::new(),
            old_items: Vec::new(),
            longest_log: 0,
            appended: Vec::new(),
            batches: Vec::new(),
            versions: BTreeMap::new(),
            numbers: BTreeMap::new(),
            used: BTreeSet::new(),
        }
    }

    /// The store after a crash; the model does not notice.
    pub(super) async fn crash<F: Fixture<Store = S>>(mut self, fixture: &mut F) -> Option<Self> {
        self.probe = self.probe.reopen(fixture).await?;
        Some(self)
    }

    /// The time the history has come to.
    pub(super) fn now(&self) -> u64 {
        self.step * 3
    }

    /// When some entry was appended.
    pub(super) fn appended(&self, random: u64) -> Option<Timestamp> {
        let index = random.checked_rem(self.appended.len() as u64)?;
        self.appended.get(index as usize).copied()
    }

    pub(super) fn longest_log(&self) -> u64 {
        self.longest_log
    }

    pub(super) fn version_of(&self, key: &Key) -> Option<Version> {
        self.documents.get(key).copied()
    }

    /// Some version that the document has, or had.
    pub(super) fn old_version(&self, random: u64, key: &Key) -> Option<Version> {
        let versions = self.old_versions.get(key)?;
        let index = random.checked_rem(versions.len() as u64)?;
        versions.get(index as usize).copied()
    }

    /// Some item as it is.
    pub(super) fn item(&self, random: u64) -> Option<ItemRef> {
        let index = random.checked_rem(self.items.len() as u64)?;
        let ((queue, number), version) = self.items.iter().nth(index as usize)?;
        Some(ItemRef::new(queue.clone(), *number, *version))
    }

    /// Some item as it was, or is.
    pub(super) fn old_item(&self, random: u64) -> Option<ItemRef> {
        let index = random.checked_rem(self.old_items.len() as u64)?;
        self.old_items.get(index as usize).cloned()
    }

    /// Takes one step on both sides.
    pub(super) async fn take(&mut self, step: Step) {
        self.step += 1;
        let place = format!("seed {}, step {}: {step:?}", self.seed, self.step);
        match step {
            Step::Commit(changes) => self.commit(changes, &place).await,
            Step::Repeat(back) => self.repeat(back, &place).await,
            Step::Claim(now, claims) => self.claim(now, &claims, &place).await,
            Step::Read(asks) => self.read(&asks, &place).await,
            Step::Scan(kind, after, limit) => {
                let found = self.probe.scan(kind, after.as_deref(), limit.get()).await;
                let expected = self.model.scan(kind, after.as_deref(), limit).await.unwrap();
                let expected: Vec<_> = expected.into_iter().map(|d| self.document(d)).collect();
                assert_eq!(found, expected, "{place}");
            }
            Step::Tail(partition, from, limit) => {
                let found = self.probe.tail(partition, from.0, limit.get()).await;
                let expected = self.model.tail(partition, from, limit).await.unwrap();
                assert_eq!(found, expected, "{place}");
            }
            Step::Seek(partition, to) => {
                let found = self.probe.seek(partition, to).await;
                assert_eq!(found, self.model.seek(partition, to).await.unwrap().0, "{place}");
            }
            Step::Trim(partition, below) => {
                self.probe.trim(partition, below.0).await;
                self.model.trim(partition, below).await.unwrap();
            }
        }
        self.check_all(&place).await;
    }

    async fn commit(&mut self, changes: Vec<Change>, place: &str) {
        let theirs = changes.iter().map(|change| self.change(change)).collect();
        let theirs = self.probe.batch(theirs);
        let ours = Batch { id: BatchId(u128::from(self.step)), changes, nudges: Vec::new() };
        let expected = self.model.commit(&ours).await.unwrap();
        let found = self.probe.send(&theirs).await;
        for (change, (expected, found)) in ours.changes.iter().zip(expected.iter().zip(&found)) {
            match (expected, found) {
                (Outcome::Committed(ours), Outcome::Committed(theirs)) => {
                    self.learn(change, ours, theirs, place);
                }
                _ => assert_eq!(found, expected, "{place}"),
            }
        }
        self.batches.push((ours, theirs, found));
    }

    async fn repeat(&mut self, back: usize, place: &str) {
        if let Some((ours, theirs, first)) = self.batches.iter().rev().nth(back) {
            assert_eq!(&self.probe.send(theirs).await, first, "{place}");
            self.model.commit(ours).await.unwrap();
        }
    }

    /// What a committed change has issued on both sides.
    fn learn(&mut self, change: &Change, ours: &Issued, theirs: &Issued, place: &str) {
        assert_eq!(theirs.sequences.len(), ours.sequences.len(), "{place}");
        self.versions.insert(ours.version, theirs.version);
        let mut numbers = ours.sequences.iter().zip(&theirs.sequences);
        for op in change.ops() {
            match op {
                Op::Require(..) => {}
                Op::Put(key, ..) => {
                    self.documents.insert(key.clone(), ours.version);
                    self.old_versions.entry(key.clone()).or_default().push(ours.version);
                    self.use_version(Name::Document(key.clone()), theirs.version, place);
                }
                Op::Remove(key, _) => {
                    self.documents.remove(key);
                }
                Op::Push(push) => {
                    let (ours_number, theirs_number) = numbers.next().unwrap();
                    let of_queue = self.numbers.iter().filter(|((of, _), _)| *of == push.queue);
                    let last = of_queue.map(|(_, number)| *number).max();
                    assert!(Some(*theirs_number) > last, "{theirs_number} after {last:?}, {place}");
                    self.numbers.insert((push.queue.clone(), *ours_number), *theirs_number);
                    let at = ItemRef::new(push.queue.clone(), *ours_number, ours.version);
                    self.item_written(&at, theirs.version, place);
                }
                Op::Retime(item, ..) => {
                    let at = ItemRef::new(item.queue.clone(), item.sequence, ours.version);
                    self.item_written(&at, theirs.version, place);
                }
                Op::Settle(item) => {
                    self.items.remove(&(item.queue.clone(), item.sequence));
                }
                Op::Clear(queue) => self.items.retain(|(of, _), _| of != queue),
                Op::Append(_, at, entries) => {
                    self.appended.push(*at);
                    let (ours_number, theirs_number) = numbers.next().unwrap();
                    assert_eq!(theirs_number, ours_number, "{place}");
                    let last = ours_number.0 + entries.len() as u64 - 1;
                    self.longest_log = self.longest_log.max(last);
                }
            }
        }
    }

    fn item_written(&mut self, at: &ItemRef, theirs: Version, place: &str) {
        self.items.insert((at.queue.clone(), at.sequence), at.version);
        self.old_items.push(at.clone());
        self.use_version(Name::Item(at.queue.clone(), at.sequence), theirs, place);
    }

    fn use_version(&mut self, record: Name, theirs: Version, place: &str) {
        let new = self.used.insert((record.clone(), theirs));
        assert!(new, "{record:?} had {theirs:?} before, {place}");
    }

    async fn claim(&mut self, now: Timestamp, claims: &[Claim], place: &str) {
        let lists = self.probe.claims(now, claims).await;
        for (claim, found) in claims.iter().zip(lists) {
            let limit = claim.limit as usize;
            let mut expected = self.model.claimable(now, &claim.scope);
            assert_eq!(found.len(), expected.len().min(limit), "{place}");
            if matches!(claim.scope, Scope::Queue(_)) {
                expected.truncate(limit);
            } else {
                // Which ones is the store's choice, in which order of queues too; but there must
                // be one of the model's for each, and within a queue their numbers rise.
                let by_name: BTreeMap<_, _> =
                    expected.iter().map(|item| (self.their_place(&item.at), item)).collect();
                let chosen = found.iter().map(|item| {
                    let name = (item.at.queue.clone(), item.at.sequence);
                    let item = by_name.get(&name).copied().cloned();
                    item.unwrap_or_else(|| panic!("not to be had: {name:?}, {place}"))
                });
                expected = chosen.collect();
                for (index, item) in found.iter().enumerate() {
                    let mut before = found[..index].iter().filter(|b| b.at.queue == item.at.queue);
                    assert!(before.all(|b| b.at.sequence < item.at.sequence), "{found:?}, {place}");
                }
            }
            let refs: Vec<_> = expected.into_iter().map(|item| item.at).collect();
            let expected = self.model.take(&refs, claim.hide_until);
            for (ours, theirs) in expected.into_iter().zip(found) {
                self.versions.insert(ours.at.version, theirs.at.version);
                self.item_written(&ours.at, theirs.at.version, place);
                assert_eq!(theirs, self.their_item(ours), "{place}");
            }
        }
    }

    async fn read(&self, asks: &[Ask], place: &str) {
        let theirs: Vec<_> = asks
            .iter()
            .map(|ask| match ask {
                Ask::Item(queue, number) => {
                    let at = ItemRef::new(queue.clone(), *number, Version(0));
                    let (queue, number) = self.their_place(&at);
                    Ask::Item(queue, number)
                }
                other => other.clone(),
            })
            .collect();
        let found = self.probe.read(&theirs).await;
        let expected = self.model.read(asks).await.unwrap();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|record| match record? {
                Record::Document(document) => Some(Record::Document(self.document(document))),
                Record::Item(item) => Some(Record::Item(self.their_item(item))),
                Record::Depth(depth) => Some(Record::Depth(depth)),
                Record::Items(items) => {
                    let items = items.into_iter().map(|item| self.their_item(item));
                    Some(Record::Items(items.collect()))
                }
            })
            .collect();
        assert_eq!(found, expected, "{place}");
    }

    /// Every so often everything there is, so that a silent effect is not missed.
    async fn check_all(&self, place: &str) {
        if !self.step.is_multiple_of(10) {
            return;
        }
        let documents = self.documents.keys().cloned().map(Ask::Document);
        let items = self.items.keys().cloned().map(|(queue, number)| Ask::Item(queue, number));
        let queues: BTreeSet<_> = self.numbers.keys().map(|(queue, _)| queue.clone()).collect();
        let depths = queues.into_iter().map(Ask::Depth);
        let all: Vec<_> = documents.chain(items).chain(depths).collect();
        self.read(&all, place).await;
        for partition in [0, 1, 2].map(Partition) {
            let all = std::num::NonZeroU32::MAX;
            let found = self.probe.tail(partition, 1, all.get()).await;
            let expected = self.model.tail(partition, SequenceNumber(1), all).await.unwrap();
            assert_eq!(found, expected, "{place}");
        }
    }

    fn document(&self, document: Document) -> Document {
        let version = self.version(document.at.version);
        Document { at: DocumentRef::new(document.at.key, version), ..document }
    }

    fn their_item(&self, item: Item) -> Item {
        Item { at: self.item_ref(&item.at), ..item }
    }

    fn their_place(&self, at: &ItemRef) -> (QueueId, SequenceNumber) {
        let at = self.item_ref(at);
        (at.queue, at.sequence)
    }

    fn item_ref(&self, at: &ItemRef) -> ItemRef {
        let place = (at.queue.clone(), at.sequence);
        // A number the model has not issued in this queue is none of the store's either.
        let number = self.numbers.get(&place).copied().unwrap_or(SequenceNumber(u64::MAX));
        ItemRef::new(at.queue.clone(), number, self.version(at.version))
    }

    fn version(&self, version: Version) -> Version {
        self.versions.get(&version).copied().unwrap_or(version)
    }

    fn change(&self, change: &Change) -> Change {
        let document =
            |key: &Key, version: Version| DocumentRef::new(key.clone(), self.version(version));
        change.ops().iter().fold(Change::new(), |theirs, op| match op {
            Op::Require(key, None) => theirs.require_absent(key.clone()),
            Op::Require(key, Some(version)) => theirs.require(&document(key, *version)),
            Op::Put(key, read, body) => {
                theirs.write(key, read.map(|version| self.version(version)), body.clone())
            }
            Op::Remove(key, version) => theirs.remove(&document(key, *version)),
            Op::Push(push) => theirs.push(push.clone()),
            Op::Retime(item, visible, marks) => {
                theirs.retime(&self.item_ref(item), *visible, *marks)
            }
            Op::Settle(item) => theirs.settle(&self.item_ref(item)),
            Op::Clear(queue) => theirs.clear(queue.clone()),
            Op::Append(partition, at, entries) => theirs.append(*partition, *at, entries.clone()),
        })
    }
}
