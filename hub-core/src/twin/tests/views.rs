//! What devices, back ends and readers of the log see.

use super::super::ChangeKind;
use super::*;
use crate::id::Address;

fn device() -> Address {
    Address::parse("d1").expect("an address")
}

fn module() -> Address {
    Address::parse("d1/m1").expect("an address")
}

fn time(millis: u64) -> String {
    at(millis).to_string()
}

#[test]
fn the_device_sees_two_sections_with_versions_and_nothing_else() {
    assert_eq!(
        &Twin::new(at(0)).device_view()[..],
        br#"{"desired":{"$version":1},"reported":{"$version":1}}"#
    );
    let twin = twin_of(&json!({"b": {"c": [1.0, "ä\n"]}, "a": true}));
    assert_eq!(
        std::str::from_utf8(&twin.device_view()).expect("UTF-8"),
        r#"{"desired":{"a":true,"b":{"c":[1.0,"ä\n"]},"$version":2},"reported":{"a":true,"b":{"c":[1.0,"ä\n"]},"$version":2}}"#
    );
}

#[test]
fn back_ends_see_metadata() {
    let mut twin = Twin::new(at(1));
    patch_section(&mut twin, SectionName::Desired, r#"{"th":{"t":75.1}}"#, at(2)).expect("ok");
    patch_section(&mut twin, SectionName::Reported, r#"{"l":[1]}"#, at(3)).expect("ok");
    let stamp = json!({"$lastUpdated": time(2), "$lastUpdatedVersion": 2});
    let (mut root, mut th) = (stamp.clone(), stamp.clone());
    th["t"] = stamp;
    root["th"] = th;
    assert_eq!(
        serde_json::to_value(twin.service_properties()).expect("a value"),
        json!({
            "desired": {"th": {"t": 75.1}, "$metadata": root, "$version": 2},
            "reported": {
                "l": [1],
                "$metadata": {"$lastUpdated": time(3), "l": {"$lastUpdated": time(3)}},
                "$version": 2
            }
        })
    );
}

#[test]
fn a_report_makes_an_event_like_the_captured_one() {
    let mut twin = Twin::new(at(1));
    let change = patch_section(&mut twin, SectionName::Reported, r#"{"max":10.96}"#, at(2));
    let body = change.expect("accepted").event_body(&device(), &twin, None).expect("a body");
    let time = time(2);
    assert_eq!(
        std::str::from_utf8(&body).expect("UTF-8"),
        format!(
            r#"{{"version":3,"properties":{{"reported":{{"max":10.96,"$metadata":{{"$lastUpdated":"{time}","max":{{"$lastUpdated":"{time}"}}}},"$version":2}}}}}}"#
        )
    );
}

#[test]
fn an_update_event_has_what_was_written_and_its_metadata() {
    let limits = Limits::default();
    let mut twin = twin_of(&json!({"a": {"b": 1, "c": 2}, "d": 3}));
    let text = r#"{"tags":{"d":null,"t":1},"properties":{"desired":{"a":{"b":null,"n":{"x":null}},"d":null,"l":[1]}}}"#;
    let write = ServicePatch::parse(text.as_bytes(), &limits).expect("valid");
    let change = twin.patch(&write, None, at(9), &limits).expect("accepted");
    assert_eq!((change.kind(), change.kind().op_type()), (ChangeKind::Update, "updateTwin"));
    let stamp = json!({"$lastUpdated": time(9), "$lastUpdatedVersion": 3});
    let (mut root, mut a) = (stamp.clone(), stamp.clone());
    a["n"] = stamp.clone();
    root["a"] = a;
    root["l"] = stamp;
    assert_eq!(
        json_of(&change.event_body(&device(), &twin, None).expect("a body")),
        json!({
            "version": twin.version(),
            "tags": {"d": null, "t": 1},
            "properties": {"desired": {
                "a": {"b": null, "n": {"x": null}}, "d": null, "l": [1],
                "$metadata": root, "$version": 3
            }}
        })
    );
    // Its metadata says what the twin's says.
    let view = serde_json::to_value(twin.service_properties()).expect("a value");
    assert_eq!(view["desired"]["$metadata"]["a"]["n"]["$lastUpdated"], json!(time(9)));
}

#[test]
fn an_update_event_of_tags_has_no_properties() {
    let mut twin = Twin::new(at(1));
    let change = patch_section(&mut twin, SectionName::Tags, r#"{"t":"x"}"#, at(2));
    let body = change.expect("accepted").event_body(&device(), &twin, None).expect("a body");
    assert_eq!(&body[..], br#"{"version":3,"tags":{"t":"x"}}"#);
}

#[test]
fn a_replace_event_has_the_whole_twin() {
    let mut twin = twin_of(&json!({"a": 1}));
    let change = replace_section(&mut twin, SectionName::Tags, r#"{"b":2}"#, at(9));
    assert_eq!(change.kind().op_type(), "replaceTwin");
    for (address, module) in [(device(), None), (module(), Some("m1"))] {
        let mut want = json!({
            "deviceId": "d1", "etag": twin.etag(), "version": twin.version(), "tags": {"b": 2},
            "properties": twin.service_properties()
        });
        if let Some(module) = module {
            want["moduleId"] = json!(module);
        }
        assert_eq!(json_of(&change.event_body(&address, &twin, None).expect("a body")), want);
    }
}

#[test]
fn a_change_that_is_empty_makes_no_event() {
    let mut twin = Twin::new(at(1));
    let change = patch_section(&mut twin, SectionName::Reported, "{}", at(2)).expect("accepted");
    assert_eq!(change.event_body(&device(), &twin, None), None);
}

#[test]
fn the_life_of_an_identity_is_told_with_its_twin() {
    let twin = Twin::new(Timestamp::ZERO);
    let never = json!({
        "$metadata": {"$lastUpdated": "0001-01-01T00:00:00.0000000Z"}, "$version": 1
    });
    assert_eq!(
        json_of(&twin.lifecycle_body(&module())),
        json!({
            "deviceId": "d1", "moduleId": "m1", "etag": "AAAAAAAAAAE=", "version": 2,
            "properties": {"desired": never, "reported": never}
        })
    );
}

#[test]
fn sections_can_be_walked_without_copies() {
    let twin = twin_of(&json!({"a": {"b": {"c": 5}}, "l": [1]}));
    let tags = twin.tags();
    let leaf = tags.find(["a", "b", "c"]).expect("there");
    assert_eq!((leaf.as_leaf(), leaf.is_object()), (Some(&json!(5)), false));
    assert_eq!(leaf.members().count(), 0);
    assert_eq!(tags.find(["a", "b", "c", "d"]), None);
    assert_eq!(tags.find([]), None);
    let inner = tags.get("a").expect("there");
    assert!(inner.is_object() && inner.as_leaf().is_none());
    assert_eq!(inner.to_value(), json!({"b": {"c": 5}}));
    assert_eq!(inner.members().map(|(name, _)| name).collect::<Vec<_>>(), ["b"]);
    assert_eq!(tags.members().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "l"]);
    assert_eq!((tags.len(), tags.is_empty()), (2, false));
    assert_eq!(serde_json::to_value(tags).expect("a value"), tags.to_value());
}
