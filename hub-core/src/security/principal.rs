//! Somebody who was let in.

use super::policy::{Right, Rights};
use super::resource::Resource;
use crate::hello::Grant;
use crate::id::Address;
use crate::time::Timestamp;

/// Who a [`Principal`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Who {
    /// The holder of a key of this shared access policy.
    Policy(Box<str>),
    /// A device or module.
    Identity(Address),
    /// The application that embeds the hub.
    InProcess,
}

/// Somebody who was let in, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub(super) who: Who,
    pub(super) rights: Rights,
    pub(super) resource: Resource,
    pub(super) expires: Timestamp,
}

impl Principal {
    /// The application that embeds the hub: may everything, for ever.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            who: Who::InProcess,
            rights: Rights::ALL,
            resource: Resource::exactly("", ""),
            expires: Timestamp::MAX,
        }
    }

    /// A device or module that [`admit_device`](super::admit_device) let in: may be itself, and a device also its
    /// modules.
    #[must_use]
    pub fn identity(address: &Address, grant: &Grant) -> Self {
        Self {
            who: Who::Identity(address.clone()),
            rights: Right::DeviceConnect.into(),
            resource: Resource::exactly("", &path_of(address)),
            expires: grant.expires,
        }
    }

    /// Who it is.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// What it may do, wherever its resource reaches.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// Where it may do that.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// When its credential expires, as [`Grant::expires`] has it.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether it may exercise a right on a path of the hub (`devices/d1`, `twins/d1/methods`,
    /// `eh/ConsumerGroups/g`; segments without escapes). [`Resource::covers`] has the rule.
    #[must_use]
    pub fn may(&self, right: Right, path: &str) -> bool {
        self.rights.has(right) && self.resource.covers(path)
    }
}

/// The path of an identity, as the resource of its tokens has it.
pub(super) fn path_of(address: &Address) -> String {
    match address.module_str() {
        Some(module) => format!("devices/{}/modules/{module}", address.device_str()),
        None => format!("devices/{}", address.device_str()),
    }
}

#[cfg(test)]
#[path = "principal_tests.rs"]
mod tests;
