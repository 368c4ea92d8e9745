//! Records as they are written.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::record::DeviceRecord;
use crate::registry::{AuthenticationSpec, Status};
use crate::security::{AuthenticationKind, SymmetricKey, Thumbprint};

impl DeviceRecord {
    /// Adds the record's line to a file: JSON, and the two characters that end a line there.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let before = out.len();
        if serde_json::to_writer(&mut *out, self).is_err() {
            // Writing text and numbers to memory cannot fail; half a line would be worse than none.
            out.truncate(before);
            return;
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The document of the service's bulk operations. Contains the keys, if the record does.
impl Serialize for DeviceRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let address = self.address();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", address.device_str())?;
        if let Some(module) = address.module_str() {
            map.serialize_entry("moduleId", module)?;
        }
        if let Some(etag) = &self.etag {
            map.serialize_entry("eTag", etag)?;
        }
        if self.mode != super::mode::ImportMode::default() {
            map.serialize_entry("importMode", self.mode.name())?;
        }
        map.serialize_entry("status", self.spec.status.unwrap_or(Status::Enabled).name())?;
        if let Some(reason) = &self.spec.status_reason {
            map.serialize_entry("statusReason", reason)?;
        }
        if let Some(authentication) = &self.spec.authentication {
            map.serialize_entry("authentication", &AuthenticationJson(authentication))?;
        }
        if let Some(etag) = &self.twin_etag {
            map.serialize_entry("twinETag", etag)?;
        }
        if let Some(tags) = &self.tags {
            map.serialize_entry("tags", tags)?;
        }
        if self.desired.is_some() || self.reported.is_some() {
            map.serialize_entry("properties", &Properties(self))?;
        }
        if let Some(edge) = self.spec.iot_edge {
            map.serialize_entry("capabilities", &serde_json::json!({ "iotEdge": edge }))?;
        }
        if let Some(scope) = &self.spec.device_scope {
            map.serialize_entry("deviceScope", scope)?;
        }
        if let Some(scopes) = &self.spec.parent_scopes {
            map.serialize_entry("parentScopes", scopes)?;
        }
        if let Some(manager) = &self.spec.managed_by {
            map.serialize_entry("managedBy", manager)?;
        }
        map.end()
    }
}

struct Properties<'a>(&'a DeviceRecord);

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sections: [(&str, &Option<Value>); 2] =
            [("desired", &self.0.desired), ("reported", &self.0.reported)];
        let mut map = serializer.serialize_map(None)?;
        for (name, section) in sections {
            if let Some(section) = section {
                map.serialize_entry(name, section)?;
            }
        }
        map.end()
    }
}

struct AuthenticationJson<'a>(&'a AuthenticationSpec);

impl Serialize for AuthenticationJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn key(key: &Option<SymmetricKey>) -> Option<&str> {
            key.as_ref().map(SymmetricKey::to_base64)
        }
        fn print(print: &Option<Thumbprint>) -> Option<&str> {
            print.as_ref().map(Thumbprint::as_str)
        }
        let none = || (None, None);
        let (kind, keys, prints) = match self.0 {
            AuthenticationSpec::Sas { primary, secondary } => {
                (AuthenticationKind::Sas, (key(primary), key(secondary)), none())
            }
            AuthenticationSpec::SelfSigned { primary, secondary } => {
                (AuthenticationKind::SelfSigned, none(), (print(primary), print(secondary)))
            }
            AuthenticationSpec::CertificateAuthority => {
                (AuthenticationKind::CertificateAuthority, none(), none())
            }
            AuthenticationSpec::None => (AuthenticationKind::None, none(), none()),
        };
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("symmetricKey", &Pair("primaryKey", "secondaryKey", keys))?;
        let pair = Pair("primaryThumbprint", "secondaryThumbprint", prints);
        map.serialize_entry("x509Thumbprint", &pair)?;
        map.serialize_entry("type", kind.name())?;
        map.end()
    }
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
