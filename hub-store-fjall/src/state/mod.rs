//! What the store knows in memory, under one lock.

pub(crate) mod cache;
pub(crate) mod documents;
pub(crate) mod log;
pub(crate) mod recall;
pub(crate) mod recent;
pub(crate) mod shelf;

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use hub_core::store::{Held, ItemRef, Key, QueueId, QueueKind, Version};

use self::documents::Documents;
use self::log::Log;
use self::recall::Recall;
use self::shelf::Shelf;

/// Everything under the lock.
///
/// The writer judges a group of commands against it and changes queues and numbers in place, before
/// the group is durable; readers see through the marks it leaves (`before` in shelves, `published`
/// in the log, `pending` in documents) to what was synced last. [`State::publish`] removes the marks
/// once the group is durable, [`State::roll_back`] undoes the changes when it could not be written.
#[derive(Debug)]
pub(crate) struct State {
    /// The last version given to anything. Every change and every claim takes the next one.
    pub(crate) version: u64,
    /// The same after the last durable group.
    published_version: u64,
    pub(crate) documents: Documents,
    shelves: BTreeMap<QueueKind, Shelf>,
    pub(crate) log: Log,
    pub(crate) recall: Recall,
    /// Counts the moments at which values move between memory and the tree: what was read from the
    /// tree without the lock is current if this has not changed meanwhile.
    pub(crate) epoch: u64,
    /// Why nothing can be written any more.
    pub(crate) poisoned: Option<String>,
}

/// As the writer sees it: with what the group before has changed.
impl Held for State {
    fn version_of(&self, key: &Key) -> Option<Version> {
        self.documents.version_of(key)
    }

    fn holds(&self, item: &ItemRef) -> bool {
        self.shelf(item.queue().kind).is_some_and(|shelf| shelf.holds(item))
    }

    fn depth(&self, queue: &QueueId) -> u32 {
        self.shelf(queue.kind).map_or(0, |shelf| shelf.depth(queue))
    }
}

impl State {
    pub(crate) fn new(cache_bytes: usize, log_bytes_max: u64, recent_bytes: usize) -> Self {
        Self {
            version: 0,
            published_version: 0,
            documents: Documents::new(cache_bytes),
            shelves: BTreeMap::new(),
            log: Log::new(log_bytes_max, recent_bytes),
            recall: Recall::default(),
            epoch: 0,
            poisoned: None,
        }
    }

    pub(crate) fn shelf(&self, kind: QueueKind) -> Option<&Shelf> {
        self.shelves.get(&kind)
    }

    pub(crate) fn shelf_mut(&mut self, kind: QueueKind) -> &mut Shelf {
        self.shelves.entry(kind).or_default()
    }

    pub(crate) fn shelves_mut(&mut self) -> impl Iterator<Item = (QueueKind, &mut Shelf)> {
        self.shelves.iter_mut().map(|(kind, shelf)| (*kind, shelf))
    }

    /// Bytes that only memory and the journal have.
    pub(crate) fn dirty_bytes(&self) -> usize {
        let items: usize = self.shelves.values().map(Shelf::dirty_bytes).sum();
        items.saturating_add(self.documents.dirty_bytes())
    }

    /// The group is durable: shows it to readers.
    pub(crate) fn publish(&mut self) {
        self.published_version = self.version;
        self.documents.publish();
        self.shelves.values_mut().for_each(Shelf::publish);
        self.log.publish();
        self.recall.publish();
    }

    /// Nothing of the group happened.
    pub(crate) fn roll_back(&mut self) {
        // Nobody was told the versions and numbers that were given, so they are given again.
        self.version = self.published_version;
        self.documents.roll_back();
        self.shelves.values_mut().for_each(Shelf::roll_back);
        self.log.roll_back();
        self.recall.roll_back();
    }
}

/// A damaged or missing piece of a file.
pub(crate) fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// A body, or the word that the tree has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Here(Bytes),
    Stored,
}
