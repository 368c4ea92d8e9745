//! Long random histories: a store and the [`Model`](super::Model) do the same, and every answer is compared.
//!
//! Versions and the numbers of queue items are the store's own affair, so they are not compared but
//! translated: the model's are what the history speaks of, and the store's are looked up.

mod steps;
mod walk;

use self::walk::Walk;
use super::{Fixture, Random};

/// How many histories a case runs, and how long each is.
const HISTORIES: u64 = 16;
const STEPS: u64 = 250;

/// Sixteen histories of 250 steps.
pub async fn history_matches_the_model<F: Fixture>(fixture: &mut F) {
    for seed in 0..HISTORIES {
        history(fixture, seed, STEPS, 0).await;
    }
}

/// The same with a crash every twenty steps or so. For a store that keeps nothing there is nothing
/// to see: its histories end at the first crash.
pub async fn history_matches_the_model_across_crashes<F: Fixture>(fixture: &mut F) {
    for seed in 100..100 + HISTORIES {
        history(fixture, seed, STEPS, 5).await;
    }
}

/// One history. The same seed gives the same one, so a failure that names its seed can be had again
/// by itself.
///
/// # Panics
/// When an answer of the store is not that of the model; the message has the seed, the step, and
/// what was asked.
pub async fn history<F: Fixture>(fixture: &mut F, seed: u64, steps: u64, crash_percent: u8) {
    let mut random = Random::new(seed);
    let mut walk = Walk::open(fixture, seed).await;
    for _ in 0..steps {
        if random.percent(crash_percent) {
            match walk.crash(fixture).await {
                Some(reopened) => walk = reopened,
                None => return,
            }
        }
        let step = steps::draw(&mut random, &walk);
        walk.take(step).await;
    }
}
