//! What a record says about a twin.

use serde_json::{Map, Value};

use super::record::DeviceRecord;
use crate::error::HubError;
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::twin::{Patch, ServicePatch, Twin, TwinError};

/// What a record says about a twin, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinContent {
    /// Tags and desired properties.
    pub service: Option<ServicePatch>,
    /// Reported properties: for a twin that is made, and for no other.
    pub reported: Option<Patch>,
}

impl TwinContent {
    /// Reads what a record says.
    ///
    /// # Errors
    /// As [`ServicePatch::parse`]; `TwinTooLarge` when a section is larger than it may be.
    pub fn of(record: &DeviceRecord, limits: &Limits) -> Result<Self, HubError> {
        let mut document = Map::new();
        if let Some(tags) = &record.tags {
            document.insert("tags".to_owned(), tags.clone());
        }
        if let Some(desired) = &record.desired {
            let properties = Map::from_iter([("desired".to_owned(), desired.clone())]);
            document.insert("properties".to_owned(), Value::Object(properties));
        }
        let service = match document.is_empty() {
            true => None,
            false => Some(ServicePatch::from_value(&Value::Object(document), limits)?),
        };
        let reported = record.reported.as_ref();
        let reported = reported.map(|section| Patch::from_value(section, limits)).transpose()?;
        let content = Self { service, reported };
        // What has no room in an empty twin has none anywhere.
        content.twin(Timestamp::ZERO, limits)?;
        Ok(content)
    }

    /// A new twin of it.
    ///
    /// # Errors
    /// A section is larger than it may be.
    pub fn twin(&self, now: Timestamp, limits: &Limits) -> Result<Twin, TwinError> {
        let mut twin = Twin::new(now);
        if let Some(service) = &self.service {
            twin.replace(service, None, now, limits)?;
        }
        if let Some(reported) = &self.reported {
            twin.report(reported, None, now, limits)?;
        }
        Ok(twin)
    }
}
