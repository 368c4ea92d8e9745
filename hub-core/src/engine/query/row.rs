//! A twin with what belongs to it, as queries see it.

use serde_json::{Value as Json, json};

use super::reading::Reading;
use crate::engine::registry::{Registration, TwinState};
use crate::error::{ErrorKind, HubError};
use crate::id::Address;
use crate::query::{Case, Fields, Path, Step, Value};
use crate::registry::Identity;
use crate::security::{Authentication, Thumbprint};
use crate::session::Session;
use crate::store::FoundRow;
use crate::twin::{DecodeError, Twin, TwinPaths, TwinValues};

/// What the fields of a twin's document are read from. Parts that a query does not look at are absent.
#[derive(Debug, Clone)]
pub(super) struct Row<'r> {
    address: Address,
    twin: Read<'r>,
    /// Few queries look at it, and it is large.
    identity: Option<Box<Identity>>,
    session: Session,
    messages: u32,
}

/// What was read of a twin.
#[derive(Debug, Clone)]
enum Read<'r> {
    Nothing,
    Whole(Box<Twin>),
    Values(&'r TwinPaths, TwinValues),
}

impl<'r> Read<'r> {
    fn decode(body: &[u8], reading: &'r Reading) -> Result<Self, DecodeError> {
        Ok(match &reading.values {
            Some(paths) => Self::Values(paths, paths.pick(body)?),
            None => Self::Whole(Box::new(Twin::decode(body)?)),
        })
    }
}

impl<'r> Row<'r> {
    /// Reads what a store has found. Nothing if the identity was deleted meanwhile.
    pub(super) fn decode(found: &FoundRow, reading: &'r Reading) -> Result<Option<Self>, HubError> {
        let unreadable = |what: &'static str| HubError::new(ErrorKind::Internal, what);
        let parts = reading.parts;
        let address = Address::of_shared(&found.id)
            .map_err(|_| unreadable("a stored address cannot be read"))?;
        let twin = match found.twin.as_deref().filter(|_| parts.twin) {
            Some(body) => Read::decode(body, reading)
                .map_err(|_| unreadable("a stored twin cannot be read"))?,
            None if parts.twin => return Ok(None),
            None => Read::Nothing,
        };
        let identity = found.identity.as_deref().map(Identity::decode).transpose();
        let identity = identity.map_err(|_| unreadable("a stored identity cannot be read"))?;
        let identity = identity.map(Box::new);
        if parts.identity && identity.is_none() {
            return Ok(None);
        }
        let session = found.session.as_deref().and_then(Session::decode).unwrap_or_default();
        Ok(Some(Self { address, twin, identity, session, messages: found.messages }))
    }

    /// A twin alone. Nothing if it cannot be read.
    pub(super) fn of_twin(id: &str, body: &[u8], reading: &'r Reading) -> Option<Self> {
        Some(Self {
            address: Address::parse(id).ok()?,
            twin: Read::decode(body, reading).ok()?,
            identity: None,
            session: Session::default(),
            messages: 0,
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The whole of it, if all parts were asked for.
    pub(super) fn into_state(self) -> Option<TwinState> {
        let registration = Registration {
            identity: *self.identity?,
            session: self.session,
            messages: self.messages,
        };
        let Read::Whole(twin) = self.twin else { return None };
        Some(TwinState { registration, twin: *twin })
    }

    /// A copy of what stands at the end of a path, objects and arrays included.
    pub(super) fn to_json(&self, path: &Path) -> Option<Json> {
        let (root, rest) = path.split_first()?;
        let identity = self.identity.as_deref();
        match (root, rest) {
            ("tags" | "properties" | "version" | "etag" | "configurations", _) => {
                match &self.twin {
                    Read::Nothing => None,
                    Read::Whole(twin) => twin.to_json(path),
                    Read::Values(paths, values) => paths.get(values, path).cloned(),
                }
            }
            ("cloudToDeviceMessageCount", []) => Some(json!(self.messages)),
            ("capabilities", []) => Some(json!({ "iotEdge": identity?.iot_edge() })),
            ("parentScopes", []) => Some(json!(identity?.parent_scopes().collect::<Vec<_>>())),
            ("x509Thumbprint", []) => {
                let (primary, secondary) = thumbprints(identity?.authentication());
                Some(json!({ "primaryThumbprint": primary, "secondaryThumbprint": secondary }))
            }
            _ => match self.value(path, Case::Exact) {
                Value::Null => Some(Json::Null),
                Value::Bool(value) => Some(value.into()),
                Value::Text(text) => Some(text.into_owned().into()),
                _ => None,
            },
        }
    }
}

impl Fields for Row<'_> {
    fn value(&self, path: &Path, case: Case) -> Value<'_> {
        let Some((root, rest)) = path.split_first() else { return Value::Missing };
        if let "tags" | "properties" | "version" | "etag" | "configurations" = root {
            return match &self.twin {
                Read::Nothing => Value::Missing,
                Read::Whole(twin) => twin.value(path, case),
                Read::Values(paths, values) => Value::of_json(paths.get(values, path)),
            };
        }
        let identity = self.identity.as_deref();
        let text = |text: Option<&str>| {
            text.map_or(Value::Missing, |text| Value::Text(text.to_owned().into()))
        };
        match (root, rest) {
            ("deviceId", []) => Value::Text(self.address.device_str().into()),
            ("moduleId", []) => match self.address.module_str() {
                Some(module) => Value::Text(module.into()),
                None => Value::Missing,
            },
            ("deviceEtag", []) => text(identity.map(Identity::etag).as_deref()),
            ("status", []) => text(identity.map(|identity| identity.status().name())),
            ("statusReason", []) => text(identity.and_then(Identity::status_reason)),
            ("statusUpdateTime", []) => {
                text(identity.map(|identity| identity.status_updated().to_string()).as_deref())
            }
            ("connectionState", []) => Value::Text(self.session.state_name().into()),
            ("lastActivityTime", []) => Value::Text(self.session.active.to_string().into()),
            ("cloudToDeviceMessageCount", []) => Value::Number(self.messages.into()),
            ("authenticationType", []) => {
                text(identity.map(|identity| identity.authentication().kind().name()))
            }
            ("x509Thumbprint", rest) => {
                let Some(identity) = identity else { return Value::Missing };
                let (primary, secondary) = thumbprints(identity.authentication());
                let print =
                    |print: Option<&str>| print.map_or(Value::Null, |print| text(Some(print)));
                match rest {
                    [] => Value::Object,
                    [Step::Member(name)] if &**name == "primaryThumbprint" => print(primary),
                    [Step::Member(name)] if &**name == "secondaryThumbprint" => print(secondary),
                    _ => Value::Missing,
                }
            }
            ("modelId", []) => text(Some(self.session.model.as_deref().unwrap_or(""))),
            ("capabilities", rest) => match (identity, rest) {
                (Some(_), []) => Value::Object,
                (Some(identity), [Step::Member(name)]) if &**name == "iotEdge" => {
                    Value::Bool(identity.iot_edge())
                }
                _ => Value::Missing,
            },
            ("deviceScope", []) => text(identity.and_then(Identity::device_scope)),
            ("parentScopes", rest) => match (identity, rest) {
                (Some(_), []) => Value::Array,
                (Some(identity), [Step::Index(index)]) => {
                    let index = usize::try_from(*index).unwrap_or(usize::MAX);
                    text(identity.parent_scopes().nth(index))
                }
                _ => Value::Missing,
            },
            _ => Value::Missing,
        }
    }
}

fn thumbprints(authentication: &Authentication) -> (Option<&str>, Option<&str>) {
    match authentication {
        Authentication::SelfSigned { primary, secondary } => {
            (primary.as_ref().map(Thumbprint::as_str), secondary.as_ref().map(Thumbprint::as_str))
        }
        _ => (None, None),
    }
}
