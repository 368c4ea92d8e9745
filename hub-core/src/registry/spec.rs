//! What a client may ask an identity to be.

use super::identity::Status;
use crate::id::Address;
use crate::security::{SymmetricKey, Thumbprint};

/// Longest name of a module's manager, in characters.
pub const MANAGED_BY_LENGTH_MAX: usize = 128;

/// The credentials a client asks for. What is left out is kept, or made by the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticationSpec {
    /// Symmetric keys. A key left out keeps its stored value, and is generated if there is none.
    Sas {
        /// The first key.
        primary: Option<SymmetricKey>,
        /// The second key.
        secondary: Option<SymmetricKey>,
    },
    /// Thumbprints. Unlike keys they are replaced as a pair as soon as one is given, so that one
    /// can be taken away; with neither, the stored ones are kept.
    SelfSigned {
        /// The first thumbprint.
        primary: Option<Thumbprint>,
        /// The second thumbprint.
        secondary: Option<Thumbprint>,
    },
    /// Certificates of a registered authority.
    CertificateAuthority,
    /// No credentials of its own.
    None,
}

/// What a client asks an identity to be, when it is created or updated.
///
/// Every field may be left out. At creation that means the default; in an update it means what is
/// stored, so that a client that knows fewer fields than the hub changes only those it knows. What
/// the hub owns (generation, etag, times) cannot be given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdentitySpec {
    /// Which device or module.
    pub address: Address,
    /// Whether a device may connect; enabled by default. A module may only be enabled.
    pub status: Option<Status>,
    /// Why, for people; empty for none.
    pub status_reason: Option<String>,
    /// Its credentials; generated keys by default.
    pub authentication: Option<AuthenticationSpec>,
    /// Whether it is an edge device; not, by default.
    pub iot_edge: Option<bool>,
    /// The scope of the edge device that a device stands behind; empty for none. An edge device's
    /// own scope is the hub's to give: it may be repeated here and not changed.
    pub device_scope: Option<String>,
    /// At most one scope, of the edge device that an edge device stands behind. For other devices
    /// the same as `device_scope`.
    pub parent_scopes: Option<Vec<String>>,
    /// Who manages a module, `iotEdge` for example; empty for none.
    pub managed_by: Option<String>,
}

impl IdentitySpec {
    /// Asks for nothing in particular.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            status: None,
            status_reason: None,
            authentication: None,
            iot_edge: None,
            device_scope: None,
            parent_scopes: None,
            managed_by: None,
        }
    }

    /// The edge devices whose scopes are named: load these before deciding, see
    /// [`Context::edges`](super::Context::edges). Texts that are no scopes name none.
    pub fn edges_named(&self) -> impl Iterator<Item = Address> {
        let texts = self.device_scope.iter().chain(self.parent_scopes.iter().flatten());
        texts.filter_map(|text| super::DeviceScope::parse(text)).map(|scope| scope.device.into())
    }
}
