//! Identities as the store keeps them: JSON objects with a format number.
//!
//! JSON, because a store may index or show it (`jsonb`): the order of members and blanks between
//! them mean nothing. Times are milliseconds since 1970. Members may be added to a format; a new
//! number is for what an old reader would misread.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::identity::{Identity, Status};
use crate::id::Address;
use crate::security::{Authentication, SymmetricKey, Thumbprint};
use crate::time::Timestamp;

/// The format that is written.
const FORMAT: u32 = 1;

/// Why a stored body is no identity. Never contains what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A later version of the hub wrote it.
    #[error("identity has format {0}, which is later than this hub knows")]
    Format(u32),
    /// Not JSON of the format's shape.
    #[error("identity is not of the form its format has")]
    Shape,
    /// A value breaks the rule for its member, which is named.
    #[error("identity has a bad {0}")]
    Value(&'static str),
}

/// Contains keys in clear text: has no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored<'a> {
    format: u32,
    #[serde(borrow)]
    address: Text<'a>,
    generation: u64,
    revision: u64,
    created: u64,
    enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_reason: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    status_updated: u64,
    authentication: StoredAuthentication<'a>,
    #[serde(default, skip_serializing_if = "is_false")]
    iot_edge: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_scope: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parent_scopes: Vec<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    managed_by: Option<Text<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum StoredAuthentication<'a> {
    Sas {
        #[serde(borrow)]
        primary: Text<'a>,
        secondary: Text<'a>,
    },
    SelfSigned {
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        primary: Option<Text<'a>>,
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        secondary: Option<Text<'a>>,
    },
    CertificateAuthority,
    None,
}

/// Text that is borrowed when it has no escapes, also inside of `Option` and `Vec`.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

impl<'a> Text<'a> {
    fn of(text: &'a str) -> Self {
        Self(text.into())
    }

    fn shared(self) -> Arc<str> {
        Arc::from(&*self.0)
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Identity {
    /// The body for the store. Contains the keys.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let stored = Stored {
            format: FORMAT,
            address: Text::of(self.address.as_str()),
            generation: self.generation,
            revision: self.revision,
            created: self.created.as_millis(),
            enabled: self.status == Status::Enabled,
            status_reason: self.status_reason.as_deref().map(Text::of),
            status_updated: self.status_updated.as_millis(),
            authentication: match &self.authentication {
                Authentication::Sas { primary, secondary } => StoredAuthentication::Sas {
                    primary: Text::of(primary.to_base64()),
                    secondary: Text::of(secondary.to_base64()),
                },
                Authentication::SelfSigned { primary, secondary } => {
                    let text = |print: &'_ Option<Thumbprint>| {
                        print.as_ref().map(|print| Text(print.as_str().to_owned().into()))
                    };
                    StoredAuthentication::SelfSigned {
                        primary: text(primary),
                        secondary: text(secondary),
                    }
                }
                Authentication::CertificateAuthority => StoredAuthentication::CertificateAuthority,
                Authentication::None => StoredAuthentication::None,
            },
            iot_edge: self.iot_edge,
            device_scope: self.device_scope.as_deref().map(Text::of),
            parent_scopes: self.parent_scopes.iter().map(|scope| Text::of(scope)).collect(),
            managed_by: self.managed_by.as_deref().map(Text::of),
        };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&stored).unwrap_or_default().into()
    }

    /// Reads a body from the store.
    ///
    /// # Errors
    /// [`DecodeError`] says what about it is wrong.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        /// Read first: a later format may have another shape.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(body).map_err(|_| DecodeError::Shape)?;
        if head.format != FORMAT {
            return Err(DecodeError::Format(head.format));
        }
        let stored: Stored<'_> = serde_json::from_slice(body).map_err(|_| DecodeError::Shape)?;
        let key = |text: &Text<'_>| {
            SymmetricKey::from_base64(&text.0).map_err(|_| DecodeError::Value("key"))
        };
        let print = |text: &Option<Text<'_>>| {
            let print = text.as_ref().map(|text| Thumbprint::new(&text.0)).transpose();
            print.map_err(|_| DecodeError::Value("thumbprint"))
        };
        let authentication = match &stored.authentication {
            StoredAuthentication::Sas { primary, secondary } => {
                Authentication::Sas { primary: key(primary)?, secondary: key(secondary)? }
            }
            StoredAuthentication::SelfSigned { primary, secondary } => Authentication::SelfSigned {
                primary: print(primary)?,
                secondary: print(secondary)?,
            },
            StoredAuthentication::CertificateAuthority => Authentication::CertificateAuthority,
            StoredAuthentication::None => Authentication::None,
        };
        Ok(Self {
            address: Address::parse(&stored.address.0)
                .map_err(|_| DecodeError::Value("address"))?,
            generation: stored.generation,
            revision: stored.revision,
            status: if stored.enabled { Status::Enabled } else { Status::Disabled },
            status_reason: stored.status_reason.map(Text::shared),
            status_updated: Timestamp::from_millis(stored.status_updated),
            authentication,
            iot_edge: stored.iot_edge,
            device_scope: stored.device_scope.map(Text::shared),
            parent_scopes: stored.parent_scopes.into_iter().map(Text::shared).collect(),
            managed_by: stored.managed_by.map(Text::shared),
            created: Timestamp::from_millis(stored.created),
        })
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
