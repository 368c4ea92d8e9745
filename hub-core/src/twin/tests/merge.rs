//! The merge law, by the numbers of its table. Each case runs on all three sections.

use super::*;

/// The patch is accepted, leads from `old` to `want`, counts once, and the device hears it verbatim.
#[track_caller]
fn check(old: Value, patch: Value, want: Value) {
    for name in SECTIONS {
        let mut twin = twin_of(&old);
        let before = counters(&twin);
        let change = patch_section(&mut twin, name, &patch.to_string(), at(2)).expect("accepted");
        assert_eq!(values(&twin, name), want, "{name}");
        let [version, etag, desired, reported] = before;
        let after = match name {
            SectionName::Tags => [version + 1, etag + 1, desired, reported],
            SectionName::Desired => [version + 1, etag + 1, desired + 1, reported],
            SectionName::Reported => [version + 1, etag, desired, reported + 1],
        };
        assert_eq!(counters(&twin), after, "{name}");
        assert!(!change.is_empty());
        let notice = change.desired_notice();
        assert_eq!(notice.is_some(), name == SectionName::Desired);
        if let Some(notice) = notice {
            let mut verbatim = patch.clone();
            verbatim["$version"] = json!(desired + 1);
            assert_eq!(json_of(&notice.body), verbatim);
            assert_eq!(notice.version, desired + 1);
        }
        assert_eq!(twin.service_properties_value(), reparsed(&twin));
    }
}

/// The patch is refused, and every section is as it was.
#[track_caller]
fn check_refused(patch: &str) -> TwinError {
    let mut found = None;
    for name in SECTIONS {
        let mut twin = twin_of(&json!({"a": {"b": 1}}));
        let before = twin.clone();
        found = patch_section(&mut twin, name, patch, at(2)).err();
        assert!(found.is_some(), "{name} accepted {patch}");
        assert_eq!(twin, before);
    }
    found.expect("refused")
}

impl Twin {
    fn service_properties_value(&self) -> Value {
        serde_json::to_value(self.service_properties()).expect("a value")
    }
}

fn reparsed(twin: &Twin) -> Value {
    json_of(&serde_json::to_vec(&twin.service_properties()).expect("a text"))
}

#[test]
fn case_01_a_new_name_is_added() {
    check(json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2}));
}

#[test]
fn case_02_a_value_is_overwritten() {
    check(json!({"a": 1}), json!({"a": 2}), json!({"a": 2}));
}

#[test]
fn case_03_the_same_value_counts_as_a_write() {
    check(json!({"a": 1}), json!({"a": 1}), json!({"a": 1}));
}

#[test]
fn case_04_null_removes() {
    check(json!({"a": 1, "b": 2}), json!({"a": null}), json!({"b": 2}));
}

#[test]
fn case_05_removing_what_is_not_there_stores_no_null() {
    check(json!({"x": 1}), json!({"a": null}), json!({"x": 1}));
    // Again and again: the service once toggled between null and absent.
    let mut twin = Twin::new(at(0));
    for _ in 0..4 {
        let change = patch_section(&mut twin, SectionName::Desired, r#"{"a":null}"#, at(1));
        let notice = change.expect("accepted").desired_notice().expect("a notice");
        assert_eq!(json_of(&notice.body)["a"], Value::Null);
        assert!(json_of(&notice.body).as_object().expect("object").contains_key("a"));
        assert_eq!(twin.desired().to_value(), json!({}));
    }
    assert_eq!(twin.desired_version(), 5);
}

#[test]
fn case_06_a_null_inside_a_new_object_creates_the_object() {
    check(json!({"x": 1}), json!({"a": {"b": null}}), json!({"x": 1, "a": {}}));
}

#[test]
fn case_07_a_nested_null_removes_only_its_name() {
    check(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": null}}), json!({"a": {"c": 2}}));
}

#[test]
fn case_08_an_object_that_became_empty_stays() {
    check(json!({"a": {"b": 1}}), json!({"a": {"b": null}}), json!({"a": {}}));
}

#[test]
fn case_09_an_empty_object_merges_nothing() {
    check(json!({"a": {"b": 1}}), json!({"a": {}}), json!({"a": {"b": 1}}));
}

#[test]
fn case_10_an_empty_object_is_added() {
    check(json!({"x": 1}), json!({"a": {}}), json!({"x": 1, "a": {}}));
}

#[test]
fn case_11_a_nested_null_for_nothing_leaves_its_siblings() {
    check(json!({"a": {"b": 1}}), json!({"a": {"z": null}}), json!({"a": {"b": 1}}));
}

#[test]
fn case_12_a_scalar_replaces_an_object() {
    check(json!({"a": {"b": 1}}), json!({"a": 5}), json!({"a": 5}));
}

#[test]
fn case_13_an_object_replaces_a_scalar() {
    check(json!({"a": 5}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}}));
}

#[test]
fn case_14_nulls_are_dropped_from_an_object_that_replaces_a_scalar() {
    check(json!({"a": 5}), json!({"a": {"b": null}}), json!({"a": {}}));
    check(
        json!({"a": 5}),
        json!({"a": {"b": {"c": null, "d": {"e": null}, "f": 1}}}),
        json!({"a": {"b": {"d": {}, "f": 1}}}),
    );
}

#[test]
fn case_15_arrays_are_replaced_whole() {
    check(json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]}));
    check(json!({"a": [{"x": 1}]}), json!({"a": [{"y": [2]}]}), json!({"a": [{"y": [2]}]}));
    check(json!({"a": [1]}), json!({"a": []}), json!({"a": []}));
}

#[test]
fn case_16_an_array_is_replaced_by_an_object_or_a_scalar() {
    check(json!({"a": [1]}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}}));
    check(json!({"a": [1]}), json!({"a": 1}), json!({"a": 1}));
    check(json!({"a": {"b": 1}}), json!({"a": [1]}), json!({"a": [1]}));
}

#[test]
fn case_17_null_anywhere_in_an_array_is_refused() {
    for (patch, path) in [
        (r#"{"a":[1,null]}"#, ".a[1]"),
        (r#"{"a":[{"b":null}]}"#, ".a[0].b"),
        (r#"{"a":[[null]]}"#, ".a[0][0]"),
        (r#"{"x":1,"o":{"a":[{"b":[0,{"c":null}]}]}}"#, ".o.a[0].b[1].c"),
    ] {
        match check_refused(patch) {
            TwinError::NullInArray { path: found } => assert_eq!(found, format!("${path}")),
            other => panic!("{patch}: {other}"),
        }
    }
}

#[test]
fn case_18_names_differ_by_case() {
    check(json!({"a": 1}), json!({"A": 2}), json!({"a": 1, "A": 2}));
}

#[test]
fn case_19_names_with_forbidden_characters_are_refused() {
    for character in ['$', '.', ' ', '\t', '\n', '\u{0}', '\u{1f}', '\u{7f}', '\u{85}', '\u{a0}'] {
        let name = format!("a{character}b");
        for patch in [
            json!({&name: 1}),
            json!({&name: null}),
            json!({"o": {&name: {}}}),
            json!({"o": [{&name: 1}]}),
        ] {
            let error = check_refused(&patch.to_string());
            let TwinError::NameInvalid { character: found, .. } = error else {
                panic!("{patch}: {error}");
            };
            assert_eq!(found, character);
        }
    }
    // What looks odd and is allowed.
    check(json!({}), json!({"ä-b_c#@/😀": 1}), json!({"ä-b_c#@/😀": 1}));
}

#[test]
fn case_19_version_and_metadata_are_ignored_at_the_root_and_refused_elsewhere() {
    for name in SECTIONS {
        let mut twin = Twin::new(at(0));
        let patch = r#"{"a":1,"$version":99,"$metadata":{"a":{"$lastUpdated":null}}}"#;
        let change = patch_section(&mut twin, name, patch, at(2)).expect("accepted");
        assert_eq!(values(&twin, name), json!({"a": 1}));
        if let Some(notice) = change.desired_notice() {
            assert_eq!(json_of(&notice.body), json!({"a": 1, "$version": 2}));
        }
        let change = patch_section(&mut twin, name, r#"{"$version":1}"#, at(3));
        assert!(change.expect("accepted").is_empty(), "nothing is left of it");
    }
    check_refused(r#"{"a":{"$version":1}}"#);
    check_refused(r#"{"a":{"$metadata":{}}}"#);
    check_refused(r#"{"a":[{"$version":1}]}"#);
    check_refused(r#"{"$etag":1}"#);
}

#[test]
fn case_20_an_empty_patch_changes_nothing() {
    for name in SECTIONS {
        let mut twin = twin_of(&json!({"a": 1}));
        let before = twin.clone();
        let change = patch_section(&mut twin, name, "{}", at(2)).expect("accepted");
        assert!(change.is_empty());
        assert_eq!((change.desired_notice(), change.version()), (None, before.version()));
        assert_eq!(twin, before);
    }
}

#[test]
fn case_21_a_root_that_is_no_object_is_refused() {
    let limits = Limits::default();
    for root in ["[]", "1", r#""a""#, "true", "[{}]"] {
        let error = check_refused(root);
        assert!(matches!(error, TwinError::NotAnObject { .. }), "{root}: {error}");
        let error = ServicePatch::parse(root.as_bytes(), &limits).expect_err(root);
        assert_eq!(error, TwinError::NotAnObject { path: "$".into() });
    }
    // Null clears a section, and is no patch of one.
    assert_eq!(Patch::parse(b"null", &limits), Err(TwinError::NotAnObject { path: "$".into() }));
    let error = ServicePatch::parse(br#"{"properties":[]}"#, &limits).expect_err("refused");
    assert_eq!(error, TwinError::NotAnObject { path: "$.properties".into() });
    let error = ServicePatch::parse(br#"{"properties":{"desired":7}}"#, &limits);
    assert_eq!(error, Err(TwinError::NotAnObject { path: "$.properties.desired".into() }));
}

#[test]
fn case_22_a_section_that_is_null_is_cleared() {
    let mut twin = twin_of(&json!({"a": {"b": 1}, "c": [2]}));
    let before = counters(&twin);
    let change = patch_section(&mut twin, SectionName::Desired, "null", at(2)).expect("accepted");
    assert_eq!(twin.desired().to_value(), json!({}));
    assert_eq!(twin.desired().size(), 0);
    assert_eq!(twin.desired_version(), before[2] + 1);
    let notice = change.desired_notice().expect("a notice");
    assert_eq!(json_of(&notice.body), json!({"a": null, "c": null, "$version": before[2] + 1}));
    assert_eq!(values(&twin, SectionName::Tags), json!({"a": {"b": 1}, "c": [2]}));

    let change = patch_section(&mut twin, SectionName::Tags, "null", at(3)).expect("accepted");
    assert_eq!(twin.tags().to_value(), json!({}));
    assert_eq!(change.desired_notice(), None);
    // Clearing what is empty is a write that says something, like any other.
    let change = patch_section(&mut twin, SectionName::Desired, "null", at(4)).expect("accepted");
    let notice = change.desired_notice().expect("a notice");
    assert_eq!(json_of(&notice.body), json!({"$version": before[2] + 2}));
}

#[test]
fn of_members_with_the_same_name_the_last_one_counts() {
    for name in SECTIONS {
        let mut twin = Twin::new(at(0));
        let patch = r#"{"a":{"x":1},"b":1,"a":2,"b":null,"c":[{"k":1,"k":2}],"a":{"y":3,"y":4}}"#;
        patch_section(&mut twin, name, patch, at(1)).expect("accepted");
        assert_eq!(values(&twin, name), json!({"a": {"y": 4}, "c": [{"k": 2}]}));
    }
    let error = check_refused(r#"{"a":[null],"a":1}"#);
    assert!(matches!(error, TwinError::NullInArray { .. }), "also what is overridden is checked");
    let limits = Limits::default();
    let write = ServicePatch::parse(br#"{"tags":null,"tags":{"t":1}}"#, &limits).expect("valid");
    assert!(matches!(write.tags, Some(SectionWrite::Members(patch)) if !patch.is_empty()));
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        r#"{"a":1"#,
        r#"{"a":1}x"#,
        r#"{"a":01}"#,
        r#"{a:1}"#,
        r#"{"a":1,}"#,
        r#"{"a":NaN}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":"\ud800"}"#,
        r#"{"\udc00":1}"#,
        "nul",
    ] {
        let error = check_refused(text);
        // A broken section makes the whole document of a service write unreadable.
        assert!(matches!(error, TwinError::Json { .. }), "{text}: {error}");
    }
    assert!(matches!(
        Patch::parse(b"{\"a\":\"\xff\"}", &Limits::default()),
        Err(TwinError::Json { .. })
    ));
}

#[test]
fn parts_of_a_service_write_that_are_not_the_back_ends_are_ignored() {
    let limits = Limits::default();
    let text = br#"{"etag":5,"deviceId":null,"tags":{"t":1},"properties":{"reported":{"a.b":[null]},"desired":{"d":1}}}"#;
    let mut twin = Twin::new(at(0));
    let write = ServicePatch::parse(text, &limits).expect("valid");
    twin.patch(&write, None, at(1), &limits).expect("accepted");
    assert_eq!(values(&twin, SectionName::Tags), json!({"t": 1}));
    assert_eq!(values(&twin, SectionName::Desired), json!({"d": 1}));
    assert_eq!(values(&twin, SectionName::Reported), json!({}));
    for absent in ["{}", r#"{"properties":null}"#, r#"{"properties":{}}"#] {
        let write = ServicePatch::parse(absent.as_bytes(), &limits).expect("valid");
        assert_eq!(write, ServicePatch::default(), "{absent}");
    }
}

#[test]
fn values_in_memory_are_read_as_text_is() {
    let limits = Limits::default();
    let value = json!({"a": 1.0, "b": [true], "c": null});
    assert_eq!(
        Patch::from_value(&value, &limits),
        Patch::parse(value.to_string().as_bytes(), &limits)
    );
    let patch = Patch::from_value(&value, &limits).expect("valid");
    assert_eq!(serde_json::to_value(&patch).expect("a value"), value);
    assert_eq!(
        ServicePatch::from_value(&json!({"tags": value}), &limits),
        Ok(ServicePatch::of_tags(patch))
    );
}
