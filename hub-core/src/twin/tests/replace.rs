//! Replacements, and what the device hears of them.

use super::*;

/// The replacement leads to `want`, and the device is told `notice`.
#[track_caller]
fn check(old: Value, new: Value, want: Value, notice: Value) {
    for name in [SectionName::Tags, SectionName::Desired] {
        let mut twin = twin_of(&old);
        let before = counters(&twin);
        let change = replace_section(&mut twin, name, &new.to_string(), at(2));
        assert_eq!(values(&twin, name), want, "{name}");
        let moved = u64::from(name == SectionName::Desired);
        let [version, etag, desired, reported] = before;
        assert_eq!(counters(&twin), [version + 1, etag + 1, desired + moved, reported]);
        if name == SectionName::Desired {
            let mut notice = notice.clone();
            notice["$version"] = json!(desired + 1);
            assert_eq!(json_of(&change.desired_notice().expect("a notice").body), notice);
        }
        // What was not named stays.
        for other in SECTIONS.into_iter().filter(|other| *other != name) {
            assert_eq!(values(&twin, other), old, "{other}");
        }
    }
}

#[test]
fn vanished_names_are_told_as_null() {
    check(
        json!({"a": 1, "b": 2}),
        json!({"a": 1, "c": 100}),
        json!({"a": 1, "c": 100}),
        json!({"a": 1, "b": null, "c": 100}),
    );
}

#[test]
fn nested_vanished_names_are_told_as_null() {
    check(
        json!({"o": {"a": 1, "p": {"x": 1, "y": 2}}, "z": {"q": 1}}),
        json!({"o": {"b": 1, "p": {"y": 3}}}),
        json!({"o": {"b": 1, "p": {"y": 3}}}),
        json!({"o": {"a": null, "b": 1, "p": {"x": null, "y": 3}}, "z": null}),
    );
}

#[test]
fn an_object_in_place_of_a_scalar_needs_no_nulls_and_the_reverse_neither() {
    check(
        json!({"a": 5, "b": {"c": 1}, "d": [1]}),
        json!({"a": {"x": 1}, "b": 5, "d": {}}),
        json!({"a": {"x": 1}, "b": 5, "d": {}}),
        json!({"a": {"x": 1}, "b": 5, "d": {}}),
    );
}

#[test]
fn an_emptied_object_stays_and_its_members_are_told_as_null() {
    check(json!({"a": {"b": 1}}), json!({"a": {}}), json!({"a": {}}), json!({"a": {"b": null}}));
}

#[test]
fn nulls_in_the_new_content_are_dropped() {
    check(
        json!({"a": 1, "b": {"c": 1, "d": 1}}),
        json!({"a": null, "b": {"c": null, "d": 2, "n": null}, "new": {"x": null}, "no": null}),
        json!({"b": {"d": 2}, "new": {}}),
        json!({"a": null, "b": {"c": null, "d": 2}, "new": {}}),
    );
}

#[test]
fn an_empty_object_or_null_clears_the_section() {
    check(json!({"a": 1, "b": {"c": 1}}), json!({}), json!({}), json!({"a": null, "b": null}));
    check(json!({"a": 1}), json!(null), json!({}), json!({"a": null}));
    check(json!({}), json!({}), json!({}), json!({}));
}
