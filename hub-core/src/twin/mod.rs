//! The device twin: a document of three sections that a device and its back ends share.
//!
//! | section | back ends | device | `$version` and `$metadata` |
//! |---|---|---|---|
//! | `tags` | read, patch, replace | does not see it | no |
//! | `properties.desired` | read, patch, replace | reads, observes | yes |
//! | `properties.reported` | read | reads, patches | yes |
//!
//! Three counters stand beside them. The twin's *version* counts every write. The *etag* counts the
//! writes of back ends and is what they make a write conditional on. Each section of properties
//! has its own *`$version`*: a write of tags does not move that of the desired properties, and the
//! device hears nothing of it.
//!
//! | write | condition | moves |
//! |---|---|---|
//! | [`Twin::report`] | version of `reported` | version, version of `reported` |
//! | [`Twin::patch`], [`Twin::replace`] of tags | etag | version, etag |
//! | the same of desired properties | etag | version, etag, version of `desired` |
//! | [`Twin::set_configured`] | none | none |
//!
//! A patch merges as JSON Merge Patch does, with three additions: a null is never stored, not even
//! inside a member that is new; a null inside an array is refused; an object in the patch makes the
//! object it merges into, if there is none, also where nothing is left of it.
//!
//! ```
//! use hub_core::{limits::Limits, time::Timestamp, twin::{Patch, ServicePatch, Twin}};
//!
//! let (limits, now) = (Limits::default(), Timestamp::from_millis(1_772_000_000_000));
//! let mut twin = Twin::new(now);
//! let patch = Patch::parse(br#"{"interval":5,"old":null}"#, &limits)?;
//! let change = twin.patch(&ServicePatch::of_desired(patch), None, now, &limits)?;
//! let notice = change.desired_notice().map(|notice| notice.body);
//! assert_eq!(notice.as_deref(), Some(&br#"{"interval":5,"old":null,"$version":2}"#[..]));
//! assert_eq!(
//!     &twin.device_view()[..],
//!     br#"{"desired":{"interval":5,"$version":2},"reported":{"$version":1}}"#,
//! );
//! # Ok::<(), hub_core::twin::TwinError>(())
//! ```

mod change;
mod codec;
mod configured;
mod cursor;
mod digital;
mod document;
mod error;
mod history;
mod known;
mod lookup;
mod notices;
mod patch;
mod pick;
mod read;
mod section;
mod undo;
mod view;

#[cfg(test)]
mod tests;

pub use change::{ChangeKind, DesiredNotice, TwinChange};
pub use configured::{Configured, Held, Mark, Statuses};
pub use digital::{DigitalPatch, DigitalPatchError, digital_changes};
pub use document::{SectionName, Twin};
pub use error::{DecodeError, TwinError};
pub use history::{TwinVersion, Writer, twin_at_time, twin_at_version};
pub use known::{Known, Names};
pub use notices::{Notices, Tell};
pub use patch::{Patch, SectionWrite, ServicePatch};
pub use pick::{TwinPaths, TwinValues};
pub use read::DEPTH_CEILING;
pub use section::{Node, Section, Stamp};
pub use view::ServiceProperties;
