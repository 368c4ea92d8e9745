//! The conformance kit on the embedded store, alone and inside a store that fails; and alone with
//! everything so small that segments turn, checkpoints run and caches miss all the time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod scratch;

use async_trait::async_trait;
use hub_core::conformance::query::ByReading;
use hub_core::conformance::store::{Failing, Fixture};
use hub_store_fjall::{FileStore, FileStoreConfig};
use scratch::Scratch;

/// Stores in directories of their own, removed at the end.
struct Directories {
    config: FileStoreConfig,
    stores: Vec<Scratch>,
}

impl Directories {
    fn new(config: FileStoreConfig) -> Self {
        Self { config, stores: Vec::new() }
    }

    fn open_last(&self) -> FileStore {
        let path = self.stores.last().unwrap().path();
        FileStore::open(path, self.config.clone()).unwrap_or_else(|error| panic!("{error}"))
    }
}

#[async_trait]
impl Fixture for Directories {
    type Store = FileStore;

    async fn open(&mut self) -> FileStore {
        self.stores.push(Scratch::new());
        self.open_last()
    }

    async fn reopen(&mut self, store: FileStore) -> Option<FileStore> {
        drop(store);
        Some(self.open_last())
    }
}

fn ordinary() -> FileStoreConfig {
    FileStoreConfig::new().segment_bytes(4 << 20)
}

fn tiny() -> FileStoreConfig {
    FileStoreConfig::new()
        .segment_bytes(64 << 10)
        .dirty_bytes(64 << 10)
        .cache_bytes(1 << 10)
        .recent_bytes(0)
}

mod ordinary {
    hub_core::store_tests!(super::Directories::new(super::ordinary()));
}

mod tiny {
    hub_core::store_tests!(super::Directories::new(super::tiny()));
}

mod faulty {
    hub_core::store_tests!(super::Failing::new(super::Directories::new(super::ordinary())));
}

mod queries {
    hub_core::query_tests!(super::ByReading(super::Directories::new(super::ordinary())));
}
