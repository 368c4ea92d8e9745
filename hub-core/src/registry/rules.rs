//! Creating, updating and deleting identities, as decisions on what is stored.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::identity::{Identity, Status};
use super::scope;
use super::spec::{AuthenticationSpec, IdentitySpec, MANAGED_BY_LENGTH_MAX};
use crate::error::{ErrorKind, HubError};
use crate::id::Address;
use crate::limits::Limits;
use crate::security::{Authentication, KeyForm, SymmetricKey};
use crate::time::Timestamp;

/// What a decision needs besides the request and the identity it is about.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time of the decision.
    pub now: Timestamp,
    /// Fresh randomness, for one decision only: keys may be made of it.
    pub random: &'a [u8; 64],
    /// The bounds.
    pub limits: &'a Limits,
    /// What is registered under [`IdentitySpec::edges_named`]; those that do not exist are left
    /// out.
    pub edges: &'a [&'a Identity],
    /// The generation of the last identity that had this address, where that is known: the next
    /// one is greater, also if the clock went back.
    pub previous_generation: Option<u64>,
}

/// Contains the randomness that keys are made of, which is never printed.
impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("now", &self.now).finish_non_exhaustive()
    }
}

/// The modules that an edge device has from its beginning: its runtime. They have no credentials
/// of their own until somebody gives them some.
#[must_use]
pub fn edge_runtime(device: &Address) -> Vec<IdentitySpec> {
    let addresses = ["$edgeAgent", "$edgeHub"]
        .into_iter()
        .filter_map(|module| Address::parse(&format!("{}/{module}", device.device_str())).ok());
    addresses
        .map(|address| {
            let mut spec = IdentitySpec::new(address);
            spec.authentication = Some(AuthenticationSpec::None);
            spec.managed_by = Some("iotEdge".to_owned());
            spec
        })
        .collect()
}

/// The condition of a request: which etag the identity must have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfMatch {
    /// Any, as long as the identity exists.
    Any,
    /// This one.
    Etag(String),
}

impl IfMatch {
    /// Reads the value of an `If-Match`: `*` or an etag, both with one pair of quotes around them
    /// or without. A `W/` before the quotes is dropped: the hub's etags are all weak.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let bare = text
            .strip_prefix("W/")
            .unwrap_or(text)
            .strip_prefix('"')
            .and_then(|inner| inner.strip_suffix('"'))
            .unwrap_or(text);
        match bare {
            "*" => Self::Any,
            etag => Self::Etag(etag.to_owned()),
        }
    }

    /// Whether an etag meets the condition.
    #[must_use]
    pub fn accepts(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Etag(wanted) => wanted == etag,
        }
    }
}

/// Fewest bytes of an identity's symmetric key, where a client gives one.
pub const IDENTITY_KEY_BYTES_MIN: usize = 16;

/// Decides a request that creates without a condition and updates with one.
///
/// # Errors
/// As [`create`] and [`update`]; `DeviceAlreadyExists` or `ModuleAlreadyExists` without a condition
/// when there is one, `DeviceNotFound` or `ModuleNotFound` with a condition when there is none.
pub fn put(
    existing: Option<&Identity>,
    spec: &IdentitySpec,
    if_match: Option<&IfMatch>,
    context: &Context<'_>,
) -> Result<Identity, HubError> {
    match (existing, if_match) {
        (None, None) => create(spec, context),
        (None, Some(_)) => Err(HubError::not_found(&spec.address)),
        (Some(_), None) => Err(already_exists(&spec.address)),
        (Some(identity), Some(_)) => update(identity, spec, if_match, context),
    }
}

/// Makes a new identity. Whoever calls this knows that there is none of this address, and guards
/// the write with that; of a module, also [`check_module_parent`].
///
/// # Errors
/// `ArgumentInvalid` when the request breaks a rule; the message says which.
pub fn create(spec: &IdentitySpec, context: &Context<'_>) -> Result<Identity, HubError> {
    check_texts(spec, context.limits)?;
    let after_previous = context.previous_generation.map_or(0, |last| last.saturating_add(1));
    let generation = context.now.as_ticks().max(after_previous);
    let iot_edge = spec.iot_edge.unwrap_or_default();
    let scopes = scope::resolve(None, spec, generation, iot_edge, context.edges)?;
    Ok(Identity {
        address: spec.address.clone(),
        generation,
        revision: first_revision(generation, context.random),
        status: spec.status.unwrap_or_default(),
        status_reason: non_empty(spec.status_reason.as_deref()),
        status_updated: Timestamp::ZERO,
        authentication: authenticate(None, spec.authentication.as_ref(), context.random)?,
        iot_edge,
        device_scope: scopes.device_scope,
        parent_scopes: scopes.parent.into_iter().collect(),
        managed_by: non_empty(spec.managed_by.as_deref()),
        created: context.now,
    })
}

/// Makes the next state of an identity. Its etag changes even if nothing else does.
///
/// Without a condition the update is unconditional, as the modes of a bulk request are that name
/// no etag.
///
/// # Errors
/// `PreconditionFailed` when the etag is not the identity's; `ArgumentInvalid` when the request
/// breaks a rule or is about another address.
pub fn update(
    identity: &Identity,
    spec: &IdentitySpec,
    if_match: Option<&IfMatch>,
    context: &Context<'_>,
) -> Result<Identity, HubError> {
    if spec.address != identity.address {
        return Err(HubError::argument("the request is about another identity"));
    }
    check_condition(identity, if_match)?;
    check_texts(spec, context.limits)?;
    let iot_edge = spec.iot_edge.unwrap_or(identity.iot_edge);
    let generation = identity.generation;
    let scopes = scope::resolve(Some(identity), spec, generation, iot_edge, context.edges)?;
    let status = spec.status.unwrap_or(identity.status);
    let keep = |given: Option<&str>, stored: &Option<Arc<str>>| match given {
        Some(text) => non_empty(Some(text)),
        None => stored.clone(),
    };
    let stored = Some(&identity.authentication);
    Ok(Identity {
        address: identity.address.clone(),
        generation,
        revision: identity.revision.wrapping_add(1),
        status,
        status_reason: keep(spec.status_reason.as_deref(), &identity.status_reason),
        status_updated: if status == identity.status {
            identity.status_updated
        } else {
            context.now
        },
        authentication: authenticate(stored, spec.authentication.as_ref(), context.random)?,
        iot_edge,
        device_scope: scopes.device_scope,
        parent_scopes: scopes.parent.into_iter().collect(),
        managed_by: keep(spec.managed_by.as_deref(), &identity.managed_by),
        created: identity.created,
    })
}

/// Whether an identity may be deleted under this condition; always, without one.
///
/// # Errors
/// `PreconditionFailed` when the etag is not the identity's.
pub fn check_delete(identity: &Identity, if_match: Option<&IfMatch>) -> Result<(), HubError> {
    check_condition(identity, if_match)
}

/// Whether a module may be created: its device exists and has room. `device` is what is registered
/// for the device, `modules` how many modules it has.
///
/// # Errors
/// `DeviceNotFound` without the device, `TooManyModules` when it has as many as it may have.
pub fn check_module_parent(
    module: &Address,
    device: Option<&Identity>,
    modules: usize,
    limits: &Limits,
) -> Result<(), HubError> {
    let address = Address::from(module.device_id());
    if device.is_none_or(|device| device.address != address) {
        return Err(HubError::not_found(&address));
    }
    if modules >= limits.modules_per_device_max {
        let message = format!("a device has at most {} modules", limits.modules_per_device_max);
        return Err(HubError::new(ErrorKind::TooManyModules, message));
    }
    Ok(())
}

fn already_exists(address: &Address) -> HubError {
    let kind = if address.is_module() {
        ErrorKind::ModuleAlreadyExists
    } else {
        ErrorKind::DeviceAlreadyExists
    };
    HubError::new(kind, address.to_string())
}

fn check_condition(identity: &Identity, if_match: Option<&IfMatch>) -> Result<(), HubError> {
    if if_match.is_none_or(|condition| condition.accepts(&identity.etag())) {
        return Ok(());
    }
    Err(HubError::new(ErrorKind::PreconditionFailed, "the etag is not the current one"))
}

fn check_texts(spec: &IdentitySpec, limits: &Limits) -> Result<(), HubError> {
    let check = |text: &Option<String>, name: &str, max: usize| {
        let Some(text) = text else { return Ok(()) };
        if text.chars().count() > max {
            return Err(HubError::argument(format!("{name} has more than {max} characters")));
        }
        // Databases cannot keep it in text or JSON columns.
        if text.contains('\0') {
            return Err(HubError::argument(format!("{name} contains the character U+0000")));
        }
        Ok(())
    };
    check(&spec.status_reason, "the status reason", limits.status_reason_max)?;
    check(&spec.managed_by, "the manager", MANAGED_BY_LENGTH_MAX)?;
    if spec.address.is_module() {
        if spec.status == Some(Status::Disabled) {
            return Err(HubError::argument("a module cannot be disabled, only its device"));
        }
        if spec.iot_edge == Some(true) {
            return Err(HubError::argument("a module cannot be an edge device"));
        }
    } else if spec.managed_by.as_ref().is_some_and(|manager| !manager.is_empty()) {
        return Err(HubError::argument("a device has no manager, only modules do"));
    }
    Ok(())
}

fn authenticate(
    stored: Option<&Authentication>,
    wanted: Option<&AuthenticationSpec>,
    random: &[u8; 64],
) -> Result<Authentication, HubError> {
    const GENERATED: AuthenticationSpec =
        AuthenticationSpec::Sas { primary: None, secondary: None };
    let wanted = match (stored, wanted) {
        (Some(stored), None) => return Ok(stored.clone()),
        (None, None) => &GENERATED,
        (_, Some(wanted)) => wanted,
    };
    match wanted {
        AuthenticationSpec::Sas { primary, secondary } => {
            let short =
                |key: &SymmetricKey| key.material(KeyForm::Decoded).len() < IDENTITY_KEY_BYTES_MIN;
            if primary.iter().chain(secondary).any(short) {
                return Err(HubError::argument(format!(
                    "a symmetric key must have at least {IDENTITY_KEY_BYTES_MIN} bytes"
                )));
            }
            let (old_primary, old_secondary) = match stored {
                Some(Authentication::Sas { primary, secondary }) => {
                    (Some(primary), Some(secondary))
                }
                _ => (None, None),
            };
            let [new_primary, new_secondary] = halves(random).map(SymmetricKey::generate);
            Ok(Authentication::Sas {
                primary: primary.as_ref().or(old_primary).cloned().unwrap_or(new_primary),
                secondary: secondary.as_ref().or(old_secondary).cloned().unwrap_or(new_secondary),
            })
        }
        AuthenticationSpec::SelfSigned { primary: None, secondary: None } => match stored {
            Some(stored @ Authentication::SelfSigned { .. }) => Ok(stored.clone()),
            _ => Err(HubError::argument("self-signed authentication needs a thumbprint")),
        },
        AuthenticationSpec::SelfSigned { primary, secondary } => Ok(Authentication::SelfSigned {
            primary: primary.clone(),
            secondary: secondary.clone(),
        }),
        AuthenticationSpec::CertificateAuthority => Ok(Authentication::CertificateAuthority),
        AuthenticationSpec::None => Ok(Authentication::None),
    }
}

fn halves(random: &[u8; 64]) -> [&[u8; 32]; 2] {
    match random.as_chunks::<32>() {
        ([first, second], _) => [first, second],
        // 64 bytes are two chunks of 32.
        _ => [&[0; 32], &[0; 32]],
    }
}

/// Where the etags of an identity start. If all started at one, the etag of a deleted identity
/// could match the next identity of its name, and a stale request would hit that. Hashed, since
/// the same randomness makes the keys, and etags are shown to those who may not see keys.
fn first_revision(generation: u64, random: &[u8; 64]) -> u64 {
    let digest = Sha256::new()
        .chain_update(b"first revision")
        .chain_update(generation.to_be_bytes())
        .chain_update(random)
        .finalize();
    let head = digest.first_chunk::<4>().map_or(0, |head| u32::from_be_bytes(*head));
    u64::from(head)
}

fn non_empty(text: Option<&str>) -> Option<Arc<str>> {
    text.filter(|text| !text.is_empty()).map(Arc::from)
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
