//! Messages that wait for the credit of their link.

use std::collections::{BTreeMap, VecDeque};

use hub_core::frame::LockToken;

/// What waits to be sent on a link, and what was sent and is to be settled.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    waiting: VecDeque<(Vec<u8>, Option<LockToken>)>,
    /// Sent under a lock, by number.
    locked: BTreeMap<u32, LockToken>,
}

impl Outlet {
    /// Puts a message at the end; under a lock, if it has one.
    pub(super) fn push(&mut self, payload: Vec<u8>, lock: Option<LockToken>) {
        self.waiting.push_back((payload, lock));
    }

    /// The next message.
    pub(super) fn pop(&mut self) -> Option<(Vec<u8>, Option<LockToken>)> {
        self.waiting.pop_front()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait or are to be settled.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.locked.len()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.iter().map(|(payload, _)| payload.len()).sum()
    }

    /// A message was sent under a lock.
    pub(super) fn sent(&mut self, delivery: u32, lock: LockToken) {
        self.locked.insert(delivery, lock);
    }

    /// The peer has settled a message.
    pub(super) fn settled(&mut self, delivery: u32) -> Option<LockToken> {
        self.locked.remove(&delivery)
    }
}
