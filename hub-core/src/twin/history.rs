//! What a twin was: each write with what it found, and the way back through them.

use bytes::Bytes;
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::change::{ChangeKind, SectionChange, TwinChange};
use super::codec::StoredStamp;
use super::document::{SectionName, Twin};
use super::error::{DecodeError, Path};
use super::patch::{Member, Members};
use super::read::{self, Rules};
use super::undo::{Before, Old, Olds, Stamps, Undo};
use super::view;
use crate::time::Timestamp;

/// Who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Writer {
    /// The device: reported properties.
    Device,
    /// A back end: tags, desired properties, or both.
    BackEnd,
}

/// One write of a twin: what it wrote, and what it found.
///
/// Kept from the newest to the oldest they lead back from the twin as it is now to what it was. So the
/// oldest can be forgotten at any time, and nothing has to be rewritten for that.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinVersion {
    version: u64,
    at: Timestamp,
    kind: ChangeKind,
    sections: Vec<SectionName>,
    /// Nothing of a write that was too large to be kept.
    content: Option<Content>,
}

#[derive(Debug, Clone, PartialEq)]
struct Content {
    patches: [Option<Members>; 3],
    undo: Undo,
}

const FORMAT: u64 = 1;
const NAMES: [(SectionName, &str); 3] = [
    (SectionName::Tags, "tags"),
    (SectionName::Desired, "desired"),
    (SectionName::Reported, "reported"),
];

impl TwinVersion {
    /// The version that the write gave the twin.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When it was written, by the clock of the node that wrote it.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether it was a patch or a replacement.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        self.kind
    }

    /// Who wrote.
    #[must_use]
    pub fn by(&self) -> Writer {
        if self.sections.contains(&SectionName::Reported) {
            Writer::Device
        } else {
            Writer::BackEnd
        }
    }

    /// The sections that it wrote.
    #[must_use]
    pub fn sections(&self) -> &[SectionName] {
        &self.sections
    }

    /// What it wrote in a section, as a patch of what was there before: nulls are what it removed. Of a
    /// replacement it has all of the new content.
    #[must_use]
    pub fn patch(&self, section: SectionName) -> Option<Value> {
        let [tags, desired, reported] = &self.content.as_ref()?.patches;
        let patch = match section {
            SectionName::Tags => tags,
            SectionName::Desired => desired,
            SectionName::Reported => reported,
        };
        serde_json::to_value(patch.as_ref()?).ok()
    }

    /// What stood at the names of that patch: null where there was nothing.
    #[must_use]
    pub fn previous(&self, section: SectionName) -> Option<Value> {
        let undo = &self.content.as_ref()?.undo;
        let before = match section {
            SectionName::Tags => &undo.tags,
            SectionName::Desired => &undo.desired,
            SectionName::Reported => &undo.reported,
        };
        serde_json::to_value(&before.as_ref()?.olds).ok()
    }

    /// Whether what it wrote is kept. It is not if that was larger than
    /// [`Limits::twin_history_bytes_max`](crate::limits::Limits::twin_history_bytes_max); then nothing
    /// before it can be read any more.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.content.is_some()
    }

    /// Takes the write back from the twin that it left. False if it left another one, or cannot.
    fn undo(&self, twin: &mut Twin) -> bool {
        let content = self.content.as_ref().filter(|_| twin.version == self.version);
        if let Some(content) = content {
            content.undo.apply(twin);
        }
        content.is_some()
    }

    /// Reads the body of an item of a twin's history.
    ///
    /// # Errors
    /// It is not of a form that this version knows.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let json = |error: serde_json::Error| DecodeError { reason: error.to_string() };
        let stored: Stored<'_> = serde_json::from_slice(body).map_err(json)?;
        if stored.format != FORMAT {
            return Err(DecodeError { reason: format!("format {}", stored.format) });
        }
        let kind = [ChangeKind::Update, ChangeKind::Replace]
            .into_iter()
            .find(|kind| kind.op_type() == stored.kind)
            .ok_or_else(|| DecodeError { reason: format!("kind {:?}", stored.kind) })?;
        let (version, at) = (stored.version, Timestamp::from_millis(stored.at));
        if let Some(names) = stored.omitted {
            let named = |(_, name): &(SectionName, &str)| names.iter().any(|n| n == name);
            let sections = NAMES.into_iter().filter(named).map(|(section, _)| section).collect();
            return Ok(Self { version, at, kind, sections, content: None });
        }
        let parts = [stored.tags, stored.desired, stored.reported];
        let written = NAMES.into_iter().zip(&parts).filter(|(_, part)| part.is_some());
        let sections = written.map(|((section, _), _)| section).collect();
        let [tags, desired, reported] = parts.map(|part| part.map(|part| part.read()).transpose());
        let (patches, befores): (Vec<_>, Vec<_>) =
            [tags?, desired?, reported?].into_iter().map(Option::unzip).unzip();
        let mut befores = befores.into_iter();
        let mut before = || befores.next().flatten();
        let undo = Undo { tags: before(), desired: before(), reported: before() };
        let mut patches = patches.into_iter();
        let mut patch = || patches.next().flatten();
        let patches = [patch(), patch(), patch()];
        Ok(Self { version, at, kind, sections, content: Some(Content { patches, undo }) })
    }
}

impl TwinChange {
    /// The body of the item that keeps this write in the twin's history; `before` is the twin that it
    /// found. A larger one than `bytes_max` is kept without what it wrote.
    #[must_use]
    pub fn history_item(&self, before: &Twin, bytes_max: usize) -> Bytes {
        let whole = view::text(&Item { change: self, undo: Some(&Undo::of(self, before)) });
        if whole.len() <= bytes_max {
            whole
        } else {
            view::text(&Item { change: self, undo: None })
        }
    }
}

/// The twin at a version, by the history of it in the order in which it was written. `None` if that
/// version is not kept, or there was none.
#[must_use]
pub fn twin_at_version(mut twin: Twin, history: &[TwinVersion], version: u64) -> Option<Twin> {
    let mut newest = history.iter().rev();
    while twin.version > version {
        if !newest.next()?.undo(&mut twin) {
            return None;
        }
    }
    (twin.version == version).then_some(twin)
}

/// The twin at a time, by the history of it in the order in which it was written. `None` if what it was
/// then is not kept, or there was none yet.
#[must_use]
pub fn twin_at_time(mut twin: Twin, history: &[TwinVersion], time: Timestamp) -> Option<Twin> {
    for step in history.iter().rev() {
        // Where one is missing, no history was kept for a while.
        if step.version != twin.version || step.at <= time {
            break;
        }
        if !step.undo(&mut twin) {
            return None;
        }
    }
    (twin.written_at() <= time).then_some(twin)
}

impl Twin {
    /// When it was last written, or made.
    fn written_at(&self) -> Timestamp {
        let [tags, desired, reported] =
            [&self.tags, &self.desired, &self.reported].map(|section| section.stamp.at);
        tags.max(desired).max(reported)
    }
}

struct Item<'c> {
    change: &'c TwinChange,
    undo: Option<&'c Undo>,
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let change = self.change;
        let written = [&change.tags, &change.desired, &change.reported];
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("format", &FORMAT)?;
        map.serialize_entry("version", &change.version)?;
        map.serialize_entry("at", &change.at.as_millis())?;
        map.serialize_entry("kind", change.kind.op_type())?;
        let Some(undo) = self.undo else {
            let names: Vec<&str> = NAMES
                .into_iter()
                .zip(written)
                .filter_map(|((_, name), change)| change.is_some().then_some(name))
                .collect();
            map.serialize_entry("omitted", &names)?;
            return map.end();
        };
        let befores = [&undo.tags, &undo.desired, &undo.reported];
        for (((_, name), change), before) in NAMES.into_iter().zip(written).zip(befores) {
            if let (Some(SectionChange { patch, .. }), Some(before)) = (change, before) {
                map.serialize_entry(name, &Part { patch, before })?;
            }
        }
        map.end()
    }
}

struct Part<'c> {
    patch: &'c Members,
    before: &'c Before,
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("patch", self.patch)?;
        map.serialize_entry("old", &self.before.olds)?;
        map.serialize_entry("stamps", &Stamps(self.before.stamp, Some(&self.before.olds)))?;
        map.end()
    }
}

#[derive(Deserialize)]
struct Stored<'t> {
    format: u64,
    version: u64,
    at: u64,
    kind: String,
    omitted: Option<Vec<String>>,
    #[serde(borrow)]
    tags: Option<StoredPart<'t>>,
    #[serde(borrow)]
    desired: Option<StoredPart<'t>>,
    #[serde(borrow)]
    reported: Option<StoredPart<'t>>,
}

#[derive(Deserialize)]
struct StoredPart<'t> {
    #[serde(borrow)]
    patch: &'t RawValue,
    #[serde(borrow)]
    old: &'t RawValue,
    stamps: StoredStamp,
}

impl StoredPart<'_> {
    fn read(&self) -> Result<(Members, Before), DecodeError> {
        let members = |raw: &RawValue| {
            read::section(raw, &Rules::STORED, &Path::Root)
                .map_err(|error| DecodeError { reason: error.to_string() })
        };
        let olds = stamped(members(self.old)?, &self.stamps)?;
        Ok((members(self.patch)?, Before { stamp: self.stamps.stamp(), olds }))
    }
}

/// Values and stamps in one tree again.
fn stamped(members: Members, stamps: &StoredStamp) -> Result<Olds, DecodeError> {
    let mut olds = Olds::new();
    for (name, member) in members.into_iter() {
        let stamp = || {
            let lost = || DecodeError { reason: format!("{name} has no stamp") };
            stamps.inside(&name).ok_or_else(lost)
        };
        let old = match member {
            Member::Null => Old::Absent,
            Member::Leaf(value) => Old::Leaf(stamp()?.stamp(), value),
            Member::Object(members) => {
                let stamps = stamp()?;
                Old::Object(stamps.stamp(), stamped(members, stamps)?)
            }
        };
        olds.insert(name, old);
    }
    Ok(olds)
}
