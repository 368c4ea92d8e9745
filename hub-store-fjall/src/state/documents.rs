//! Documents: layers of what was written of late over what the tree has.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hub_core::store::{Document, DocumentRef, Key, Kind, Version};

use super::cache::Cache;

/// What a write costs beside its key and body.
const SLOT: usize = 160;

/// A document, or its absence.
pub(crate) type Slot = Option<(Version, Bytes)>;
/// Documents by key.
pub(crate) type Layer = BTreeMap<Key, Slot>;

/// From the top: `pending` (written by the group that is not durable yet), `active` (since the last
/// checkpoint began), `frozen` (being written to the tree), and then what the tree has, some of it
/// in the cache.
#[derive(Debug)]
pub(crate) struct Documents {
    pending: Layer,
    active: Layer,
    frozen: Option<Arc<Layer>>,
    cache: Cache,
    /// What the writer has read from the tree for the group it judges.
    fetched: HashMap<Key, Slot>,
    dirty_bytes: usize,
    frozen_bytes: usize,
}

/// Whether memory knows a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    Yes(Slot),
    /// The tree has to be asked.
    No,
}

impl Documents {
    pub(crate) fn new(cache_bytes: usize) -> Self {
        Self {
            pending: Layer::new(),
            active: Layer::new(),
            frozen: None,
            cache: Cache::new(cache_bytes),
            fetched: HashMap::new(),
            dirty_bytes: 0,
            frozen_bytes: 0,
        }
    }

    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes.saturating_add(self.frozen_bytes)
    }

    fn written(&self, key: &Key) -> Option<&Slot> {
        self.active.get(key).or_else(|| self.frozen.as_ref()?.get(key))
    }

    /// The document as readers may see it.
    pub(crate) fn published(&mut self, key: &Key) -> Known {
        match self.written(key) {
            Some(slot) => Known::Yes(slot.clone()),
            None => self.cache.get(key).map_or(Known::No, |found| Known::Yes(Some(found))),
        }
    }

    /// Whether the writer has to fetch a document before it can judge it.
    pub(crate) fn is_cold(&self, key: &Key) -> bool {
        !self.pending.contains_key(key)
            && self.written(key).is_none()
            && self.cache.peek(key).is_none()
            && !self.fetched.contains_key(key)
    }

    /// Keeps what the tree said, for the writer.
    pub(crate) fn fetched(&mut self, key: Key, slot: Slot) {
        self.fetched.insert(key, slot);
    }

    /// Keeps what the tree said, for readers. Only if memory does not know better.
    pub(crate) fn warm(&mut self, key: &Key, value: &(Version, Bytes)) {
        if self.written(key).is_none() {
            self.cache.insert(key.clone(), value.clone());
        }
    }

    /// The version the writer judges by. A cold document was fetched before.
    pub(crate) fn version_of(&self, key: &Key) -> Option<Version> {
        let of = |slot: &Slot| slot.as_ref().map(|(version, _)| *version);
        if let Some(slot) = self.pending.get(key).or_else(|| self.written(key)) {
            return of(slot);
        }
        if let Some((version, _)) = self.cache.peek(key) {
            return Some(*version);
        }
        self.fetched.get(key).and_then(of)
    }

    /// Writes a document in the group that is being judged.
    pub(crate) fn put(&mut self, key: Key, slot: Slot) {
        self.pending.insert(key, slot);
    }

    /// Writes a document that is durable.
    pub(crate) fn settle(&mut self, key: Key, slot: Slot) {
        let cost = |key: &Key, slot: &Slot| {
            SLOT + key.id.len() + slot.as_ref().map_or(0, |(_, body)| body.len())
        };
        self.cache.remove(&key);
        self.dirty_bytes += cost(&key, &slot);
        let named = key.clone();
        if let Some(before) = self.active.insert(key, slot) {
            self.dirty_bytes = self.dirty_bytes.saturating_sub(cost(&named, &before));
        }
    }

    pub(crate) fn publish(&mut self) {
        for (key, slot) in std::mem::take(&mut self.pending) {
            self.settle(key, slot);
        }
        self.fetched.clear();
    }

    pub(crate) fn roll_back(&mut self) {
        self.pending.clear();
        self.fetched.clear();
    }

    /// Begins a checkpoint: what it has to write to the tree.
    pub(crate) fn freeze(&mut self) -> Arc<Layer> {
        let layer = Arc::new(std::mem::take(&mut self.active));
        self.frozen_bytes = std::mem::take(&mut self.dirty_bytes);
        self.frozen = Some(Arc::clone(&layer));
        layer
    }

    /// The checkpoint is in the tree. What it wrote was in use of late, so it stays in the cache. The
    /// layer it no longer needs, to be freed without the lock.
    pub(crate) fn thaw(&mut self) -> Option<Arc<Layer>> {
        let layer = self.frozen.take()?;
        self.frozen_bytes = 0;
        for (key, slot) in layer.iter() {
            if let Some(value) = slot
                && !self.active.contains_key(key)
            {
                self.cache.insert(key.clone(), value.clone());
            }
        }
        Some(layer)
    }

    /// The written documents of a kind after a key, in order, removed ones as `None`: as many as it
    /// takes to have `limit` that exist. And whether there are more.
    pub(crate) fn written_after(
        &self,
        kind: Kind,
        after: Bound<&Key>,
        limit: usize,
    ) -> (Layer, bool) {
        let frozen = self.frozen.iter().flat_map(|layer| layer.range((after, Bound::Unbounded)));
        let active = self.active.range((after, Bound::Unbounded));
        let mut found = Layer::new();
        let mut alive = 0;
        // Both in order; of two with the same key the active one counts.
        let mut frozen = frozen.take_while(|(key, _)| key.kind == kind).peekable();
        let mut active = active.take_while(|(key, _)| key.kind == kind).peekable();
        while alive < limit {
            let older = match (active.peek(), frozen.peek()) {
                (None, None) => return (found, false),
                (Some((one, _)), Some((two, _))) if one == two => {
                    frozen.next();
                    false
                }
                (Some((one, _)), Some((two, _))) => one > two,
                (one, _) => one.is_none(),
            };
            let next = if older { frozen.next() } else { active.next() };
            let Some((key, slot)) = next else { return (found, false) };
            alive += usize::from(slot.is_some());
            found.insert(key.clone(), slot.clone());
        }
        (found, active.peek().is_some() || frozen.peek().is_some())
    }
}

/// A document as the contract has it.
pub(crate) fn document(key: Key, (version, body): (Version, Bytes)) -> Document {
    Document { at: DocumentRef::new(key, version), body }
}
