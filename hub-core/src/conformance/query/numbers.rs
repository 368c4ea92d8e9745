//! How many twins are selected.

use std::collections::BTreeSet;

use super::Fixture;
use super::probe::{Asked, CONDITIONS, Probe, filter, fleet};
use crate::store::{Population, Wanted};

/// What was counted, and what is selected of the rows that came, are together as many as are selected.
pub async fn q7_a_number_counts_each_selected_twin_once<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture, fleet()).await;
    for condition in CONDITIONS {
        let filter = filter(condition);
        for population in [Population::Devices, Population::Modules] {
            let selected = probe.selected(&filter, population);
            for (limit, after) in [(1000, None), (2, None), (1000, Some("d05")), (1, Some("d05"))] {
                let asked =
                    Asked { population, wanted: Wanted::Number, limit, after, ..Asked::default() };
                let pages = probe.pages(&filter, asked).await;
                let counted: u64 = pages.iter().map(|page| page.counted).sum();
                let given: BTreeSet<_> =
                    pages.iter().flat_map(|page| &page.rows).map(|row| &*row.id).collect();
                let given = given.into_iter().filter(|id| selected.contains(*id)).count();
                let want =
                    selected.iter().filter(|id| after.is_none_or(|after| id.as_str() > after));
                let found = usize::try_from(counted).unwrap_or(usize::MAX).saturating_add(given);
                assert_eq!(found, want.count(), "Q7: {condition} by {limit} after {after:?}");
            }
        }
    }
}

/// Where rows are wanted, rows come.
pub async fn q7_where_rows_are_wanted_none_is_counted<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture, fleet()).await;
    for condition in CONDITIONS {
        for page in probe.pages(&filter(condition), Asked::default()).await {
            assert_eq!(page.counted, 0, "Q7: {condition}");
        }
    }
}
