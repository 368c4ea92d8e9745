//! What a back end may ask a configuration to be.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::id::ConfigurationId;

/// What a back end asks a configuration to be, when it is made or updated.
///
/// Every field but the id may be left out. When it is made that means the default; in an update it
/// means what is stored.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ConfigurationSpec {
    /// Which one.
    pub id: ConfigurationId,
    /// What it sets: see [`Content`](super::Content). It has to be given when the configuration is
    /// made, and cannot be changed.
    pub content: Option<Value>,
    /// Which twins: see [`target`](super::target()). Empty, which is the default, for none.
    pub target: Option<String>,
    /// Which configuration sets a path that several set: that of the highest priority. 0 by default.
    pub priority: Option<u32>,
    /// What is counted besides how many twins are targeted and applied: queries by name.
    pub metrics: Option<BTreeMap<String, String>>,
    /// What the back end wants to know it by. The hub does nothing with it.
    pub labels: Option<Map<String, Value>>,
    /// The version of the content's form: `1.0`, or later ones that begin with `1.`.
    pub schema_version: Option<String>,
}

impl ConfigurationSpec {
    /// Nothing but an id: an update that changes nothing.
    #[must_use]
    pub fn new(id: ConfigurationId) -> Self {
        Self {
            id,
            content: None,
            target: None,
            priority: None,
            metrics: None,
            labels: None,
            schema_version: None,
        }
    }

    /// Sets what it sets.
    #[must_use]
    pub fn content(mut self, content: Value) -> Self {
        self.content = Some(content);
        self
    }

    /// Sets which twins.
    #[must_use]
    pub fn target(mut self, condition: impl Into<String>) -> Self {
        self.target = Some(condition.into());
        self
    }

    /// Sets the priority.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Adds a query whose rows are counted.
    #[must_use]
    pub fn metric(mut self, name: impl Into<String>, query: impl Into<String>) -> Self {
        self.metrics.get_or_insert_default().insert(name.into(), query.into());
        self
    }
}
