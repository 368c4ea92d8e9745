//! The kit is tested too: a transport with a known bug must be caught, by the case that names it.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use hub_core::conformance::transport::{
    connect, delivery, method, pressure, shutdown, telemetry, twin,
};

use crate::probe::LineFixture;

/// What is wrong with a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// Says done before the receipt has come.
    AcknowledgesEarly,
    /// Does not close when it is told to.
    SwallowsClose,
    /// Swaps two offers.
    ReordersOffers,
    /// Swaps two acknowledgements.
    ReordersReceipts,
    /// Reads from the peer without asking for room.
    ReadsWithoutRoom,
    /// Does not hear the hub while it writes to the peer.
    DeafWhileWriting,
    /// Says done when the hub refuses.
    SwallowsErrors,
    /// Hands on a token that is not the one it was given.
    ForgetsTokens,
    /// Does not look at tokens.
    TrustsEverybody,
    /// Logs tokens.
    LogsCredentials,
    /// Logs what devices report.
    LogsPayloads,
    /// Takes a goodbye for a lost connection.
    LosesGoodbyes,
    /// Ends altogether when one peer talks nonsense.
    EndsOnNonsense,
    /// Goes on serving after the signal.
    IgnoresShutdown,
    /// Waits for a hello for as long as it takes.
    WaitsForHello,
}

/// Whether a case fails. One that never ends fails as well, only later.
async fn fails(case: impl Future<Output = ()>) -> bool {
    let case = tokio::time::timeout(Duration::from_secs(7), Box::pin(case));
    !matches!(AssertUnwindSafe(case).catch_unwind().await, Ok(Ok(())))
}

macro_rules! caught {
    ($($name:ident: $bug:ident by $($case:path),+;)+) => {$(
        #[tokio::test]
        async fn $name() {
            $(assert!(
                fails($case(&mut LineFixture::new(Bug::$bug))).await,
                "{:?} was not caught by {}", Bug::$bug, stringify!($case),
            );)+
        }
    )+};
}

caught! {
    an_early_acknowledgement: AcknowledgesEarly
        by telemetry::t1_no_ack_before_the_store_has_it,
           delivery::t1_no_answer_to_a_settlement_before_the_store_has_it;
    a_close_not_heard: SwallowsClose
        by connect::t4_a_connection_taken_over_is_closed,
           connect::t4_a_device_disabled_or_deleted_is_closed,
           connect::t4_an_expired_token_closes_after_its_grace;
    an_end_not_heard: SwallowsClose by shutdown::t8_connections_end_and_serve_returns;
    another_order: ReordersOffers
        by delivery::t2_offers_come_in_order, delivery::t3_a_token_goes_back_as_it_came;
    another_order_of_receipts: ReordersReceipts
        by telemetry::t14_telemetry_is_acknowledged_in_its_order;
    reading_without_room: ReadsWithoutRoom by pressure::t5_without_room_nothing_is_read;
    a_peer_that_blocks: DeafWhileWriting by pressure::t4_a_peer_that_reads_nothing_is_closed;
    a_refusal_not_told: SwallowsErrors
        by delivery::t12_a_lost_lock_is_told, twin::t12_a_bad_patch_is_refused_and_the_link_lives;
    another_token: ForgetsTokens by delivery::t3_a_token_goes_back_as_it_came;
    an_open_door: TrustsEverybody
        by connect::t9_a_wrong_token_is_refused, connect::t9_an_expired_token_is_refused;
    a_logged_token: LogsCredentials by connect::t7_credentials_and_telemetry_never_reach_a_log;
    a_logged_payload: LogsPayloads by twin::t7_twins_never_reach_a_log;
    a_goodbye_not_told: LosesGoodbyes by connect::t11_a_goodbye_is_told_as_clean;
    a_babbler_that_ends_all: EndsOnNonsense by connect::t6_malformed_input_ends_this_link_only;
    a_patient_listener: WaitsForHello by connect::t13_who_says_nothing_is_closed;
    a_shutdown_not_heard: IgnoresShutdown
        by shutdown::t8_nobody_new_is_served, shutdown::t8_serve_returns_when_there_is_nobody;
}

/// What is caught above is the bug.
#[tokio::test]
async fn without_a_bug_a_case_does_not_fail() {
    let case = method::t10_a_call_and_its_answer_arrive_as_sent;
    assert!(!fails(case(&mut LineFixture::new(Bug::None))).await);
}
