//! An embedded durable store for the IoT hub: one directory, no server.
//!
//! [`FileStore`] keeps the whole contract of [`hub_core::store`] on the local file system; its
//! durability is [`Synced`](hub_core::store::Durability::Synced).
//!
//! ```no_run
//! use hub_store_fjall::{FileStore, FileStoreConfig};
//!
//! # fn main() -> Result<(), hub_store_fjall::OpenError> {
//! let config = FileStoreConfig::new().log_bytes_max(4 << 30);
//! let store = FileStore::open("hub-data", config)?;
//! # Ok(())
//! # }
//! ```

//!
//! # What is where
//!
//! | file | content |
//! |---|---|
//! | `format` | the format's version and the store's id |
//! | `lock` | locked while a process has the store open |
//! | `*.seg` | the journal: everything acknowledged, in groups, each synced before its answers |
//! | `*.idx` | where the log entries of a full segment lie; made again when missing |
//! | `state/` | fjall: documents, queue items and remembered batches, as of the last checkpoint |
//!
//! The directory belongs on a local file system that keeps what `fdatasync` has confirmed. A copy is
//! a backup if it is taken of the whole directory while the store is closed.
//!
//! # What is bounded
//!
//! - The log on disk: [`FileStoreConfig::log_bytes_max`]; the oldest segments go first.
//! - Memory: [`FileStoreConfig::cache_bytes`] twice, [`FileStoreConfig::recent_bytes`], up to four
//!   times [`FileStoreConfig::dirty_bytes`], 64 MiB of commands that wait, some 300 bytes for each
//!   item that waits in a queue, and 24 bytes for each 32 KiB of log and partition.
//! - Batches remembered for repetition (S8): the last 10,000.
//! - Opening: the index files, the heads of all items, and at most a few segments of journal.
//!
//! # When something fails
//!
//! A full disk refuses commits as `Unavailable` and says so; the store goes on when there is room. A
//! failed sync ends the store: every later write is answered with `Fatal`, and
//! [`FileStore::failure`] says why; opening it again finds what is durable. A damaged file is named
//! when it is opened or read, and what it says is not served.
//!
//! Why it is built this way: `docs/decisions/0010-embedded-store.md`.

mod codec;
mod config;
mod core;
mod disk;
mod engine;
mod error;
mod format;
mod journal;
mod readers;
#[cfg(feature = "simulation")]
pub mod simulation;
mod state;
mod store;
mod tree;
mod view;

pub use self::config::FileStoreConfig;
pub use self::error::OpenError;
pub use self::store::FileStore;
