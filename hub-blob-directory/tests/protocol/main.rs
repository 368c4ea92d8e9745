//! The protocol, driven over TCP.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod blocks;
mod client;
mod hostile;
mod limits;
mod reading;
mod rights;
mod writing;
