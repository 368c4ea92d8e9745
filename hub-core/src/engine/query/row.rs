//! A twin with what belongs to it, as queries see it.

use serde_json::{Value as Json, json};

use crate::engine::registry::{Registration, TwinState};
use crate::error::{ErrorKind, HubError};
use crate::id::Address;
use crate::query::{Case, ExprKind, Fields, Filter, Path, Reference, Step, Value};
use crate::registry::Identity;
use crate::security::{Authentication, Thumbprint};
use crate::session::Session;
use crate::store::{FoundRow, Parts};
use crate::twin::Twin;

/// What the fields of a twin's document are read from. Parts that a query does not look at are absent.
#[derive(Debug, Clone)]
pub(super) struct Row {
    address: Address,
    twin: Option<Twin>,
    identity: Option<Identity>,
    session: Session,
    messages: u32,
}

impl Row {
    /// Reads what a store has found. Nothing if the identity was deleted meanwhile.
    pub(super) fn decode(found: &FoundRow, parts: Parts) -> Result<Option<Self>, HubError> {
        let unreadable = |what: &'static str| HubError::new(ErrorKind::Internal, what);
        let address =
            Address::parse(&found.id).map_err(|_| unreadable("a stored address cannot be read"))?;
        let twin = found.twin.as_deref().filter(|_| parts.twin).map(Twin::decode).transpose();
        let identity = found.identity.as_deref().map(Identity::decode).transpose();
        let row = Self {
            address,
            twin: twin.map_err(|_| unreadable("a stored twin cannot be read"))?,
            identity: identity.map_err(|_| unreadable("a stored identity cannot be read"))?,
            session: found.session.as_deref().and_then(Session::decode).unwrap_or_default(),
            messages: found.messages,
        };
        let gone = parts.twin && row.twin.is_none() || parts.identity && row.identity.is_none();
        Ok((!gone).then_some(row))
    }

    /// A twin alone. Nothing if it cannot be read.
    pub(super) fn of_twin(id: &str, body: &[u8]) -> Option<Self> {
        Some(Self {
            address: Address::parse(id).ok()?,
            twin: Some(Twin::decode(body).ok()?),
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
            identity: self.identity?,
            session: self.session,
            messages: self.messages,
        };
        Some(TwinState { registration, twin: self.twin? })
    }

    /// A copy of what stands at the end of a path, objects and arrays included.
    pub(super) fn to_json(&self, path: &Path) -> Option<Json> {
        let (root, rest) = path.split_first()?;
        let identity = self.identity.as_ref();
        match (root, rest) {
            ("tags" | "properties" | "version" | "etag" | "configurations", _) => {
                self.twin.as_ref().and_then(|twin| twin.to_json(path))
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

impl Fields for Row {
    fn value(&self, path: &Path, case: Case) -> Value<'_> {
        let Some((root, rest)) = path.split_first() else { return Value::Missing };
        if let "tags" | "properties" | "version" | "etag" | "configurations" = root {
            return self.twin.as_ref().map_or(Value::Missing, |twin| twin.value(path, case));
        }
        let identity = self.identity.as_ref();
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

/// What has to be read to know what a path leads to.
pub(super) fn parts_of_path(path: &Path) -> Parts {
    let mut parts = Parts::default();
    match path.split_first().map(|(root, _)| root) {
        Some("tags" | "properties" | "version" | "etag" | "configurations") => parts.twin = true,
        Some("connectionState" | "lastActivityTime" | "modelId") => parts.session = true,
        Some("cloudToDeviceMessageCount") => parts.messages = true,
        Some(
            "deviceEtag" | "status" | "statusReason" | "statusUpdateTime" | "authenticationType"
            | "x509Thumbprint" | "capabilities" | "deviceScope" | "parentScopes",
        ) => parts.identity = true,
        // Read off the id, or nothing that a twin has.
        _ => {}
    }
    parts
}

/// What has to be read to evaluate a condition.
pub(super) fn parts_of(filter: &Filter) -> Parts {
    let mut parts = Parts::default();
    if let Some(expr) = filter.expr() {
        expr.visit(&mut |_, inner| {
            if let ExprKind::Reference(Reference::Column(path)) = &inner.kind {
                parts = both(parts, parts_of_path(path));
            }
        });
    }
    parts
}

pub(super) fn both(a: Parts, b: Parts) -> Parts {
    Parts {
        twin: a.twin || b.twin,
        identity: a.identity || b.identity,
        session: a.session || b.session,
        messages: a.messages || b.messages,
    }
}
