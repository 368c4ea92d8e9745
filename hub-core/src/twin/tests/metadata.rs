//! The rules of `$metadata`, by their numbers, and `$lastUpdatedVersion`.

use super::*;

fn metadata(twin: &Twin, name: SectionName) -> Value {
    let view = serde_json::to_value(twin.service_properties()).expect("a value");
    let section = if name == SectionName::Desired { "desired" } else { "reported" };
    view[section]["$metadata"].clone()
}

/// A stamp as it is printed under desired properties.
fn stamp(millis: u64, version: u64) -> Value {
    json!({"$lastUpdated": at(millis).to_string(), "$lastUpdatedVersion": version})
}

/// The same with members.
fn around(mut stamp: Value, members: &[(&str, Value)]) -> Value {
    for (name, member) in members {
        stamp[*name] = member.clone();
    }
    stamp
}

/// `{"a":{"b":1,"c":2},"d":3}` under desired properties, written at 1 as version 2.
fn start() -> Twin {
    twin_of(&json!({"a": {"b": 1, "c": 2}, "d": 3}))
}

#[track_caller]
fn check(patch: Value, want: Value) {
    let mut twin = start();
    patch_section(&mut twin, SectionName::Desired, &patch.to_string(), at(7)).expect("accepted");
    assert_eq!(metadata(&twin, SectionName::Desired), want);
}

#[test]
fn a_fresh_twin_has_a_time_and_no_version() {
    let twin = Twin::new(at(5));
    for name in [SectionName::Desired, SectionName::Reported] {
        assert_eq!(metadata(&twin, name), json!({"$lastUpdated": "1970-01-01T00:00:00.0050000Z"}));
    }
    assert_eq!(
        metadata(&Twin::new(Timestamp::ZERO), SectionName::Desired),
        json!({"$lastUpdated": "0001-01-01T00:00:00.0000000Z"})
    );
}

#[test]
fn rule_1_a_write_stamps_what_it_names_and_all_around() {
    check(
        json!({"a": {"b": 9}, "e": {"f": {"g": 1}}}),
        around(
            stamp(7, 3),
            &[
                ("a", around(stamp(7, 3), &[("b", stamp(7, 3)), ("c", stamp(1, 2))])),
                ("d", stamp(1, 2)),
                ("e", around(stamp(7, 3), &[("f", around(stamp(7, 3), &[("g", stamp(7, 3))]))])),
            ],
        ),
    );
}

#[test]
fn rule_2_siblings_keep_their_stamps() {
    check(
        json!({"d": 4}),
        around(
            stamp(7, 3),
            &[
                ("a", around(stamp(1, 2), &[("b", stamp(1, 2)), ("c", stamp(1, 2))])),
                ("d", stamp(7, 3)),
            ],
        ),
    );
}

#[test]
fn rule_3_a_removal_stamps_all_around() {
    check(
        json!({"a": {"b": null}}),
        around(
            stamp(7, 3),
            &[("a", around(stamp(7, 3), &[("c", stamp(1, 2))])), ("d", stamp(1, 2))],
        ),
    );
    // Also where there was nothing to remove.
    check(
        json!({"a": {"z": null}}),
        around(
            stamp(7, 3),
            &[
                ("a", around(stamp(7, 3), &[("b", stamp(1, 2)), ("c", stamp(1, 2))])),
                ("d", stamp(1, 2)),
            ],
        ),
    );
}

#[test]
fn rule_4_an_array_has_one_stamp() {
    check(json!({"a": [{"x": 1}, [2]], "d": null}), around(stamp(7, 3), &[("a", stamp(7, 3))]));
}

#[test]
fn rule_5_the_same_value_is_stamped_anew() {
    check(
        json!({"a": {"b": 1}, "d": 3}),
        around(
            stamp(7, 3),
            &[
                ("a", around(stamp(7, 3), &[("b", stamp(7, 3)), ("c", stamp(1, 2))])),
                ("d", stamp(7, 3)),
            ],
        ),
    );
}

#[test]
fn rule_6_a_replacement_stamps_the_whole_section() {
    let mut twin = start();
    replace_section(&mut twin, SectionName::Desired, r#"{"a":{"b":1},"x":[1]}"#, at(7));
    assert_eq!(
        metadata(&twin, SectionName::Desired),
        around(
            stamp(7, 3),
            &[("a", around(stamp(7, 3), &[("b", stamp(7, 3))])), ("x", stamp(7, 3))]
        )
    );
    let reported = metadata(&twin, SectionName::Reported);
    assert_eq!(reported["$lastUpdated"], at(1).to_string(), "the other section keeps its stamps");
}

#[test]
fn a_scalar_that_becomes_an_object_has_nested_stamps_and_back() {
    check(
        json!({"a": 1, "d": {"x": {"y": 1}}}),
        around(
            stamp(7, 3),
            &[
                ("a", stamp(7, 3)),
                ("d", around(stamp(7, 3), &[("x", around(stamp(7, 3), &[("y", stamp(7, 3))]))])),
            ],
        ),
    );
}

#[test]
fn a_cleared_section_is_stamped() {
    let mut twin = start();
    patch_section(&mut twin, SectionName::Desired, "null", at(7)).expect("accepted");
    assert_eq!(metadata(&twin, SectionName::Desired), stamp(7, 3));
}

#[test]
fn reported_properties_have_no_versions_in_their_metadata() {
    let mut twin = start();
    patch_section(&mut twin, SectionName::Reported, r#"{"d":4}"#, at(7)).expect("accepted");
    let time = |millis: u64| json!({"$lastUpdated": at(millis).to_string()});
    assert_eq!(
        metadata(&twin, SectionName::Reported),
        around(
            time(7),
            &[("a", around(time(1), &[("b", time(1)), ("c", time(1))])), ("d", time(7))]
        )
    );
}

#[test]
fn tags_are_stamped_with_the_etag_counter() {
    let mut twin = start();
    patch_section(&mut twin, SectionName::Tags, r#"{"d":4}"#, at(7)).expect("accepted");
    let stamps: Vec<_> = twin.tags().members().map(|(name, node)| (name, node.stamp())).collect();
    let stamp = |millis, version| super::super::Stamp { at: at(millis), version };
    assert_eq!(stamps, [("a", stamp(1, 2)), ("d", stamp(7, twin.etag))]);
    assert_eq!(twin.tags().stamp(), stamp(7, twin.etag));
}
