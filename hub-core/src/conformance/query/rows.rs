//! What is found.

use serde_json::json;

use super::Fixture;
use super::probe::{Asked, CONDITIONS, Probe, filter, fleet, values};
use crate::conformance::store::Random;
use crate::store::Population;

/// Whatever the form of the condition and the kind of the value: what it selects is among the rows.
pub async fn q1_every_selected_twin_is_found<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture, fleet()).await;
    for condition in CONDITIONS {
        let filter = filter(condition);
        for population in [Population::Devices, Population::Modules] {
            for limit in [1000, 3] {
                let found = probe.found(&filter, Asked { population, limit, ..Asked::default() });
                let found = found.await;
                for id in probe.selected(&filter, population) {
                    assert!(
                        found.contains(&id),
                        "Q1: {condition} by {limit} lacks {id}: {found:?}"
                    );
                }
            }
        }
    }
}

/// The same for conditions that nobody thought of.
pub async fn q1_random_conditions_find_all_that_they_select<F: Fixture>(fixture: &mut F) {
    let mut random = Random::new(1);
    let values = values();
    let value = |random: &mut Random| random.pick(&values).cloned().unwrap_or_default();
    let twins = (0..40).map(|i| {
        let tags = match random.below(4) {
            0 => json!({}),
            1 => json!({"x": value(&mut random)}),
            _ => json!({"x": value(&mut random), "y": value(&mut random)}),
        };
        (format!("d{i:02}"), tags)
    });
    let twins: Vec<_> = twins.collect();
    let probe = Probe::open(fixture, twins).await;
    for _ in 0..200 {
        let condition = condition(&mut random, 2);
        let filter = filter(&condition);
        let limit = 1 + u32::try_from(random.below(20)).unwrap_or(0);
        let found = probe.found(&filter, Asked { limit, ..Asked::default() }).await;
        for id in probe.selected(&filter, Population::Devices) {
            assert!(found.contains(&id), "Q1: {condition} lacks {id}: {found:?}");
        }
    }
}

fn condition(random: &mut Random, depth: u32) -> String {
    let kind = if depth == 0 { 3 } else { random.below(6) };
    let mut inner = || condition(random, depth.saturating_sub(1));
    match kind {
        0 => format!("({}) AND ({})", inner(), inner()),
        1 => format!("({}) OR ({})", inner(), inner()),
        2 => format!("NOT ({})", inner()),
        _ => {
            let path = random.pick(&["tags.x", "tags.y", "tags.z", "deviceId"]);
            let operator = random.pick(&["=", "=", "=", "!=", "<", "<=", ">", ">="]);
            let literal = random.pick(&[
                "'a'", "'b'", "''", "'d03'", "0", "1", "-1", "1.5", "true", "false", "null",
            ]);
            let word = |word: Option<&&str>| word.copied().unwrap_or_default().to_owned();
            format!("{} {} {}", word(path), word(operator), word(literal))
        }
    }
}
