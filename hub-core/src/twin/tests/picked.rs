//! Values picked out of the stored text.

use proptest::prelude::*;

use super::*;
use crate::query::{Case, Fields as _, Path, Step, Value as Seen};
use crate::twin::TwinPaths;

fn path(text: &str) -> Path {
    text.parse().expect("a path")
}

fn picked(twin: &Twin, paths: &[Path]) -> Vec<Option<Value>> {
    let wanted = TwinPaths::new(paths).expect("they stand in the text");
    let values = wanted.pick(&twin.encode()).expect("it can be read");
    paths.iter().map(|path| wanted.get(&values, path).cloned()).collect()
}

#[test]
fn what_is_picked_is_what_back_ends_read() {
    let twin = twin_of(&json!({
        "a": {"b": [1, {"c": "x"}], "é\"": 0.1}, "f": 5e-324, "i": -7, "s": "\u{0}\n", "t": true, "o": {},
    }));
    let paths: Vec<Path> = [
        "tags",
        "tags.a",
        "tags.a.b",
        "tags.a.b[1]",
        "tags.a.b[1].c",
        "tags.a.b.c",
        "tags.a.b[2]",
        "tags.a.[[é\"]]",
        "tags.f",
        "tags.f.x",
        "tags.i",
        "tags.s",
        "tags.t",
        "tags.o",
        "tags.o.x",
        "tags.none",
        "tags[0]",
        "properties.desired.a.b[0]",
        "properties.reported.a",
        "properties.reported.$version",
        "properties.desired.$version",
        "properties.desired.$version.x",
        "properties.desired.$other",
        "version",
        "version.x",
    ]
    .map(path)
    .into();
    // One by one, all at once, and each with what lies around it.
    for some in [&paths[..], &paths[3..6], &paths[1..3], &paths[..1]] {
        let all = picked(&twin, some);
        for (path, found) in some.iter().zip(all) {
            assert_eq!(found, twin.to_json(path), "{path}");
            assert_eq!(Seen::of_json(found.as_ref()), twin.value(path, Case::Exact), "{path}");
            assert_eq!(picked(&twin, std::slice::from_ref(path)), [found], "{path}");
        }
    }
    let (wanted, other) = (TwinPaths::new(&paths[..1]).expect("ok"), path("tags.other"));
    let values = wanted.pick(&twin.encode()).expect("ok");
    assert_eq!(wanted.get(&values, &other), None, "it was not wanted");
}

#[test]
fn what_does_not_stand_in_the_text_is_left_to_the_whole_twin() {
    for text in [
        "properties",
        "properties.desired",
        "properties.desired.$metadata",
        "etag",
        "deviceId",
        "properties.reported.$metadata.a.$lastUpdated",
        "properties.other.x",
        "properties[0]",
    ] {
        assert!(TwinPaths::new([&path(text), &path("tags.a")]).is_none(), "{text}");
    }
}

#[test]
fn paths_deeper_than_twins_are_left_to_the_whole_twin_as_well() {
    let deep =
        |names: usize| Path::of(std::iter::once("tags").chain(std::iter::repeat_n("a", names)));
    assert!(TwinPaths::new([&deep(50)]).is_some());
    for names in [60, 5000] {
        assert!(TwinPaths::new([&deep(names)]).is_none(), "{names}");
    }
}

#[test]
fn what_is_no_twin_is_refused_as_far_as_it_is_read() {
    let wanted = TwinPaths::new([&path("tags.a")]).expect("ok");
    for bad in [
        "",
        "{",
        "[]",
        "7",
        "null",
        r#"{"tags":{"a":1}}"#,
        r#"{"format":2,"tags":{"a":1}}"#,
        r#"{"format":"1","tags":{"a":1}}"#,
        r#"{"format":1,"tags":{"a":"#,
        r#"{"format":1,"tags":{"a":123456789012345678901}}"#,
        r#"{"format":1,"tags":{}"#,
    ] {
        assert!(wanted.pick(bad.as_bytes()).is_err(), "{bad}");
    }
    // What comes behind the last wanted value costs nothing, and is not judged.
    for text in [r#"{"format":1,"tags":{"a":1 and no end"#, r#"{"tags":{"a":1},"format":1,"#] {
        let values = wanted.pick(text.as_bytes()).expect("ok");
        assert_eq!(wanted.get(&values, &path("tags.a")), Some(&json!(1)), "{text}");
    }
}

fn section() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |f| f.is_finite().then(|| json!(f))),
        ".{0,4}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[ab]", value, 0..3)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn random_path() -> impl Strategy<Value = Path> {
    let root = prop::sample::select(vec!["tags", "properties.desired", "properties.reported"]);
    let step = prop_oneof![
        4 => "[ab]".prop_map(|name| Step::Member(name.into())),
        1 => (0..3_u32).prop_map(Step::Index),
    ];
    (root, "[ab]", prop::collection::vec(step, 0..4)).prop_map(|(root, first, steps)| {
        let root = Path::of(root.split('.').chain([&*first]));
        Path::new(root.steps().iter().cloned().chain(steps))
    })
}

proptest! {
    #[test]
    fn any_value_is_picked_as_it_is(
        section in section(),
        paths in prop::collection::vec(random_path(), 1..8),
    ) {
        let twin = twin_of(&section);
        for (path, found) in paths.iter().zip(picked(&twin, &paths)) {
            prop_assert_eq!(found, twin.to_json(path), "{}", path);
        }
    }
}
