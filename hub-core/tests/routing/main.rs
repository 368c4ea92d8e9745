//! Event sources, routes and endpoints, through the public API.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod delivery;
mod model;
mod rules;
mod sink;
mod sources;
mod world;
