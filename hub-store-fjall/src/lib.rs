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

mod codec;
mod config;
mod core;
mod disk;
mod engine;
mod error;
mod format;
mod journal;
mod nudge;
mod readers;
mod state;
mod store;
mod tree;
mod view;

pub use self::config::FileStoreConfig;
pub use self::error::OpenError;
pub use self::store::FileStore;
