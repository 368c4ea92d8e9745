//! Several hubs on one store are one hub.
//!
//! Each hub is a node with its own view of the store: what it asks can be held, and its nudges can be
//! lost. Nothing else connects the nodes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod death;
mod events;
mod messages;
mod methods;
mod names;
mod registry;
mod restart;
mod sessions;
mod store;
mod twins;
mod world;
