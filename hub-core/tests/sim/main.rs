//! The hub simulated: pure nodes, one store, a clock of our own, and one seed that decides
//! everything that goes right and wrong.
//!
//! A run has two phases. In the first the store refuses, forgets to answer and answers late, links
//! break, stall and repeat, nodes crash and come back with another clock; after every event all
//! invariants of `invariants/` are judged. In the second nothing goes wrong any more, and everything
//! must settle.
//!
//! A failing seed prints its last events. `cargo run -p hub-core --example simulate -- SEED 1` runs
//! it again.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation fails by panicking"
)]

mod driver;
mod fact;
mod inbox;
mod invariants;
mod links;
mod oracle;
mod rng;
mod roster;
mod store;
mod workload;
mod world;

use world::{Bug, Options, examine, run};

fn seeds(range: std::ops::Range<u64>) {
    for seed in range {
        if let Err(failure) = examine(seed, Options::new()) {
            panic!("{failure}");
        }
    }
}

#[test]
fn seeds_even() {
    seeds(1..150);
}

#[test]
fn seeds_odd() {
    seeds(150..300);
}

#[test]
fn a_seed_replays_the_same_run() {
    for seed in [1, 7, 77] {
        let options = Options { trace: true, ..Options::new() };
        let first = run(seed, options);
        let (Ok(first), Ok(second)) = (first, run(seed, options)) else {
            panic!("seed {seed} fails");
        };
        assert_eq!(first, second);
        assert!(first.steps > 1000 && first.hash != 0, "{first:?}");
    }
}

/// Every planted bug must be caught, by an invariant that is about it.
#[test]
fn planted_bugs_are_caught() {
    for (bug, seeds) in [
        (Bug::StoreIgnoresItemGuards, 60),
        (Bug::StoreIgnoresDocumentGuards, 60),
        (Bug::StoreForgetsBatches, 60),
        (Bug::StoreClaimsDoNotHide, 60),
        (Bug::DriverReceiptsEarly, 60),
        (Bug::DriverDropsOutcomes, 60),
        (Bug::DriverTrustsUnknown, 60),
        (Bug::DriverRenamesBatches, 60),
        (Bug::DriverLosesPosts, 60),
    ] {
        let options = Options { bug: Some(bug), ..Options::new() };
        let caught = (0..seeds).find_map(|seed| run(seed, options).err());
        let Some(caught) = caught else { panic!("{bug:?} passes {seeds} seeds") };
        println!("{bug:?}: seed {}, {}", caught.seed, caught.invariant);
    }
}
