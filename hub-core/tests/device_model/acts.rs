//! What may happen to a device, drawn at random.

use hub_core::frame::Interest;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::ROUNDS;

/// What happens, at one of the two nodes.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Connect {
        persistent: bool,
    },
    Leave,
    Subscribe(Interest),
    Unsubscribe(Interest),
    Report {
        patch: Value,
        version: Option<u64>,
    },
    GetTwin,
    Write {
        tags: Option<Value>,
        desired: Option<Value>,
        etag: Etag,
        replace: bool,
    },
    Send,
    /// Anywhere; both nodes hear of it, or none.
    Status {
        enabled: bool,
        heard: bool,
    },
    Hint,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Etag {
    None,
    Current,
    Stale,
}

/// An act, where, and how many changes lose first.
pub(crate) type Step = (Act, usize, u32);

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        2 => Just(Value::Null),
        3 => (0..5_u64).prop_map(Value::from),
        1 => Just(json!([1, {"a": 2}])),
        1 => Just(json!({})),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop::collection::btree_map("[ab]", inner, 0..3)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    })
}

fn patch() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[abc]", value(), 0..3)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let interest = || prop::sample::select(Interest::ALL.to_vec());
    let etag = prop::sample::select(vec![Etag::None, Etag::None, Etag::Current, Etag::Stale]);
    let act = prop_oneof![
        4 => any::<bool>().prop_map(|persistent| Act::Connect { persistent }),
        2 => Just(Act::Leave),
        4 => interest().prop_map(Act::Subscribe),
        1 => interest().prop_map(Act::Unsubscribe),
        4 => (patch(), prop::option::weighted(0.2, 1..5_u64))
            .prop_map(|(patch, version)| Act::Report { patch, version }),
        2 => Just(Act::GetTwin),
        4 => (prop::option::of(patch()), prop::option::of(patch()), etag, any::<bool>()).prop_map(
            |(tags, desired, etag, replace)| Act::Write { tags, desired, etag, replace }
        ),
        2 => Just(Act::Send),
        1 => (prop::bool::weighted(0.7), any::<bool>())
            .prop_map(|(enabled, heard)| Act::Status { enabled, heard }),
        2 => Just(Act::Hint),
    ];
    let conflicts = prop_oneof![3 => Just(0), 1 => 1..=ROUNDS + 2];
    (act, 0..2_usize, conflicts)
}
