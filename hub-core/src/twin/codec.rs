//! The twin as stores keep it: JSON text that can be queried where it lies.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;

use super::configured::Configured;
use super::document::Twin;
use super::error::{DecodeError, Path};
use super::patch::{Member, Members};
use super::read::{self, Rules};
use super::section::{Content, EMPTY, Node, Section, Stamp, Tree, tree_size};
use super::view::{self, DeviceProperties};
use crate::time::Timestamp;

/// Raised when a reader of the old form could not read the new one.
pub(super) const FORMAT: u64 = 1;

impl Twin {
    /// The twin as JSON text for the store.
    ///
    /// `tags`, `properties.desired` and `properties.reported` stand where a reader of twins looks
    /// for them, so `body->'properties'->'reported'->>'x'` works on the text as `jsonb` (unless a
    /// string in it contains U+0000, which that type refuses). Beside them stand `format`,
    /// `version`, `etag` as a number, and `stamps`: per section `[time, version, {name: …}]` with
    /// the time in milliseconds since 1970, and entries only where a stamp differs from the one
    /// around it. Where configurations have to do with the twin there are also `configurations`, as
    /// back ends read them, and `configured`, which says more.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        view::text(&StoredTwin(self))
    }

    /// Reads what [`Twin::encode`] wrote. The order of members does not matter. Limits are not
    /// checked again: they may have been lowered since.
    ///
    /// # Errors
    ///
    /// The text is not a twin, or has a format that this version does not know.
    pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        let unreadable = |reason: String| DecodeError { reason };
        let json = |error: serde_json::Error| unreadable(error.to_string());
        let stored: Stored<'_> = match serde_json::from_slice(text) {
            Ok(stored) => stored,
            // The format first: a newer one may well lack members of this one.
            Err(error) => {
                let format = serde_json::from_slice(text).map(|Format { format }| format);
                return Err(match format {
                    Ok(format) if format != FORMAT => unreadable(format!("format {format}")),
                    _ => json(error),
                });
            }
        };
        if stored.format != FORMAT {
            return Err(unreadable(format!("format {}", stored.format)));
        }
        let version = |raw: &RawValue| {
            serde_json::from_str(raw.get()).map(|SectionVersion { version }| version).map_err(json)
        };
        let section = |raw: &RawValue, stamps: &StoredStamp| {
            let members = read::section(raw, &Rules::STORED, &Path::Root)
                .map_err(|error| unreadable(error.to_string()))?;
            let stamp = stamps.stamp();
            let tree = tree(members, stamp, Some(stamps))?;
            Ok(Section { stamp, size: tree_size(&tree), tree })
        };
        Ok(Self {
            version: stored.version,
            etag: stored.etag,
            desired_version: version(stored.properties.desired)?,
            reported_version: version(stored.properties.reported)?,
            tags: section(stored.tags, &stored.stamps.tags)?,
            desired: section(stored.properties.desired, &stored.stamps.desired)?,
            reported: section(stored.properties.reported, &stored.stamps.reported)?,
            configured: stored.configured,
        })
    }
}

struct StoredTwin<'t>(&'t Twin);

impl Serialize for StoredTwin<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let twin = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("format", &FORMAT)?;
        map.serialize_entry("version", &twin.version)?;
        map.serialize_entry("etag", &twin.etag)?;
        map.serialize_entry("tags", &twin.tags)?;
        map.serialize_entry("properties", &DeviceProperties(twin))?;
        map.serialize_entry("stamps", &Stamps(twin))?;
        if !twin.configured.marks.is_empty() {
            map.serialize_entry("configurations", &twin.configured.statuses())?;
        }
        if twin.configured != Configured::default() {
            map.serialize_entry("configured", &twin.configured)?;
        }
        map.end()
    }
}

struct Stamps<'t>(&'t Twin);

impl Serialize for Stamps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn of(section: &Section) -> StampTree<'_> {
            StampTree { stamp: section.stamp, tree: &section.tree }
        }
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("tags", &of(&self.0.tags))?;
        map.serialize_entry("desired", &of(&self.0.desired))?;
        map.serialize_entry("reported", &of(&self.0.reported))?;
        map.end()
    }
}

/// `[time, version]`, and the members whose stamps differ, if there are any.
struct StampTree<'t> {
    stamp: Stamp,
    tree: &'t Tree,
}

impl Serialize for StampTree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element(&self.stamp.at.as_millis())?;
        list.serialize_element(&self.stamp.version)?;
        if differs_inside(self.tree, self.stamp) {
            list.serialize_element(&OwnStamps { around: self.stamp, tree: self.tree })?;
        }
        list.end()
    }
}

struct OwnStamps<'t> {
    around: Stamp,
    tree: &'t Tree,
}

impl Serialize for OwnStamps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, node) in self.tree.iter().filter(|(_, node)| differs(node, self.around)) {
            let tree = node.tree().unwrap_or(&EMPTY);
            map.serialize_entry(name, &StampTree { stamp: node.stamp, tree })?;
        }
        map.end()
    }
}

fn differs(node: &Node, around: Stamp) -> bool {
    node.stamp != around || node.tree().is_some_and(|tree| differs_inside(tree, around))
}

fn differs_inside(tree: &Tree, around: Stamp) -> bool {
    tree.values().any(|node| differs(node, around))
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

#[derive(Deserialize)]
struct Stored<'t> {
    format: u64,
    version: u64,
    etag: u64,
    #[serde(borrow)]
    tags: &'t RawValue,
    #[serde(borrow)]
    properties: StoredProperties<'t>,
    stamps: StoredStamps,
    #[serde(default)]
    configured: Configured,
}

#[derive(Deserialize)]
struct StoredProperties<'t> {
    #[serde(borrow)]
    desired: &'t RawValue,
    #[serde(borrow)]
    reported: &'t RawValue,
}

#[derive(Deserialize)]
struct SectionVersion {
    #[serde(rename = "$version")]
    version: u64,
}

#[derive(Deserialize)]
struct StoredStamps {
    tags: StoredStamp,
    desired: StoredStamp,
    reported: StoredStamp,
}

/// Time, version, and the members whose stamps differ.
#[derive(Deserialize)]
pub(super) struct StoredStamp(u64, u64, #[serde(default)] BTreeMap<Box<str>, StoredStamp>);

impl StoredStamp {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { at: Timestamp::from_millis(self.0), version: self.1 }
    }

    /// That of a member, if it has one of its own.
    pub(super) fn inside(&self, name: &str) -> Option<&Self> {
        self.2.get(name)
    }
}

fn tree(members: Members, around: Stamp, own: Option<&StoredStamp>) -> Result<Tree, DecodeError> {
    let mut tree = Tree::new();
    for (name, member) in members.into_iter() {
        let own = own.and_then(|own| own.2.get(&name));
        let stamp = own.map_or(around, StoredStamp::stamp);
        let content = match member {
            Member::Null => return Err(DecodeError { reason: format!("{name}: null") }),
            Member::Leaf(value) => Content::Leaf(value),
            Member::Object(members) => Content::Object(self::tree(members, stamp, own)?),
        };
        tree.insert(name, Node { stamp, content });
    }
    Ok(tree)
}
