//! The figures of a store.

const MIB: u64 = 1024 * 1024;

/// How large a [`FileStore`](crate::FileStore) may become, and what it keeps in memory.
///
/// The defaults suit a hub of up to a million devices on a disk with some 20 GiB to spare. What is
/// out of range is brought to the nearest value that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStoreConfig {
    pub(crate) log_bytes_max: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) cache_bytes: u64,
    pub(crate) recent_bytes: u64,
    pub(crate) dirty_bytes: u64,
    pub(crate) synced: bool,
}

impl Default for FileStoreConfig {
    fn default() -> Self {
        Self {
            log_bytes_max: 16 * 1024 * MIB,
            segment_bytes: 64 * MIB,
            cache_bytes: 64 * MIB,
            recent_bytes: 32 * MIB,
            dirty_bytes: 32 * MIB,
            synced: true,
        }
    }
}

impl FileStoreConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Most bytes of journal on disk, which is to say of log entries: the oldest segments go first,
    /// and [`FileStore::log_entries_dropped`](crate::FileStore::log_entries_dropped) counts their
    /// entries. At least four segments; 16 GiB by default. Retention by age is
    /// [`trim`](hub_core::store::Store::trim), which the hub calls.
    #[must_use]
    pub fn log_bytes_max(mut self, bytes: u64) -> Self {
        self.log_bytes_max = bytes;
        self
    }

    /// Bytes of one segment file, from 64 KiB to 1 GiB; 64 MiB by default. Opening after a crash
    /// reads at most a few segments; two are on disk even when the store is empty.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.clamp(64 * 1024, 1024 * MIB).next_multiple_of(4096);
        self
    }

    /// Memory for documents that were used of late, and as much again for the blocks of the state on
    /// disk; 64 MiB by default.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Memory for the latest part of the log, from which readers that follow it are served; 32 MiB by
    /// default.
    #[must_use]
    pub fn recent_bytes(mut self, bytes: u64) -> Self {
        self.recent_bytes = bytes;
        self
    }

    /// Bytes of documents and items that wait in memory (and are durable in the journal) before they
    /// are written to the state on disk; 32 MiB by default, at least 64 KiB. At four times as much,
    /// the store takes no more until some are written.
    #[must_use]
    pub fn dirty_bytes(mut self, bytes: u64) -> Self {
        self.dirty_bytes = bytes.max(64 * 1024);
        self
    }

    /// Acknowledges without syncing. A crash of the process loses nothing, but loss of power may lose
    /// the last moments, or all: the store then calls itself
    /// [`Volatile`](hub_core::store::Durability::Volatile). For tests and for data that can be had
    /// again.
    #[must_use]
    pub fn acknowledge_unsynced(mut self) -> Self {
        self.synced = false;
        self
    }
}
