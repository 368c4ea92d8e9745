//! The protocol, driven over TCP.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod blocks;
mod client;
mod hostile;
mod limits;
mod reading;
mod rights;
mod writing;
