//! An identity with its twin, as it is exported and imported.

use serde_json::Value;

use super::mode::ImportMode;
use crate::id::Address;
use crate::registry::{AuthenticationSpec, Identity, IdentitySpec};
use crate::security::Authentication;
use crate::twin::Twin;

/// An identity with its twin: what an export gives, and what an import takes (`ExportImportDevice`).
///
/// Contains keys, which it never prints.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeviceRecord {
    /// Which device or module, and what it is or is to be.
    pub spec: IdentitySpec,
    /// What is to be done with it.
    pub mode: ImportMode,
    /// The etag that it has; in the modes that ask for one, the etag that it must have. As clients
    /// write it, quotes included.
    pub etag: Option<String>,
    /// The same of its twin.
    pub twin_etag: Option<String>,
    /// The tags, if they are named.
    pub tags: Option<Value>,
    /// The desired properties, if they are named. `$metadata` and `$version` in them are ignored.
    pub desired: Option<Value>,
    /// The reported properties, if they are named.
    pub reported: Option<Value>,
}

impl DeviceRecord {
    /// A record that says nothing of a twin.
    #[must_use]
    pub fn new(spec: IdentitySpec, mode: ImportMode) -> Self {
        Self { spec, mode, etag: None, twin_etag: None, tags: None, desired: None, reported: None }
    }

    /// The record of an identity as it stands. Imported, it makes the same one.
    #[must_use]
    pub fn of(identity: &Identity, twin: Option<&Twin>) -> Self {
        let mut spec = IdentitySpec::new(identity.address().clone());
        spec.status = Some(identity.status());
        spec.status_reason = identity.status_reason().map(str::to_owned);
        spec.authentication = Some(match identity.authentication().clone() {
            Authentication::Sas { primary, secondary } => {
                AuthenticationSpec::Sas { primary: Some(primary), secondary: Some(secondary) }
            }
            Authentication::SelfSigned { primary, secondary } => {
                AuthenticationSpec::SelfSigned { primary, secondary }
            }
            Authentication::CertificateAuthority => AuthenticationSpec::CertificateAuthority,
            Authentication::None => AuthenticationSpec::None,
        });
        if identity.address().is_module() {
            spec.managed_by = identity.managed_by().map(str::to_owned);
        } else {
            spec.iot_edge = Some(identity.iot_edge());
            spec.device_scope = identity.device_scope().map(str::to_owned);
            spec.parent_scopes = Some(identity.parent_scopes().map(str::to_owned).collect());
        }
        let mut record = Self::new(spec, ImportMode::default());
        record.etag = Some(identity.etag());
        if let Some(twin) = twin {
            record.twin_etag = Some(twin.etag());
            record.tags = Some(twin.tags().to_value());
            // A view is an object of two sections: there is nothing that a value could not hold.
            if let Ok(Value::Object(mut both)) = serde_json::to_value(twin.service_properties()) {
                record.desired = both.remove("desired");
                record.reported = both.remove("reported");
            }
        }
        record
    }

    /// The same without symmetric keys. Imported, it keeps those that are there, or makes new ones.
    #[must_use]
    pub fn without_keys(mut self) -> Self {
        if let Some(AuthenticationSpec::Sas { .. }) = self.spec.authentication {
            self.spec.authentication =
                Some(AuthenticationSpec::Sas { primary: None, secondary: None });
        }
        self
    }

    /// Which device or module.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.spec.address
    }

    /// Whether it says that the device stands behind an edge device.
    #[must_use]
    pub fn names_a_parent(&self) -> bool {
        self.spec.edges_named().any(|edge| edge != *self.address())
    }
}
