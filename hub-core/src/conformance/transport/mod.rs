//! The conformance kit for transports.
//!
//! The author of a transport writes a [`Fixture`], which serves a hub over their transport, and a
//! [`Probe`], a device that speaks their protocol, with a further trait for each ability that the
//! protocol has. Their tests are then one line:
//!
//! ```ignore
//! hub_core::transport_tests!(MyFixture::new());
//! ```
//!
//! It expands to one test per case. A case is named after the sentence of the contract
//! ([`crate::transport`]) that it checks. Each case starts a real hub on a store of the fixture's,
//! behind a [`Gate`] that can hold commits back, with a clock that is moved by hand, and lets the
//! probe talk to it over real sockets. The cases are plain public functions too, by subject.
//!
//! # Protocols that cannot do everything
//!
//! What the protocol has no words for is named in the line:
//!
//! ```ignore
//! hub_core::transport_tests!(MyFixture::new(), without: introduced lasting pipelined methods desired twins);
//! ```
//!
//! | word | trait | what it is |
//! |---|---|---|
//! | `introduced` | [`Introduced`], of the fixture | TCP connections that begin with a hello |
//! | `lasting` | [`Lasting`] | a connection that stays until one side ends it |
//! | `pipelined` | [`Pipelined`] | saying more before it was answered |
//! | `messages` | [`Messages`] | cloud-to-device messages |
//! | `dispositions` | [`Dispositions`] | settling them in every way, and being answered |
//! | `methods` | [`Methods`] | direct methods |
//! | `desired` | [`Desired`] | hearing of changes of desired properties |
//! | `twins` | [`Twins`] | reading the twin, reporting properties |
//!
//! The cases that need it are then listed as ignored, each with the reason; the probe need not have
//! the trait. A word left out although the trait is missing is an error of the compiler.
//!
//! The tests run on tokio with one thread each: the author's crate has `tokio` as a dev-dependency,
//! with the features `macros` and `rt`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test kit fails by panicking"
)]

mod captured;
pub mod connect;
pub mod delivery;
mod gate;
pub mod method;
pub mod pressure;
mod probe;
pub mod shutdown;
pub mod telemetry;
pub mod twin;
mod world;

use std::time::Duration;

pub use self::captured::Captured;
pub use self::gate::{Gate, Gated, Held};
pub use self::probe::{
    Desired, Dispositions, Fixture, Heard, Hearing, Introduced, Lasting, Login, Messages, Methods,
    Pipelined, Probe, Refused, Twins,
};
pub use self::world::HOST;

/// Longest a case may take. A transport that never answers fails its case instead of the whole run.
pub const CASE_TIME_MAX: Duration = Duration::from_secs(60);

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

/// Expands to one test per case of the transport kit.
///
/// The first argument is an expression that gives a
/// [`Fixture`](crate::conformance::transport::Fixture); it is evaluated at the beginning of every
/// test, inside an `async fn` without a result. After `without:` stand the abilities that the
/// protocol does not have; see the [kit](crate::conformance::transport).
///
/// To run the kit on several transports, put each call into a module of its own.
#[macro_export]
macro_rules! transport_tests {
    ($fixture:expr $(,)?) => {
        $crate::transport_tests!($fixture, without:);
    };
    ($fixture:expr, without: $($ability:ident)* $(,)?) => {
        $($crate::__transport_ability!($ability);)*
        $crate::__transport_tests! { $fixture; [$($ability)*];
            connect {
                t9_a_device_with_its_token_is_let_in []
                t9_a_wrong_token_is_refused []
                t9_an_expired_token_is_refused []
                t9_an_unknown_or_disabled_device_is_refused []
                t9_a_module_is_somebody_of_its_own []
                t13_who_says_nothing_is_closed [introduced]
                t11_a_goodbye_is_told_as_clean [lasting]
                t11_a_lost_connection_is_told_as_lost [lasting]
                t4_a_connection_taken_over_is_closed [lasting]
                t4_a_device_disabled_or_deleted_is_closed [lasting]
                t4_an_expired_token_closes_after_its_grace [lasting]
                t6_a_babbler_is_closed [lasting]
                t6_malformed_input_ends_this_link_only []
                t7_credentials_and_telemetry_never_reach_a_log []
            }
            telemetry {
                t1_no_ack_before_the_store_has_it []
                t1_no_ack_of_what_a_shutdown_cut_off []
                t10_bodies_and_properties_arrive_as_sent []
                t10_messages_arrive_once_and_in_order []
                t12_a_message_beyond_the_limit_is_refused []
                t14_telemetry_is_acknowledged_in_its_order [lasting pipelined]
            }
            delivery {
                t2_offers_come_in_order [messages]
                t3_a_token_goes_back_as_it_came [messages]
                t10_a_message_arrives_as_sent [messages]
                t1_no_answer_to_a_settlement_before_the_store_has_it [messages dispositions]
                t3_abandon_and_reject_reach_the_hub [messages dispositions]
                t12_a_lost_lock_is_told [messages dispositions]
                t11_what_was_not_settled_comes_again [messages lasting]
                t2_nothing_comes_before_it_is_listened_for [messages lasting]
                t7_messages_never_reach_a_log [messages]
            }
            twin {
                t1_no_reported_version_before_the_store_has_it [twins]
                t10_a_twin_arrives_as_it_is [twins]
                t12_a_bad_patch_is_refused_and_the_link_lives [twins]
                t2_notices_come_in_order [desired]
                t7_twins_never_reach_a_log [twins]
            }
            method {
                t10_a_call_and_its_answer_arrive_as_sent [methods]
                t2_calls_come_in_order_and_answers_find_them [methods]
                t2_a_call_does_not_overtake_a_notice [methods desired]
                t11_a_connection_lost_during_a_call_is_told [methods lasting]
                t6_an_answer_of_no_use_ends_its_call_only [methods]
                t7_calls_never_reach_a_log [methods]
            }
            pressure {
                t5_without_room_nothing_is_read [lasting pipelined]
                t5_a_link_without_room_holds_up_no_other [lasting pipelined]
                t4_a_peer_that_reads_nothing_is_closed [lasting pipelined methods]
            }
            shutdown {
                t8_connections_end_and_serve_returns [lasting]
                t8_nobody_new_is_served []
                t8_serve_returns_when_there_is_nobody []
                t8_a_dropped_hub_closes_its_connections [lasting]
            }
        }
    };
}

/// What [`transport_tests`] expands with: a list of cases, each with what it needs.
#[doc(hidden)]
#[macro_export]
macro_rules! __transport_tests {
    ($fixture:expr; $without:tt; $($subject:ident { $($case:ident $needs:tt)+ })+) => {$($(
        $crate::__transport_case! { $fixture; $subject $case $needs $without / $without }
    )+)+};
}

/// One case. Compares the first thing it needs with what is lacking, word by word: a macro cannot
/// compare two words but by naming one.
#[doc(hidden)]
#[macro_export]
macro_rules! __transport_case {
    // It needs nothing more.
    ($fixture:expr; $subject:ident $case:ident [] $without:tt / $left:tt) => {
        #[::tokio::test]
        async fn $case() {
            let mut fixture = $fixture;
            let case = $crate::conformance::transport::$subject::$case(&mut fixture);
            $crate::conformance::transport::run(stringify!($case), case).await;
        }
    };
    // The first thing it needs is not lacking.
    ($fixture:expr; $subject:ident $case:ident [$need:ident $($needs:ident)*] $without:tt / []) => {
        $crate::__transport_case! { $fixture; $subject $case [$($needs)*] $without / $without }
    };
    ($f:expr; $s:ident $case:ident [introduced $($n:ident)*] $w:tt / [introduced $($l:ident)*]) => {
        #[test]
        #[ignore = "not applicable: peers do not connect over TCP with a hello"]
        fn $case() {}
    };
    ($f:expr; $s:ident $case:ident [lasting $($n:ident)*] $w:tt / [lasting $($l:ident)*]) => {
        #[test]
        #[ignore = "not applicable: the protocol has no lasting connections"]
        fn $case() {}
    };
    ($f:expr; $s:ident $case:ident [pipelined $($n:ident)*] $w:tt / [pipelined $($l:ident)*]) => {
        #[test]
        #[ignore = "not applicable: the protocol answers before it hears more"]
        fn $case() {}
    };
    ($f:expr; $s:ident $case:ident [messages $($n:ident)*] $w:tt / [messages $($l:ident)*]) => {
        #[test]
        #[ignore = "not applicable: the protocol has no cloud-to-device messages"]
        fn $case() {}
    };
    (
        $f:expr;
        $s:ident $case:ident [dispositions $($n:ident)*] $w:tt / [dispositions $($l:ident)*]
    ) => {
        #[test]
        #[ignore = "not applicable: the protocol does not settle in every way"]
        fn $case() {}
    };
    ($f:expr; $s:ident $case:ident [methods $($n:ident)*] $w:tt / [methods $($l:ident)*]) => {
        #[test]
        #[ignore = "not applicable: the protocol has no direct methods"]
        fn $case() {}
    };
    ($f:expr; $s:ident $case:ident [desired $($n:ident)*] $w:tt / [desired $($l:ident)*]) => {
        #[test]
        #[ignore = "not applicable: the protocol does not tell of desired properties"]
        fn $case() {}
    };
    ($f:expr; $s:ident $case:ident [twins $($n:ident)*] $w:tt / [twins $($l:ident)*]) => {
        #[test]
        #[ignore = "not applicable: the protocol has no twins"]
        fn $case() {}
    };
    // Another word is lacking: look at the next.
    ($f:expr; $s:ident $case:ident $needs:tt $without:tt / [$other:ident $($left:ident)*]) => {
        $crate::__transport_case! { $f; $s $case $needs $without / [$($left)*] }
    };
}

/// Refuses words that name no ability.
#[doc(hidden)]
#[macro_export]
macro_rules! __transport_ability {
    (introduced) => {};
    (lasting) => {};
    (pipelined) => {};
    (messages) => {};
    (dispositions) => {};
    (methods) => {};
    (desired) => {};
    (twins) => {};
    ($other:ident) => {
        compile_error!(concat!("no ability of a protocol: ", stringify!($other)));
    };
}
