//! Taking items out of queues for a while.

use super::record::{Item, QueueId, QueueKind, Version};
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

impl Scope {
    /// The kind of the queues it is about.
    #[must_use]
    pub fn kind(&self) -> QueueKind {
        match self {
            Self::Queue(queue) => queue.kind,
            Self::Overdue(kind) | Self::Any(kind) => *kind,
        }
    }
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

impl Claim {
    /// Whether it may take an item as it is now (S9): for stores that look at items one by one.
    #[must_use]
    pub fn wants(&self, item: &Item, now: Timestamp) -> bool {
        let in_scope = match &self.scope {
            Scope::Queue(queue) => item.at.queue == *queue,
            Scope::Any(kind) => item.at.queue.kind == *kind,
            Scope::Overdue(kind) => {
                let overdue = item.deadline <= now && item.deadline != Timestamp::MAX;
                item.at.queue.kind == *kind && overdue
            }
        };
        in_scope && item.visible <= now
    }

    /// Takes an item: makes it what a claim leaves (S9), and gives it as it is handed out.
    pub fn take(&self, item: &mut Item, version: Version) -> Item {
        item.at.version = version;
        item.visible = self.hide_until;
        item.claims = item.claims.saturating_add(1);
        item.clone()
    }
}
