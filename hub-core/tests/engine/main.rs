//! The engine from outside: its hooks, its bounds, its end, and what it does when others fail.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod bounds;
mod failure;
mod hooks;
mod quotas;
mod shutdown;
mod store;
mod world;
