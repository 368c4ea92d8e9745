//! A configuration, and the rules of making, changing and removing it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::content::Content;
use super::metric::Metric;
use super::spec::ConfigurationSpec;
use super::table::target;
use crate::error::{ErrorKind, HubError};
use crate::id::ConfigurationId;
use crate::limits::Limits;
use crate::registry::IfMatch;
use crate::store::{Key, Kind};
use crate::time::Timestamp;

/// A configuration.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Configuration {
    /// Its id.
    pub id: ConfigurationId,
    /// Tells it from every other of that id, and orders configurations by when they were made.
    pub instance: u64,
    /// Counts its changes, in steps of any size.
    pub revision: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Which configuration sets a path that several set.
    pub priority: u32,
    /// Which twins.
    pub target: String,
    /// What it sets, as it was given.
    pub content: Value,
    /// What is counted: queries by name.
    pub metrics: BTreeMap<String, String>,
    /// What the back end wants to know it by.
    pub labels: Map<String, Value>,
    /// The version of the content's form.
    pub schema_version: String,
}

/// The version of the content's form, where none is given.
const SCHEMA: &str = "1.0";

impl Configuration {
    /// The key of a configuration's document.
    #[must_use]
    pub fn key(id: &ConfigurationId) -> Key {
        Key::new(Kind::Configuration, id.as_str())
    }

    /// Names the state of the configuration: base64 of a number that rises with every change.
    #[must_use]
    pub fn etag(&self) -> String {
        BASE64_STANDARD.encode(self.revision.to_string())
    }

    /// What it sets.
    ///
    /// # Errors
    /// As [`Content::parse`].
    pub fn parsed(&self, limits: &Limits) -> Result<Content, HubError> {
        Content::parse(&self.content, limits)
    }

    fn check(&self, limits: &Limits) -> Result<(), HubError> {
        let content = self.parsed(limits)?;
        target(&self.target, content.kind, limits)?;
        if self.metrics.len() > limits.configuration_metrics_max {
            let most = limits.configuration_metrics_max;
            let message = format!("a configuration may have {most} metrics");
            return Err(HubError::new(ErrorKind::ConfigurationMetricInvalid, message));
        }
        for (name, query) in &self.metrics {
            Metric::parse(query, limits).map_err(|error| {
                HubError::new(error.kind(), format!("{name}: {}", error.message()))
            })?;
        }
        if !self.schema_version.starts_with("1.") {
            return Err(HubError::argument("schemaVersion must be 1.0"));
        }
        let (bytes, most) = (self.encode().len(), limits.configuration_bytes_max);
        if bytes > most {
            let message = format!("the configuration has {bytes} bytes, it may have {most}");
            return Err(HubError::new(ErrorKind::TooLarge, message));
        }
        Ok(())
    }
}

/// Decides a request that makes a configuration without a condition and updates one with it.
/// `revision` is greater than that of all changes of configurations before.
///
/// # Errors
/// `ConfigurationAlreadyExists`, `ConfigurationNotFound`, `PreconditionFailed`;
/// `ConfigurationContentImmutable` for another content than it has; `ConfigurationTargetInvalid`,
/// `ConfigurationContentInvalid`, `ConfigurationMetricInvalid`, `ArgumentInvalid`, `TooLarge` for
/// what a configuration cannot be.
pub fn put(
    before: Option<&Configuration>,
    spec: &ConfigurationSpec,
    if_match: Option<&IfMatch>,
    revision: u64,
    now: Timestamp,
    limits: &Limits,
) -> Result<Configuration, HubError> {
    let base = match (before, if_match) {
        (Some(_), None) => {
            let message = format!("there is a configuration {}", spec.id);
            return Err(HubError::new(ErrorKind::ConfigurationAlreadyExists, message));
        }
        (None, Some(_)) => return Err(not_found(&spec.id)),
        (Some(before), Some(if_match)) => {
            check_etag(before, if_match)?;
            if spec.content.as_ref().is_some_and(|content| *content != before.content) {
                let message = "the content of a configuration cannot be changed";
                return Err(HubError::new(ErrorKind::ConfigurationContentImmutable, message));
            }
            before.clone()
        }
        (None, None) => Configuration {
            id: spec.id.clone(),
            instance: revision,
            revision,
            created: now,
            updated: now,
            priority: 0,
            target: String::new(),
            content: Value::Null,
            metrics: BTreeMap::new(),
            labels: Map::new(),
            schema_version: SCHEMA.to_owned(),
        },
    };
    let after = Configuration {
        revision,
        updated: now,
        priority: spec.priority.unwrap_or(base.priority),
        target: spec.target.clone().unwrap_or(base.target),
        content: spec.content.clone().unwrap_or(base.content),
        metrics: spec.metrics.clone().unwrap_or(base.metrics),
        labels: spec.labels.clone().unwrap_or(base.labels),
        schema_version: spec.schema_version.clone().unwrap_or(base.schema_version),
        ..base
    };
    after.check(limits)?;
    Ok(after)
}

/// Decides whether a configuration may be removed.
///
/// # Errors
/// `ConfigurationNotFound`, `PreconditionFailed`.
pub fn delete(
    id: &ConfigurationId,
    before: Option<&Configuration>,
    if_match: Option<&IfMatch>,
) -> Result<(), HubError> {
    let before = before.ok_or_else(|| not_found(id))?;
    if_match.map_or(Ok(()), |if_match| check_etag(before, if_match))
}

fn check_etag(before: &Configuration, if_match: &IfMatch) -> Result<(), HubError> {
    if if_match.accepts(&before.etag()) {
        return Ok(());
    }
    let message = "Precondition failed: Invalid ETag";
    Err(HubError::new(ErrorKind::PreconditionFailed, message))
}

pub(crate) fn not_found(id: &ConfigurationId) -> HubError {
    HubError::new(ErrorKind::ConfigurationNotFound, format!("there is no configuration {id}"))
}
