//! The twin as others see it: the device, back ends, and readers of the log.

use std::cell::RefCell;

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::change::{DesiredNotice, SectionChange, TwinChange};
use super::document::Twin;
use super::patch::{Member, Members};
use super::section::{Content, Node, Section, Stamp, Tree};
use super::undo::{Previous, Undo};
use crate::id::Address;
use crate::time::Timestamp;

impl Twin {
    /// What the device reads: `{"desired":{…,"$version":n},"reported":{…,"$version":m}}`, as JSON
    /// text. Neither tags nor metadata.
    #[must_use]
    pub fn device_view(&self) -> Bytes {
        text(&DeviceProperties(self))
    }

    /// All desired properties as a notice: what a device is told that has missed one. Names that
    /// vanished are not in it.
    #[must_use]
    pub fn desired_in_full(&self) -> DesiredNotice {
        let version = self.desired_version;
        DesiredNotice { version, body: text(&WithVersion(&self.desired, version)) }
    }

    /// What back ends read under `properties`: as the device does, and with `$metadata`.
    /// Serialise it into text, or into a value.
    #[must_use]
    pub fn service_properties(&self) -> ServiceProperties<'_> {
        ServiceProperties(self)
    }

    /// The body of the event that says that an identity was created or deleted: JSON text with the
    /// twin's names, versions and properties, without tags.
    #[must_use]
    pub fn lifecycle_body(&self, address: &Address) -> Bytes {
        text(&LifecycleEvent(address, self))
    }
}

/// JSON text of a view.
pub(super) fn text(view: &impl Serialize) -> Bytes {
    let mut out = Vec::with_capacity(256);
    let written = serde_json::to_writer(&mut out, view);
    // Names are strings and numbers are finite, so there is nothing that JSON could not say.
    debug_assert!(written.is_ok(), "{written:?}");
    out.into()
}

/// Both sections of properties as a device sees them.
pub(super) struct DeviceProperties<'t>(pub(super) &'t Twin);

impl Serialize for DeviceProperties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let twin = self.0;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("desired", &WithVersion(&twin.desired, twin.desired_version))?;
        map.serialize_entry("reported", &WithVersion(&twin.reported, twin.reported_version))?;
        map.end()
    }
}

/// A section's values and its `$version`.
struct WithVersion<'t>(&'t Section, u64);

impl Serialize for WithVersion<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, node) in &self.0.tree {
            map.serialize_entry(name, node)?;
        }
        map.serialize_entry("$version", &self.1)?;
        map.end()
    }
}

/// Both sections of properties as back ends see them; see [`Twin::service_properties`].
///
/// `$metadata` mirrors the values: each property has `$lastUpdated`, and under desired properties
/// `$lastUpdatedVersion`; an array has one entry for the whole of it.
#[derive(Debug, Clone, Copy)]
pub struct ServiceProperties<'t>(&'t Twin);

impl Serialize for ServiceProperties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let twin = self.0;
        let stamps = StampWriter::default();
        let view = |section, version, versions| ServiceSection {
            section,
            version,
            shown: Shown { versions, stamps: &stamps },
        };
        let mut map = serializer.serialize_map(Some(2))?;
        let desired = view(&twin.desired, twin.desired_version, Versions::Shown);
        map.serialize_entry("desired", &desired)?;
        let reported = view(&twin.reported, twin.reported_version, Versions::Hidden);
        map.serialize_entry("reported", &reported)?;
        map.end()
    }
}

struct ServiceSection<'t> {
    section: &'t Section,
    version: u64,
    shown: Shown<'t>,
}

impl Serialize for ServiceSection<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, node) in &self.section.tree {
            map.serialize_entry(name, node)?;
        }
        let (stamp, tree) = (self.section.stamp, Some(&self.section.tree));
        map.serialize_entry("$metadata", &TreeMetadata { stamp, tree, shown: self.shown })?;
        map.serialize_entry("$version", &self.version)?;
        map.end()
    }
}

/// Whether metadata has `$lastUpdatedVersion`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    Shown,
    Hidden,
}

#[derive(Clone, Copy)]
struct Shown<'w> {
    versions: Versions,
    stamps: &'w StampWriter,
}

impl Shown<'_> {
    fn stamp<M: SerializeMap>(self, map: &mut M, stamp: Stamp) -> Result<(), M::Error> {
        self.stamps.with_text(stamp.at, |text| map.serialize_entry("$lastUpdated", text))?;
        if self.versions == Versions::Shown && stamp.version > 0 {
            map.serialize_entry("$lastUpdatedVersion", &stamp.version)?;
        }
        Ok(())
    }
}

/// Prints times. Keeps the last one: neighbours in a twin mostly share theirs, and printing costs
/// more than everything else that is written for a property.
#[derive(Default)]
struct StampWriter(RefCell<Option<(Timestamp, String)>>);

impl StampWriter {
    fn with_text<R>(&self, at: Timestamp, write: impl FnOnce(&str) -> R) -> R {
        let mut last = self.0.borrow_mut();
        if last.as_ref().is_none_or(|(known, _)| *known != at) {
            *last = Some((at, at.to_string()));
        }
        write(last.as_ref().map_or("", |(_, text)| text))
    }
}

/// Metadata of what is in a section.
struct TreeMetadata<'t> {
    stamp: Stamp,
    /// Nothing for a leaf.
    tree: Option<&'t Tree>,
    shown: Shown<'t>,
}

impl Serialize for TreeMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.shown.stamp(&mut map, self.stamp)?;
        for (name, Node { stamp, content }) in self.tree.into_iter().flatten() {
            let tree = match content {
                Content::Leaf(_) => None,
                Content::Object(tree) => Some(tree),
            };
            map.serialize_entry(name, &Self { stamp: *stamp, tree, shown: self.shown })?;
        }
        map.end()
    }
}

/// Metadata of what a patch named: all of it has the stamp of the write.
struct PatchMetadata<'t> {
    stamp: Stamp,
    /// Nothing for a leaf.
    members: Option<&'t Members>,
    shown: Shown<'t>,
}

impl Serialize for PatchMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.shown.stamp(&mut map, self.stamp)?;
        for (name, member) in self.members.into_iter().flat_map(Members::iter) {
            let members = match member {
                Member::Null => continue,
                Member::Leaf(_) => None,
                Member::Object(members) => Some(members),
            };
            map.serialize_entry(name, &Self { members, ..*self })?;
        }
        map.end()
    }
}

/// A patch and the `$version` it led to.
pub(super) struct Notice<'c>(pub(super) &'c Members, pub(super) u64);

impl Serialize for Notice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, member) in self.0.iter() {
            map.serialize_entry(name, member)?;
        }
        map.serialize_entry("$version", &self.1)?;
        map.end()
    }
}

/// What a patch changed: `{"version":…,"tags":{…},"properties":{…}}`, only what it wrote.
pub(super) struct UpdateEvent<'c>(pub(super) &'c TwinChange, pub(super) Option<&'c Undo>);

impl Serialize for UpdateEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let change = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &change.version)?;
        if let Some(tags) = &change.tags {
            map.serialize_entry("tags", &*tags.patch)?;
        }
        if change.desired.is_some() || change.reported.is_some() {
            map.serialize_entry("properties", &ChangedProperties(change))?;
        }
        previous(&mut map, self.1)?;
        map.end()
    }
}

struct ChangedProperties<'c>(&'c TwinChange);

impl Serialize for ChangedProperties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stamps = &StampWriter::default();
        let mut map = serializer.serialize_map(None)?;
        if let Some(change) = &self.0.desired {
            let shown = Shown { versions: Versions::Shown, stamps };
            map.serialize_entry("desired", &ChangedSection { change, shown })?;
        }
        if let Some(change) = &self.0.reported {
            let shown = Shown { versions: Versions::Hidden, stamps };
            map.serialize_entry("reported", &ChangedSection { change, shown })?;
        }
        map.end()
    }
}

struct ChangedSection<'c> {
    change: &'c SectionChange,
    shown: Shown<'c>,
}

impl Serialize for ChangedSection<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SectionChange { patch, stamp } = self.change;
        let mut map = serializer.serialize_map(None)?;
        for (name, member) in patch.iter() {
            map.serialize_entry(name, member)?;
        }
        let metadata = PatchMetadata { stamp: *stamp, members: Some(patch), shown: self.shown };
        map.serialize_entry("$metadata", &metadata)?;
        map.serialize_entry("$version", &stamp.version)?;
        map.end()
    }
}

/// The whole twin, as after a replacement.
pub(super) struct ReplaceEvent<'t>(
    pub(super) &'t Address,
    pub(super) &'t Twin,
    pub(super) Option<&'t Undo>,
);

impl Serialize for ReplaceEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        head(&mut map, self.0, self.1)?;
        map.serialize_entry("tags", &self.1.tags)?;
        map.serialize_entry("properties", &ServiceProperties(self.1))?;
        previous(&mut map, self.2)?;
        map.end()
    }
}

fn previous<M: SerializeMap>(map: &mut M, undo: Option<&Undo>) -> Result<(), M::Error> {
    undo.map_or(Ok(()), |undo| map.serialize_entry("previous", &Previous(undo)))
}

struct LifecycleEvent<'t>(&'t Address, &'t Twin);

impl Serialize for LifecycleEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        head(&mut map, self.0, self.1)?;
        map.serialize_entry("properties", &ServiceProperties(self.1))?;
        map.end()
    }
}

fn head<M: SerializeMap>(map: &mut M, address: &Address, twin: &Twin) -> Result<(), M::Error> {
    map.serialize_entry("deviceId", address.device_str())?;
    if let Some(module) = address.module_str() {
        map.serialize_entry("moduleId", module)?;
    }
    map.serialize_entry("etag", &twin.etag())?;
    map.serialize_entry("version", &twin.version)
}
