//! What the writer is asked, and what it answers.

use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{Claim, Item, Outcome, StoreError};
use hub_core::time::Timestamp;

use super::work::Work;

/// A command for the writer.
#[derive(Debug)]
pub(crate) enum Command {
    Commit(Work),
    Claim(Timestamp, Vec<Claim>),
    Trim(Partition, SequenceNumber),
}

impl Command {
    /// About how many bytes it takes in the journal.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Commit(work) => work.bytes,
            Self::Claim(..) | Self::Trim(..) => 64,
        }
    }
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Reply {
    /// One outcome per change.
    Outcomes(Vec<Outcome>),
    /// One list per claim.
    Items(Vec<Vec<Item>>),
    Done,
}

/// A reply, or why there is none.
pub(crate) type Answer = Result<Reply, StoreError>;
