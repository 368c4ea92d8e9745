//! A store for the IoT hub on PostgreSQL 13 and later, which several hub processes may share.
//!
//! [`PostgresStore`] keeps the whole contract of [`hub_core::store`]; its durability is
//! [`Synced`](hub_core::store::Durability::Synced), unless the server or the configuration says
//! otherwise.
//!
//! ```no_run
//! use hub_store_postgres::PostgresStore;
//!
//! # async fn open() -> Result<(), hub_store_postgres::OpenError> {
//! let store = PostgresStore::open_url("postgres://hub@localhost/iot?schema=plant").await?;
//! # Ok(())
//! # }
//! ```
//!
//! A hub is a schema: stores on the same database and schema are nodes of one hub, those on another
//! schema know nothing of it.
//!
//! An application that keeps its own tables in the same database can change them and the hub in one
//! transaction: [`Stage`].
//!
//! # What it needs
//!
//! - A database with the encoding UTF-8, and a user that may create a schema in it, or owns one.
//! - Connections of its own, straight to the server or through a pooler that keeps sessions: it
//!   prepares statements and listens.
//! - [`PostgresConfig::connections_max`] connections for each process, and one more.
//!
//! # When something fails
//!
//! While the server is away, or restarts, or another one takes over, calls are refused as
//! `Unavailable`; a commit whose answer is missing is `Unknown`, and asking again with the same batch
//! finds what it came to. The store connects anew by itself. It is `Fatal` when the tables are gone,
//! damaged, or forbidden.
//!
//! A time that a `bigint` of milliseconds cannot hold (the year 292 million) is kept as the end of
//! time. With its level at `debug`, the crate `tokio-postgres` logs the parameters of statements, which
//! are what devices say; do not turn that on in production.
//!
//! For operators there is `docs/postgres.md`; why it is built this way:
//! `docs/decisions/0060-postgres-store.md`.

mod chunk;
mod claim;
mod commit;
mod config;
mod draft;
mod error;
mod find;
mod index;
mod judge;
mod log;
mod migrate;
mod orphans;
mod plan;
mod pool;
mod reach;
mod read;
mod session;
mod signal;
mod sql;
mod sqlstate;
mod stage;
mod store;
mod tls;
mod upkeep;
mod values;

pub use self::config::{PostgresConfig, SCHEMA_DEFAULT, TlsMode};
pub use self::error::OpenError;
pub use self::stage::{Stage, StageError, StagedMessage};
pub use self::store::PostgresStore;
/// The driver, whose configuration and transactions this crate takes.
pub use tokio_postgres;

/// The oldest PostgreSQL that the store works on.
pub const VERSION_MIN: u32 = 13;
