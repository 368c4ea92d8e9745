//! Export, import and the jobs over the registry through the public API, on the memory store and the
//! files of the kit.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod cut_off;
mod jobs;
mod records;
mod streams;
mod world;
