//! Twins as back ends read them.

use hub_core::engine::Registration;
use hub_core::twin::Twin;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::identity::{Capabilities, Text, thumbprints};

/// A whole twin: what the registry knows, tags and properties.
pub(crate) struct TwinJson<'a>(pub(crate) &'a Registration, pub(crate) &'a Twin);

impl Serialize for TwinJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Registration { identity, session, messages }, twin) = (self.0, self.1);
        let (address, authentication) = (identity.address(), identity.authentication());
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("deviceId", address.device_str())?;
        if let Some(module) = address.module_str() {
            map.serialize_entry("moduleId", module)?;
        }
        map.serialize_entry("etag", &twin.etag())?;
        map.serialize_entry("deviceEtag", &identity.etag())?;
        map.serialize_entry("status", identity.status().name())?;
        if let Some(reason) = identity.status_reason() {
            map.serialize_entry("statusReason", reason)?;
        }
        map.serialize_entry("statusUpdateTime", &Text(identity.status_updated()))?;
        map.serialize_entry("connectionState", session.state_name())?;
        map.serialize_entry("lastActivityTime", &Text(session.active))?;
        map.serialize_entry("cloudToDeviceMessageCount", messages)?;
        map.serialize_entry("authenticationType", authentication.kind().name())?;
        map.serialize_entry("x509Thumbprint", &thumbprints(authentication))?;
        map.serialize_entry("modelId", session.model.as_deref().unwrap_or(""))?;
        map.serialize_entry("version", &twin.version())?;
        map.serialize_entry("properties", &twin.service_properties())?;
        map.serialize_entry("capabilities", &Capabilities(identity.iot_edge()))?;
        if let Some(scope) = identity.device_scope() {
            map.serialize_entry("deviceScope", scope)?;
        }
        let parents: Vec<&str> = identity.parent_scopes().collect();
        if !parents.is_empty() {
            map.serialize_entry("parentScopes", &parents)?;
        }
        if !twin.configured().marks.is_empty() {
            map.serialize_entry("configurations", &twin.configured().statuses())?;
        }
        map.serialize_entry("tags", twin.tags())?;
        map.end()
    }
}
