//! Laws of the device twin, tried on random twins and writes.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a broken expectation is a failed test"
)]

use hub_core::limits::Limits;
use hub_core::time::Timestamp;
use hub_core::twin::{Node, Patch, Section, ServicePatch, Twin, TwinError};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Few names, so that writes meet; some of them need care in JSON or in a sort.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "c", "aa"]).prop_map(String::from),
        1 => prop::sample::select(vec!["", "ä\"", "\\/", "#"]).prop_map(String::from),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 52)..(1_i64 << 52)).prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |f| f.is_finite().then(|| json!(f))),
        ".{0,6}".prop_map(Value::from),
    ]
}

/// An array as a twin takes it: no null anywhere inside.
fn array() -> impl Strategy<Value = Value> {
    let element = scalar().prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::vec(element, 0..3).prop_map(Value::from)
}

/// A patch, or a content with nulls in it: always an object, now and then an empty one.
fn patch() -> impl Strategy<Value = Value> {
    patch_of(0)
}

/// With at least this many names.
fn patch_of(names: usize) -> impl Strategy<Value = Value> {
    let member = prop_oneof![4 => scalar(), 1 => array(), 2 => Just(Value::Null)];
    let member = member.prop_recursive(4, 24, 4, |inner| {
        prop::collection::btree_map(name(), inner, 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    });
    prop::collection::btree_map(name(), member, names..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// A content without nulls outside of what [`patch`] can make of nothing.
fn content() -> impl Strategy<Value = Value> {
    patch().prop_map(|patch| merged(&json!({}), &patch))
}

#[derive(Debug, Clone)]
enum Write {
    Report(Value),
    Patch(Option<Value>, Option<Value>),
    Replace(Option<Value>, Option<Value>),
}

fn write() -> impl Strategy<Value = Write> {
    let section = || prop::option::weighted(0.7, prop_oneof![9 => patch(), 1 => Just(Value::Null)]);
    prop_oneof![
        patch().prop_map(Write::Report),
        (section(), section()).prop_map(|(tags, desired)| Write::Patch(tags, desired)),
        (section(), section()).prop_map(|(tags, desired)| Write::Replace(tags, desired)),
    ]
}

/// The merge law as one would write it down first.
fn merged(old: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut result = old.as_object().cloned().unwrap_or_default();
    for (name, member) in patch {
        if member.is_null() {
            result.remove(name);
        } else {
            let old = result.get(name).cloned().unwrap_or(Value::Null);
            result.insert(name.clone(), merged(&old, member));
        }
    }
    Value::Object(result)
}

/// The size function as one would write it down first.
fn size(value: &Value) -> usize {
    let text = |text: &str| text.chars().filter(|c| !c.is_control()).count();
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(s) => text(s),
        Value::Array(elements) => elements.iter().map(|e| size(e).max(1)).sum(),
        Value::Object(members) => members.iter().map(|(k, v)| text(k) + size(v)).sum(),
    }
}

/// A twin as one would write it down first: three values and four counters.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    tags: Value,
    desired: Value,
    reported: Value,
    version: u64,
    etag: u64,
    desired_version: u64,
    reported_version: u64,
}

impl Model {
    fn new() -> Self {
        let (tags, desired, reported) = (json!({}), json!({}), json!({}));
        Self {
            tags,
            desired,
            reported,
            version: 2,
            etag: 1,
            desired_version: 1,
            reported_version: 1,
        }
    }

    /// Whether the write is accepted.
    fn write(&mut self, write: &Write, limits: &Limits) -> bool {
        let fits = |old: &Value, new: &Value, limit| size(new) <= limit || size(new) <= size(old);
        let (tags, desired, replace) = match write {
            Write::Report(patch) => {
                let new = merged(&self.reported, patch);
                let fits = fits(&self.reported, &new, limits.reported_bytes_max);
                if fits && *patch != json!({}) {
                    self.reported = new;
                    self.version += 1;
                    self.reported_version += 1;
                }
                return fits;
            }
            Write::Patch(tags, desired) => (tags, desired, false),
            Write::Replace(tags, desired) => (tags, desired, true),
        };
        let plan = |old: &Value, write: &Option<Value>| match write {
            None => None,
            Some(Value::Null) => Some(json!({})),
            Some(content) if replace => Some(merged(&json!({}), content)),
            Some(patch) => (*patch != json!({})).then(|| merged(old, patch)),
        };
        let (tags, desired) = (plan(&self.tags, tags), plan(&self.desired, desired));
        let tags_fit = tags.as_ref().is_none_or(|t| fits(&self.tags, t, limits.tags_bytes_max));
        let desired_fit =
            desired.as_ref().is_none_or(|d| fits(&self.desired, d, limits.desired_bytes_max));
        if !tags_fit || !desired_fit {
            return false;
        }
        let counts = u64::from(tags.is_some() || desired.is_some());
        self.version += counts;
        self.etag += counts;
        self.desired_version += u64::from(desired.is_some());
        self.tags = tags.unwrap_or_else(|| self.tags.take());
        self.desired = desired.unwrap_or_else(|| self.desired.take());
        true
    }
}

fn service_patch(tags: &Option<Value>, desired: &Option<Value>, limits: &Limits) -> ServicePatch {
    let mut body = json!({"properties": {}});
    if let Some(tags) = tags {
        body["tags"] = tags.clone();
    }
    if let Some(desired) = desired {
        body["properties"]["desired"] = desired.clone();
    }
    ServicePatch::parse(body.to_string().as_bytes(), limits).expect("a valid write")
}

fn parsed(patch: &Value, limits: &Limits) -> Patch {
    Patch::parse(patch.to_string().as_bytes(), limits).expect("a valid patch")
}

fn desired(patch: &Value, limits: &Limits) -> ServicePatch {
    ServicePatch::of_desired(parsed(patch, limits))
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn without_version(notice: &[u8]) -> (Value, Value) {
    let mut notice: Map<String, Value> = serde_json::from_slice(notice).expect("an object");
    let version = notice.remove("$version").expect("a version");
    (Value::Object(notice), version)
}

/// Metadata has an entry for each property, none for anything else, and no stamp is newer than the
/// one around it.
#[track_caller]
fn check_metadata(value: &Value, metadata: &Value, versions: bool) {
    let metadata = metadata.as_object().expect("metadata is an object");
    assert!(metadata["$lastUpdated"].is_string());
    assert!(versions || !metadata.contains_key("$lastUpdatedVersion"));
    let members = value.as_object().cloned().unwrap_or_default();
    let own = |name: &&String| !matches!(name.as_str(), "$version" | "$metadata");
    let named = metadata.keys().filter(|name| !name.starts_with("$lastUpdated"));
    assert!(members.keys().filter(own).eq(named), "{members:?} {metadata:?}");
    for (name, member) in members.iter().filter(|(name, _)| own(name)) {
        check_metadata(member, &metadata[name], versions);
        let version = |m: &Value| m.get("$lastUpdatedVersion").and_then(Value::as_u64);
        assert!(
            version(&metadata[name]) <= metadata.get("$lastUpdatedVersion").and_then(Value::as_u64)
        );
    }
}

fn check_whole(twin: &Twin, model: &Model) {
    assert_eq!(twin.tags().to_value(), model.tags);
    assert_eq!(twin.desired().to_value(), model.desired);
    assert_eq!(twin.reported().to_value(), model.reported);
    assert_eq!(twin.version(), model.version);
    assert_eq!(twin.desired_version(), model.desired_version);
    assert_eq!(twin.reported_version(), model.reported_version);
    for (section, value) in [
        (twin.tags(), &model.tags),
        (twin.desired(), &model.desired),
        (twin.reported(), &model.reported),
    ] {
        assert_eq!(section.size(), size(value));
        check_stamps(section);
    }
    let mut view = json!({"desired": model.desired, "reported": model.reported});
    view["desired"]["$version"] = json!(model.desired_version);
    view["reported"]["$version"] = json!(model.reported_version);
    // Compared as text: a general parser may be off in the last bit of a fraction.
    assert_eq!(&twin.device_view()[..], view.to_string_like_device().as_bytes());
    let properties = serde_json::to_value(twin.service_properties()).expect("a value");
    for (name, versions) in [("desired", true), ("reported", false)] {
        let section = &properties[name];
        check_metadata(section, &section["$metadata"], versions);
    }
    assert_eq!(Twin::decode(&twin.encode()).as_ref(), Ok(twin));
}

/// `$version` stands last in what the hub writes and first in a sorted map.
trait DeviceText {
    fn to_string_like_device(&self) -> String;
}

impl DeviceText for Value {
    fn to_string_like_device(&self) -> String {
        let section = |name: &str| {
            let mut members = self[name].as_object().expect("a section").clone();
            let version = members.remove("$version").expect("a version");
            let text = Value::Object(members).to_string();
            let open = text.strip_suffix('}').expect("an object");
            let comma = if open.len() > 1 { "," } else { "" };
            format!(r#""{name}":{open}{comma}"$version":{version}}}"#)
        };
        format!("{{{},{}}}", section("desired"), section("reported"))
    }
}

fn check_stamps(section: &Section) {
    fn inside(node: &Node) {
        for (_, member) in node.members() {
            assert!(member.stamp() <= node.stamp());
            inside(member);
        }
    }
    for (_, node) in section.members() {
        assert!(node.stamp() <= section.stamp());
        inside(node);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_twin_does_what_a_naive_one_does(
        writes in prop::collection::vec(write(), 1..12),
        tight in any::<bool>(),
    ) {
        let mut limits = Limits::default();
        if tight {
            limits.tags_bytes_max = 12;
            limits.desired_bytes_max = 16;
            limits.reported_bytes_max = 20;
        }
        let (mut twin, mut model) = (Twin::new(at(0)), Model::new());
        for (now, write) in (1..).map(at).zip(&writes) {
            let (before, version) = (twin.clone(), twin.version());
            let change = match write {
                Write::Report(patch) => twin.report(&parsed(patch, &limits), None, now, &limits),
                Write::Patch(tags, desired) => {
                    let etag = twin.etag();
                    twin.patch(&service_patch(tags, desired, &limits), Some(&etag), now, &limits)
                }
                Write::Replace(tags, desired) => {
                    twin.replace(&service_patch(tags, desired, &limits), Some("*"), now, &limits)
                }
            };
            prop_assert_eq!(change.is_ok(), model.write(write, &limits));
            match change {
                Err(error) => {
                    let too_large = matches!(error, TwinError::TooLarge { .. });
                    prop_assert!(too_large, "{}", error);
                    prop_assert_eq!(&twin, &before);
                }
                Ok(change) if change.is_empty() => prop_assert_eq!(&twin, &before),
                Ok(change) => {
                    prop_assert_eq!(twin.version(), version + 1);
                    prop_assert_eq!(change.version(), twin.version());
                    let moved = twin.desired_version() - before.desired_version();
                    prop_assert_eq!(change.desired_notice().is_some(), moved == 1);
                    prop_assert_eq!(change.desired_version().is_some(), moved == 1);
                    let moved = twin.reported_version() - before.reported_version();
                    prop_assert_eq!(change.reported_version().is_some(), moved == 1);
                    prop_assert_eq!(twin.etag() == before.etag(), moved == 1);
                }
            }
            check_whole(&twin, &model);
        }
    }

    #[test]
    fn the_same_patch_twice_gives_the_same_values(old in content(), patch in patch()) {
        let limits = Limits::default();
        let mut twin = Twin::new(at(0));
        twin.report(&parsed(&old, &limits), None, at(1), &limits).expect("accepted");
        twin.report(&parsed(&patch, &limits), None, at(2), &limits).expect("accepted");
        let once = twin.reported().to_value();
        twin.report(&parsed(&patch, &limits), None, at(3), &limits).expect("accepted");
        prop_assert_eq!(twin.reported().to_value(), once);
    }

    #[test]
    fn null_removes_at_any_depth(old in content(), path in prop::collection::vec(name(), 1..4)) {
        let limits = Limits::default();
        let mut twin = Twin::new(at(0));
        twin.report(&parsed(&old, &limits), None, at(1), &limits).expect("accepted");
        let patch = path.iter().rev().fold(Value::Null, |inner, name| json!({name: inner}));
        twin.report(&parsed(&patch, &limits), None, at(2), &limits).expect("accepted");
        let names = || path.iter().map(String::as_str);
        prop_assert!(twin.reported().find(names()).is_none());
        // The objects on the way are there, and everything beside it stays.
        let depth = path.len() - 1;
        prop_assert!(depth == 0 || twin.reported().find(names().take(depth)).is_some());
        let first = path[0].as_str();
        let mut rest = twin.reported().to_value();
        let mut want = old.clone();
        rest.as_object_mut().expect("an object").remove(first);
        want.as_object_mut().expect("an object").remove(first);
        prop_assert_eq!(rest, want);
    }

    #[test]
    fn what_a_device_hears_of_a_replacement_leads_it_there(old in content(), new in patch()) {
        let limits = Limits::default();
        let mut twin = Twin::new(at(0));
        twin.patch(&desired(&old, &limits), None, at(1), &limits).expect("accepted");
        let mut listener = twin.clone();
        let change = twin.replace(&desired(&new, &limits), None, at(2), &limits).expect("accepted");
        let notice = change.desired_notice().expect("a notice");
        // As the device does it, from the text.
        let patch = Patch::parse(&notice.body, &limits).expect("a valid patch");
        listener.patch(&ServicePatch::of_desired(patch), None, at(2), &limits).expect("accepted");
        prop_assert_eq!(listener.desired().to_value(), twin.desired().to_value());
        prop_assert_eq!(twin.desired().to_value(), merged(&json!({}), &new));
        prop_assert_eq!(notice.version, twin.desired_version());
        // Each name of the notice is one that is there, or one that was.
        let (notice, version) = without_version(&notice.body);
        prop_assert_eq!(version, json!(twin.desired_version()));
        let both = merged(&old, &twin.desired().to_value());
        for name in notice.as_object().expect("an object").keys() {
            prop_assert!(both.get(name).is_some());
        }
    }

    #[test]
    fn what_a_device_hears_of_a_patch_is_the_patch(old in content(), patch in patch_of(1)) {
        let limits = Limits::default();
        let mut twin = Twin::new(at(0));
        twin.patch(&desired(&old, &limits), None, at(1), &limits).expect("accepted");
        let change = twin.patch(&desired(&patch, &limits), None, at(2), &limits).expect("accepted");
        let body = change.desired_notice().expect("a notice").body;
        let text = patch.to_string();
        let open = text.strip_suffix('}').expect("an object");
        let version = twin.desired_version();
        let want = format!(r#"{open},"$version":{version}}}"#);
        prop_assert_eq!(&body[..], want.as_bytes());
    }

    #[test]
    fn an_update_event_tells_the_twins_own_metadata(old in content(), patch in patch_of(1)) {
        let limits = Limits::default();
        let address = "d/m".parse().expect("an address");
        let mut twin = Twin::new(at(0));
        twin.patch(&desired(&old, &limits), None, at(1), &limits).expect("accepted");
        let change = twin.patch(&desired(&patch, &limits), None, at(2), &limits).expect("accepted");
        let body = change.event_body(&address, &twin, None).expect("a body");
        let event: Value = serde_json::from_slice(&body).expect("JSON");
        let view = serde_json::to_value(twin.service_properties()).expect("a value");
        // Merging it into the twin's metadata changes nothing: it is a part of it.
        let whole = &view["desired"]["$metadata"];
        let told = &event["properties"]["desired"]["$metadata"];
        prop_assert_eq!(&merged(whole, told), whole);
        check_metadata(&merged(&json!({}), &patch), told, true);
    }

    #[test]
    fn no_text_panics_and_json_is_told_from_what_is_none(
        patch in patch(),
        cut in any::<prop::sample::Index>(),
        with in "[\\[\\]{}\",:0-9a-z\\\\.$ \u{0}-\u{1f}é]{0,3}",
    ) {
        let limits = Limits::default();
        let mut text = patch.to_string();
        let at = (0..=text.len()).rev().find(|at| *at <= cut.index(text.len() + 1) && text.is_char_boundary(*at));
        text.insert_str(at.unwrap_or(0), &with);
        let known = serde_json::from_str::<Value>(&text);
        let outcome = Patch::parse(text.as_bytes(), &limits);
        match &outcome {
            Err(TwinError::Json { .. }) => prop_assert!(known.is_err(), "{}", text),
            // A number may be too large for a general parser, which then calls the text no JSON.
            Err(TwinError::NumberOutOfRange { .. }) => {}
            Err(_) => {}
            Ok(_) => prop_assert!(known.is_ok(), "{}", text),
        }
        let _ = ServicePatch::parse(text.as_bytes(), &limits);
        prop_assert!(Twin::decode(text.as_bytes()).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let limits = Limits::default();
        let _ = Patch::parse(&bytes, &limits);
        let _ = ServicePatch::parse(&bytes, &limits);
        let _ = Twin::decode(&bytes);
    }
}
