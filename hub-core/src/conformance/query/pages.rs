//! In which order rows come, and how an answer goes on.

use super::Fixture;
use super::probe::{Asked, CONDITIONS, Probe, filter, fleet};
use crate::store::{Population, Wanted};

/// In the order of ids, each once, after the place that was named and not after the next one, no more
/// than were asked for.
pub async fn q2_rows_come_in_order_and_within_their_bounds<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture, fleet()).await;
    for condition in CONDITIONS {
        let filter = filter(condition);
        for population in [Population::Devices, Population::Modules] {
            for (after, limit) in [(None, 1000), (None, 1), (Some("d05"), 4), (Some("zz"), 4)] {
                let asked = Asked { population, after, limit, ..Asked::default() };
                let page = probe.page(&filter, asked).await;
                let ids: Vec<&str> = page.rows.iter().map(|row| &*row.id).collect();
                let what = format!("Q2: {condition} after {after:?} by {limit}: {ids:?}");
                assert!(ids.len() <= usize::try_from(limit).unwrap_or(0), "{what}");
                assert!(
                    ids.windows(2).all(|pair| pair[0].as_bytes() < pair[1].as_bytes()),
                    "{what}"
                );
                assert!(ids.iter().all(|id| after.is_none_or(|after| *id > after)), "{what}");
                let next = page.next.as_deref();
                assert!(
                    ids.iter().all(|id| next.is_none_or(|next| *id <= next)),
                    "{what} {next:?}"
                );
            }
        }
    }
}

/// Modules are not found among devices, nor devices among modules.
pub async fn q2_populations_are_kept_apart<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture, fleet()).await;
    for condition in CONDITIONS {
        for population in [Population::Devices, Population::Modules] {
            let asked = Asked { population, limit: 5, ..Asked::default() };
            let found = probe.found(&filter(condition), asked).await;
            assert!(found.iter().all(|id| population.has(id)), "Q2: {condition}: {found:?}");
        }
    }
}

/// Going on from where an answer says comes to an end, also where nothing is selected. That each place
/// is after the one before is looked at in every case.
pub async fn q5_pages_come_to_an_end<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture, fleet()).await;
    for condition in ["*", "false", "tags.x = 'gone'", "tags.z = 1", "tags.x = 'a' OR tags.z = 1"] {
        for wanted in [Wanted::Rows, Wanted::Number] {
            let asked = Asked { wanted, limit: 1, ..Asked::default() };
            let pages = probe.pages(&filter(condition), asked).await;
            assert!(pages.last().is_some_and(|page| page.next.is_none()), "Q5: {condition}");
        }
    }
    let empty = Probe::open(fixture, []).await;
    let pages = empty.pages(&filter("*"), Asked::default()).await;
    assert!(pages.iter().all(|page| page.rows.is_empty()), "Q5: {pages:?}");
}

/// A call that gives rows, or counts them, has looked at as many twins at least; and a call that is
/// to give one row does not look at all there are.
pub async fn q6_what_was_looked_at_is_told<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture, fleet()).await;
    for condition in CONDITIONS {
        for (wanted, limit) in [(Wanted::Rows, 1), (Wanted::Rows, 50), (Wanted::Number, 50)] {
            let asked = Asked { wanted, limit, ..Asked::default() };
            for page in probe.pages(&filter(condition), asked).await {
                let given = u64::try_from(page.rows.len()).unwrap_or(u64::MAX) + page.counted;
                let looked_at = page.looked_at;
                assert!(looked_at >= given, "Q6: {condition}: {looked_at} of {given}");
            }
        }
    }
    let all = probe.selected(&filter("*"), Population::Devices).len();
    let page = probe.page(&filter("*"), Asked { limit: 1, ..Asked::default() }).await;
    let looked_at = usize::try_from(page.looked_at).unwrap_or(usize::MAX);
    assert!(looked_at < all, "Q6: {looked_at} of {all} for one row");
}
