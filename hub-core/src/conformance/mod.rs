//! Kits that tell the author of a store, a transport or a store of files whether it keeps the contract
//! (feature `conformance`).
//!
//! A store's tests need a [`Fixture`](store::Fixture), which opens fresh stores, and one line:
//!
//! ```
//! use hub_core::conformance::store::{Fresh, Model};
//!
//! hub_core::store_tests!(Fresh(Model::new)); // Your store instead of the kit's own.
//! ```
//!
//! It expands to one test per case. A case is named after the sentence of the contract
//! ([`crate::store`]) that it checks, so a failure says which promise is broken. The cases are plain
//! public functions too, by subject, for other harnesses.
//!
//! A store that finds twins itself has another line, [`query_tests`](crate::query_tests), for the
//! sentences of [`crate::store::Query`]: see [`query`].
//!
//! The tests run on tokio with several threads: the author's crate has `tokio` as a
//! dev-dependency, with the features `macros` and `rt-multi-thread`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test kit fails by panicking"
)]

pub mod blob;
pub mod query;
pub mod store;
pub mod transport;
