//! The event that tells of the end of a device's part in a job.

use sha2::{Digest as _, Sha256};

use super::device::Part;
use super::row::{PartStatus, row};
use super::state::Job;
use crate::envelope::EventSource;
use crate::query::Fields;
use crate::route::{Fact, Routing};
use crate::store::Change;

/// What the end of a part adds to its change: nothing unless a route wants it. The body is the row of
/// `devices.jobs`.
#[must_use]
pub fn event(
    routing: &Routing,
    partitions: u16,
    job: &Job,
    part: &Part,
    twin: Option<&dyn Fields>,
) -> Change {
    let source = EventSource::JobLifecycle;
    if !routing.wants(source) {
        return Change::new();
    }
    let (op, status) = match &part.result {
        Some(Ok(_)) => ("deviceJobCompleted", PartStatus::Completed),
        _ => ("deviceJobFailed", PartStatus::Failed),
    };
    // Tells two jobs apart that end at one device in the same millisecond.
    let digest = Sha256::digest(job.id.as_str());
    let number = digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let body = serde_json::Value::Object(row(job, part, status)).to_string().into();
    let fact = Fact { source, address: &part.device, op, at: part.updated, number, body };
    routing.record(&fact, partitions, twin)
}
