//! The twin, and what may be done to it.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;

use super::change::{ChangeKind, SectionChange, TwinChange};
use super::configured::Configured;
use super::error::TwinError;
use super::patch::{self, Members, Patch, SectionWrite, ServicePatch};
use super::section::{Section, Stamp};
use crate::limits::Limits;
use crate::time::Timestamp;

/// The name of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SectionName {
    /// Written and read by back ends, invisible to the device.
    Tags,
    /// Written by back ends, read and observed by the device.
    Desired,
    /// Written by the device, read by back ends.
    Reported,
}

impl SectionName {
    /// The section's limit.
    #[must_use]
    pub fn bytes_max(self, limits: &Limits) -> usize {
        match self {
            Self::Tags => limits.tags_bytes_max,
            Self::Desired => limits.desired_bytes_max,
            Self::Reported => limits.reported_bytes_max,
        }
    }
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tags => "tags",
            Self::Desired => "properties.desired",
            Self::Reported => "properties.reported",
        })
    }
}

/// The twin of a device or module.
///
/// A write succeeds as a whole or leaves the twin as it was. Every accepted write that says
/// anything counts, also if no value differs: the twin's version rises by one, and so does the
/// version of each section of properties that it names. A write that says nothing (an empty patch,
/// no section) is accepted and does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin {
    pub(super) version: u64,
    /// Counts the writes of back ends.
    pub(super) etag: u64,
    pub(super) desired_version: u64,
    pub(super) reported_version: u64,
    pub(super) tags: Section,
    pub(super) desired: Section,
    pub(super) reported: Section,
    pub(super) configured: Configured,
}

impl Twin {
    /// A twin without tags and properties: version 2, both sections of properties at version 1,
    /// etag counter 1.
    ///
    /// `now` becomes the `$lastUpdated` of both sections. The service showed the time of creation
    /// there once and year 1 later; [`Timestamp::ZERO`] gives the latter.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let section = Section::new(now);
        Self {
            version: 2,
            etag: 1,
            desired_version: 1,
            reported_version: 1,
            tags: section.clone(),
            desired: section.clone(),
            reported: section,
            configured: Configured::default(),
        }
    }

    /// Counts accepted writes of any part.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Names the state of what back ends own: changed by their writes, not by reports. Base64 of an
    /// 8-byte big-endian counter.
    #[must_use]
    pub fn etag(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(self.etag.to_be_bytes())
    }

    /// `$version` of the desired properties.
    #[must_use]
    pub fn desired_version(&self) -> u64 {
        self.desired_version
    }

    /// `$version` of the reported properties.
    #[must_use]
    pub fn reported_version(&self) -> u64 {
        self.reported_version
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self) -> &Section {
        &self.tags
    }

    /// The desired properties.
    #[must_use]
    pub fn desired(&self) -> &Section {
        &self.desired
    }

    /// The reported properties.
    #[must_use]
    pub fn reported(&self) -> &Section {
        &self.reported
    }

    /// What configurations have to do with it.
    #[must_use]
    pub fn configured(&self) -> &Configured {
        &self.configured
    }

    /// Notes what configurations have to do with it. Counts as no write.
    pub fn set_configured(&mut self, configured: Configured) {
        self.configured = configured;
    }

    /// The device patches its reported properties, if they still have `if_version` or that is not
    /// asked. Leaves the etag alone.
    ///
    /// # Errors
    ///
    /// The version is another one, or the section would grow beyond its limit.
    pub fn report(
        &mut self,
        patch: &Patch,
        if_version: Option<u64>,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<TwinChange, TwinError> {
        if if_version.is_some_and(|version| version != self.reported_version) {
            return Err(TwinError::VersionMismatch { current: self.reported_version });
        }
        let mut change = TwinChange::none(ChangeKind::Update, self.version, now);
        if patch.is_empty() {
            return Ok(change);
        }
        let plan = Plan::merge(&self.reported, &patch.members);
        plan.check(&self.reported, SectionName::Reported, limits)?;
        self.version += 1;
        self.reported_version += 1;
        let stamp = Stamp { at: now, version: self.reported_version };
        change.version = self.version;
        change.reported = Some(plan.apply(&mut self.reported, stamp));
        Ok(change)
    }

    /// A back end merges a patch into tags and desired properties, if the twin still has the etag
    /// `if_match`; `None` and `"*"` do not ask. The etag is compared as it is: quotes are the
    /// protocol's.
    ///
    /// # Errors
    ///
    /// The etag is another one, or a section would grow beyond its limit.
    pub fn patch(
        &mut self,
        write: &ServicePatch,
        if_match: Option<&str>,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<TwinChange, TwinError> {
        self.write(ChangeKind::Update, write, if_match, now, limits)
    }

    /// A back end replaces tags and desired properties: what is not named disappears, nulls are
    /// dropped, a section that is not named stays. Conditional as [`Twin::patch`].
    ///
    /// # Errors
    ///
    /// As [`Twin::patch`].
    pub fn replace(
        &mut self,
        write: &ServicePatch,
        if_match: Option<&str>,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<TwinChange, TwinError> {
        self.write(ChangeKind::Replace, write, if_match, now, limits)
    }

    fn write(
        &mut self,
        kind: ChangeKind,
        write: &ServicePatch,
        if_match: Option<&str>,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<TwinChange, TwinError> {
        if let Some(etag) = if_match.filter(|etag| *etag != "*") {
            let current = self.etag();
            if etag != current {
                return Err(TwinError::EtagMismatch { current });
            }
        }
        // Both sections are planned and checked before the first is touched.
        let tags = Plan::of(kind, &self.tags, write.tags.as_ref());
        let desired = Plan::of(kind, &self.desired, write.desired.as_ref());
        if let Some(plan) = &tags {
            plan.check(&self.tags, SectionName::Tags, limits)?;
        }
        if let Some(plan) = &desired {
            plan.check(&self.desired, SectionName::Desired, limits)?;
        }
        let mut change = TwinChange::none(kind, self.version, now);
        if tags.is_none() && desired.is_none() {
            return Ok(change);
        }
        self.version += 1;
        self.etag += 1;
        change.version = self.version;
        if let Some(plan) = tags {
            let stamp = Stamp { at: now, version: self.etag };
            change.tags = Some(plan.apply(&mut self.tags, stamp));
        }
        if let Some(plan) = desired {
            self.desired_version += 1;
            let stamp = Stamp { at: now, version: self.desired_version };
            change.desired = Some(plan.apply(&mut self.desired, stamp));
        }
        Ok(change)
    }
}

/// What a write would do to a section.
struct Plan {
    /// The size of the section afterwards.
    size: usize,
    /// What changes, as a patch of what was there before.
    patch: Arc<Members>,
    /// The whole new content, if it is not merged.
    content: Option<Arc<Members>>,
}

impl Plan {
    /// Nothing, if the write says nothing about the section.
    fn of(kind: ChangeKind, section: &Section, write: Option<&SectionWrite>) -> Option<Self> {
        match (kind, write?) {
            (ChangeKind::Update, SectionWrite::Members(patch)) => {
                (!patch.is_empty()).then(|| Self::merge(section, &patch.members))
            }
            (ChangeKind::Replace, SectionWrite::Members(patch)) => {
                Some(Self::put(section, patch.members.clone()))
            }
            (_, SectionWrite::Clear) => Some(Self::put(section, Arc::default())),
        }
    }

    fn merge(section: &Section, patch: &Arc<Members>) -> Self {
        let size = patch::merged_size(section.size, &section.tree, patch);
        Self { size, patch: patch.clone(), content: None }
    }

    fn put(section: &Section, content: Arc<Members>) -> Self {
        Self {
            size: patch::fresh_size(&content),
            patch: Arc::new(patch::replacement(&section.tree, &content)),
            content: Some(content),
        }
    }

    /// Only growth is refused: a section that a lowered limit left too large can be shrunk.
    fn check(
        &self,
        section: &Section,
        name: SectionName,
        limits: &Limits,
    ) -> Result<(), TwinError> {
        let limit = name.bytes_max(limits);
        if self.size > limit && self.size > section.size {
            return Err(TwinError::TooLarge { section: name, bytes: self.size, limit });
        }
        Ok(())
    }

    fn apply(self, section: &mut Section, stamp: Stamp) -> SectionChange {
        match &self.content {
            None => patch::merge(&mut section.tree, &self.patch, stamp),
            Some(content) => section.tree = patch::fresh(content, stamp),
        }
        section.stamp = stamp;
        section.size = self.size;
        debug_assert_eq!(section.size, super::section::tree_size(&section.tree));
        SectionChange { patch: self.patch, stamp }
    }
}
