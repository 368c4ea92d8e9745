//! Patches, and the law by which they merge.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::error::{Path, TwinError};
use super::read::{self, Rules};
use super::section::{Content, EMPTY, Node, Stamp, Tree, text_size, value_size};
use crate::limits::Limits;

/// A patch of one section, or the new content of one: checked, cheap to clone.
///
/// A value that exists keeps to the limits it was parsed with. What it cannot know, the size of the
/// section after it, is checked where it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    pub(super) members: Arc<Members>,
}

impl Patch {
    /// Reads a patch from JSON text: an object, whose members are added, replaced, merged, or
    /// removed where they are null.
    ///
    /// Members `$version` and `$metadata` at the root are ignored. Of members with the same name
    /// the last one counts, and all of them must be valid.
    ///
    /// # Errors
    ///
    /// The text is not JSON or not an object; a name is too long or contains `$`, `.`, a blank or a
    /// control character; a string is too long; an integer is out of range; objects and arrays are
    /// nested too deep; there is a null inside an array. The whole patch is refused then.
    pub fn parse(text: &[u8], limits: &Limits) -> Result<Self, TwinError> {
        let raw = read::document(text)?;
        let members = read::section(raw, &Rules::of(limits), &Path::Root)?;
        Ok(Self { members: Arc::new(members) })
    }

    /// A patch from a value in memory; else as [`Patch::parse`].
    ///
    /// # Errors
    ///
    /// As [`Patch::parse`].
    pub fn from_value(value: &Value, limits: &Limits) -> Result<Self, TwinError> {
        Self::parse(&to_text(value)?, limits)
    }

    /// Whether it has no members. Such a patch is accepted and changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// The patch as an object, nulls included.
impl Serialize for Patch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.members.serialize(serializer)
    }
}

/// What a service write says about one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionWrite {
    /// `null`: every property of the section is removed.
    Clear,
    /// A patch, or in a replacement the new content, of which nulls are dropped.
    Members(Patch),
}

/// A write of a back end: of `tags`, of the desired properties, or of both at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServicePatch {
    /// What happens to `tags`; nothing if there is none.
    pub tags: Option<SectionWrite>,
    /// What happens to the desired properties; nothing if there is none.
    pub desired: Option<SectionWrite>,
}

impl ServicePatch {
    /// Reads `{"tags":{…},"properties":{"desired":{…}}}`. Either section may be missing or null;
    /// everything else in the document, reported properties too, is ignored.
    ///
    /// # Errors
    ///
    /// As [`Patch::parse`]; also if `properties` is neither an object nor null.
    pub fn parse(text: &[u8], limits: &Limits) -> Result<Self, TwinError> {
        let rules = Rules::of(limits);
        let root = read::entries(read::document(text)?, &Path::Root)?;
        let section = |raw: &serde_json::value::RawValue, path: &Path<'_>| {
            if raw.get() == "null" {
                return Ok(SectionWrite::Clear);
            }
            let members = read::section(raw, &rules, path)?;
            Ok(SectionWrite::Members(Patch { members: Arc::new(members) }))
        };
        let tags = root.get("tags").map(|raw| section(raw, &Path::Name(&Path::Root, "tags")));
        let path = Path::Name(&Path::Root, "properties");
        let desired = match root.get("properties").filter(|raw| raw.get() != "null") {
            None => None,
            Some(raw) => read::entries(raw, &path)?
                .get("desired")
                .map(|raw| section(raw, &Path::Name(&path, "desired"))),
        };
        Ok(Self { tags: tags.transpose()?, desired: desired.transpose()? })
    }

    /// A write from a value in memory; else as [`ServicePatch::parse`].
    ///
    /// # Errors
    ///
    /// As [`ServicePatch::parse`].
    pub fn from_value(value: &Value, limits: &Limits) -> Result<Self, TwinError> {
        Self::parse(&to_text(value)?, limits)
    }

    /// A write of `tags` only.
    #[must_use]
    pub fn of_tags(patch: Patch) -> Self {
        Self { tags: Some(SectionWrite::Members(patch)), desired: None }
    }

    /// A write of the desired properties only.
    #[must_use]
    pub fn of_desired(patch: Patch) -> Self {
        Self { tags: None, desired: Some(SectionWrite::Members(patch)) }
    }
}

fn to_text(value: &Value) -> Result<Vec<u8>, TwinError> {
    serde_json::to_vec(value).map_err(|error| TwinError::json(&error))
}

/// Members of a patch, ordered by name, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Members(Vec<(Box<str>, Member)>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Member {
    Null,
    Leaf(Value),
    Object(Members),
}

impl Members {
    /// Of members with the same name the last one stays.
    pub(super) fn new(mut members: Vec<(Box<str>, Member)>) -> Self {
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        Self(members)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.0.iter().map(|(name, member)| (&**name, member))
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (Box<str>, Member)> {
        self.0.into_iter()
    }

    fn get(&self, wanted: &str) -> Option<&Member> {
        let at = self.0.binary_search_by(|(name, _)| (**name).cmp(wanted)).ok()?;
        self.0.get(at).map(|(_, member)| member)
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, member) in &self.0 {
            map.serialize_entry(name, member)?;
        }
        map.end()
    }
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Leaf(value) => value.serialize(serializer),
            Self::Object(members) => members.serialize(serializer),
        }
    }
}

/// The merge law. Objects merge member by member, null removes, everything else replaces whole.
/// Stamps every member that the patch names and that survives; the caller stamps what is around.
pub(super) fn merge(tree: &mut Tree, patch: &Members, stamp: Stamp) {
    for (name, member) in &patch.0 {
        let content = match member {
            Member::Null => {
                tree.remove(name);
                continue;
            }
            Member::Leaf(value) => Content::Leaf(value.clone()),
            Member::Object(members) => {
                if let Some(Node { stamp: old, content: Content::Object(inner) }) =
                    tree.get_mut(name)
                {
                    *old = stamp;
                    merge(inner, members, stamp);
                    continue;
                }
                Content::Object(fresh(members, stamp))
            }
        };
        let node = Node { stamp, content };
        // The common case is a property that is there already: no copy of its name then.
        match tree.get_mut(name) {
            Some(old) => *old = node,
            None => {
                tree.insert(name.clone(), node);
            }
        }
    }
}

/// What the members are where nothing was before: the same without nulls.
pub(super) fn fresh(members: &Members, stamp: Stamp) -> Tree {
    let node = |member: &Member| match member {
        Member::Null => None,
        Member::Leaf(value) => Some(Node { stamp, content: Content::Leaf(value.clone()) }),
        Member::Object(inner) => {
            Some(Node { stamp, content: Content::Object(fresh(inner, stamp)) })
        }
    };
    members.0.iter().filter_map(|(name, member)| Some((name.clone(), node(member)?))).collect()
}

/// The size of a section of this size after [`merge`], found without touching it.
pub(super) fn merged_size(size: usize, tree: &Tree, patch: &Members) -> usize {
    patch.0.iter().fold(size, |size, (name, member)| match (tree.get(name), member) {
        (Some(Node { content: Content::Object(inner), .. }), Member::Object(members)) => {
            merged_size(size, inner, members)
        }
        (old, member) => {
            let new = match member {
                Member::Null => 0,
                Member::Leaf(value) => text_size(name) + value_size(value),
                Member::Object(members) => text_size(name) + fresh_size(members),
            };
            // Addition first: the section counts at least what it loses.
            (size + new).saturating_sub(old.map_or(0, |node| text_size(name) + node.size()))
        }
    })
}

/// The size of [`fresh`].
pub(super) fn fresh_size(members: &Members) -> usize {
    let size = |(name, member): &(Box<str>, Member)| match member {
        Member::Null => 0,
        Member::Leaf(value) => text_size(name) + value_size(value),
        Member::Object(inner) => text_size(name) + fresh_size(inner),
    };
    members.0.iter().map(size).sum()
}

/// The patch that turns `old` into `fresh(new)`: all that is new, and a null for each name that
/// vanishes, at every level. Values are not compared, so a listener sees the whole new content.
pub(super) fn replacement(old: &Tree, new: &Members) -> Members {
    let mut patch = Vec::with_capacity(new.0.len());
    for (name, member) in &new.0 {
        let member = match member {
            Member::Null => continue,
            Member::Leaf(value) => Member::Leaf(value.clone()),
            Member::Object(members) => {
                let inner = old.get(name).and_then(Node::tree).unwrap_or(&EMPTY);
                Member::Object(replacement(inner, members))
            }
        };
        patch.push((name.clone(), member));
    }
    for name in old.keys() {
        if matches!(new.get(name), None | Some(Member::Null)) {
            patch.push((name.clone(), Member::Null));
        }
    }
    Members::new(patch)
}
