//! Identities and records as they are read from JSON.

use serde_json::Value;

use super::error::RecordError;
use super::mode::ImportMode;
use super::object::Object;
use super::record::DeviceRecord;
use crate::id::{Address, DeviceId, IdError, ModuleId};
use crate::registry::{AuthenticationSpec, IdentitySpec, Status};
use crate::security::{AuthenticationKind, SymmetricKey, Thumbprint};

impl DeviceRecord {
    /// Reads a line of a file.
    ///
    /// # Errors
    /// [`RecordError`] says what about the line is wrong.
    pub fn parse(line: &[u8]) -> Result<Self, RecordError> {
        let value: Value =
            serde_json::from_slice(line).map_err(|error| RecordError::Json(error.to_string()))?;
        match &value {
            Value::Object(members) => Self::read(Object(members)),
            _ => Err(RecordError::Json("another value".to_owned())),
        }
    }

    /// Reads a document. Members that the hub owns are ignored.
    ///
    /// # Errors
    /// [`RecordError`] says what about the document is wrong.
    pub fn read(document: Object<'_>) -> Result<Self, RecordError> {
        let mode = ImportMode::of(document)?;
        let address = address(document)?;
        let etag = |name| {
            let text = document.text(name)?.filter(|etag| !etag.is_empty());
            Ok::<_, RecordError>(text.map(str::to_owned))
        };
        let properties = document.object("properties")?;
        let section = |name| properties.and_then(|properties| properties.get(name)).cloned();
        let record = Self {
            spec: identity_spec(address, document)?,
            mode,
            etag: etag("eTag")?,
            twin_etag: etag("twinETag")?,
            tags: document.get("tags").cloned(),
            desired: section("desired"),
            reported: section("reported"),
        };
        match mode {
            ImportMode::UpdateIfMatch | ImportMode::DeleteIfMatch if record.etag.is_none() => {
                Err(RecordError::Missing("eTag"))
            }
            ImportMode::UpdateTwinIfMatch if record.twin_etag.is_none() => {
                Err(RecordError::Missing("twinETag"))
            }
            _ => Ok(record),
        }
    }
}

fn address(document: Object<'_>) -> Result<Address, RecordError> {
    let bad = |error: IdError| RecordError::invalid(error.to_string());
    let device = document.text("id")?.ok_or(RecordError::Missing("id"))?;
    let device = DeviceId::new(device).map_err(bad)?;
    match document.text("moduleId")?.filter(|module| !module.is_empty()) {
        None => Ok(Address::from(device)),
        Some(module) => Ok(Address::module(&device, &ModuleId::new(module).map_err(bad)?)),
    }
}

/// What a document asks an identity to be. Members that the hub owns are ignored: clients read a
/// document, change it, and send all of it back.
///
/// # Errors
/// [`RecordError`] names the member that is not what it should be.
pub fn identity_spec(address: Address, document: Object<'_>) -> Result<IdentitySpec, RecordError> {
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
            Some(texts.ok_or_else(|| RecordError::invalid("parentScopes has other than strings"))?)
        }
        Some(_) => return Err(RecordError::invalid("parentScopes is not an array")),
    };
    if spec.address.is_module() {
        spec.managed_by = document.text("managedBy")?.map(str::to_owned);
    }
    Ok(spec)
}

fn status(word: &str) -> Result<Status, RecordError> {
    [Status::Enabled, Status::Disabled]
        .into_iter()
        .find(|status| status.name().eq_ignore_ascii_case(word))
        .ok_or_else(|| RecordError::invalid("status is neither enabled nor disabled"))
}

fn authentication(document: Object<'_>) -> Result<Option<AuthenticationSpec>, RecordError> {
    let pair = |object: &str, first: &str, second: &str| {
        let Some(inner) = document.object(object)? else { return Ok((None, None)) };
        // An empty text is what the Node SDK writes where it has none.
        let text = |name: &str| {
            Ok::<_, RecordError>(inner.text(name)?.map(str::trim).filter(|text| !text.is_empty()))
        };
        Ok::<_, RecordError>((text(first)?, text(second)?))
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
                .ok_or_else(|| RecordError::invalid("authentication has an unknown type"))?
        }
        None if has_prints => AuthenticationKind::SelfSigned,
        None if has_keys => AuthenticationKind::Sas,
        None => return Ok(None),
    };
    let bad = |error: &dyn std::error::Error| RecordError::invalid(error.to_string());
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
