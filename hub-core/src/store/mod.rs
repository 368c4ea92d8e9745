//! The port to durable memory: three shapes, guarded changes, one claim.
//!
//! A store knows *shapes*, not rules. It keeps **documents** (a key, a version, a body), **queue
//! items** (a queue, a sequence number, two times, a few marks, a body) and **log entries** (a
//! partition, a sequence number, a time, a body). What is merged, expired, dead-lettered or sent
//! is decided above it and reaches it as [`Change`]s.
//!
//! Finding twins by what is in them is a second, optional port: [`Query`].
//!
//! # The contract
//!
//! The conformance kit (feature `conformance`) has one case per sentence, named after it.
//!
//! - **S1** `read` shows all it was asked for as it stood at one instant.
//! - **S2** A change is all or nothing.
//! - **S3** The changes of a batch apply as if one after another in the given order; the refusal of
//!   one does not touch the others.
//! - **S4** A refused change leaves no trace.
//! - **S5** A guard holds if and only if the record still has that version (or is absent).
//! - **S6** Every write of a record gives it a version never used for it before, also after it was
//!   removed and made anew. All records written by one change share the version in its `Issued`.
//!   Other records may have the same: those of one claim, or of a batch, or any.
//! - **S7** What `commit` returned as committed survives a crash, if the store says `Synced`.
//! - **S8** The same batch id again gives the same outcomes and no second effect, for at least ten
//!   minutes or 10,000 later batches, whichever ends first.
//! - **S9** An item is handed to at most one claim until that claim's `hide_until`. A claim takes
//!   only items with `visible` ≤ now; a sweep only those whose `deadline` ≤ now as well, and never
//!   one whose `deadline` is [`Timestamp::MAX`]. Claims of one call and claims that run at once never
//!   share an item; a slow one hides nothing from the others but what it took.
//!   A claimed item has `visible` = `hide_until`, a new version, and `claims` one higher.
//! - **S10** Items of a claim come in sequence order within their queue, and a claim on one queue
//!   takes the first that are visible. Sequence numbers of a queue rise with every push, also after
//!   the queue was emptied.
//! - **S11** A push beyond capacity (visible and hidden items together) is refused whole, with the
//!   queue named.
//! - **S12** Sequence numbers of a partition start at 1 and are contiguous. `tail` never skips: once
//!   a reader has seen a number, no smaller one appears later. An entry's time is at least that of
//!   the entry before it: the store raises an earlier one.
//! - **S13** Entries of one change stay in order and next to each other within their partition.
//! - **S14** The store reads no clock; all times are arguments.
//! - **S15** Dropping a future leaves either the whole effect or none.
//! - **S16** Bodies come back byte for byte: documents and items up to 1 MiB, entries up to 512 KiB,
//!   empty ones included.
//! - **S17** After closing and opening again, everything above still holds (for a store that keeps
//!   anything).
//! - **S18** `seek` gives the oldest kept entry, the next to come, or the oldest kept one at or after
//!   a time; after `trim` the numbers go on, they do not start again.
//! - **S19** `scan` gives documents of one kind in byte order of their ids, strictly after `after`.
//! - **S20** The guards of a change are judged against the state before it. A change that writes one
//!   record twice ([`Change::writes_a_record_twice`]) is a `Conflict`. Room for a push is judged
//!   after the guards and after the steps before it: a settled item has made room, a pushed one has
//!   taken it. A failed guard goes before a full queue, and of several full queues the first push
//!   names its own.
//! - **S21** A committed batch ends a wait of each node it nudges: one under way, or else the next.
//!   Being missed now and then is allowed (callers also poll), never being heard is not.
//! - **S22** Items of a queue are listed in sequence order strictly after a number, locked ones too;
//!   listing takes nothing and hides nothing.

mod change;
mod claim;
mod error;
mod judge;
mod nudges;
mod one_lock;
mod query;
mod queue_index;
mod recall;
mod record;

use std::num::NonZeroU32;

use async_trait::async_trait;

pub use self::change::{Batch, BatchId, Change, Issued, Op, Outcome, Push};
pub use self::claim::{Claim, Scope};
pub use self::error::{StoreError, StoreErrorKind};
pub use self::judge::Held;
pub use self::nudges::{Nudged, Nudges};
pub use self::one_lock::{OneLock, Shapes};
pub use self::query::{Find, Found, FoundRow, Parts, Population, Query, Wanted};
pub use self::queue_index::{ItemTimes, QueueIndex};
pub use self::record::{
    Ask, Document, DocumentRef, Entries, Entry, Item, ItemRef, Key, Kind, Marks, QueueId,
    QueueKind, Record, Seek, Version,
};
use crate::id::{NodeId, Partition, SequenceNumber};
use crate::time::Timestamp;

/// What an acknowledgement of a store is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Gone when the process ends.
    Volatile,
    /// On stable storage before `commit` returns: survives a crash and loss of power.
    Synced,
}

/// A place that keeps what the hub has acknowledged. The contract is the module's documentation.
///
/// No method has a default, so nothing can be forgotten. Every method may be called from many tasks
/// at once. An error of kind [`StoreErrorKind::Unavailable`] promises that nothing happened.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What an acknowledgement is worth here.
    fn durability(&self) -> Durability;

    /// Documents, items and depths as they stand at one instant (S1), in the order asked. `None` is
    /// a document or item that does not exist.
    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError>;

    /// At most `limit` documents of one kind in byte order of their ids, after `after` (S19).
    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError>;

    /// Commits a batch: one outcome per change, in order (S2–S8, S11–S13, S15).
    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError>;

    /// Takes items for a while (S9, S10): one list per claim, in the order of the claims.
    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError>;

    /// At most `limit` entries from `from` on (S12). Below the oldest kept one it begins there.
    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError>;

    /// The sequence number of a place in a partition (S18).
    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError>;

    /// Forgets the entries below a sequence number (S18). Beyond the last one: forgets all there are.
    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError>;

    /// Ends when a committed batch named `node` in its nudges. May end for nothing, and may miss one:
    /// callers also poll. A nudge committed between two calls ends the second at once.
    async fn nudged(&self, node: &NodeId);
}
