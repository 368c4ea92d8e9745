//! What stood where a write has written: enough to take the write back.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use super::change::TwinChange;
use super::document::Twin;
use super::patch::{Member, Members};
use super::section::{Content, Node, Section, Stamp, Tree, tree_size};

/// What stood at a name that a write names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Old {
    Absent,
    Leaf(Stamp, Value),
    /// Where the write merged into it: of its members those that the write names.
    Object(Stamp, Olds),
}

/// What stood at the names of a write.
pub(super) type Olds = BTreeMap<Box<str>, Old>;

/// What a write found in a section.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Before {
    pub(super) stamp: Stamp,
    pub(super) olds: Olds,
}

/// What a write found in the sections that it wrote.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Undo {
    pub(super) tags: Option<Before>,
    pub(super) desired: Option<Before>,
    pub(super) reported: Option<Before>,
}

impl Undo {
    /// Of a write, and the twin before it.
    pub(super) fn of(change: &TwinChange, before: &Twin) -> Self {
        let of = |change: &Option<super::change::SectionChange>, section: &Section| {
            let olds = olds(&section.tree, &change.as_ref()?.patch);
            Some(Before { stamp: section.stamp, olds })
        };
        Self {
            tags: of(&change.tags, &before.tags),
            desired: of(&change.desired, &before.desired),
            reported: of(&change.reported, &before.reported),
        }
    }

    /// Takes the write back from the twin that it left.
    pub(super) fn apply(&self, twin: &mut Twin) {
        twin.version = twin.version.saturating_sub(1);
        if self.reported.is_some() {
            twin.reported_version = twin.reported_version.saturating_sub(1);
        } else {
            twin.etag = twin.etag.saturating_sub(1);
        }
        if self.desired.is_some() {
            twin.desired_version = twin.desired_version.saturating_sub(1);
        }
        for (before, section) in [
            (&self.tags, &mut twin.tags),
            (&self.desired, &mut twin.desired),
            (&self.reported, &mut twin.reported),
        ] {
            if let Some(before) = before {
                restore(&mut section.tree, &before.olds);
                section.stamp = before.stamp;
                section.size = tree_size(&section.tree);
            }
        }
    }
}

fn olds(tree: &Tree, patch: &Members) -> Olds {
    let old = |name: &str, member: &Member| match (tree.get(name), member) {
        (None, _) => Old::Absent,
        (Some(Node { stamp, content: Content::Object(inner) }), Member::Object(members)) => {
            Old::Object(*stamp, olds(inner, members))
        }
        (Some(node), _) => whole(node),
    };
    patch.iter().map(|(name, member)| (name.into(), old(name, member))).collect()
}

fn whole(node: &Node) -> Old {
    match &node.content {
        Content::Leaf(value) => Old::Leaf(node.stamp, value.clone()),
        Content::Object(tree) => {
            let members = tree.iter().map(|(name, node)| (name.clone(), whole(node)));
            Old::Object(node.stamp, members.collect())
        }
    }
}

fn restore(tree: &mut Tree, olds: &Olds) {
    for (name, old) in olds {
        let node = match old {
            Old::Absent => {
                tree.remove(name);
                continue;
            }
            Old::Leaf(stamp, value) => {
                Node { stamp: *stamp, content: Content::Leaf(value.clone()) }
            }
            Old::Object(stamp, members) => {
                // Where there is an object, the write has merged into it; else it has removed one.
                if let Some(Node { stamp: new, content: Content::Object(inner) }) =
                    tree.get_mut(name)
                {
                    *new = *stamp;
                    restore(inner, members);
                    continue;
                }
                let mut inner = Tree::new();
                restore(&mut inner, members);
                Node { stamp: *stamp, content: Content::Object(inner) }
            }
        };
        tree.insert(name.clone(), node);
    }
}

/// The values, null where there was nothing.
impl Serialize for Old {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_unit(),
            Self::Leaf(_, value) => value.serialize(serializer),
            Self::Object(_, members) => members.serialize(serializer),
        }
    }
}

/// `[time, version, {name: …}]`, with an entry for each name where there was something.
pub(super) struct Stamps<'a>(pub(super) Stamp, pub(super) Option<&'a Olds>);

impl Serialize for Stamps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element(&self.0.at.as_millis())?;
        list.serialize_element(&self.0.version)?;
        if let Some(olds) = self.1 {
            list.serialize_element(&Inside(olds))?;
        }
        list.end()
    }
}

struct Inside<'a>(&'a Olds);

impl Serialize for Inside<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, old) in self.0 {
            match old {
                Old::Absent => {}
                Old::Leaf(stamp, _) => map.serialize_entry(name, &Stamps(*stamp, None))?,
                Old::Object(stamp, olds) => {
                    map.serialize_entry(name, &Stamps(*stamp, Some(olds)))?
                }
            }
        }
        map.end()
    }
}

/// What was there before a write, as `{"tags":{…},"properties":{"desired":{…},"reported":{…}}}`: of each
/// section that it wrote the values at the names that it named, null where there was nothing.
pub(super) struct Previous<'u>(pub(super) &'u Undo);

impl Serialize for Previous<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let undo = self.0;
        let mut map = serializer.serialize_map(None)?;
        if let Some(tags) = &undo.tags {
            map.serialize_entry("tags", &tags.olds)?;
        }
        if undo.desired.is_some() || undo.reported.is_some() {
            map.serialize_entry("properties", &PreviousProperties(undo))?;
        }
        map.end()
    }
}

struct PreviousProperties<'u>(&'u Undo);

impl Serialize for PreviousProperties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(desired) = &self.0.desired {
            map.serialize_entry("desired", &desired.olds)?;
        }
        if let Some(reported) = &self.0.reported {
            map.serialize_entry("reported", &reported.olds)?;
        }
        map.end()
    }
}
