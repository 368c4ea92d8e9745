//! The kit for queries is tested too: a port with a known bug must be caught, by the case that names it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use hub_core::conformance::query::{ByReading, Fixture, Opened, documents, numbers, pages, rows};
use hub_core::conformance::store::Fresh;
use hub_core::store::{Find, Found, Population, Query, StoreError, Wanted};
use hub_store_memory::MemoryStore;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// The last row of a page is left out.
    RowLost,
    /// The rows come the other way round.
    Reversed,
    /// The place to begin after is not looked at.
    AfterIgnored,
    /// Modules come as devices.
    PopulationIgnored,
    /// It goes on for ever.
    NoEnd,
    /// What was looked at is not told.
    NothingLookedAt,
    /// Every third answer is that of before.
    Stale,
    /// A part is left out.
    SessionLost,
    /// The documents of a row are read one after the other.
    Torn,
    /// What is given is counted as well.
    CountedTwice,
    /// Rows are counted where they are wanted.
    CountedAlways,
}

struct Bugs(Bug);

#[async_trait]
impl Fixture for Bugs {
    async fn open(&mut self) -> Opened {
        let Opened { store, query } = ByReading(Fresh(MemoryStore::new)).open().await;
        let (bug, asked) = (self.0, AtomicU64::new(0));
        let last = std::sync::Mutex::default();
        Opened { store, query: Arc::new(Buggy { query, bug, asked, last }) }
    }
}

struct Buggy {
    query: Arc<dyn Query>,
    bug: Bug,
    asked: AtomicU64,
    last: std::sync::Mutex<Option<Found>>,
}

impl Buggy {
    fn last(&self) -> std::sync::MutexGuard<'_, Option<Found>> {
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl Query for Buggy {
    async fn find(&self, mut find: Find<'_>) -> Result<Found, StoreError> {
        match self.bug {
            Bug::AfterIgnored => find.after = None,
            Bug::PopulationIgnored => find.population = Population::Devices,
            _ => {}
        }
        let mut found = self.query.find(find).await?;
        let given = u64::try_from(found.rows.len()).unwrap_or(0);
        match self.bug {
            Bug::RowLost => drop(found.rows.pop()),
            Bug::Reversed => found.rows.reverse(),
            Bug::NoEnd => found.next = Some("zz".into()),
            Bug::NothingLookedAt => found.looked_at = 0,
            Bug::Stale => {
                let third = self.asked.fetch_add(1, Ordering::Relaxed) % 3 == 2;
                let last = self.last().replace(found.clone());
                found = last.filter(|_| third).unwrap_or(found);
            }
            Bug::SessionLost => found.rows.iter_mut().for_each(|row| row.session = None),
            Bug::Torn => {
                tokio::task::yield_now().await;
                for row in &mut found.rows {
                    let mut again = find;
                    again.parts.twin = false;
                    let later = self.query.find(again).await?;
                    row.session = later.rows.into_iter().next().and_then(|later| later.session);
                }
            }
            Bug::CountedTwice if find.wanted == Wanted::Number => found.counted = given,
            Bug::CountedAlways => {
                found.counted = given;
                found.rows.clear();
            }
            _ => {}
        }
        Ok(found)
    }
}

mod without_a_bug {
    hub_core::query_tests!(super::Bugs(super::Bug::None));
}

/// Whether a case fails. One that never ends fails as well, only later.
async fn fails(case: impl Future<Output = ()>) -> bool {
    let case = AssertUnwindSafe(tokio::time::timeout(Duration::from_secs(20), case));
    !matches!(case.catch_unwind().await, Ok(Ok(())))
}

macro_rules! caught {
    ($($name:ident: $bug:ident by $($case:path),+;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            $(assert!(
                fails($case(&mut Bugs(Bug::$bug))).await,
                "{:?} was not caught by {}", Bug::$bug, stringify!($case),
            );)+
        }
    )+};
}

caught! {
    a_lost_row: RowLost
        by rows::q1_every_selected_twin_is_found, rows::q1_random_conditions_find_all_that_they_select;
    a_wrong_order: Reversed by pages::q2_rows_come_in_order_and_within_their_bounds;
    a_place_ignored: AfterIgnored by pages::q2_rows_come_in_order_and_within_their_bounds;
    a_population_ignored: PopulationIgnored by pages::q2_populations_are_kept_apart;
    no_end: NoEnd by pages::q5_pages_come_to_an_end;
    work_that_is_not_told: NothingLookedAt by pages::q6_what_was_looked_at_is_told;
    an_old_answer: Stale by documents::q3_what_was_committed_is_seen;
    a_lost_part: SessionLost by documents::q4_wanted_parts_come_as_they_stand;
    a_torn_row: Torn by documents::q4_the_documents_of_a_row_are_of_one_instant;
    a_twin_counted_twice: CountedTwice by numbers::q7_a_number_counts_each_selected_twin_once;
    a_row_counted_away: CountedAlways by numbers::q7_where_rows_are_wanted_none_is_counted;
}
