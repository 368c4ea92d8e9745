//! The kit is tested too: a store with a known bug must be caught, by the case that names it.

mod store;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use hub_core::conformance::store::{
    changes, claims, concurrency, documents, history, logs, nudges, queues, reopen, retry,
};

use self::store::{Bug, Bugs};

/// Without a bug the wrapper passes: what is caught below is the bug. It also opens again, which a
/// memory store does not, so that the cases about crashes have something to see.
mod without_a_bug {
    hub_core::store_tests!(super::Bugs(super::Bug::None));
}

/// Whether a case fails. One that never ends fails as well, only later.
async fn fails(case: impl Future<Output = ()>) -> bool {
    let case = AssertUnwindSafe(tokio::time::timeout(Duration::from_secs(5), case));
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
    a_dropped_requirement: RequireDropped
        by documents::s5_require_holds_without_a_write, changes::s4_a_refused_append_takes_no_number;
    an_unguarded_replacement: ReplaceUnguarded
        by documents::s5_replace_needs_the_version_read, concurrency::s5_one_of_many_writers_wins,
           concurrency::s5_no_write_is_lost;
    a_write_without_a_new_version: SameBodySkipped
        by documents::s6_a_document_never_has_a_version_twice;
    a_capacity_not_kept: CapacitySkipped
        by queues::s11_a_push_beyond_capacity_names_its_queue, queues::s11_hidden_items_take_room,
           concurrency::s11_pushes_at_once_never_exceed_capacity;
    a_shared_claim: ClaimShared by concurrency::s9_claims_at_once_never_share;
    a_lock_too_short: HiddenTooShort by claims::s9_a_claimed_item_is_hidden_until_its_time;
    a_sweep_of_what_is_not_overdue: SweepTakesAll
        by claims::s9_a_sweep_takes_what_is_overdue_and_visible, claims::s9_no_deadline_is_never_overdue;
    a_wrong_order: ClaimReversed
        by claims::s10_items_come_in_sequence_order, claims::s10_sweeps_are_in_order_within_each_queue;
    lost_marks: MarksLost by claims::s9_claims_leave_depth_deadline_marks_and_body;
    a_gap_in_a_sequence: GapInSequence
        by changes::s4_a_refused_append_takes_no_number,
           concurrency::s12_appends_at_once_are_contiguous;
    half_a_change: HalfChange
        by changes::s2_nothing_happens_wherever_the_guard_fails,
           changes::s4_failed_guard_leaves_no_trace, changes::s4_a_full_queue_leaves_no_trace;
    half_a_batch: BatchSplit by retry::s15_a_dropped_commit_is_whole_or_none;
    a_forgotten_batch: BatchForgotten
        by retry::s8_the_same_batch_again_has_no_second_effect,
           retry::s8_a_refusal_stays_when_the_guard_would_hold,
           retry::s8_the_same_batch_from_many_tasks_happens_once;
    a_batch_forgotten_early: BatchForgottenEarly by retry::s8_ten_thousand_later_batches;
    a_refusal_that_stops_its_batch: RefusalStopsBatch
        by changes::s3_a_refusal_does_not_touch_the_others;
    a_tail_that_skips: TailSkips by concurrency::s12_tail_never_skips;
    a_torn_read: ReadTorn by concurrency::s1_read_shows_one_instant;
    a_scan_that_repeats: ScanInclusive
        by documents::s19_scan_starts_strictly_after, documents::s19_scan_pages_meet;
    a_trim_too_far: TrimTooMuch by logs::s18_trim_forgets_exactly_what_is_below;
    a_seek_too_far: SeekStrict by logs::s18_seek_finds_oldest_next_and_times;
    no_nudges: NeverNudged by nudges::s21_a_nudge_ends_a_wait_under_way;
    a_crash_that_loses_all: CrashLosesAll
        by reopen::s7_a_synced_store_opens_again, reopen::s17_documents_are_there_again,
           reopen::s17_queues_go_on, reopen::s17_logs_go_on, reopen::s17_batches_are_remembered,
           reopen::s17_versions_are_not_issued_again,
           history::history_matches_the_model_across_crashes;
    a_crash_that_forgets_batches: CrashForgetsBatches by reopen::s17_batches_are_remembered;
}

/// The random histories alone find every bug that needs neither a second task nor a crash, nor more
/// batches than they have.
#[tokio::test]
async fn histories_find_what_the_named_cases_find() {
    for bug in [
        Bug::RequireDropped,
        Bug::ReplaceUnguarded,
        Bug::CapacitySkipped,
        Bug::ClaimShared,
        Bug::HiddenTooShort,
        Bug::SweepTakesAll,
        Bug::ClaimReversed,
        Bug::MarksLost,
        Bug::GapInSequence,
        Bug::HalfChange,
        Bug::BatchForgotten,
        Bug::RefusalStopsBatch,
        Bug::TailSkips,
        Bug::ScanInclusive,
        Bug::TrimTooMuch,
        Bug::SeekStrict,
    ] {
        assert!(fails(history::history_matches_the_model(&mut Bugs(bug))).await, "{bug:?}");
    }
}
