//! Identities of devices and modules as JSON, both ways.

use hub_core::engine::Registration;
use hub_core::error::HubError;
use hub_core::id::Address;
use hub_core::registry::{AuthenticationSpec, IdentitySpec, Status};
use hub_core::security::{Authentication, AuthenticationKind, SymmetricKey, Thumbprint};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

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

/// An object of a request. Names of members are compared without regard to case: the SDKs do not
/// agree on them (`eTag` and `etag`).
#[derive(Clone, Copy)]
pub(crate) struct Object<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Object<'a> {
    /// An object, or an error that names what should have been one.
    pub(crate) fn of(value: &'a Value, name: &str) -> Result<Self, Problem> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(Problem::argument(format!("{name} is not an object"))),
        }
    }

    /// A member; null is as good as absent.
    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        let found = self.0.get(name).or_else(|| {
            self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        found.filter(|value| !value.is_null())
    }

    pub(crate) fn text(self, name: &str) -> Result<Option<&'a str>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::argument(format!("{name} is not a string"))),
        }
    }

    pub(crate) fn flag(self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Problem::argument(format!("{name} is neither true nor false"))),
        }
    }

    pub(crate) fn object(self, name: &str) -> Result<Option<Self>, Problem> {
        self.get(name).map(|value| Self::of(value, name)).transpose()
    }
}

/// What a document asks an identity to be. Members that the hub owns are ignored: clients read a
/// document, change it, and send all of it back.
pub(crate) fn spec(address: Address, document: Object<'_>) -> Result<IdentitySpec, Problem> {
    let mut spec = IdentitySpec::new(address);
    spec.status = document.text("status")?.map(status).transpose()?;
    // A reason of null takes the reason away: clients that send all of a document back say so.
    let reason = document.0.get("statusReason");
    spec.status_reason = match reason {
        Some(Value::Null) => Some(String::new()),
        _ => document.text("statusReason")?.map(str::to_owned),
    };
    spec.authentication =
        document.object("authentication")?.map(authentication).transpose()?.flatten();
    if let Some(capabilities) = document.object("capabilities")? {
        spec.iot_edge = capabilities.flag("iotEdge")?;
    }
    spec.device_scope = document.text("deviceScope")?.map(str::to_owned);
    spec.parent_scopes = match document.get("parentScopes") {
        None => None,
        Some(Value::Array(scopes)) => {
            let texts = scopes.iter().map(|scope| scope.as_str().map(str::to_owned));
            let texts: Option<Vec<String>> = texts.collect();
            Some(texts.ok_or_else(|| Problem::argument("parentScopes has other than strings"))?)
        }
        Some(_) => return Err(Problem::argument("parentScopes is not an array")),
    };
    if spec.address.is_module() {
        spec.managed_by = document.text("managedBy")?.map(str::to_owned);
    }
    Ok(spec)
}

fn status(word: &str) -> Result<Status, Problem> {
    [Status::Enabled, Status::Disabled]
        .into_iter()
        .find(|status| status.name().eq_ignore_ascii_case(word))
        .ok_or_else(|| Problem::argument("status is neither enabled nor disabled"))
}

fn authentication(document: Object<'_>) -> Result<Option<AuthenticationSpec>, Problem> {
    let pair = |object: &str, first: &str, second: &str| {
        let Some(inner) = document.object(object)? else { return Ok((None, None)) };
        // An empty text is what the Node SDK writes where it has none.
        let text = |name: &str| {
            Ok::<_, Problem>(inner.text(name)?.map(str::trim).filter(|text| !text.is_empty()))
        };
        Ok::<_, Problem>((text(first)?, text(second)?))
    };
    let keys = pair("symmetricKey", "primaryKey", "secondaryKey")?;
    let prints = pair("x509Thumbprint", "primaryThumbprint", "secondaryThumbprint")?;
    let has_prints = prints.0.or(prints.1).is_some();
    let has_keys = document.object("symmetricKey")?.is_some();
    let kind = match document.text("type")? {
        Some(word) => {
            let kinds = [
                AuthenticationKind::Sas,
                AuthenticationKind::SelfSigned,
                AuthenticationKind::CertificateAuthority,
                AuthenticationKind::None,
            ];
            kinds
                .into_iter()
                .find(|kind| kind.name().eq_ignore_ascii_case(word))
                .ok_or_else(|| Problem::argument("authentication has an unknown type"))?
        }
        None if has_prints => AuthenticationKind::SelfSigned,
        None if has_keys => AuthenticationKind::Sas,
        None => return Ok(None),
    };
    let bad = |error: &dyn std::error::Error| Problem::argument(error.to_string());
    let key = |text: Option<&str>| {
        text.map(SymmetricKey::from_base64).transpose().map_err(|error| bad(&error))
    };
    let print =
        |text: Option<&str>| text.map(Thumbprint::new).transpose().map_err(|error| bad(&error));
    Ok(Some(match kind {
        AuthenticationKind::Sas => {
            AuthenticationSpec::Sas { primary: key(keys.0)?, secondary: key(keys.1)? }
        }
        AuthenticationKind::SelfSigned => AuthenticationSpec::SelfSigned {
            primary: print(prints.0)?,
            secondary: print(prints.1)?,
        },
        AuthenticationKind::CertificateAuthority => AuthenticationSpec::CertificateAuthority,
        AuthenticationKind::None => AuthenticationSpec::None,
    }))
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
