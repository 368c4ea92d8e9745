//! The state that the journal has been applied to: documents, items and batches, on disk.
//!
//! The tree is written only by checkpoints, and what a checkpoint writes is in the journal too until
//! the tree says it is synced. So all that is asked of a tree is this: **what was written before a
//! [`Tree::sync`] that succeeded is there afterwards.** Of what was written since, a crash may leave
//! any part. Values carry their own checksums (see [`Space`]'s users), so a tree that returns
//! something else is noticed.

pub(crate) mod fjall;
pub(crate) mod rows;
#[cfg(any(test, feature = "simulation"))]
#[expect(clippy::unwrap_used, reason = "a simulation may panic")]
pub(crate) mod sim;

use std::fmt::Debug;
use std::io;

use bytes::Bytes;

/// A part of the tree with keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Space {
    /// Kind and id → version and body.
    Documents,
    /// Kind and number → head of an item.
    Items,
    /// Kind and number → body of an item.
    Bodies,
    /// Number → batch and its outcomes.
    Batches,
    /// The checkpoint.
    Meta,
}

impl Space {
    pub(crate) const ALL: [Self; 5] =
        [Self::Documents, Self::Items, Self::Bodies, Self::Batches, Self::Meta];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Items => "items",
            Self::Bodies => "bodies",
            Self::Batches => "batches",
            Self::Meta => "meta",
        }
    }
}

/// One write: a key and its value, or its removal.
pub(crate) type Write = (Space, Vec<u8>, Option<Vec<u8>>);

/// Sorted keys on disk.
pub(crate) trait Tree: Debug + Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, space: Space, key: &[u8]) -> io::Result<Option<Bytes>>;
    /// At most `limit` keys with their values, in order, strictly after a key.
    fn after(
        &self,
        space: Space,
        key: Option<&[u8]>,
        limit: usize,
    ) -> io::Result<Vec<(Vec<u8>, Bytes)>>;
    /// Writes; durable after [`Tree::sync`].
    fn write(&self, writes: Vec<Write>) -> io::Result<()>;
    /// Makes all writes durable.
    fn sync(&self) -> io::Result<()>;
    /// Opens the tree again after a write or a sync has failed. What was not synced may be gone.
    fn revive(&self) -> io::Result<()>;
    /// Closes the tree. Every later call fails.
    fn close(&self);
}
