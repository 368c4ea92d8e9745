//! Limits: what is refused, and what just fits.

use super::*;

fn parse(text: &str) -> Result<Patch, TwinError> {
    Patch::parse(text.as_bytes(), &Limits::default())
}

/// `{"a":{"a":…}}`: this many objects below the root, then `inner`.
fn nested(objects: usize, inner: &str) -> String {
    format!("{}{inner}{}", r#"{"a":"#.repeat(objects + 1), "}".repeat(objects + 1))
}

#[test]
fn ten_levels_fit_and_the_eleventh_does_not() {
    assert!(parse(&nested(10, "1")).is_ok(), "a leaf in the tenth object");
    assert!(parse(&nested(9, "{}")).is_ok(), "an empty tenth object");
    assert!(parse(&nested(9, "[1]")).is_ok(), "a tenth level that is an array");
    for inner in ["{}", "[]", r#"{"a":null}"#] {
        let path = format!("${}", ".a".repeat(11));
        assert_eq!(parse(&nested(10, inner)), Err(TwinError::TooDeep { path, limit: 10 }));
    }
    assert!(parse(&nested(10, "null")).is_ok(), "a null is no level");
}

#[test]
fn arrays_count_as_levels() {
    let arrays = |n: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert!(parse(&arrays(10)).is_ok());
    let path = format!("$.a{}", "[0]".repeat(10));
    assert_eq!(parse(&arrays(11)), Err(TwinError::TooDeep { path, limit: 10 }));
    assert!(parse(&nested(8, r#"[{"b":1}]"#)).is_ok());
    let path = format!("${}[0]", ".a".repeat(10));
    assert_eq!(parse(&nested(9, "[{}]")), Err(TwinError::TooDeep { path, limit: 10 }));
}

#[test]
fn no_nesting_exhausts_the_stack() {
    let limits = Limits { twin_depth_max: usize::MAX, ..Limits::default() };
    let deep = |n: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert!(Patch::parse(deep(super::super::DEPTH_CEILING).as_bytes(), &limits).is_ok());
    for text in [deep(51), deep(100_000), nested(100_000, "1"), "[".repeat(1_000_000)] {
        let error = Patch::parse(text.as_bytes(), &limits).expect_err("refused");
        assert!(
            matches!(&error, TwinError::TooDeep { limit: 50, .. } | TwinError::Json { .. }),
            "{error}"
        );
        assert!(error.to_string().len() < 500);
    }
    // The deepest twin there can be is stored and read.
    let mut twin = Twin::new(at(0));
    for (text, time) in [(nested(50, "1"), 1), (nested(49, r#"{"b":1}"#), 2)] {
        let patch = Patch::parse(text.as_bytes(), &limits).expect("valid");
        twin.report(&patch, None, at(time), &limits).expect("accepted");
    }
    assert_eq!(Twin::decode(&twin.encode()), Ok(twin));
}

#[test]
fn names_have_a_longest_length_in_bytes() {
    for (fits, breaks) in [("n".repeat(1024), "n".repeat(1025)), ("ä".repeat(512), "ä".repeat(513))]
    {
        assert!(parse(&json!({&fits: 1}).to_string()).is_ok());
        for patch in [json!({&breaks: 1}), json!({&breaks: null}), json!({"a": [{&breaks: 1}]})] {
            match parse(&patch.to_string()) {
                Err(TwinError::NameTooLong { bytes, limit: 1024, path }) => {
                    assert_eq!(bytes, breaks.len());
                    assert!(path.len() < 200);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn strings_have_a_longest_length_in_bytes() {
    for (fits, breaks) in
        [("s".repeat(4096), "s".repeat(4097)), ("€".repeat(1365), "€".repeat(1366))]
    {
        assert!(parse(&json!({"a": &fits, "b": [&fits]}).to_string()).is_ok());
        let bytes = breaks.len();
        for (patch, path) in
            [(json!({"a": &breaks}), "$.a"), (json!({"a": [{"b": &breaks}]}), "$.a[0].b")]
        {
            let path = path.to_owned();
            assert_eq!(
                parse(&patch.to_string()),
                Err(TwinError::StringTooLong { path, bytes, limit: 4096 })
            );
        }
    }
}

#[test]
fn integers_have_bounds_and_fractions_have_none() {
    let (min, max) = (-4_503_599_627_370_496_i64, 4_503_599_627_370_495_i64);
    for good in [
        "4503599627370495",
        "-4503599627370496",
        "0",
        "-0",
        "0.1",
        "-1.5e300",
        "1e20",
        "5E-324",
        "4503599627370496.0",
        "123456789012345678901234567890.5",
    ] {
        assert!(parse(&format!(r#"{{"a":{good},"b":[{good}]}}"#)).is_ok(), "{good}");
    }
    for bad in [
        "4503599627370496",
        "-4503599627370497",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "99999999999999999999999999",
    ] {
        for (text, path) in
            [(format!(r#"{{"a":{bad}}}"#), "$.a"), (format!(r#"{{"a":[{bad}]}}"#), "$.a[0]")]
        {
            let path = path.to_owned();
            assert_eq!(parse(&text), Err(TwinError::IntegerOutOfRange { path, min, max }), "{bad}");
        }
    }
    let path = "$.a".to_owned();
    assert_eq!(parse(r#"{"a":1e999}"#), Err(TwinError::NumberOutOfRange { path }));
}

/// A patch that adds this many to the size of a section.
fn filler(name: &str, bytes: usize) -> String {
    let mut members = vec![];
    let mut left = bytes;
    for i in 0.. {
        let key = format!("{name}{i:03}");
        if left < key.len() + 4096 {
            members.push(format!(r#""{key}":"{}""#, "x".repeat(left - key.len())));
            break;
        }
        left -= key.len() + 4000;
        members.push(format!(r#""{key}":"{}""#, "x".repeat(4000)));
    }
    format!("{{{}}}", members.join(","))
}

#[test]
fn a_section_may_be_as_large_as_its_limit_and_not_larger() {
    for (name, limit) in SECTIONS.into_iter().zip([8192, 32768, 32768]) {
        let mut twin = Twin::new(at(0));
        let error = patch_section(&mut twin, name, &filler("f", limit + 1), at(1));
        assert_eq!(error, Err(TwinError::TooLarge { section: name, bytes: limit + 1, limit }));
        assert_eq!(twin, Twin::new(at(0)));
        patch_section(&mut twin, name, &filler("f", limit), at(1)).expect("it fits");
        let before = twin.clone();
        // The resulting document counts: any growth is refused now, its smallest form too.
        for patch in [r#"{"g":{}}"#, r#"{"":{"g":true}}"#, r#"{"f000":{"a":[]},"g":["","",{}]}"#] {
            let grown = patch_section(&mut twin, name, patch, at(2));
            let shrinks = patch.contains("f000");
            assert_eq!(grown.is_ok(), shrinks, "{patch}");
            if !shrinks {
                assert_eq!(twin, before);
            }
        }
    }
}

#[test]
fn what_is_replaced_makes_room() {
    let mut twin = Twin::new(at(0));
    let patch = filler("f", 32768);
    patch_section(&mut twin, SectionName::Reported, &patch, at(1)).expect("it fits");
    patch_section(&mut twin, SectionName::Reported, &patch, at(2)).expect("the same again fits");
    let swap = r#"{"f000":null,"g":8}"#;
    patch_section(&mut twin, SectionName::Reported, swap, at(3)).expect("smaller");
    assert_eq!(twin.reported().size(), 32768 - 4004 + 9);
}

#[test]
fn only_growth_beyond_the_limit_is_refused() {
    let (wide, narrow) = (
        Limits::default(),
        Limits { reported_bytes_max: 20, desired_bytes_max: 20, ..Limits::default() },
    );
    let large = Patch::parse(br#"{"a":"0123456789","b":"0123456789"}"#, &wide).expect("valid");
    let mut twin = Twin::new(at(0));
    twin.report(&large, None, at(1), &wide).expect("accepted");
    let patch = |text: &str| Patch::parse(text.as_bytes(), &narrow).expect("valid");
    assert_eq!(twin.reported().size(), 22);
    twin.report(&patch(r#"{"a":"abcdefghij"}"#), None, at(1), &narrow).expect("same size");
    twin.report(&patch(r#"{"a":"abcdefghi"}"#), None, at(1), &narrow).expect("smaller");
    let grown = twin.report(&patch(r#"{"a":"abcdefghij"}"#), None, at(1), &narrow);
    let section = SectionName::Reported;
    assert_eq!(grown, Err(TwinError::TooLarge { section, bytes: 22, limit: 20 }));

    let write = ServicePatch::of_desired(large);
    twin.replace(&write, None, at(1), &wide).expect("accepted");
    twin.replace(&write, None, at(1), &narrow).expect("no growth");
    let more = patch(r#"{"a":"0123456789","b":"0123456789","c":{}}"#);
    let refused = twin.replace(&ServicePatch::of_desired(more), None, at(1), &narrow);
    let section = SectionName::Desired;
    assert_eq!(refused, Err(TwinError::TooLarge { section, bytes: 23, limit: 20 }));
}

#[test]
fn one_section_too_large_refuses_the_whole_write() {
    let limits = Limits::default();
    for (tags, desired, section) in
        [(8193, 10, SectionName::Tags), (10, 32769, SectionName::Desired)]
    {
        let text = format!(
            r#"{{"tags":{},"properties":{{"desired":{}}}}}"#,
            filler("t", tags),
            filler("d", desired)
        );
        let write = ServicePatch::parse(text.as_bytes(), &limits).expect("valid");
        let mut twin = twin_of(&json!({"a": 1}));
        let before = twin.clone();
        for outcome in
            [twin.patch(&write, None, at(9), &limits), twin.replace(&write, None, at(9), &limits)]
        {
            match outcome {
                Err(TwinError::TooLarge { section: found, .. }) => assert_eq!(found, section),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(twin, before);
    }
}

#[test]
fn size_counts_names_strings_and_fixed_sizes() {
    let mut twin = Twin::new(at(0));
    let patch =
        r#"{"ab":true,"n":1.5,"s":"a\u0000é\n","o":{"i":7,"e":{}},"l":[1,"xy",""],"no":null}"#;
    patch_section(&mut twin, SectionName::Desired, patch, at(1)).expect("accepted");
    // ab 2+4, n 1+8, s 1+2, o 1+(i 1+8, e 1), l 1+(8+2+1).
    assert_eq!(twin.desired().size(), 6 + 9 + 3 + 11 + 12);
    patch_section(&mut twin, SectionName::Desired, r#"{"o":{"i":null,"e":5},"l":1}"#, at(1))
        .expect("accepted");
    assert_eq!(twin.desired().size(), 6 + 9 + 3 + 10 + 9);
}

#[test]
fn a_service_writes_errors_name_the_whole_path() {
    let limits = Limits::default();
    let parse = |text: &str| ServicePatch::parse(text.as_bytes(), &limits);
    let path = "$.tags.a[1]".to_owned();
    assert_eq!(parse(r#"{"tags":{"a":[0,null]}}"#), Err(TwinError::NullInArray { path }));
    let error = parse(r#"{"properties":{"desired":{"a":{"b c":1}}}}"#).expect_err("refused");
    assert_eq!(error.to_string(), "$.properties.desired.a['b c']: name must not contain ' '");
}
