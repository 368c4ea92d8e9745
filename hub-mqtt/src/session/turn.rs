//! What a session wants done.

use hub_core::envelope::EventBatch;
use hub_core::frame::Inbound;

use super::End;
use crate::bag::Bag;

/// Where a session puts what it wants done, and the memory it works in. One serves any number of
/// sessions, one after the other.
#[derive(Debug, Default)]
pub struct Turn {
    /// Bytes for the device.
    pub wire: Vec<u8>,
    /// Frames for the hub, in order.
    pub up: Vec<Inbound>,
    /// Messages that no topic could carry and that were rejected.
    pub undeliverable: u64,
    pub(super) end: Option<End>,
    pub(super) batch: EventBatch,
    pub(super) bag: Bag,
    pub(super) topic: String,
    pub(super) body: String,
}

/// Memory of [`Turn`] that is kept between uses, in bytes per buffer.
const KEPT: usize = 256 * 1024;

impl Turn {
    /// Nothing to do.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Why the session is over, if it is. What else is here is still to be done.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Forgets what was asked for, for the next session. One large message must not pin its
    /// memory for ever.
    pub fn clear(&mut self) {
        self.wire.clear();
        self.wire.shrink_to(KEPT);
        self.up.clear();
        self.undeliverable = 0;
        self.end = None;
        self.topic.clear();
        self.topic.shrink_to(KEPT);
        self.body.clear();
        self.body.shrink_to(KEPT);
        if !self.batch.is_empty() {
            self.batch = EventBatch::new();
        }
    }
}
