//! Every order of events in small worlds. A choice generator visits them all.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod calls;
mod choices;
mod messages;
#[path = "../regress/rig.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod rig;
