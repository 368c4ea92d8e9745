//! One section of a twin: values and stamps in one tree.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::time::Timestamp;

/// When a part of a section was last written, and by which write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// When.
    pub at: Timestamp,
    /// The version that the write gave the section; in `tags`, the etag counter it gave the twin.
    /// Zero: never written since the twin was made.
    pub version: u64,
}

/// Members of an object, in the order of their names' bytes.
pub(super) type Tree = BTreeMap<Box<str>, Node>;

/// What stands in for the members of a leaf.
pub(super) static EMPTY: Tree = Tree::new();

/// A property of a section: an object, or a leaf, which is a scalar or a whole array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub(super) stamp: Stamp,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Never null.
    Leaf(Value),
    Object(Tree),
}

impl Node {
    /// When it, or anything inside it, was last written.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The value of a leaf: a scalar or an array. Nothing for an object.
    #[must_use]
    pub fn as_leaf(&self) -> Option<&Value> {
        match &self.content {
            Content::Leaf(value) => Some(value),
            Content::Object(_) => None,
        }
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        matches!(self.content, Content::Object(_))
    }

    /// The member of an object with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.tree()?.get(name)
    }

    /// The members of an object, ordered by name; none for a leaf.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.tree().into_iter().flatten().map(|(name, node)| (&**name, node))
    }

    /// A copy of the value without stamps.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Leaf(value) => value.clone(),
            Content::Object(tree) => Value::Object(tree_to_map(tree)),
        }
    }

    pub(super) fn tree(&self) -> Option<&Tree> {
        match &self.content {
            Content::Leaf(_) => None,
            Content::Object(tree) => Some(tree),
        }
    }

    pub(super) fn size(&self) -> usize {
        match &self.content {
            Content::Leaf(value) => value_size(value),
            Content::Object(tree) => tree_size(tree),
        }
    }
}

/// The value without stamps.
impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.content {
            Content::Leaf(value) => value.serialize(serializer),
            Content::Object(tree) => tree.serialize(serializer),
        }
    }
}

/// A section of a twin: `tags`, `desired` or `reported`.
///
/// Each property carries the stamp of its last write, so `$metadata` is read off the same tree
/// as the values and cannot have holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub(super) stamp: Stamp,
    pub(super) tree: Tree,
    /// Kept, not counted anew at each write: a small patch of a large section stays cheap.
    pub(super) size: usize,
}

impl Section {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { stamp: Stamp { at: now, version: 0 }, tree: Tree::new(), size: 0 }
    }

    /// When anything in the section was last written.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Its size by the documented size function: names, and strings, count their characters
    /// except control characters; a number counts 8, a boolean 4, an object what its members do,
    /// an array what its elements do. Stamps and versions count nothing.
    ///
    /// An element of an array counts at least 1. The service does not say what an empty element
    /// costs; if it cost nothing, a section within its limit could be of any size in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many properties it has at its root.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether it has no properties.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// The property with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.tree.get(name)
    }

    /// The property at the end of a path of names. Nothing for an empty path.
    #[must_use]
    pub fn find<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> Option<&Node> {
        let mut names = path.into_iter();
        let first = self.get(names.next()?)?;
        names.try_fold(first, |node, name| node.get(name))
    }

    /// The properties, ordered by name.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.tree.iter().map(|(name, node)| (&**name, node))
    }

    /// A copy of the values without stamps: always an object.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(tree_to_map(&self.tree))
    }
}

/// The values without stamps: always an object.
impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.tree.len()))?;
        for (name, node) in &self.tree {
            map.serialize_entry(name, node)?;
        }
        map.end()
    }
}

fn tree_to_map(tree: &Tree) -> Map<String, Value> {
    tree.iter().map(|(name, node)| (String::from(&**name), node.to_value())).collect()
}

pub(super) fn tree_size(tree: &Tree) -> usize {
    tree.iter().map(|(name, node)| text_size(name) + node.size()).sum()
}

/// What a leaf counts for.
pub(super) fn value_size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text_size(text),
        Value::Array(elements) => elements.iter().map(|e| value_size(e).max(1)).sum(),
        Value::Object(members) => members.iter().map(|(k, v)| text_size(k) + value_size(v)).sum(),
    }
}

/// What a name or a string counts for.
pub(super) fn text_size(text: &str) -> usize {
    if text.is_ascii() {
        text.bytes().filter(|byte| !byte.is_ascii_control()).count()
    } else {
        text.chars().filter(|c| !c.is_control()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_are_counted_as_documented() {
        for (value, want) in [
            (json!(true), 4),
            (json!(1), 8),
            (json!(1.5), 8),
            (json!(""), 0),
            (json!("abc"), 3),
            (json!("a\u{1}b\u{85}c\n"), 3),
            (json!("äöü€𝄞"), 5),
            (json!([1, true, "ab"]), 14),
            (json!([]), 0),
            (json!(["", [], {}]), 3),
            (json!([{"ab": 1}]), 10),
        ] {
            assert_eq!(value_size(&value), want, "{value}");
        }
    }
}
