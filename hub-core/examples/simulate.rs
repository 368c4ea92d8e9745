//! Runs the simulation over many seeds: `simulate [FIRST [COUNT [FAULTY_MS [KEEP]]]]`.
//!
//! Prints the first failing seed with its last `KEEP` events and facts and the invariant that was
//! broken, and ends with status 1. With a count of 1 and a seed that passes, prints the hash of the run.
//!
//! Faster in release: `cargo run --release -p hub-core --example simulate -- 1 10000`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the simulation is shared with the tests, and fails by panicking"
)]

#[path = "../tests/sim/driver.rs"]
mod driver;
#[path = "../tests/sim/fact.rs"]
mod fact;
#[path = "../tests/sim/inbox.rs"]
mod inbox;
#[path = "../tests/sim/invariants/mod.rs"]
mod invariants;
#[path = "../tests/sim/links.rs"]
mod links;
#[path = "../tests/sim/oracle.rs"]
mod oracle;
#[path = "../tests/sim/rng.rs"]
mod rng;
#[path = "../tests/sim/roster.rs"]
mod roster;
#[path = "../tests/sim/store.rs"]
mod store;
#[path = "../tests/sim/workload.rs"]
mod workload;
#[path = "../tests/sim/world.rs"]
mod world;

use std::process::ExitCode;

use world::{Options, examine};

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (Ok(first), Ok(count), Ok(faulty), Ok(keep)) =
        (next(1), next(1000), next(15_000), next(80))
    else {
        eprintln!("usage: simulate [FIRST [COUNT [FAULTY_MS [KEEP]]]]");
        return ExitCode::from(2);
    };
    let trace = count == 1;
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let options = Options { trace, faulty, keep, ..Options::new() };
    for seed in first..first.saturating_add(count) {
        match examine(seed, options) {
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
            Ok(report) if trace => println!("seed {seed} passes: {report:?}"),
            Ok(_) if seed % 1000 == 0 => println!("seed {seed} passes"),
            Ok(_) => {}
        }
    }
    println!("{count} seeds pass");
    ExitCode::SUCCESS
}
