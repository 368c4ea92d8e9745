//! A twin as conditions and queries see it.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::configured::Configured;
use super::document::Twin;
use super::section::{Content, Node, Section, Stamp, Tree};
use crate::query::{Case, Fields, Path, Step, Value, walk};

impl Fields for Twin {
    /// `tags`, `properties.desired` and `properties.reported` with what is in them, `$version` and
    /// `$metadata` as back ends read them; `version` and `etag`; `configurations` where some target
    /// the twin.
    fn value(&self, path: &Path, case: Case) -> Value<'_> {
        let Some((root, rest)) = path.split_first() else { return Value::Missing };
        let is = |name: &str, wanted: &str| {
            name == wanted || (case == Case::ExactFirst && name.eq_ignore_ascii_case(wanted))
        };
        if is(root, "tags") {
            return in_section(&self.tags, None, rest, case);
        }
        if is(root, "properties") {
            return match rest {
                [] => Value::Object,
                [Step::Member(name), rest @ ..] if is(name, "desired") => {
                    let own = Own { version: self.desired_version, shows_versions: true };
                    in_section(&self.desired, Some(own), rest, case)
                }
                [Step::Member(name), rest @ ..] if is(name, "reported") => {
                    let own = Own { version: self.reported_version, shows_versions: false };
                    in_section(&self.reported, Some(own), rest, case)
                }
                _ => Value::Missing,
            };
        }
        if is(root, "configurations") {
            return in_configurations(self.configured(), rest);
        }
        match rest {
            [] if is(root, "version") => number(self.version),
            [] if is(root, "etag") => Value::Text(self.etag().into()),
            _ => Value::Missing,
        }
    }
}

impl Twin {
    /// A copy of what stands at the end of a path, objects and arrays included; see the
    /// implementation of [`Fields`]. Nothing where the path leads nowhere.
    #[must_use]
    pub fn to_json(&self, path: &Path) -> Option<Json> {
        let (root, rest) = path.split_first()?;
        let found = match (root, rest) {
            ("tags", rest) => return in_tree(&self.tags, rest),
            ("version", []) => Json::from(self.version),
            ("etag", []) => Json::from(self.etag()),
            ("configurations", rest) => {
                let marks = Some(self.configured()).filter(|all| !all.marks.is_empty())?;
                let whole = serde_json::to_value(marks.statuses()).ok()?;
                return walk(&whole, rest, Case::Exact).cloned();
            }
            ("properties", [Step::Member(_), Step::Member(name), ..]) if !name.starts_with('$') => {
                let [Step::Member(section), rest @ ..] = rest else { return None };
                return match &**section {
                    "desired" => in_tree(&self.desired, rest),
                    "reported" => in_tree(&self.reported, rest),
                    _ => None,
                };
            }
            // Whole sections, versions and metadata: as back ends read them.
            ("properties", rest) => {
                let whole = serde_json::to_value(self.service_properties()).ok()?;
                return walk(&whole, rest, Case::Exact).cloned();
            }
            _ => return None,
        };
        Some(found)
    }
}

/// `configurations.[[id]].status`.
fn in_configurations<'t>(configured: &Configured, steps: &[Step]) -> Value<'t> {
    let mark = |name: &str| configured.mark(name);
    match steps {
        [] if configured.marks.is_empty() => Value::Missing,
        [] => Value::Object,
        [Step::Member(id)] => mark(id).map_or(Value::Missing, |_| Value::Object),
        [Step::Member(id), Step::Member(name)] if &**name == "status" => {
            mark(id).map_or(Value::Missing, |mark| Value::Text(mark.status().into()))
        }
        _ => Value::Missing,
    }
}

/// What a section of properties has beside its content.
#[derive(Clone, Copy)]
struct Own {
    version: u64,
    /// Whether metadata has `$lastUpdatedVersion`.
    shows_versions: bool,
}

fn in_section<'t>(section: &'t Section, own: Option<Own>, steps: &[Step], case: Case) -> Value<'t> {
    match (own, steps) {
        (_, []) => Value::Object,
        (Some(own), [Step::Member(name)]) if &**name == "$version" => number(own.version),
        (Some(own), [Step::Member(name), rest @ ..]) if &**name == "$metadata" => {
            metadata(section, own, rest, case)
        }
        (_, steps) => match find(&section.tree, steps, case) {
            None => Value::Missing,
            Some((Node { content: Content::Object(_), .. }, [])) => Value::Object,
            Some((Node { content: Content::Leaf(value), .. }, rest)) => {
                Value::of_json(walk(value, rest, case))
            }
            Some(_) => Value::Missing,
        },
    }
}

/// A copy of what stands in a section.
fn in_tree(section: &Section, steps: &[Step]) -> Option<Json> {
    if steps.is_empty() {
        return Some(section.to_value());
    }
    match find(&section.tree, steps, Case::Exact)? {
        (node, []) => Some(node.to_value()),
        (Node { content: Content::Leaf(value), .. }, rest) => {
            walk(value, rest, Case::Exact).cloned()
        }
        _ => None,
    }
}

/// Follows steps as far as there are objects: the last node, and the steps that are left.
fn find<'t, 's>(tree: &'t Tree, steps: &'s [Step], case: Case) -> Option<(&'t Node, &'s [Step])> {
    let (Step::Member(name), rest) = steps.split_first()? else { return None };
    let node = member(tree, name, case)?;
    match (&node.content, rest) {
        (Content::Object(tree), [Step::Member(_), ..]) => find(tree, rest, case),
        _ => Some((node, rest)),
    }
}

fn member<'t>(tree: &'t Tree, name: &str, case: Case) -> Option<&'t Node> {
    tree.get(name).or_else(|| {
        let close = || tree.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        (case == Case::ExactFirst).then(close).flatten().map(|(_, node)| node)
    })
}

/// `$metadata`: stamps of the section and of each property in it.
fn metadata<'t>(section: &Section, own: Own, steps: &[Step], case: Case) -> Value<'t> {
    let (mut stamp, mut tree) = (section.stamp, Some(&section.tree));
    let mut steps = steps.iter();
    while let Some(step) = steps.next() {
        let Step::Member(name) = step else { return Value::Missing };
        if name.starts_with('$') {
            return match steps.next() {
                None => stamp_value(stamp, own, name),
                Some(_) => Value::Missing,
            };
        }
        match tree.and_then(|tree| member(tree, name, case)) {
            Some(node) => (stamp, tree) = (node.stamp, node.tree()),
            None => return Value::Missing,
        }
    }
    Value::Object
}

fn stamp_value<'t>(stamp: Stamp, own: Own, name: &str) -> Value<'t> {
    match name {
        "$lastUpdated" => Value::Text(Cow::Owned(stamp.at.to_string())),
        "$lastUpdatedVersion" if own.shows_versions && stamp.version > 0 => number(stamp.version),
        _ => Value::Missing,
    }
}

fn number<'t>(count: u64) -> Value<'t> {
    // Through JSON, which is where these numbers are read: no counter comes near 2^53.
    Json::from(count).as_f64().map_or(Value::Undefined, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::time::Timestamp;
    use crate::twin::{Mark, Patch, ServicePatch};

    fn twin() -> Twin {
        let (limits, now) = (Limits::default(), Timestamp::from_millis(1_772_000_000_000));
        let mut twin = Twin::new(Timestamp::ZERO);
        let write = br#"{"tags":{"site":"a","o":{"k":[1,{"x":true}],"Odd":2}},
            "properties":{"desired":{"v":1,"o":{"w":1.5}}}}"#;
        let write = ServicePatch::parse(write, &limits).unwrap();
        twin.patch(&write, None, now, &limits).unwrap();
        let report = Patch::parse(br#"{"v":"1"}"#, &limits).unwrap();
        twin.report(&report, None, now, &limits).unwrap();
        let mark = |id: &str, applied| Mark { id: id.into(), instance: 1, applied };
        let marks = vec![mark("c1", false), mark("c-2", true)];
        twin.set_configured(Configured { revision: 1, marks, ..Configured::default() });
        twin
    }

    /// All paths of a document.
    fn paths(json: &Json, path: &mut Vec<Step>, seen: &mut Vec<Path>) {
        seen.push(Path::new(path.clone()));
        let inner: Vec<(Step, &Json)> = match json {
            Json::Object(members) => {
                members.iter().map(|(k, v)| (Step::Member(k.as_str().into()), v)).collect()
            }
            Json::Array(items) => (0_u32..).zip(items).map(|(i, v)| (Step::Index(i), v)).collect(),
            _ => Vec::new(),
        };
        for (step, value) in inner {
            path.push(step);
            paths(value, path, seen);
            path.pop();
        }
    }

    #[test]
    fn every_path_leads_to_what_back_ends_read_there() {
        let twin = twin();
        let whole = serde_json::json!({
            "tags": twin.tags(),
            "properties": twin.service_properties(),
            "version": twin.version(),
            "etag": twin.etag(),
            "configurations": twin.configured().statuses(),
        });
        let mut seen = Vec::new();
        paths(&whole, &mut Vec::new(), &mut seen);
        assert!(seen.len() > 30);
        for path in seen.iter().filter(|path| !path.steps().is_empty()) {
            let there = walk(&whole, path.steps(), Case::Exact);
            assert_eq!(twin.value(path, Case::Exact), Value::of_json(there), "{path}");
            assert_eq!(twin.to_json(path).as_ref(), there, "{path}");
            // Nothing is below, beside or behind it.
            for step in [Step::Member("gone".into()), Step::Index(9)] {
                let beyond = Path::new(path.steps().iter().cloned().chain([step]));
                assert_eq!(twin.value(&beyond, Case::ExactFirst), Value::Missing, "{beyond}");
                assert_eq!(twin.to_json(&beyond), None, "{beyond}");
            }
        }
    }

    #[test]
    fn names_match_in_another_case_where_that_is_asked() {
        let twin = twin();
        let path = Path::of(["tags", "O", "odd"]);
        assert_eq!(twin.value(&path, Case::Exact), Value::Missing);
        assert_eq!(twin.value(&path, Case::ExactFirst), Value::Number(2.0));
        let path = Path::of(["properties", "desired", "$metadata", "V", "$lastUpdatedVersion"]);
        assert_eq!(twin.value(&path, Case::ExactFirst), Value::Number(2.0));
    }
}
