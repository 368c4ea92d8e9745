//! A store for the IoT hub that keeps everything in the memory of its process.
//!
//! [`MemoryStore`] keeps the whole contract of [`hub_core::store`], except that it outlives nothing:
//! its durability is [`Volatile`](hub_core::store::Durability::Volatile). It is for tests, for
//! trying the hub out, and for hubs whose telemetry is read as it comes.
//!
//! ```
//! use hub_core::store::{Durability, Store};
//! use hub_store_memory::MemoryStore;
//!
//! let store = MemoryStore::builder().log_bytes_max(64 * 1024 * 1024).build();
//! assert_eq!(store.durability(), Durability::Volatile);
//! ```
//!
//! # What is bounded
//!
//! - The log: [`MemoryStoreBuilder::log_bytes_max`] over all partitions; the oldest entries go
//!   first, and [`MemoryStore::log_entries_dropped`] counts them.
//! - Batches remembered for repetition (S8): the last 10,000.
//! - Queues: by the capacity in each push. An empty queue takes no memory.
//! - Documents and queues in number: by the identities of the hub.
//! - Nodes that wait for nudges: one small record for each that ever waited.
//!
//! # Memory is shared, not copied
//!
//! A body is kept in the memory it came in. Bodies that are slices of a larger buffer keep that
//! buffer alive, so callers hand over memory cut to size, as the hub's encoders do.

mod log;
mod queue;
mod state;
mod store;

pub use self::store::{MemoryStore, MemoryStoreBuilder};
