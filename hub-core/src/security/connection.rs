//! Connection strings: how a key is handed to its user.

use super::key::{KeyError, SymmetricKey};
use crate::id::{Address, DeviceId, IdError, ModuleId};

/// Longest connection string that is read, in bytes.
const LENGTH_MAX: usize = 4096;

/// Why a text is no connection string, or cannot be written as one. Never contains the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionStringError {
    /// A part is not of the form `name=value`, or the text is longer than 4,096 bytes.
    #[error("not of the form name=value;name=value")]
    Form,
    /// The part at this place, counted from 1, has a name that connection strings do not have. The
    /// name is not repeated: in a garbled text it may be a key.
    #[error("part {0} has an unknown name")]
    Unknown(usize),
    /// A name is there twice, or names of different sorts of connection strings are mixed.
    #[error("{0} is there twice or does not belong here")]
    Misplaced(&'static str),
    /// A value is missing or empty.
    #[error("no {0}")]
    Missing(&'static str),
    /// `Endpoint` is not `sb://host/`.
    #[error("endpoint is not of the form sb://host/")]
    Endpoint,
    /// The device or module id is none.
    #[error("bad identifier")]
    Id(#[from] IdError),
    /// The key is none.
    #[error("bad key")]
    Key(#[from] KeyError),
    /// A value has a `;`, which the format cannot carry. Identifiers may have one.
    #[error("{0} contains a semicolon, which connection strings cannot carry")]
    Semicolon(&'static str),
}

/// A parsed connection string, or one to be made.
///
/// Has no `Display`, since it contains a key: [`ConnectionString::render`] gives the text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionString {
    /// For a back end: `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`.
    Service {
        /// The hub's host name, with a port if the client is to use one.
        host: String,
        /// The shared access policy.
        policy: String,
        /// One of its keys.
        key: SymmetricKey,
    },
    /// For a device or module: `HostName=…;DeviceId=…[;ModuleId=…];SharedAccessKey=…`, or with
    /// `x509=true` in place of the key.
    Identity {
        /// The hub's host name, with a port if the client is to use one.
        host: String,
        /// The device or module.
        address: Address,
        /// The key; none for certificates.
        key: Option<SymmetricKey>,
        /// The host to connect to instead of the hub.
        gateway: Option<String>,
    },
    /// For a reader of the event log:
    /// `Endpoint=sb://…/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=…`.
    EventHubs {
        /// The hub's host name, with a port if the client is to use one.
        host: String,
        /// The shared access policy.
        policy: String,
        /// One of its keys.
        key: SymmetricKey,
        /// The name of the event log.
        entity: Option<String>,
    },
}

#[derive(Default)]
struct Parts<'t> {
    host: Option<&'t str>,
    endpoint: Option<&'t str>,
    policy: Option<&'t str>,
    key: Option<&'t str>,
    device: Option<&'t str>,
    module: Option<&'t str>,
    gateway: Option<&'t str>,
    entity: Option<&'t str>,
    x509: Option<&'t str>,
    emulator: Option<&'t str>,
}

impl ConnectionString {
    /// Parses the text. Names may be in any case and order; a `;` at the end is allowed, and
    /// `UseDevelopmentEmulator` is ignored.
    ///
    /// # Errors
    /// [`ConnectionStringError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let parts = Parts::read(text)?;
        let need = |value: Option<&str>, name| {
            let value = value.filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or(ConnectionStringError::Missing(name))
        };
        let reject = |value: Option<&str>, name| {
            value.map_or(Ok(()), |_| Err(ConnectionStringError::Misplaced(name)))
        };
        let key = |value| Ok::<_, ConnectionStringError>(SymmetricKey::from_base64(value)?);
        if parts.endpoint.is_some() || parts.device.is_none() {
            reject(parts.device, "DeviceId")?;
            reject(parts.module, "ModuleId")?;
            reject(parts.gateway, "GatewayHostName")?;
            reject(parts.x509, "x509")?;
            let policy = need(parts.policy, "SharedAccessKeyName")?;
            let key = key(&need(parts.key, "SharedAccessKey")?)?;
            let Some(endpoint) = parts.endpoint else {
                reject(parts.entity, "EntityPath")?;
                return Ok(Self::Service { host: need(parts.host, "HostName")?, policy, key });
            };
            reject(parts.host, "HostName")?;
            let host = endpoint.strip_prefix("sb://").ok_or(ConnectionStringError::Endpoint)?;
            let host = host.strip_suffix('/').unwrap_or(host);
            if host.is_empty() || host.contains('/') {
                return Err(ConnectionStringError::Endpoint);
            }
            let entity = parts.entity.filter(|entity| !entity.is_empty()).map(str::to_owned);
            return Ok(Self::EventHubs { host: host.to_owned(), policy, key, entity });
        }
        reject(parts.policy, "SharedAccessKeyName")?;
        reject(parts.entity, "EntityPath")?;
        let host = need(parts.host, "HostName")?;
        let device = DeviceId::new(parts.device.unwrap_or_default())?;
        let address = match parts.module {
            Some(module) => Address::module(&device, &ModuleId::new(module)?),
            None => Address::device(&device),
        };
        let certificate = parts.x509.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let key = if certificate {
            reject(parts.key, "SharedAccessKey")?;
            None
        } else {
            Some(key(&need(parts.key, "SharedAccessKey")?)?)
        };
        let gateway = parts.gateway.filter(|gateway| !gateway.is_empty()).map(str::to_owned);
        Ok(Self::Identity { host, address, key, gateway })
    }

    /// The text. Reveals the key.
    ///
    /// # Errors
    /// [`ConnectionStringError::Semicolon`] when a value has a `;`: the format has no escape.
    pub fn render(&self) -> Result<String, ConnectionStringError> {
        let mut out = String::new();
        let mut put = |name: &'static str, value: &str| {
            if value.contains(';') {
                return Err(ConnectionStringError::Semicolon(name));
            }
            let separator = if out.is_empty() { "" } else { ";" };
            for piece in [separator, name, "=", value] {
                out.push_str(piece);
            }
            Ok(())
        };
        match self {
            Self::Service { host, policy, key } => {
                put("HostName", host)?;
                put("SharedAccessKeyName", policy)?;
                put("SharedAccessKey", key.to_base64())?;
            }
            Self::Identity { host, address, key, gateway } => {
                put("HostName", host)?;
                put("DeviceId", address.device_str())?;
                if let Some(module) = address.module_str() {
                    put("ModuleId", module)?;
                }
                match key {
                    Some(key) => put("SharedAccessKey", key.to_base64())?,
                    None => put("x509", "true")?,
                }
                if let Some(gateway) = gateway {
                    put("GatewayHostName", gateway)?;
                }
            }
            Self::EventHubs { host, policy, key, entity } => {
                put("Endpoint", &format!("sb://{host}/"))?;
                put("SharedAccessKeyName", policy)?;
                put("SharedAccessKey", key.to_base64())?;
                if let Some(entity) = entity {
                    put("EntityPath", entity)?;
                }
            }
        }
        Ok(out)
    }
}

impl<'t> Parts<'t> {
    fn read(text: &'t str) -> Result<Self, ConnectionStringError> {
        if text.len() > LENGTH_MAX {
            return Err(ConnectionStringError::Form);
        }
        let mut parts = Self::default();
        let filled = text.trim().split(';').filter(|part| !part.trim().is_empty());
        for (place, part) in (1..).zip(filled) {
            let (name, value) = part.split_once('=').ok_or(ConnectionStringError::Form)?;
            let name = name.trim();
            let slots: [(&'static str, &mut Option<&'t str>); 10] = [
                ("HostName", &mut parts.host),
                ("Endpoint", &mut parts.endpoint),
                ("SharedAccessKeyName", &mut parts.policy),
                ("SharedAccessKey", &mut parts.key),
                ("DeviceId", &mut parts.device),
                ("ModuleId", &mut parts.module),
                ("GatewayHostName", &mut parts.gateway),
                ("EntityPath", &mut parts.entity),
                ("x509", &mut parts.x509),
                ("UseDevelopmentEmulator", &mut parts.emulator),
            ];
            let found = slots.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            let Some((known, slot)) = found else {
                return Err(ConnectionStringError::Unknown(place));
            };
            if slot.replace(value.trim()).is_some() {
                return Err(ConnectionStringError::Misplaced(known));
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn key() -> SymmetricKey {
        SymmetricKey::from_base64(KEY).unwrap()
    }

    fn identity(
        address: &str,
        key: Option<SymmetricKey>,
        gateway: Option<&str>,
    ) -> ConnectionString {
        ConnectionString::Identity {
            host: "h".into(),
            address: Address::parse(address).unwrap(),
            key,
            gateway: gateway.map(str::to_owned),
        }
    }

    #[test]
    fn each_form_renders_and_parses_back() {
        let (host, policy) = ("h:8443".to_owned(), "owner".to_owned());
        let entity = Some("eh".to_owned());
        for (text, value) in [
            (
                format!("HostName=h:8443;SharedAccessKeyName=owner;SharedAccessKey={KEY}"),
                ConnectionString::Service {
                    host: host.clone(),
                    policy: policy.clone(),
                    key: key(),
                },
            ),
            (
                format!("HostName=h;DeviceId=d=1;SharedAccessKey={KEY}"),
                identity("d=1", Some(key()), None),
            ),
            (
                format!(
                    "HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey={KEY};GatewayHostName=g:1"
                ),
                identity("d/m", Some(key()), Some("g:1")),
            ),
            ("HostName=h;DeviceId=d;x509=true".into(), identity("d", None, None)),
            (
                format!(
                    "Endpoint=sb://h:8443/;SharedAccessKeyName=owner;SharedAccessKey={KEY};EntityPath=eh"
                ),
                ConnectionString::EventHubs { host, policy, key: key(), entity },
            ),
        ] {
            assert_eq!(value.render().as_deref(), Ok(text.as_str()));
            assert_eq!(ConnectionString::parse(&text), Ok(value));
        }
    }

    #[test]
    fn names_come_in_any_case_and_order() {
        let text = format!("sharedaccesskey={KEY};deviceid=d;HOSTNAME=h;");
        assert_eq!(ConnectionString::parse(&text), Ok(identity("d", Some(key()), None)));
        let text = format!(
            "Endpoint=sb://h;SharedAccessKeyName=p;SharedAccessKey={KEY};UseDevelopmentEmulator=true"
        );
        assert!(matches!(
            ConnectionString::parse(&text),
            Ok(ConnectionString::EventHubs { entity: None, .. })
        ));
    }

    #[test]
    fn what_is_wrong_is_told() {
        use ConnectionStringError as E;
        for (text, want) in [
            ("", E::Missing("SharedAccessKeyName")),
            ("HostName", E::Form),
            ("HostName=h;Hostname=h", E::Misplaced("HostName")),
            ("HostName=h;Color=red", E::Unknown(2)),
            ("HostName=h;SharedAccessKeyName=p;SharedAccessKey=?", E::Key(KeyError::Base64)),
            ("HostName=h;DeviceId=d", E::Missing("SharedAccessKey")),
            ("HostName=h;DeviceId=a b;x509=true", E::Id(IdError::Character(' '))),
            ("HostName=h;DeviceId=d;x509=true;SharedAccessKey=x", E::Misplaced("SharedAccessKey")),
            ("DeviceId=d;x509=true", E::Missing("HostName")),
            ("HostName=h;DeviceId=d;SharedAccessKeyName=p", E::Misplaced("SharedAccessKeyName")),
            ("Endpoint=sb://h/;DeviceId=d", E::Misplaced("DeviceId")),
        ] {
            assert_eq!(ConnectionString::parse(text), Err(want), "{text}");
        }
        for endpoint in ["http://h/", "sb://", "sb://h/x/", "h"] {
            let text = format!("Endpoint={endpoint};SharedAccessKeyName=p;SharedAccessKey={KEY}");
            assert_eq!(ConnectionString::parse(&text), Err(E::Endpoint), "{endpoint}");
        }
        assert_eq!(ConnectionString::parse(&"a=b;".repeat(2000)), Err(E::Form));
        let injected = identity("d;HostName=evil", Some(key()), None);
        assert_eq!(injected.render(), Err(E::Semicolon("DeviceId")));
    }
}
