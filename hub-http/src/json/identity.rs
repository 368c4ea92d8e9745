//! Identities of devices and modules as JSON, both ways.

pub(crate) use hub_core::bulk::Object;
use hub_core::bulk::identity_spec;
use hub_core::engine::Registration;
use hub_core::error::HubError;
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use hub_core::security::{Authentication, Thumbprint};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::problem::Problem;

/// A device or module as the registry's routes give it. Contains the keys.
pub(crate) struct IdentityJson<'a>(pub(crate) &'a Registration);

impl Serialize for IdentityJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Registration { identity, session, messages } = self.0;
        let address = identity.address();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("deviceId", address.device_str())?;
        if let Some(module) = address.module_str() {
            map.serialize_entry("moduleId", module)?;
            map.serialize_entry("managedBy", &identity.managed_by())?;
        }
        map.serialize_entry("generationId", &Text(identity.generation()))?;
        map.serialize_entry("etag", &identity.etag())?;
        map.serialize_entry("connectionState", session.state_name())?;
        if !address.is_module() {
            map.serialize_entry("status", identity.status().name())?;
            map.serialize_entry("statusReason", &identity.status_reason())?;
            map.serialize_entry("statusUpdatedTime", &Text(identity.status_updated()))?;
        }
        map.serialize_entry("connectionStateUpdatedTime", &Text(session.since))?;
        map.serialize_entry("lastActivityTime", &Text(session.active))?;
        map.serialize_entry("cloudToDeviceMessageCount", messages)?;
        map.serialize_entry("authentication", &AuthenticationJson(identity.authentication()))?;
        if !address.is_module() {
            map.serialize_entry("capabilities", &Capabilities(identity.iot_edge()))?;
            if let Some(scope) = identity.device_scope() {
                map.serialize_entry("deviceScope", scope)?;
            }
            let parents: Vec<&str> = identity.parent_scopes().collect();
            map.serialize_entry("parentScopes", &parents)?;
        }
        map.end()
    }
}

/// A value as the text it prints as.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// `{"iotEdge":…}`.
pub(crate) struct Capabilities(pub(crate) bool);

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("iotEdge", &self.0)?;
        map.end()
    }
}

struct AuthenticationJson<'a>(&'a Authentication);

impl Serialize for AuthenticationJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = match self.0 {
            Authentication::Sas { primary, secondary } => {
                (Some(primary.to_base64()), Some(secondary.to_base64()))
            }
            _ => (None, None),
        };
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("symmetricKey", &Pair("primaryKey", "secondaryKey", keys))?;
        map.serialize_entry("x509Thumbprint", &thumbprints(self.0))?;
        map.serialize_entry("type", self.0.kind().name())?;
        map.end()
    }
}

/// `{"primaryThumbprint":…,"secondaryThumbprint":…}`, both null unless they are registered.
pub(crate) fn thumbprints(authentication: &Authentication) -> impl Serialize + '_ {
    let prints = match authentication {
        Authentication::SelfSigned { primary, secondary } => {
            (primary.as_ref().map(Thumbprint::as_str), secondary.as_ref().map(Thumbprint::as_str))
        }
        _ => (None, None),
    };
    Pair("primaryThumbprint", "secondaryThumbprint", prints)
}

struct Pair<'a>(&'static str, &'static str, (Option<&'a str>, Option<&'a str>));

impl Serialize for Pair<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.0, &self.2.0)?;
        map.serialize_entry(self.1, &self.2.1)?;
        map.end()
    }
}

/// What a document asks an identity to be, as [`identity_spec`].
pub(crate) fn spec(address: Address, document: Object<'_>) -> Result<IdentitySpec, Problem> {
    Ok(identity_spec(address, document)?)
}

/// Checks that a document is about the identity that the path names.
pub(crate) fn check_subject(address: &Address, document: Object<'_>) -> Result<(), Problem> {
    let same = |name: &str, wanted: Option<&str>| {
        Ok::<_, Problem>(document.text(name)?.is_none_or(|given| Some(given) == wanted))
    };
    let device = same("deviceId", Some(address.device_str()))?;
    let module = address.module_str().is_none() || same("moduleId", address.module_str())?;
    if device && module {
        return Ok(());
    }
    Err(HubError::argument("the body is about another identity than the path").into())
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
