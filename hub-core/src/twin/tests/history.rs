//! The way back through a twin's history leads to what was there.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::limits::Limits;
use crate::time::Timestamp;
use crate::twin::{
    ChangeKind, Patch, SectionName, ServicePatch, Twin, TwinVersion, Writer, twin_at_time,
    twin_at_version,
};

const START: u64 = 1_800_000_000_000;

fn at(n: u64) -> Timestamp {
    Timestamp::from_millis(START + n)
}

/// One write, and whether it replaces.
#[derive(Debug, Clone)]
enum Write {
    Report(Value),
    Patch(Value),
    Replace(Value),
}

fn write(twin: &mut Twin, write: &Write, now: Timestamp) -> Option<TwinVersion> {
    let limits = Limits::default();
    let before = twin.clone();
    let change = match write {
        Write::Report(patch) => {
            let patch = Patch::from_value(patch, &limits).unwrap();
            twin.report(&patch, None, now, &limits)
        }
        Write::Patch(patch) => {
            twin.patch(&ServicePatch::from_value(patch, &limits).unwrap(), None, now, &limits)
        }
        Write::Replace(patch) => {
            twin.replace(&ServicePatch::from_value(patch, &limits).unwrap(), None, now, &limits)
        }
    };
    let change = change.unwrap();
    if change.is_empty() {
        return None;
    }
    let item = change.history_item(&before, limits.twin_history_bytes_max);
    Some(TwinVersion::decode(&item).unwrap())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => Just(Value::Null),
        2 => (-9_i64..9).prop_map(Value::from),
        1 => (-1e9..1e9_f64).prop_map(Value::from),
        1 => "[a-z\\u{1}é]{0,3}".prop_map(Value::from),
        1 => Just(json!([1, {"x": "y"}, []])),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::btree_map("[abc]", inner, 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[abcd]", value(), 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn service() -> impl Strategy<Value = Value> {
    let maybe = || prop::option::weighted(0.6, object());
    (maybe(), maybe()).prop_map(|(tags, desired)| {
        let mut write = json!({});
        if let Some(tags) = tags {
            write["tags"] = tags;
        }
        if let Some(desired) = desired {
            write["properties"] = json!({ "desired": desired });
        }
        write
    })
}

fn any_write() -> impl Strategy<Value = Write> {
    prop_oneof![
        3 => object().prop_map(Write::Report),
        4 => service().prop_map(Write::Patch),
        2 => service().prop_map(Write::Replace),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_version_is_what_it_was(
        writes in prop::collection::vec(any_write(), 1..25),
        kept in 1_usize..30,
    ) {
        let mut twin = Twin::new(at(0));
        let (mut was, mut history) = (vec![(at(0), twin.clone())], Vec::new());
        for (n, one) in writes.iter().enumerate() {
            let now = at(10 * (n as u64 + 1));
            if let Some(version) = write(&mut twin, one, now) {
                prop_assert_eq!((version.version(), version.at()), (twin.version(), now));
                history.push(version);
                was.push((now, twin.clone()));
            }
        }
        // The oldest are forgotten.
        let forgotten = history.len().saturating_sub(kept);
        history.drain(..forgotten);
        for (n, (since, old)) in was.iter().enumerate() {
            let expected = (n >= forgotten).then_some(old);
            let found = twin_at_version(twin.clone(), &history, old.version());
            prop_assert_eq!(found.as_ref(), expected);
            let until = was.get(n + 1).map_or(at(99_999), |(until, _)| *until);
            for time in [*since, Timestamp::from_millis(until.as_millis() - 1)] {
                let found = twin_at_time(twin.clone(), &history, time);
                prop_assert_eq!(found.as_ref(), expected, "{}", time);
            }
        }
        prop_assert_eq!(twin_at_version(twin.clone(), &history, twin.version() + 1), None);
        prop_assert_eq!(twin_at_time(twin, &history, at(0).before(std::time::Duration::from_millis(1))), None);
    }
}

#[test]
fn a_change_tells_who_wrote_what_over_what() {
    let mut twin = Twin::new(at(0));
    write(&mut twin, &Write::Patch(json!({"tags": {"a": {"x": 1, "y": 2}, "gone": true}})), at(1));
    let patch = json!({"tags": {"a": {"x": 5}, "gone": null, "new": "n"}});
    let version = write(&mut twin, &Write::Patch(patch.clone()), at(2)).unwrap();
    assert_eq!((version.by(), version.kind()), (Writer::BackEnd, ChangeKind::Update));
    assert_eq!(version.sections(), [SectionName::Tags]);
    assert_eq!(version.patch(SectionName::Tags).as_ref(), Some(&patch["tags"]));
    let before = json!({"a": {"x": 1}, "gone": true, "new": null});
    assert_eq!(version.previous(SectionName::Tags), Some(before));
    assert_eq!(version.patch(SectionName::Desired), None);
    let version = write(&mut twin, &Write::Report(json!({"r": 1})), at(3)).unwrap();
    assert_eq!((version.by(), version.sections()), (Writer::Device, &[SectionName::Reported][..]));
}

#[test]
fn one_that_is_too_large_ends_the_way_back() {
    let (limits, mut twin) = (Limits::default(), Twin::new(at(0)));
    let mut history = Vec::new();
    for n in 0..3_u64 {
        let before = twin.clone();
        let patch = Patch::from_value(&json!({"n": n}), &limits).unwrap();
        let change = twin.report(&patch, None, at(n), &limits).unwrap();
        let bytes_max = if n == 1 { 60 } else { 9_999 };
        let item = change.history_item(&before, bytes_max);
        let version = TwinVersion::decode(&item).unwrap();
        assert_eq!((version.is_kept(), version.by()), (n != 1, Writer::Device));
        history.push(version);
    }
    let found =
        |version| twin_at_version(twin.clone(), &history, version).map(|twin| twin.version());
    assert_eq!([2, 3, 4, 5].map(found), [None, None, Some(4), Some(5)]);
}

#[test]
fn where_no_history_was_kept_for_a_while_the_way_back_ends() {
    let mut twin = Twin::new(at(0));
    let mut history = Vec::new();
    for n in 1..=5_u64 {
        let version = write(&mut twin, &Write::Report(json!({"n": n})), at(n * 10)).unwrap();
        if n != 3 {
            history.push(version);
        }
    }
    let at_version = |version| twin_at_version(twin.clone(), &history, version).is_some();
    assert_eq!([3, 4, 5, 6, 7].map(at_version), [false, false, true, true, true]);
    let at_time = |millis| twin_at_time(twin.clone(), &history, at(millis)).map(|t| t.version());
    assert_eq!([29, 30, 39, 40, 50].map(at_time), [None, Some(5), Some(5), Some(6), Some(7)]);
}

#[test]
fn the_event_of_a_change_has_what_was_there_if_that_is_wanted() {
    let (limits, mut twin) = (Limits::default(), Twin::new(at(0)));
    let of = crate::id::Address::parse("d1").unwrap();
    let patch = Patch::from_value(&json!({"n": {"a": 1}}), &limits).unwrap();
    twin.patch(&ServicePatch::of_desired(patch), None, at(1), &limits).unwrap();
    let before = twin.clone();
    let patch = Patch::from_value(&json!({"n": {"a": 2, "b": 3}}), &limits).unwrap();
    let change = twin.patch(&ServicePatch::of_desired(patch), None, at(2), &limits).unwrap();
    let json = |before| {
        let body = change.event_body(&of, &twin, before).unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let (plain, mut told) = (json(None), json(Some(&before)));
    let previous = told.as_object_mut().unwrap().remove("previous");
    assert_eq!(previous, Some(json!({"properties": {"desired": {"n": {"a": 1, "b": null}}}})));
    assert_eq!(plain, told);
}
