//! An identity, as it is registered.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::id::Address;
use crate::security::{Authentication, Registered};
use crate::time::Timestamp;

/// Whether an identity may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// It may.
    #[default]
    Enabled,
    /// It may not. What is registered, stored and queued for it stays.
    Disabled,
}

/// The registered identity of a device or module.
///
/// Made by [`create`](super::create) and [`update`](super::update) and read back from the store,
/// so one that exists keeps the rules. Contains keys, which it never prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub(super) address: Address,
    pub(super) generation: u64,
    pub(super) revision: u64,
    pub(super) status: Status,
    pub(super) status_reason: Option<Arc<str>>,
    pub(super) status_updated: Timestamp,
    pub(super) authentication: Authentication,
    pub(super) iot_edge: bool,
    pub(super) device_scope: Option<Arc<str>>,
    pub(super) parent_scopes: Vec<Arc<str>>,
    pub(super) managed_by: Option<Arc<str>>,
    pub(super) created: Timestamp,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

impl Identity {
    /// Whose identity it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The generation id: the time of creation in ticks of 100 ns since year 1, and greater than
    /// that of every earlier identity of this address. Clients see it as decimal text.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The etag, without quotes: base64 of a decimal number that changes with every update, and
    /// starts anew with every generation at a number that cannot be guessed.
    #[must_use]
    pub fn etag(&self) -> String {
        BASE64_STANDARD.encode(self.revision.to_string())
    }

    /// Whether it may connect. Modules are always enabled.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Why it has this status, for people.
    #[must_use]
    pub fn status_reason(&self) -> Option<&str> {
        self.status_reason.as_deref()
    }

    /// When the status last changed; [`Timestamp::ZERO`] if it never did.
    #[must_use]
    pub fn status_updated(&self) -> Timestamp {
        self.status_updated
    }

    /// How it proves itself.
    #[must_use]
    pub fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// Whether it is an edge device.
    #[must_use]
    pub fn iot_edge(&self) -> bool {
        self.iot_edge
    }

    /// Its own scope, of an edge device; that of the edge device it stands behind, of others.
    #[must_use]
    pub fn device_scope(&self) -> Option<&str> {
        self.device_scope.as_deref()
    }

    /// The scope of the edge device it stands behind; none or one.
    pub fn parent_scopes(&self) -> impl Iterator<Item = &str> {
        self.parent_scopes.iter().map(|scope| &**scope)
    }

    /// Who manages it, of a module.
    #[must_use]
    pub fn managed_by(&self) -> Option<&str> {
        self.managed_by.as_deref()
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }
}

impl Registered for Identity {
    fn address(&self) -> &Address {
        &self.address
    }

    fn is_enabled(&self) -> bool {
        self.status == Status::Enabled
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn authentication(&self) -> &Authentication {
        &self.authentication
    }
}
