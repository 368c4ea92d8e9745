//! Taking items out of queues for a while.

use super::record::{QueueId, QueueKind};
use crate::time::Timestamp;

/// Which items a claim may take. Always in sequence order within a queue (S10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Visible items of one queue.
    Queue(QueueId),
    /// Visible items past their deadline, of any queue of a kind. Queues in any order.
    Overdue(QueueKind),
    /// Visible items of any queue of a kind. Queues in any order.
    Any(QueueKind),
}

/// A wish for items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub scope: Scope,
    /// How many at most. Zero takes none.
    pub limit: u32,
    /// Those taken are hidden from every claim until then.
    pub hide_until: Timestamp,
}
