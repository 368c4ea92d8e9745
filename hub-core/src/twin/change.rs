//! What a write did: for the device that observes it, and for the log.

use std::sync::Arc;

use bytes::Bytes;

use super::document::Twin;
use super::patch::Members;
use super::section::Stamp;
use super::undo::Undo;
use super::view;
use crate::id::Address;
use crate::time::Timestamp;

/// How a write treats what it does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It stays.
    Update,
    /// It goes.
    Replace,
}

impl ChangeKind {
    /// The text that back ends find in the event's `opType`.
    #[must_use]
    pub const fn op_type(self) -> &'static str {
        match self {
            Self::Update => "updateTwin",
            Self::Replace => "replaceTwin",
        }
    }
}

/// What changed in one section, as a patch of what was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SectionChange {
    pub(super) patch: Arc<Members>,
    pub(super) stamp: Stamp,
}

/// What an accepted write did.
///
/// Keeps the write itself and turns it into text only when somebody wants it: most changes have no
/// observer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinChange {
    pub(super) kind: ChangeKind,
    pub(super) version: u64,
    pub(super) at: Timestamp,
    pub(super) tags: Option<SectionChange>,
    pub(super) desired: Option<SectionChange>,
    pub(super) reported: Option<SectionChange>,
}

/// A change of desired properties, as the device hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredNotice {
    /// The version of the desired properties since then.
    pub version: u64,
    /// JSON text: a patch of the version before, nulls included, and `$version`.
    pub body: Bytes,
}

impl TwinChange {
    pub(super) fn none(kind: ChangeKind, version: u64, at: Timestamp) -> Self {
        Self { kind, version, at, tags: None, desired: None, reported: None }
    }

    /// Whether the write said nothing: the twin is as it was, there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tags.is_none() && self.desired.is_none() && self.reported.is_none()
    }

    /// Whether it was a patch or a replacement.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        self.kind
    }

    /// The twin's version since then.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether it wrote tags.
    #[must_use]
    pub fn touches_tags(&self) -> bool {
        self.tags.is_some()
    }

    /// The version it gave the desired properties, if it wrote them.
    #[must_use]
    pub fn desired_version(&self) -> Option<u64> {
        self.desired.as_ref().map(|change| change.stamp.version)
    }

    /// The version it gave the reported properties, if it wrote them.
    #[must_use]
    pub fn reported_version(&self) -> Option<u64> {
        self.reported.as_ref().map(|change| change.stamp.version)
    }

    /// What an observing device hears, if desired properties were written.
    ///
    /// A patch is repeated as it came, also where nothing differs and where a null removes nothing.
    /// A replacement gives the new content and a null for each name that vanished, at every level.
    #[must_use]
    pub fn desired_notice(&self) -> Option<DesiredNotice> {
        let change = self.desired.as_ref()?;
        let version = change.stamp.version;
        Some(DesiredNotice { version, body: view::text(&view::Notice(&change.patch, version)) })
    }

    /// The body of the twin-change event: JSON text. Nothing if the change is empty.
    ///
    /// For a patch: the twin's version, and of each section written the patch, the metadata of
    /// what it names and the section's version. For a replacement: the whole `twin`, which must be
    /// as this change left it.
    ///
    /// With the twin `before` the change there is also `previous`, a member of ours: what stood at the
    /// names that were written, null where there was nothing.
    #[must_use]
    pub fn event_body(
        &self,
        address: &Address,
        twin: &Twin,
        before: Option<&Twin>,
    ) -> Option<Bytes> {
        if self.is_empty() {
            return None;
        }
        let undo = before.map(|before| Undo::of(self, before));
        Some(match self.kind {
            ChangeKind::Update => view::text(&view::UpdateEvent(self, undo.as_ref())),
            ChangeKind::Replace => view::text(&view::ReplaceEvent(address, twin, undo.as_ref())),
        })
    }
}
