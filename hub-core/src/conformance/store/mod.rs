//! The conformance kit for stores.
//!
//! - [`documents`], [`changes`], [`judging`], [`queues`], [`claims`], [`logs`], [`time`], [`nudges`]: what every
//!   call promises by itself.
//! - [`retry`], [`reopen`]: repeated batches, dropped futures, closing and opening again.
//! - [`concurrency`]: many tasks at once.
//! - [`history`]: long random histories, compared with the [`Model`] after every step.
//!
//! [`Model`] is the contract as a program: three sorted maps, no speed. [`Faulty`] wraps a store and
//! makes it refuse, answer late, lose answers and drop calls half-way, all from one seed; [`Retry`]
//! drives a store through that. Both are public, because they serve other tests as well.

pub mod changes;
pub mod claims;
pub mod concurrency;
pub mod documents;
mod faulty;
pub mod history;
pub mod judging;
pub mod logs;
mod model;
pub mod nudges;
mod probe;
pub mod queues;
mod random;
pub mod reopen;
pub mod retry;
mod retrying;
pub mod time;

use std::time::Duration;

use async_trait::async_trait;

pub use self::faulty::{Faults, Faulty, Injected};
pub use self::model::Model;
pub use self::random::Random;
pub use self::retrying::Retry;
use crate::store::Store;

/// Where the kit gets its stores from. Cleans up what it made when it is dropped.
#[async_trait]
pub trait Fixture: Send {
    /// What it opens.
    type Store: Store;

    /// Another store, fresh and empty. One case may ask for several.
    async fn open(&mut self) -> Self::Store;

    /// The same store after a crash: closed without a farewell and opened again with all it kept.
    /// `None` for a store that keeps nothing.
    async fn reopen(&mut self, store: Self::Store) -> Option<Self::Store>;
}

/// A fixture for stores that keep nothing: makes each with a function.
#[derive(Debug, Clone)]
pub struct Fresh<F>(
    /// Makes an empty store.
    pub F,
);

#[async_trait]
impl<S: Store, F: FnMut() -> S + Send> Fixture for Fresh<F> {
    type Store = S;

    async fn open(&mut self) -> S {
        (self.0)()
    }

    async fn reopen(&mut self, _: S) -> Option<S> {
        None
    }
}

/// A fixture whose stores fail: those of another, each as [`Faulty`] with a seed of its own, and
/// driven by [`Retry`].
#[derive(Debug, Clone)]
pub struct Failing<F> {
    inner: F,
    seed: u64,
}

impl<F> Failing<F> {
    /// Makes the stores of this fixture fail.
    #[must_use]
    pub fn new(inner: F) -> Self {
        Self { inner, seed: 0 }
    }

    fn around<S: Store>(&mut self, store: S) -> Retry<Faulty<S>> {
        self.seed += 1;
        Retry::new(Faulty::new(store, self.seed))
    }
}

#[async_trait]
impl<F: Fixture> Fixture for Failing<F> {
    type Store = Retry<Faulty<F::Store>>;

    async fn open(&mut self) -> Self::Store {
        let store = self.inner.open().await;
        self.around(store)
    }

    async fn reopen(&mut self, store: Self::Store) -> Option<Self::Store> {
        let store = self.inner.reopen(store.into_inner().into_inner()).await?;
        Some(self.around(store))
    }
}

/// Longest a case may take. A store that never answers fails its case instead of the whole run.
pub const CASE_TIME_MAX: Duration = Duration::from_secs(120);

/// Runs one case, for at most [`CASE_TIME_MAX`].
///
/// # Panics
/// When the case fails or takes too long.
pub async fn run(name: &str, case: impl Future<Output = ()>) {
    // Boxed: the cases' futures are large, and this is not a hot path.
    if tokio::time::timeout(CASE_TIME_MAX, Box::pin(case)).await.is_err() {
        panic!("{name} has not ended within {CASE_TIME_MAX:?}");
    }
}

/// Expands to one test per case of the store kit.
///
/// The argument is an expression that gives a [`Fixture`](crate::conformance::store::Fixture); it is
/// evaluated at the beginning of every test, inside an `async fn` without a result. It may thus
/// `return` to skip the test, say where no database server is given.
///
/// To run the kit on several stores, put each call into a module of its own.
#[macro_export]
macro_rules! store_tests {
    ($fixture:expr) => {
        $crate::__store_tests! { $fixture;
            documents {
                s1_answers_come_in_the_order_asked
                s1_what_does_not_exist_is_none
                s5_create_needs_absence
                s5_replace_needs_the_version_read
                s5_remove_needs_the_version_read
                s5_require_holds_without_a_write
                s5_a_version_never_issued_does_not_hold
                s6_a_document_never_has_a_version_twice
                s6_a_document_made_anew_refuses_the_old_version
                s6_what_one_change_writes_shares_its_version
                s16_documents_come_back_byte_for_byte
                s19_scan_is_in_byte_order
                s19_scan_starts_strictly_after
                s19_scan_pages_meet
                s19_scan_keeps_kinds_apart
            }
            changes {
                s2_a_change_of_all_shapes_happens_whole
                s2_nothing_happens_wherever_the_guard_fails
                s3_changes_see_those_before_them
                s3_a_refusal_does_not_touch_the_others
                s3_nothing_is_committed_as_nothing
                s3_a_large_batch_answers_for_every_change
                s4_failed_guard_leaves_no_trace
                s4_a_full_queue_leaves_no_trace
                s4_a_refused_append_takes_no_number
            }
            judging {
                s20_guards_see_the_state_before_the_change
                s20_no_record_is_written_twice
                s20_a_cleared_queue_takes_no_other_step
                s20_room_counts_the_steps_before
                s20_a_failed_guard_goes_before_a_full_queue
                s20_the_first_push_without_room_names_its_queue
            }
            queues {
                s5_settle_needs_the_version_read
                s5_retime_needs_the_version_read
                s5_an_item_never_issued_does_not_hold
                s5_clear_takes_items_of_any_version
                s6_every_write_of_an_item_gives_a_new_version
                s9_retime_moves_time_and_marks_only
                s10_numbers_rise_also_after_the_queue_was_emptied
                s11_a_push_beyond_capacity_names_its_queue
                s11_hidden_items_take_room
                s11_room_comes_back
                s11_queues_fill_apart
                s16_items_come_back_byte_for_byte
                s16_marks_come_back_byte_for_byte
                s22_listing_shows_all_items_in_order
            }
            claims {
                s9_a_claimed_item_is_hidden_until_its_time
                s9_a_claim_raises_version_and_claims
                s9_only_visible_items_are_taken
                s9_a_sweep_takes_what_is_overdue_and_visible
                s9_no_deadline_is_never_overdue
                s9_any_takes_from_all_queues_of_its_kind
                s9_claims_of_one_call_never_share
                s9_limits_hold
                s9_a_former_holder_can_neither_settle_nor_retime
                s9_claims_leave_depth_deadline_marks_and_body
                s10_items_come_in_sequence_order
                s10_a_retimed_item_keeps_its_place
                s10_sweeps_are_in_order_within_each_queue
            }
            logs {
                s12_numbers_start_at_one_and_are_contiguous
                s12_partitions_count_apart
                s12_an_earlier_time_is_raised
                s12_time_does_not_go_back_after_a_trim
                s12_tail_gives_pages
                s12_tail_begins_at_the_oldest_kept
                s13_entries_of_one_change_stay_together
                s16_entries_come_back_byte_for_byte
                s18_seek_in_an_empty_partition
                s18_seek_finds_oldest_next_and_times
                s18_seek_after_a_trim
                s18_numbers_go_on_after_a_trim
                s18_trim_forgets_exactly_what_is_below
            }
            time {
                s14_only_the_times_given_count
                s14_time_may_go_back_between_calls
                s14_the_end_of_time_is_a_time
            }
            retry {
                s8_the_same_batch_again_has_no_second_effect
                s8_a_refusal_stays_when_the_guard_would_hold
                s8_ten_thousand_later_batches
                s8_the_same_batch_from_many_tasks_happens_once
                s15_a_dropped_commit_is_whole_or_none
                s15_a_dropped_claim_is_whole_or_none
            }
            reopen {
                s7_a_synced_store_opens_again
                s17_documents_are_there_again
                s17_queues_go_on
                s17_logs_go_on
                s17_batches_are_remembered
                s17_versions_are_not_issued_again
            }
            nudges {
                s21_a_nudge_ends_a_wait_under_way
                s21_a_nudge_between_two_waits_ends_the_second
            }
            concurrency {
                s1_read_shows_one_instant
                s3_batches_in_opposite_orders_both_end
                s5_one_of_many_writers_wins
                s5_no_write_is_lost
                s9_claims_at_once_never_share
                s9_a_claim_hides_only_what_it_took
                s11_pushes_at_once_never_exceed_capacity
                s12_appends_at_once_are_contiguous
                s12_tail_never_skips
                s13_appends_at_once_do_not_mix
            }
            history {
                history_matches_the_model
                history_matches_the_model_across_crashes
            }
        }
    };
}

/// What [`store_tests`] expands with.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_tests {
    ($fixture:expr; $($subject:ident { $($case:ident)+ })+) => {$($(
        #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            let mut fixture = $fixture;
            let case = $crate::conformance::store::$subject::$case(&mut fixture);
            $crate::conformance::store::run(stringify!($case), case).await;
        }
    )+)+};
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    const KIT: &str = include_str!("mod.rs");
    const CONTRACT: &str = include_str!("../../store/mod.rs");
    const SUBJECTS: [&str; 12] = [
        include_str!("changes.rs"),
        include_str!("claims.rs"),
        include_str!("concurrency.rs"),
        include_str!("documents.rs"),
        include_str!("history.rs"),
        include_str!("judging.rs"),
        include_str!("logs.rs"),
        include_str!("nudges.rs"),
        include_str!("queues.rs"),
        include_str!("reopen.rs"),
        include_str!("retry.rs"),
        include_str!("time.rs"),
    ];

    fn cases_written() -> BTreeSet<&'static str> {
        let lines = SUBJECTS.iter().flat_map(|subject| subject.lines());
        let names = lines.filter_map(|line| {
            let (name, rest) = line.strip_prefix("pub async fn ")?.split_once("<F: Fixture>")?;
            rest.starts_with("(fixture: &mut F) {").then_some(name)
        });
        names.collect()
    }

    fn cases_run() -> BTreeSet<&'static str> {
        let (_, list) = KIT.split_once("macro_rules! store_tests").unwrap();
        let (list, _) = list.split_once("macro_rules! __store_tests").unwrap();
        let names = list.lines().map(str::trim);
        names.filter(|name| name.starts_with('s') || name.starts_with("history_")).collect()
    }

    #[test]
    fn every_case_written_is_run() {
        assert_eq!(cases_written(), cases_run());
    }

    #[test]
    fn every_sentence_has_a_case_and_every_case_a_sentence() {
        let sentences = CONTRACT.lines().filter_map(|line| {
            let (sentence, _) = line.strip_prefix("//! - **S")?.split_once("**")?;
            Some(format!("s{sentence}"))
        });
        let named = cases_run().into_iter().filter_map(|case| case.split_once('_'));
        let named: BTreeSet<_> =
            named.map(|(sentence, _)| sentence.to_owned()).filter(|s| s != "history").collect();
        assert_eq!(named, sentences.collect());
    }
}
