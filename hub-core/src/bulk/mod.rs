//! The registry in bulk: identities with their twins as records, as lines of a file, and the jobs that
//! export and import them.
//!
//! A record is read and written as the service's bulk operations have it (`ExportImportDevice`), a file
//! has one per line. What a record asks for is decided by the rules of [`crate::registry`] and
//! [`crate::twin`]; what is here says which of them are asked.
//!
//! | mode | there is none | there is one |
//! |---|---|---|
//! | `create` | it is created | refused |
//! | `update` | refused | it is updated, whatever its etag |
//! | `updateIfMatchETag` | refused | it is updated if it has the etag |
//! | `createOrUpdate`, and none named | it is created | it is updated, whatever its etag |
//! | `createOrUpdateIfMatchETag` | it is created | it is updated if it has the etag |
//! | `delete`, `deleteIfMatchETag` | refused | it is deleted; if it has the etag |
//! | `updateTwin`, `updateTwinIfMatchETag` | refused | tags and desired properties are replaced; if the twin has the etag |
//!
//! What creates or updates an identity also replaces those of `tags` and `properties.desired` that the
//! record names. Reported properties are the device's: they are taken over when the identity is
//! created, and left alone when there is one.
//!
//! # Jobs
//!
//! | the job | becomes | when |
//! |---|---|---|
//! | enqueued, running | running | a node takes it, and nobody else holds it |
//! | running | running | a page is written, or a batch of lines is done: how far it came is kept |
//! | running | completed | all is written, or all lines are done and the log of the refused is written |
//! | running | failed | its files cannot be read or written |
//! | enqueued, running | cancelled | somebody says so |
//!
//! There is one at a time. One node works on it; what that node writes is guarded by the job's document,
//! which whoever takes the job writes first: so a node that lost it changes nothing more. A line of an
//! import is done in one change with a mark that says so, and a node that goes on where another stopped
//! leaves out what has a mark: so each line is done once. An export that is cut off begins anew: its
//! file comes to its place when it is whole.
//!
//! Source: "Import and export IoT Hub device identities in bulk", the SDKs' `ExportImportDevice`,
//! `ImportMode` and `JobProperties`.

mod body;
mod content;
mod error;
mod job;
mod lines;
mod mark;
mod mode;
mod object;
mod read;
mod record;
mod report;
#[cfg(test)]
mod tests;
mod write;

pub use self::content::TwinContent;
pub use self::error::RecordError;
pub use self::job::{
    ImportPlace, JobFile, Progress, RegistryEnd, RegistryJob, RegistryPhase, RegistryWork, Tenure,
};
pub use self::lines::{Line, LineTooLong, Lines};
pub use self::mark::{JobQueue, Mark, Step};
pub use self::mode::ImportMode;
pub use self::object::Object;
pub use self::read::identity_spec;
pub use self::record::DeviceRecord;
pub use self::report::{number_of, refused_line, warning_line};
pub use crate::id::JobId;

/// The name of the file of devices, unless another one is named.
pub const DEVICES_FILE: &str = "devices.txt";

/// The name of the file that says which lines of an import were refused, and why.
pub const ERRORS_FILE: &str = "importErrors.log";
