//! Edge scopes: the text that ties a device to the edge device it stands behind.

use std::sync::Arc;

use super::identity::Identity;
use super::spec::IdentitySpec;
use crate::error::HubError;
use crate::id::{Address, DeviceId};

/// A parsed device scope, `ms-azure-iot-edge://{deviceId}-{generationId}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceScope {
    /// The edge device.
    pub device: DeviceId,
    /// The generation of its identity.
    pub generation: u64,
}

impl DeviceScope {
    const SCHEME: &'static str = "ms-azure-iot-edge://";

    /// Parses the text; `None` if it is no scope. The id may itself have dashes, the generation
    /// has none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (device, generation) = text.strip_prefix(Self::SCHEME)?.rsplit_once('-')?;
        let plain = generation.bytes().all(|byte| byte.is_ascii_digit());
        let generation = generation.parse().ok().filter(|_| plain)?;
        Some(Self { device: DeviceId::new(device).ok()?, generation })
    }
}

impl std::fmt::Display for DeviceScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}-{}", Self::SCHEME, self.device, self.generation)
    }
}

/// The scopes of an identity: its own or its parent's, and its parent's.
pub(super) struct Scopes {
    pub(super) device_scope: Option<Arc<str>>,
    pub(super) parent: Option<Arc<str>>,
}

/// Decides the scopes of an identity from what is stored and what is asked for.
///
/// An edge device has its own scope, made of its id and generation, which never changes, and may
/// stand behind another edge device. Any other device has the scope of the edge device it stands
/// behind, in both places. Clients that read an identity, change one of the two places and send all
/// back are understood: the place that differs from what is stored is the one that is meant.
pub(super) fn resolve(
    stored: Option<&Identity>,
    spec: &IdentitySpec,
    generation: u64,
    iot_edge: bool,
    edges: &[&Identity],
) -> Result<Scopes, HubError> {
    let was_edge = stored.is_some_and(|identity| identity.iot_edge);
    let own = DeviceScope { device: spec.address.device_id(), generation }.to_string();
    let by_scope = match spec.device_scope.as_deref() {
        Some(text) if was_edge && text == own => None,
        Some("") if was_edge => None,
        Some(_) if was_edge && iot_edge => {
            return Err(HubError::argument("the scope of an edge device cannot be changed"));
        }
        given => given,
    };
    let by_parents = match spec.parent_scopes.as_deref() {
        None => None,
        Some([]) => Some(""),
        Some([one]) => Some(one.as_str()),
        Some(_) => return Err(HubError::argument("a device has at most one parent scope")),
    };
    let before = stored.and_then(|identity| identity.parent_scopes.first());
    let differs = |text: &&str| *text != before.map_or("", |scope| scope);
    let parent = match (by_scope.filter(differs), by_parents.filter(differs)) {
        (None, None) => before.cloned(),
        (Some(one), None) | (None, Some(one)) => check_parent(one, spec, edges)?,
        (Some(one), Some(same)) if one == same => check_parent(one, spec, edges)?,
        (Some(_), Some(_)) => {
            return Err(HubError::argument("device scope and parent scope are not the same"));
        }
    };
    let device_scope = if iot_edge { Some(own.into()) } else { parent.clone() };
    Ok(Scopes { device_scope, parent })
}

fn check_parent(
    text: &str,
    spec: &IdentitySpec,
    edges: &[&Identity],
) -> Result<Option<Arc<str>>, HubError> {
    if text.is_empty() {
        return Ok(None);
    }
    if spec.address.is_module() {
        return Err(HubError::argument("a module has no scope, only its device does"));
    }
    let wanted = DeviceScope::parse(text).map(|scope| Address::from(scope.device));
    if wanted.as_ref() == Some(&spec.address) {
        return Err(HubError::argument("a device cannot be its own parent"));
    }
    // Only an edge device has a scope that names itself, and only one of this generation this one.
    let found = edges
        .iter()
        .any(|edge| wanted.as_ref() == Some(&edge.address) && edge.device_scope() == Some(text));
    if !found {
        return Err(HubError::argument("the scope is that of no edge device"));
    }
    Ok(Some(text.into()))
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
