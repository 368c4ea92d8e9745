//! Batches to the memory store.

use std::sync::Arc;

use bytes::Bytes;
use hub_core::id::Partition;
use hub_core::store::{
    Batch, BatchId, Change, DocumentRef, Entries, Key, Kind, Outcome, Store, Version,
};
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;

use crate::fixture::{self, BODY, address};
use crate::{Bench, Random};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SIZES: &[u64] = &[1, 10, 100, 1000];

/// One batch of so many changes, each of which appends one entry.
#[derive(Debug)]
pub struct Append {
    store: Arc<MemoryStore>,
    size: u64,
    body: Bytes,
    number: u128,
}

impl Bench for Append {
    type Size = u64;
    const NAME: &'static str = "commit/append";
    const SIZES: &'static [u64] = SIZES;

    fn open(size: u64) -> Self {
        Self { store: fixture::store(), size, body: Bytes::new(), number: 0 }
    }

    fn seed(&mut self, random: &mut Random) {
        self.body = random.bytes(BODY).into();
        // Until the log sheds.
        let entry = BODY as u64 + 4 + 160;
        self.run(fixture::LOG_BYTES / entry / self.size + 1);
    }

    fn elements(size: u64) -> u64 {
        size
    }

    fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            self.number += 1;
            let change = || {
                let entries = Entries::one(Bytes::copy_from_slice(&self.body));
                Change::new().append(Partition(0), NOW, entries)
            };
            let changes = (0..self.size).map(|_| change()).collect();
            let batch = Batch { id: BatchId(self.number), changes, nudges: Vec::new() };
            let outcomes = fixture::now(self.store.commit(&batch)).expect("committed");
            debug_assert!(outcomes.iter().all(|o| matches!(o, Outcome::Committed(_))));
        }
    }
}

/// One batch of so many changes, each of which replaces one of 10,000 documents.
#[derive(Debug)]
pub struct Replace {
    store: Arc<MemoryStore>,
    size: u64,
    body: Bytes,
    number: u128,
    documents: Vec<DocumentRef>,
    at: usize,
}

const DOCUMENTS: usize = 10_000;

impl Bench for Replace {
    type Size = u64;
    const NAME: &'static str = "commit/replace";
    const SIZES: &'static [u64] = SIZES;

    fn open(size: u64) -> Self {
        let store = fixture::store();
        Self { store, size, body: Bytes::new(), number: 0, documents: Vec::new(), at: 0 }
    }

    fn seed(&mut self, random: &mut Random) {
        self.body = random.bytes(BODY).into();
        let mut keys: Vec<_> =
            (0..DOCUMENTS).map(|n| Key::new(Kind::Twin, address(n).as_str())).collect();
        let changes = keys.iter().map(|key| Change::new().create(key.clone(), self.body.clone()));
        let batch = Batch { id: BatchId(0), changes: changes.collect(), nudges: Vec::new() };
        let outcomes = fixture::now(self.store.commit(&batch)).expect("committed");
        let versions: Vec<_> = outcomes.iter().map(version).collect();
        self.documents =
            keys.drain(..).zip(versions).map(|(key, at)| DocumentRef::new(key, at)).collect();
        // The order in which devices report has nothing to do with their names.
        random.shuffle(&mut self.documents);
    }

    fn elements(size: u64) -> u64 {
        size
    }

    fn run(&mut self, rounds: u64) {
        let size = usize::try_from(self.size).unwrap_or(1);
        for _ in 0..rounds {
            self.number += 1;
            // 10,000 is a multiple of every size, so a slice never wraps.
            let part = self.documents.get_mut(self.at..self.at + size).unwrap_or_default();
            self.at = (self.at + size) % DOCUMENTS;
            let change = |document: &DocumentRef| {
                Change::new().replace(document, Bytes::copy_from_slice(&self.body))
            };
            let changes = part.iter().map(change).collect();
            let batch = Batch { id: BatchId(self.number), changes, nudges: Vec::new() };
            let outcomes = fixture::now(self.store.commit(&batch)).expect("committed");
            for (document, outcome) in part.iter_mut().zip(&outcomes) {
                *document = DocumentRef::new(document.key().clone(), version(outcome));
            }
        }
    }
}

fn version(outcome: &Outcome) -> Version {
    match outcome {
        Outcome::Committed(issued) => Some(issued.version),
        Outcome::Conflict | Outcome::Full(_) => None,
    }
    .expect("nobody else writes")
}
