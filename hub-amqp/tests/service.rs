//! Back ends, readers of the log and gateways, as raw clients, also with bad manners.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod common;
#[path = "service/log.rs"]
mod log;
#[path = "service/manners.rs"]
mod manners;
#[path = "service/messages.rs"]
mod messages;
#[path = "service/quotas.rs"]
mod quotas;
#[path = "service/slow.rs"]
mod slow;
#[path = "service/tokens.rs"]
mod tokens;
