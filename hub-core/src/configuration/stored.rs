//! Configurations as the store keeps them: JSON objects with a format number. Times are milliseconds.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::state::Configuration;
use crate::id::ConfigurationId;
use crate::store::{Key, Kind};
use crate::time::Timestamp;

const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Body {
    v: u8,
    id: String,
    instance: u64,
    revision: u64,
    created: u64,
    updated: u64,
    priority: u32,
    target: String,
    content: Value,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metrics: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    labels: Map<String, Value>,
    schema: String,
}

impl Configuration {
    /// The body for the store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let body = Body {
            v: FORMAT,
            id: self.id.as_str().to_owned(),
            instance: self.instance,
            revision: self.revision,
            created: self.created.as_millis(),
            updated: self.updated.as_millis(),
            priority: self.priority,
            target: self.target.clone(),
            content: self.content.clone(),
            metrics: self.metrics.clone(),
            labels: self.labels.clone(),
            schema: self.schema_version.clone(),
        };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads a body. `None` if it is none of this format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        Some(Self {
            id: ConfigurationId::new(&body.id).ok()?,
            instance: body.instance,
            revision: body.revision,
            created: Timestamp::from_millis(body.created),
            updated: Timestamp::from_millis(body.updated),
            priority: body.priority,
            target: body.target,
            content: body.content,
            metrics: body.metrics,
            labels: body.labels,
            schema_version: body.schema,
        })
    }
}

/// Which configurations there are. Written with each of their changes, so it bounds how many there
/// may be, counts their changes, and tells nodes that there was one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    /// Counts the changes of all configurations.
    pub revision: u64,
    /// The ids.
    pub ids: BTreeSet<ConfigurationId>,
}

#[derive(Serialize, Deserialize)]
struct IndexBody {
    v: u8,
    revision: u64,
    ids: Vec<String>,
}

impl Index {
    /// The key of its document.
    #[must_use]
    pub fn key() -> Key {
        Key::new(Kind::Setting, "configurations")
    }

    /// The body for the store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let ids = self.ids.iter().map(|id| id.as_str().to_owned()).collect();
        let body = IndexBody { v: FORMAT, revision: self.revision, ids };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads a body. `None` if it is none of this format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: IndexBody = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        let ids = body.ids.iter().map(|id| ConfigurationId::new(id).ok());
        Some(Self { revision: body.revision, ids: ids.collect::<Option<_>>()? })
    }

    /// The index with this configuration in it, at the next revision.
    #[must_use]
    pub fn with(&self, id: &ConfigurationId) -> Self {
        let mut next = self.clone();
        next.revision += 1;
        next.ids.insert(id.clone());
        next
    }

    /// The index without this configuration, at the next revision.
    #[must_use]
    pub fn without(&self, id: &ConfigurationId) -> Self {
        let mut next = self.clone();
        next.revision += 1;
        next.ids.remove(id);
        next
    }
}
