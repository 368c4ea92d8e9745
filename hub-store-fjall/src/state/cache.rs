//! Documents that the tree has too, kept because they were used of late.

use std::collections::HashMap;

use bytes::Bytes;
use hub_core::store::{Key, Version};

/// What an entry costs beside its key and body.
const ENTRY: usize = 128;

/// Two generations of one half of the bytes each: when the young one is full it becomes the old one,
/// and what nobody asked for since is dropped. A document that is used lives on.
#[derive(Debug)]
pub(crate) struct Cache {
    half: usize,
    bytes: usize,
    young: HashMap<Key, (Version, Bytes)>,
    old: HashMap<Key, (Version, Bytes)>,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { half: bytes_max / 2, bytes: 0, young: HashMap::new(), old: HashMap::new() }
    }

    pub(crate) fn get(&mut self, key: &Key) -> Option<(Version, Bytes)> {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let (key, found) = self.old.remove_entry(key)?;
        self.insert(key, found.clone());
        Some(found)
    }

    /// A look that does not count as use.
    pub(crate) fn peek(&self, key: &Key) -> Option<&(Version, Bytes)> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(crate) fn insert(&mut self, key: Key, value: (Version, Bytes)) {
        let cost = ENTRY + key.id.len() + value.1.len();
        if cost > self.half {
            self.remove(&key);
            return;
        }
        if self.bytes + cost > self.half {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.old.remove(&key);
        self.bytes += cost;
        if let Some(before) = self.young.insert(key, value) {
            self.bytes = self.bytes.saturating_sub(before.1.len());
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        // The bytes of a removed entry count until the generation ends: at worst it ends early.
        self.young.remove(key);
        self.old.remove(key);
    }
}
