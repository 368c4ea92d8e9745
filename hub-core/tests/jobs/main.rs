//! Jobs through the public API, on the memory store.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod methods;
mod model;
mod refusals;
mod scale;
mod twins;
mod world;
