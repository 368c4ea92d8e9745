//! Configurations and digital twins through the public API, on the memory store.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod digital;
mod model;
mod refusals;
mod rollout;
mod world;
