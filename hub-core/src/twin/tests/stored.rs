//! The stored form.

use super::*;

#[test]
fn the_stored_text_is_the_twin_as_readers_know_it() {
    let mut twin = Twin::new(at(1));
    patch_section(&mut twin, SectionName::Tags, r#"{"site":"x"}"#, at(2)).expect("ok");
    let patch = r#"{"a":{"b":1,"c":2},"d":3}"#;
    patch_section(&mut twin, SectionName::Reported, patch, at(3)).expect("ok");
    patch_section(&mut twin, SectionName::Reported, r#"{"a":{"c":4}}"#, at(4)).expect("ok");
    assert_eq!(
        std::str::from_utf8(&twin.encode()).expect("UTF-8"),
        concat!(
            r#"{"format":1,"version":5,"etag":2,"tags":{"site":"x"},"#,
            r#""properties":{"desired":{"$version":1},"#,
            r#""reported":{"a":{"b":1,"c":4},"d":3,"$version":3}},"#,
            r#""stamps":{"tags":[2,2],"desired":[1,0],"#,
            r#""reported":[4,3,{"a":[4,3,{"b":[3,2]}],"d":[3,2]}]}}"#
        )
    );
    assert_eq!(Twin::decode(&twin.encode()), Ok(twin));
}

#[test]
fn a_member_with_the_stamp_around_it_still_keeps_what_differs_inside() {
    let mut twin = Twin::new(at(1));
    patch_section(&mut twin, SectionName::Desired, r#"{"a":{"b":{"c":1}}}"#, at(2)).expect("ok");
    patch_section(&mut twin, SectionName::Desired, r#"{"a":{"b":{"d":1}}}"#, at(3)).expect("ok");
    assert_eq!(Twin::decode(&twin.encode()), Ok(twin));
}

#[test]
fn the_order_of_members_does_not_matter() {
    let twin = twin_of(&json!({"z": {"y": 1, "x": [2]}, "w": 1.5}));
    // As a database that keeps parsed JSON would give it back.
    let text = json_of(&twin.encode()).to_string();
    assert_ne!(text.as_bytes(), &twin.encode()[..]);
    assert_eq!(Twin::decode(text.as_bytes()), Ok(twin));
}

#[test]
fn limits_that_were_lowered_do_not_make_a_twin_unreadable() {
    let limits = Limits {
        twin_depth_max: 40,
        twin_key_bytes_max: 1 << 20,
        twin_string_bytes_max: 1 << 20,
        twin_integer_min: i64::MIN,
        twin_integer_max: i64::MAX,
        reported_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let deep = format!("{}1{}", "[".repeat(39), "]".repeat(39));
    let text = format!(
        r#"{{"{}":"{}","i":{},"j":{},"d":{deep}}}"#,
        "n".repeat(5000),
        "s".repeat(9000),
        i64::MIN,
        i64::MAX
    );
    let mut twin = Twin::new(at(0));
    let patch = Patch::parse(text.as_bytes(), &limits).expect("valid");
    twin.report(&patch, None, at(1), &limits).expect("accepted");
    assert_eq!(Twin::decode(&twin.encode()), Ok(twin));
}

#[test]
fn what_is_no_twin_is_refused() {
    let good = String::from_utf8(twin_of(&json!({"a": 1})).encode().into()).expect("UTF-8");
    assert!(Twin::decode(good.as_bytes()).is_ok());
    for (part, instead) in [
        ("\"format\":1", "\"format\":2"),
        ("\"etag\"", "\"tag\""),
        ("\"stamps\"", "\"stumps\""),
        ("\"$version\"", "\"version\""),
        ("\"tags\":{\"a\":1}", "\"tags\":{\"a\":null}"),
        ("\"tags\":{\"a\":1}", "\"tags\":[]"),
        ("[1,2]", "[1]"),
        ("[1,2]", "[1,-2]"),
    ] {
        let bad = good.replace(part, instead);
        assert_ne!(bad, good);
        assert!(Twin::decode(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(Twin::decode(b"").is_err());
    let newer = Twin::decode(br#"{"format":7,"else":true}"#).expect_err("refused");
    assert_eq!(newer.to_string(), "stored twin cannot be read: format 7");
}
