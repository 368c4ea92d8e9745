//! The conformance kit for the [`Query`] port.
//!
//! - [`rows`]: what is found.
//! - [`pages`]: in which order, and how it goes on.
//! - [`documents`]: when it is seen, and as of when.
//! - [`numbers`]: how many there are.
//!
//! The cases look at `tags.x` and `tags.y`: a store with indexes has one on each of them, so that both
//! of its ways are tried.

pub mod documents;
pub mod numbers;
pub mod pages;
mod probe;
pub mod rows;

use std::sync::Arc;

use async_trait::async_trait;

use super::store;
use crate::engine::Scan;
use crate::store::{Query, Store};

/// A store, and what finds twins in it.
#[derive(Clone)]
pub struct Opened {
    /// Where the cases put twins.
    pub store: Arc<dyn Store>,
    /// What is tried.
    pub query: Arc<dyn Query>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// Where the kit gets its stores from. Cleans up what it made when it is dropped.
#[async_trait]
pub trait Fixture: Send {
    /// Another store, fresh and empty.
    async fn open(&mut self) -> Opened;
}

/// A fixture for stores without a [`Query`] of their own: twins are found as the hub finds them there,
/// by reading all of them.
#[derive(Debug, Clone)]
pub struct ByReading<F>(
    /// Opens the stores.
    pub F,
);

/// How many twins are read at once: few, so that an answer takes several pages.
const PAGE: u32 = 7;

#[async_trait]
impl<F: store::Fixture> Fixture for ByReading<F> {
    async fn open(&mut self) -> Opened {
        let store: Arc<dyn Store> = Arc::new(self.0.open().await);
        Opened { query: Arc::new(Scan::new(store.clone(), PAGE)), store }
    }
}

/// Expands to one test per case of the kit for queries.
///
/// The argument is an expression that gives a [`Fixture`](crate::conformance::query::Fixture); it is
/// evaluated at the beginning of every test, inside an `async fn` without a result.
#[macro_export]
macro_rules! query_tests {
    ($fixture:expr) => {
        $crate::__query_tests! { $fixture;
            rows {
                q1_every_selected_twin_is_found
                q1_random_conditions_find_all_that_they_select
            }
            pages {
                q2_rows_come_in_order_and_within_their_bounds
                q2_populations_are_kept_apart
                q5_pages_come_to_an_end
                q6_what_was_looked_at_is_told
            }
            documents {
                q3_what_was_committed_is_seen
                q4_wanted_parts_come_as_they_stand
                q4_the_documents_of_a_row_are_of_one_instant
            }
            numbers {
                q7_a_number_counts_each_selected_twin_once
                q7_where_rows_are_wanted_none_is_counted
            }
        }
    };
}

/// What [`query_tests`] expands with.
#[doc(hidden)]
#[macro_export]
macro_rules! __query_tests {
    ($fixture:expr; $($subject:ident { $($case:ident)+ })+) => {$($(
        #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            let mut fixture = $fixture;
            let case = $crate::conformance::query::$subject::$case(&mut fixture);
            $crate::conformance::store::run(stringify!($case), case).await;
        }
    )+)+};
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    const KIT: &str = include_str!("mod.rs");
    const CONTRACT: &str = include_str!("../../store/query.rs");
    const SUBJECTS: [&str; 4] = [
        include_str!("documents.rs"),
        include_str!("numbers.rs"),
        include_str!("pages.rs"),
        include_str!("rows.rs"),
    ];

    fn cases_run() -> BTreeSet<&'static str> {
        let (_, list) = KIT.split_once("macro_rules! query_tests").unwrap();
        let (list, _) = list.split_once("macro_rules! __query_tests").unwrap();
        list.lines().map(str::trim).filter(|name| name.starts_with('q')).collect()
    }

    #[test]
    fn every_case_written_is_run() {
        let lines = SUBJECTS.iter().flat_map(|subject| subject.lines());
        let written: BTreeSet<_> = lines
            .filter_map(|line| line.strip_prefix("pub async fn ")?.split_once("<F: Fixture>"))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(written, cases_run());
    }

    #[test]
    fn every_sentence_has_a_case_and_every_case_a_sentence() {
        let sentences = CONTRACT.lines().filter_map(|line| {
            let (sentence, _) = line.strip_prefix("//! - **Q")?.split_once("**")?;
            Some(format!("q{sentence}"))
        });
        let named = cases_run().into_iter().filter_map(|case| case.split_once('_'));
        let named: BTreeSet<_> = named.map(|(sentence, _)| sentence.to_owned()).collect();
        assert_eq!(named, sentences.collect());
    }
}
