//! Who is let in: the decisions, as pure functions of what is registered and what is shown.
//!
//! A device shows a token signed with its own key, a token signed with the key of a shared access
//! policy, or a certificate. A back end shows a token of a policy. In every case the credential is
//! proved first; only then does a refusal tell what is registered, so that a stranger cannot ask
//! which devices are disabled.
//!
//! # When a token ends
//!
//! A token is accepted until `se + token_clock_skew`, both ends included. What it granted `expires`
//! at `se`, or at the moment of admission if that was within the skew after `se`. A connection may
//! outlive that by `token_grace`, which whoever keeps connections adds. So no connection is closed
//! at the moment it is opened, and none lives longer than `se + token_clock_skew + token_grace`.

use super::authentication::Authentication;
use super::key::{KeyForm, which_signed};
use super::policy::{Policies, Right};
use super::principal::{Principal, Who, path_of};
use super::resource::{HubNames, Resource};
use super::sas::SharedAccessSignature;
use super::x509;
use crate::envelope::{AuthMethod, AuthScope, AuthType};
use crate::error::CloseReason;
use crate::hello::{CertificateInfo, CredentialMark, Credentials, Grant, Hello, Refusal};
use crate::id::Address;
use crate::limits::Limits;
use crate::time::Timestamp;

/// What the decisions need to know of a registered identity. The registry's identities are this;
/// it is a trait because the registry builds on this module and not the other way round.
pub trait Registered {
    /// Whose identity it is.
    fn address(&self) -> &Address;
    /// Whether it may connect. Modules are always enabled; their device may not be.
    fn is_enabled(&self) -> bool;
    /// Tells apart the identities that were registered under this address one after another.
    fn generation(&self) -> u64;
    /// Its credentials.
    fn authentication(&self) -> &Authentication;
}

/// Decides whether a device or module may connect, and as what.
///
/// `identity` is what is registered under `hello.address`; `device` what is registered for the
/// device of a module, which must exist and be enabled too, and is not looked at otherwise.
///
/// The rules, in the order in which they refuse:
/// 1. The host that the peer addressed, if any, is one of the hub's names.
/// 2. *Token:* it is well-formed, has not expired (see the module), names one of the hub's names,
///    and its resource is the identity's or a prefix of that by whole segments. With a policy: one
///    of the policy's keys signed it, and the policy has [`Right::DeviceConnect`]. The identity's
///    own kind of authentication does not matter then. Without a policy: the identity exists, is
///    registered for keys, and one of its keys signed it.
///    *Certificate:* it is valid now, the identity exists, and it is registered for this kind:
///    the thumbprint is one of its two, or an authority vouches for the common name.
///    *In process:* trusted.
/// 3. The identity exists, and the device of a module does.
/// 4. They are enabled.
///
/// A token of an identity that does not exist, or has no keys, is checked against stand-ins, so
/// that the answer takes as long.
///
/// # Errors
/// [`Refusal::Unauthorized`] for rules 1 and 2, [`Refusal::Unknown`] for an identity or device that
/// does not exist, [`Refusal::Disabled`] for rule 4. A token without a policy cannot be proved
/// when there is no identity: the answer is then `Unknown`.
pub fn admit_device<I: Registered>(
    hello: &Hello,
    identity: Option<&I>,
    device: Option<&I>,
    policies: &Policies,
    names: &HubNames,
    now: Timestamp,
    limits: &Limits,
) -> Result<Grant, Refusal> {
    // Judging another identity than the one asked for would be the worst of all mistakes.
    let identity = identity.filter(|identity| *identity.address() == hello.address);
    if hello.host.as_deref().is_some_and(|host| !names.contains(host)) {
        return Err(Refusal::Unauthorized("foreign host name"));
    }
    let proof = match &hello.credentials {
        Credentials::Token(text) => {
            let token = TokenCheck::new(text, names, now, limits)?;
            prove_token(&token, &hello.address, identity, policies)?
        }
        Credentials::Certificate(certificate) => {
            prove_certificate(certificate, &hello.address, identity, now)?
        }
        Credentials::InProcess => Proof {
            auth: AuthMethod { scope: AuthScope::Hub, kind: AuthType::InProcess },
            expires: Timestamp::MAX,
            credential: CredentialMark::default(),
        },
        Credentials::Absent => return Err(Refusal::Unauthorized("no credentials")),
    };
    let Some(identity) = identity else { return Err(Refusal::Unknown(hello.address.clone())) };
    if hello.address.is_module() {
        let address = Address::from(hello.address.device_id());
        match device.filter(|device| *device.address() == address) {
            None => return Err(Refusal::Unknown(address)),
            Some(device) if !device.is_enabled() => return Err(Refusal::Disabled(address)),
            Some(_) => {}
        }
    }
    if !identity.is_enabled() {
        return Err(Refusal::Disabled(hello.address.clone()));
    }
    Ok(Grant {
        auth: proof.auth,
        expires: proof.expires,
        generation: identity.generation(),
        credential: proof.credential,
    })
}

/// Decides whether a back end may come in, and as what.
///
/// The token must be well-formed, not expired (see the module), for one of the hub's names, and
/// signed by one of the keys of the policy it names, in either key form: service clients sign with
/// the decoded key, Event Hubs clients with its text. What it may do is for
/// [`Principal::may`] to say.
///
/// # Errors
/// [`Refusal::Unauthorized`] for everything else.
pub fn admit_service(
    token: &str,
    policies: &Policies,
    names: &HubNames,
    now: Timestamp,
    limits: &Limits,
) -> Result<Principal, Refusal> {
    let check = TokenCheck::new(token, names, now, limits)?;
    if check.token.policy().is_none() {
        return Err(Refusal::Unauthorized("token names no policy"));
    }
    let policy = policies
        .verify(&check.token, &[KeyForm::Decoded, KeyForm::Text])
        .ok_or(Refusal::Unauthorized("unknown policy or wrong signature"))?;
    Ok(Principal {
        who: Who::Policy(policy.name().into()),
        rights: policy.rights(),
        resource: check.resource,
        expires: check.expires,
    })
}

/// Whether a grant still holds, now that the identity is this.
///
/// A grant ends when its identity is deleted, also if one of the same name has been registered
/// since; when the identity is disabled; and when the credential that was used is no longer one of
/// the identity's, be it that keys were rolled or that the kind of authentication changed. A
/// connection of a module also depends on its device: see [`device_still_valid`]. Expiry is not
/// looked at.
///
/// # Errors
/// The reason to close the connection with.
pub fn still_valid<I: Registered>(grant: &Grant, identity: Option<&I>) -> Result<(), CloseReason> {
    let identity = identity
        .filter(|identity| identity.generation() == grant.generation)
        .ok_or(CloseReason::IdentityDeleted)?;
    if !identity.is_enabled() {
        return Err(CloseReason::IdentityDisabled);
    }
    // The mark of a policy or of the application is empty: no credential of the identity was used.
    if grant.auth.scope != AuthScope::Hub && !identity.authentication().has(grant.credential) {
        return Err(CloseReason::CredentialRevoked);
    }
    Ok(())
}

/// Whether the connections of a device's modules may stay, now that the device is this.
///
/// # Errors
/// The reason to close them with.
pub fn device_still_valid<I: Registered>(device: Option<&I>) -> Result<(), CloseReason> {
    match device {
        None => Err(CloseReason::IdentityDeleted),
        Some(device) if !device.is_enabled() => Err(CloseReason::IdentityDisabled),
        Some(_) => Ok(()),
    }
}

/// What a credential proved.
struct Proof {
    auth: AuthMethod,
    expires: Timestamp,
    credential: CredentialMark,
}

/// A token that is well-formed, in time, and for this hub. Its signature is still to be checked.
struct TokenCheck<'t> {
    token: SharedAccessSignature<'t>,
    resource: Resource,
    expires: Timestamp,
}

impl<'t> TokenCheck<'t> {
    fn new(
        text: &'t str,
        names: &HubNames,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let token = SharedAccessSignature::parse(text)
            .map_err(|error| Refusal::Unauthorized(error.as_str()))?;
        if token.is_expired(now, limits.token_clock_skew) {
            return Err(Refusal::Unauthorized("token has expired"));
        }
        let resource = token.resource();
        if !resource.is_of(names) {
            return Err(Refusal::Unauthorized("token is for another host"));
        }
        let expires = token.expiry().max(now);
        Ok(Self { token, resource, expires })
    }
}

fn prove_token<I: Registered>(
    check: &TokenCheck<'_>,
    address: &Address,
    identity: Option<&I>,
    policies: &Policies,
) -> Result<Proof, Refusal> {
    if !check.resource.covers(&path_of(address)) {
        return Err(Refusal::Unauthorized("token is for another resource"));
    }
    let (scope, credential) = if check.token.policy().is_some() {
        let policy = policies
            .verify(&check.token, &[KeyForm::Decoded])
            .ok_or(Refusal::Unauthorized("unknown policy or wrong signature"))?;
        if !policy.rights().has(Right::DeviceConnect) {
            return Err(Refusal::Unauthorized("policy lacks DeviceConnect"));
        }
        (AuthScope::Hub, CredentialMark::default())
    } else {
        let keys = match identity.map(Registered::authentication) {
            Some(Authentication::Sas { primary, secondary }) => Some((primary, secondary)),
            _ => None,
        };
        let signed = which_signed(&check.token, keys, &[KeyForm::Decoded]);
        match (signed, identity) {
            (Some(key), _) => (own_scope(address), key.mark()),
            (None, None) => return Err(Refusal::Unknown(address.clone())),
            (None, Some(_)) if keys.is_none() => {
                return Err(Refusal::Unauthorized("identity is not registered for keys"));
            }
            (None, Some(_)) => return Err(Refusal::Unauthorized("wrong signature")),
        }
    };
    let auth = AuthMethod { scope, kind: AuthType::Sas };
    Ok(Proof { auth, expires: check.expires, credential })
}

fn prove_certificate<I: Registered>(
    certificate: &CertificateInfo,
    address: &Address,
    identity: Option<&I>,
    now: Timestamp,
) -> Result<Proof, Refusal> {
    if !x509::is_current(certificate, now) {
        return Err(Refusal::Unauthorized("certificate is not valid now"));
    }
    let identity = identity.ok_or_else(|| Refusal::Unknown(address.clone()))?;
    let (kind, credential) = match identity.authentication() {
        Authentication::SelfSigned { primary, secondary } => {
            let mut prints = [primary, secondary].into_iter().flatten();
            let print = prints
                .find(|print| print.matches(certificate))
                .ok_or(Refusal::Unauthorized("certificate has another thumbprint"))?;
            (AuthType::X509Thumbprint, print.mark())
        }
        Authentication::CertificateAuthority if x509::is_vouched_for(certificate, address) => {
            (AuthType::X509Authority, x509::authority_mark())
        }
        Authentication::CertificateAuthority => {
            return Err(Refusal::Unauthorized("no authority vouches for the certificate"));
        }
        Authentication::Sas { .. } | Authentication::None => {
            return Err(Refusal::Unauthorized("identity is not registered for certificates"));
        }
    };
    let auth = AuthMethod { scope: own_scope(address), kind };
    Ok(Proof { auth, expires: certificate.not_after, credential })
}

fn own_scope(address: &Address) -> AuthScope {
    if address.is_module() { AuthScope::Module } else { AuthScope::Device }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
