//! One file for each error that the simulation or a review found in the machines of a device.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod bounded;
mod cancelled;
mod clocks;
mod foreign_lock;
mod left_while_connecting;
mod made_anew;
mod method_reference;
mod older_link;
mod one_job;
mod rig;
mod stale_cache;
mod taking;
mod window;
