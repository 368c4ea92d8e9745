//! Versions, etags, and writes that are conditional on them.

use super::*;

#[test]
fn a_fresh_twin_has_version_2_and_etag_1() {
    let twin = Twin::new(at(5));
    assert_eq!(counters(&twin), [2, 1, 1, 1]);
    assert_eq!(twin.etag(), "AAAAAAAAAAE=");
    assert!(twin.tags().is_empty() && twin.desired().is_empty() && twin.reported().is_empty());
}

#[test]
fn reports_move_their_version_and_leave_the_etag() {
    let mut twin = Twin::new(at(0));
    let change = patch_section(&mut twin, SectionName::Reported, r#"{"a":1}"#, at(1));
    let change = change.expect("accepted");
    assert_eq!(counters(&twin), [3, 1, 1, 2]);
    assert_eq!(twin.etag(), "AAAAAAAAAAE=");
    assert_eq!((change.version(), change.at()), (3, at(1)));
    assert_eq!((change.reported_version(), change.desired_version()), (Some(2), None));
    assert_eq!((change.desired_notice(), change.touches_tags()), (None, false));
}

#[test]
fn tags_move_the_etag_and_not_the_desired_version() {
    let mut twin = Twin::new(at(0));
    let change = patch_section(&mut twin, SectionName::Tags, r#"{"a":1}"#, at(1));
    let change = change.expect("accepted");
    assert_eq!(counters(&twin), [3, 2, 1, 1]);
    assert_eq!(twin.etag(), "AAAAAAAAAAI=");
    assert_eq!((change.desired_notice(), change.touches_tags()), (None, true));
}

#[test]
fn one_write_of_both_sections_counts_once() {
    let limits = Limits::default();
    let text = br#"{"tags":{"a":1},"properties":{"desired":{"b":2}}}"#;
    let write = ServicePatch::parse(text, &limits).expect("valid");
    let mut twin = Twin::new(at(0));
    let change = twin.patch(&write, None, at(1), &limits).expect("accepted");
    assert_eq!(counters(&twin), [3, 2, 2, 1]);
    assert_eq!(change.desired_version(), Some(2));
    assert!(change.touches_tags());
}

#[test]
fn a_report_may_ask_for_a_version() {
    let limits = Limits::default();
    let patch = Patch::parse(br#"{"a":1}"#, &limits).expect("valid");
    let mut twin = Twin::new(at(0));
    for stale in [0, 2] {
        let before = twin.clone();
        let error = twin.report(&patch, Some(stale), at(1), &limits);
        assert_eq!(error, Err(TwinError::VersionMismatch { current: 1 }));
        assert_eq!(twin, before);
    }
    twin.report(&patch, Some(1), at(1), &limits).expect("accepted");
    let empty = Patch::parse(b"{}", &limits).expect("valid");
    let error = twin.report(&empty, Some(1), at(1), &limits);
    assert_eq!(error, Err(TwinError::VersionMismatch { current: 2 }), "also if it says nothing");
}

#[test]
fn a_service_write_may_ask_for_an_etag() {
    let limits = Limits::default();
    let patch = Patch::parse(br#"{"a":1}"#, &limits).expect("valid");
    let write = ServicePatch::of_desired(patch);
    let mut twin = Twin::new(at(0));
    let before = twin.clone();
    for stale in ["AAAAAAAAAAA=", "AAAAAAAAAAI=", "", "\"AAAAAAAAAAE=\""] {
        for outcome in [
            twin.patch(&write, Some(stale), at(1), &limits),
            twin.replace(&write, Some(stale), at(1), &limits),
        ] {
            let current = "AAAAAAAAAAE=".to_owned();
            assert_eq!(outcome, Err(TwinError::EtagMismatch { current }));
        }
    }
    assert_eq!(twin, before);
    twin.patch(&write, Some("AAAAAAAAAAE="), at(1), &limits).expect("accepted");
    twin.replace(&write, Some("AAAAAAAAAAI="), at(1), &limits).expect("accepted");
    twin.patch(&write, Some("*"), at(1), &limits).expect("accepted");
    twin.patch(&write, None, at(1), &limits).expect("accepted");
    assert_eq!(counters(&twin), [6, 5, 5, 1]);
}

#[test]
fn a_write_of_no_section_changes_nothing() {
    let limits = Limits::default();
    let mut twin = twin_of(&json!({"a": 1}));
    let before = twin.clone();
    let nothing = ServicePatch::default();
    assert!(twin.patch(&nothing, None, at(9), &limits).expect("accepted").is_empty());
    assert!(twin.replace(&nothing, None, at(9), &limits).expect("accepted").is_empty());
    assert_eq!(twin, before);
}
