//! What is true in a run: everything the store did, the machines said and the clients asked.
//!
//! Invariants are functions of this stream. The store's facts come from a shadow beside it, made of
//! nothing but the changes it committed, so a store that lies about itself is seen too.

use bytes::Bytes;
use hub_core::delivery::FeedbackRecord;
use hub_core::device::{Answer, Request};
use hub_core::frame::{Inbound, Outbound};
use hub_core::id::{Address, NodeId};
use hub_core::store::{Item, ItemRef, Key, Marks, QueueId, Version};
use hub_core::time::Timestamp;

/// A connection, unique in a run.
pub(crate) type Conn = u64;
/// A call, unique in a run.
pub(crate) type Call = u64;

/// An item as the shadow has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shadowed {
    pub(crate) version: Version,
    pub(crate) visible: Timestamp,
    pub(crate) deadline: Timestamp,
    pub(crate) marks: Marks,
    pub(crate) body: Bytes,
}

/// A document as the shadow has it.
pub(crate) type Written = Option<(Version, Bytes)>;

/// One step of a committed change, with what was there before it.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Appended { partition: u16, first: u64, bodies: Vec<Bytes> },
    Pushed { queue: QueueId, sequence: u64, capacity: u32, depth: u32, item: Shadowed },
    Settled { item: ItemRef, was: Option<Shadowed> },
    Retimed { item: ItemRef, was: Option<Shadowed>, marks: Marks },
    Cleared { queue: QueueId, sequences: Vec<u64> },
    Wrote { key: Key, guard: Option<Version>, was: Written, body: Bytes },
    Removed { key: Key, guard: Version, was: Written },
    Required { guard: Option<Version>, was: Option<Version> },
}

/// What somebody wants of a machine.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    Connect { conn: Conn },
    Request(Request),
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    /// A change of this node took effect.
    Committed { node: usize, steps: Vec<Step> },
    /// A claim took an item, which was so before.
    Claimed { now: Timestamp, item: Box<Item>, was: Shadowed },
    /// A reader saw these sequence numbers of a partition.
    Tailed { partition: u16, entries: Vec<(u64, Bytes)> },
    /// A back end received feedback.
    Feedback { records: Vec<FeedbackRecord> },
    /// A frame reached the machine.
    Frame { conn: Conn, inbound: Inbound },
    /// The machine, or the committer for it, told a link.
    Told { conn: Conn, outbound: Outbound },
    /// A question reached the machine.
    Asked { call: Call, node: usize, address: Address, wish: Wish },
    /// The machine answered it.
    Answered { call: Call, answer: Answer },
    /// Nobody waits for the answer any more.
    Cancelled { call: Call },
    /// A node lost all it had in memory.
    Crashed { node: usize },
    /// A node begins, with this name.
    Started { node: usize, id: NodeId },
    /// The faults are over.
    Calm,
}

/// What an invariant knows beside a fact.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment<'a> {
    /// True time.
    pub(crate) now: Timestamp,
    /// The bounds.
    pub(crate) limits: &'a hub_core::limits::Limits,
}

/// No clock is further off than this, in milliseconds.
pub(crate) const SKEW_MAX: u64 = 300;
