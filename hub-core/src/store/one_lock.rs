//! Stores that keep everything in memory under one lock: the rest of the contract, once for all.

use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::recall::Recall;
use super::{
    Ask, Batch, Change, Claim, Document, Durability, Entry, Held, Issued, Item, Kind, Nudges, Op,
    Outcome, Record, Seek, Store, StoreError, Version,
};
use crate::id::{NodeId, Partition, SequenceNumber};
use crate::time::Timestamp;

/// The three shapes in memory, without tasks, errors or repetition: what [`OneLock`] makes a
/// [`Store`] of.
///
/// Whatever is called finishes what it does: nothing fails, and a call that panics ends the store.
pub trait Shapes: Held + Send + 'static {
    /// A document, an item, a depth or a list of items.
    fn read(&self, ask: &Ask) -> Option<Record>;

    /// At most `limit` documents of a kind in byte order of their ids, strictly after `after` (S19).
    fn scan(&self, kind: Kind, after: Option<&str>, limit: usize) -> Vec<Document>;

    /// Does one step of a change that nothing speaks against. What it writes gets this version,
    /// which nothing had before. Gives the number of a pushed item or of the first entry appended.
    fn apply(&mut self, op: &Op, version: Version) -> Option<SequenceNumber>;

    /// Takes items (S9, S10) and gives them this version, which nothing had before.
    fn claim(&mut self, now: Timestamp, claim: &Claim, version: Version) -> Vec<Item>;

    /// At most `limit` entries from `from` on (S12).
    fn tail(&self, partition: Partition, from: SequenceNumber, limit: usize) -> Vec<Entry>;

    /// The sequence number of a place in a partition (S18).
    fn seek(&self, partition: Partition, to: Seek) -> SequenceNumber;

    /// Forgets the entries below a sequence number (S18).
    fn trim(&mut self, partition: Partition, below: SequenceNumber);
}

/// A store of [`Shapes`] behind one lock.
///
/// It judges changes ([`Change::refusal`]), counts versions (S6), remembers batches (S8: the last
/// 10,000, packed) and passes nudges on (S21). With one lock around every call, S1 to S4 and S15
/// hold by construction. Everything but [`nudged`](Store::nudged) is ready at the first poll. It is
/// [`Volatile`](Durability::Volatile).
pub struct OneLock<S> {
    state: Mutex<State<S>>,
    nudges: Nudges,
}

struct State<S> {
    shapes: S,
    /// The last version given to anything. Every change and every claim takes the next one.
    version: u64,
    recall: Recall,
}

impl<S: Shapes> OneLock<S> {
    /// A store of what these shapes hold; they are empty, or this is where versions begin anew.
    pub fn new(shapes: S) -> Self {
        let state = State { shapes, version: 0, recall: Recall::default() };
        Self { state: Mutex::new(state), nudges: Nudges::default() }
    }

    /// Looks at the shapes under the lock, also when a panic has ended the store.
    pub fn with<R>(&self, look: impl FnOnce(&mut S) -> R) -> R {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).shapes)
    }

    fn lock(&self, doing: &'static str) -> Result<MutexGuard<'_, State<S>>, StoreError> {
        // Half of a change may be there, and nobody could tell.
        self.state.lock().map_err(|_| StoreError::fatal(doing, "the store has panicked before"))
    }
}

/// The methods of [`Store`], at once: for stores that wrap this one. They fail, as `Fatal`, when the
/// shapes have panicked before.
#[expect(clippy::missing_errors_doc, reason = "the same of all of them, said above")]
impl<S: Shapes> OneLock<S> {
    /// [`Store::read`].
    pub fn read_now(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        let state = self.lock("read")?;
        Ok(asks.iter().map(|ask| state.shapes.read(ask)).collect())
    }

    /// [`Store::scan`].
    pub fn scan_now(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        Ok(self.lock("scan")?.shapes.scan(kind, after, most(limit)))
    }

    /// [`Store::commit`].
    pub fn commit_now(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        let mut state = self.lock("commit")?;
        if let Some(outcomes) = state.recall.get(batch.id) {
            return Ok(outcomes);
        }
        let base = state.version;
        let mut outcomes = Vec::with_capacity(batch.changes.len());
        for change in &batch.changes {
            outcomes.push(state.change(change));
        }
        state.recall.insert(batch.id, base, &outcomes);
        drop(state);
        self.nudges.nudge(&batch.nudges);
        Ok(outcomes)
    }

    /// [`Store::claim`].
    pub fn claim_now(
        &self,
        now: Timestamp,
        claims: &[Claim],
    ) -> Result<Vec<Vec<Item>>, StoreError> {
        let state = &mut *self.lock("claim")?;
        let taken = claims.iter().map(|claim| {
            state.version += 1;
            state.shapes.claim(now, claim, Version(state.version))
        });
        Ok(taken.collect())
    }

    /// [`Store::tail`].
    pub fn tail_now(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        Ok(self.lock("tail")?.shapes.tail(partition, from, most(limit)))
    }

    /// [`Store::seek`].
    pub fn seek_now(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        Ok(self.lock("seek")?.shapes.seek(partition, to))
    }
}

impl<S: Shapes> State<S> {
    fn change(&mut self, change: &Change) -> Outcome {
        // Refused ones take a version too, so that those of a batch follow from the first.
        self.version += 1;
        if let Some(refusal) = change.refusal(&self.shapes) {
            return refusal;
        }
        let version = Version(self.version);
        let steps = change.ops().iter();
        let sequences = steps.filter_map(|op| self.shapes.apply(op, version)).collect();
        Outcome::Committed(Issued { version, sequences })
    }
}

impl<S: Shapes + Default> Default for OneLock<S> {
    fn default() -> Self {
        Self::new(S::default())
    }
}

impl<S> fmt::Debug for OneLock<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneLock").finish_non_exhaustive()
    }
}

fn most(limit: NonZeroU32) -> usize {
    usize::try_from(limit.get()).unwrap_or(usize::MAX)
}

#[async_trait]
impl<S: Shapes> Store for OneLock<S> {
    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        self.read_now(asks)
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        self.scan_now(kind, after, limit)
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        self.commit_now(batch)
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        self.claim_now(now, claims)
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.tail_now(partition, from, limit)
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        self.seek_now(partition, to)
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        self.lock("trim")?.shapes.trim(partition, below);
        Ok(())
    }

    // Not `async`: nothing below the engine awaits.
    fn nudged<'s: 'f, 'n: 'f, 'f>(
        &'s self,
        node: &'n NodeId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'f>> {
        Box::pin(self.nudges.wait(node))
    }
}

#[cfg(test)]
#[path = "one_lock_tests.rs"]
mod tests;
