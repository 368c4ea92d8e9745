//! Twins as back ends read them.

use hub_core::engine::Registration;
use hub_core::id::Address;
use hub_core::twin::{SectionName, Twin, TwinVersion, Writer};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

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

/// A twin as it was: without what the registry knows, of which there is no history.
pub(crate) struct PastTwinJson<'a>(pub(crate) &'a Address, pub(crate) &'a Twin);

impl Serialize for PastTwinJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (address, twin) = (self.0, self.1);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("deviceId", address.device_str())?;
        if let Some(module) = address.module_str() {
            map.serialize_entry("moduleId", module)?;
        }
        map.serialize_entry("etag", &twin.etag())?;
        map.serialize_entry("version", &twin.version())?;
        map.serialize_entry("properties", &twin.service_properties())?;
        map.serialize_entry("tags", twin.tags())?;
        map.end()
    }
}

/// A change of a twin: what was written, and what was there before.
pub(crate) fn version_json(version: &TwinVersion) -> Value {
    let parts = |of: &dyn Fn(SectionName) -> Option<Value>| {
        let mut parts = Map::new();
        if let Some(tags) = of(SectionName::Tags) {
            parts.insert("tags".to_owned(), tags);
        }
        let properties = [("desired", SectionName::Desired), ("reported", SectionName::Reported)];
        let properties: Map<String, Value> = properties
            .into_iter()
            .filter_map(|(name, section)| Some((name.to_owned(), of(section)?)))
            .collect();
        if !properties.is_empty() {
            parts.insert("properties".to_owned(), Value::Object(properties));
        }
        Value::Object(parts)
    };
    let by = match version.by() {
        Writer::Device => "device",
        Writer::BackEnd => "service",
    };
    let sections: Vec<String> = version.sections().iter().map(SectionName::to_string).collect();
    let mut document = json!({
        "version": version.version(),
        "timeUtc": version.at().to_string(),
        "opType": version.kind().op_type(),
        "by": by,
        "sections": sections,
    });
    if let Value::Object(document) = &mut document
        && version.is_kept()
    {
        document.insert("patch".to_owned(), parts(&|section| version.patch(section)));
        document.insert("previous".to_owned(), parts(&|section| version.previous(section)));
    }
    document
}
