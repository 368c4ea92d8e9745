//! What a device may have of its desired properties, so that it can be told what it has missed.
//!
//! A device that was told of a change may have got it or not, and a hub learns of the one only. So there
//! is no saying which version a device has; but it can be said from which version on that may be
//! (`heard`), and which names it can have at most (`names`). A patch of all that was written since
//! `heard`, with a null for each of those names that is gone, makes of every version since `heard` the
//! one that it was made from.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde::{Deserialize, Serialize as DeriveSerialize};

use super::change::DesiredNotice;
use super::document::Twin;
use super::error::Path;
use super::patch::{Member, Members};
use super::read::{self, Rules};
use super::section::{Content, EMPTY, Section, Tree};
use super::view;

/// Names of properties, and the names within them.
#[derive(Debug, Clone, PartialEq, Eq, Default, DeriveSerialize, Deserialize)]
#[serde(transparent)]
pub struct Names(BTreeMap<Box<str>, Names>);

static NONE: Names = Names(BTreeMap::new());

impl Names {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// About how many bytes they take in a store.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, inner)| name.len() + 6 + inner.bytes()).sum()
    }

    /// Adds those of a section.
    pub fn add(&mut self, section: &Section) {
        self.add_tree(&section.tree);
    }

    fn add_tree(&mut self, tree: &Tree) {
        for (name, node) in tree {
            self.entry(name).add_tree(node.tree().unwrap_or(&EMPTY));
        }
    }

    /// Adds those of a notice of desired properties, as a device is told of it.
    pub fn add_notice(&mut self, notice: &[u8]) {
        if let Some(members) = members(notice) {
            self.add_members(&members);
        }
    }

    fn add_members(&mut self, members: &Members) {
        for (name, member) in members.iter() {
            let inner = self.entry(name);
            if let Member::Object(members) = member {
                inner.add_members(members);
            }
        }
    }

    /// Whether all names that a notice adds are among them. What it removes adds none.
    #[must_use]
    pub fn cover_notice(&self, notice: &[u8]) -> bool {
        members(notice).is_none_or(|members| self.cover(&members))
    }

    fn cover(&self, members: &Members) -> bool {
        members.iter().all(|(name, member)| match member {
            Member::Null => true,
            Member::Leaf(_) => self.0.contains_key(name),
            Member::Object(inner) => self.0.get(name).is_some_and(|names| names.cover(inner)),
        })
    }

    /// Whether all names of a section are among them.
    #[must_use]
    pub fn cover_section(&self, section: &Section) -> bool {
        self.cover_tree(&section.tree)
    }

    fn cover_tree(&self, tree: &Tree) -> bool {
        tree.iter().all(|(name, node)| {
            let inner = node.tree().unwrap_or(&EMPTY);
            self.0.get(name).is_some_and(|names| names.cover_tree(inner))
        })
    }

    fn entry(&mut self, name: &str) -> &mut Self {
        self.0.entry(name.into()).or_default()
    }
}

fn members(notice: &[u8]) -> Option<Members> {
    let raw = read::document(notice).ok()?;
    read::section(raw, &Rules::STORED, &Path::Root).ok()
}

/// What a device may have of its desired properties, as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// The generation of the identity that it is about.
    pub generation: u64,
    /// The device has this version or a later one. Zero: it may have none.
    pub heard: u64,
    /// All names that it can have.
    pub names: Names,
}

const FORMAT: u8 = 1;

#[derive(DeriveSerialize, Deserialize)]
struct Body {
    v: u8,
    generation: u64,
    heard: u64,
    names: Names,
}

impl Known {
    /// The body of its document: JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let Self { generation, heard, ref names } = *self;
        view::text(&Body { v: FORMAT, generation, heard, names: names.clone() })
    }

    /// Reads the body of a document. `None` if it is of no known format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let Body { v, generation, heard, names } = serde_json::from_slice(body).ok()?;
        (v == FORMAT).then_some(Self { generation, heard, names })
    }
}

impl Twin {
    /// What a device has to be told that has version `heard` of its desired properties or a later one,
    /// and no names but these: one patch that brings it here. `None` if it can have missed nothing.
    #[must_use]
    pub fn desired_since(&self, heard: u64, names: &Names) -> Option<DesiredNotice> {
        let version = self.desired_version;
        let nothing = self.desired.is_empty() && names.is_empty();
        let tree = &self.desired.tree;
        (heard < version && !nothing).then(|| DesiredNotice {
            version,
            body: view::text(&Since { tree, names, heard, version: Some(version) }),
        })
    }
}

struct Since<'t> {
    tree: &'t Tree,
    names: &'t Names,
    heard: u64,
    /// At the root.
    version: Option<u64>,
}

impl Serialize for Since<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, node) in self.tree.iter().filter(|(_, node)| node.stamp.version > self.heard) {
            match &node.content {
                Content::Leaf(value) => map.serialize_entry(name, value)?,
                Content::Object(tree) => {
                    let names = self.names.0.get(name).unwrap_or(&NONE);
                    map.serialize_entry(name, &Self { tree, names, version: None, ..*self })?;
                }
            }
        }
        for name in self.names.0.keys().filter(|name| !self.tree.contains_key(*name)) {
            map.serialize_entry(name, &())?;
        }
        if let Some(version) = self.version {
            map.serialize_entry("$version", &version)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::time::Timestamp;
    use crate::twin::{Patch, ServicePatch};
    use serde_json::{Value, json};

    fn written(twin: &mut Twin, patch: &Value) {
        let limits = Limits::default();
        let patch = ServicePatch::of_desired(Patch::from_value(patch, &limits).unwrap());
        twin.patch(&patch, None, Timestamp::ZERO, &limits).unwrap();
    }

    fn since(twin: &Twin, heard: u64, names: &Names) -> Option<Value> {
        let notice = twin.desired_since(heard, names)?;
        Some(serde_json::from_slice(&notice.body).unwrap())
    }

    #[test]
    fn a_patch_has_what_was_written_and_a_null_for_what_is_gone() {
        let mut twin = Twin::new(Timestamp::ZERO);
        assert_eq!(since(&twin, 0, &Names::default()), None);
        written(&mut twin, &json!({"a": 1, "b": {"x": 1, "y": 1}, "c": {"z": 1}, "same": true}));
        let mut names = Names::default();
        names.add(twin.desired());
        assert_eq!(since(&twin, 2, &names), None);
        written(&mut twin, &json!({"a": null, "b": {"x": null, "y": 2}, "c": 5}));
        let expected = json!({"a": null, "b": {"x": null, "y": 2}, "c": 5, "$version": 3});
        assert_eq!(since(&twin, 2, &names), Some(expected));
        // A leaf that became an object again: what the old one had must go.
        written(&mut twin, &json!({"c": {"new": 1}}));
        let expected =
            json!({"a": null, "b": {"x": null, "y": 2}, "c": {"new": 1, "z": null}, "$version": 4});
        assert_eq!(since(&twin, 2, &names), Some(expected));
        // Whoever has nothing for sure is told everything.
        let whole = json!({"b": {"y": 2}, "c": {"new": 1}, "same": true, "$version": 4});
        assert_eq!(since(&twin, 0, &Names::default()), Some(whole));
    }

    #[test]
    fn names_cover_what_they_had_added() {
        let mut names = Names::default();
        let notice = |value: Value| value.to_string();
        assert!(names.cover_notice(notice(json!({"a": null, "$version": 3})).as_bytes()));
        let patch = notice(json!({"a": {"b": 1, "c": {}}, "d": [1], "$version": 3}));
        assert!(!names.cover_notice(patch.as_bytes()));
        names.add_notice(patch.as_bytes());
        assert!(names.cover_notice(patch.as_bytes()) && names.bytes() > 4);
        assert!(names.cover_notice(notice(json!({"a": 1, "d": {}, "$version": 4})).as_bytes()));
        assert!(!names.cover_notice(notice(json!({"d": {"e": 1}, "$version": 4})).as_bytes()));
        let known = Known { generation: 7, heard: 3, names };
        assert_eq!(Known::decode(&known.encode()), Some(known));
        assert_eq!(Known::decode(b"{}"), None);
    }
}
