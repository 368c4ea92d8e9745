//! Configurations: settings for the desired properties of all twins that a condition selects.
//!
//! A configuration targets devices, or modules, by their ids, tags and reported properties. What it
//! sets are paths in the desired properties. Of the configurations that target one twin each path is
//! set by the one of the highest rank: the highest priority, and of equal ones the newest.
//!
//! | a configuration | a twin | becomes |
//! |---|---|---|
//! | is made, or its condition or priority changes | that it selects | targeted, then applied |
//! | is there | that comes to be selected | targeted at once, in the same change; then applied |
//! | is there | that is not selected any more | free of its settings; the next in rank sets them |
//! | is removed | that it targeted | free of its settings; the next in rank sets them |
//! | whose paths are all set by others | that it selects | targeted, and not applied |
//! | whose settings are too large for the twin | that it selects | targeted, and tried again |
//!
//! The twin's own document says which configurations target it and what they have put into it, so
//! applying them and noting so is one change, and what was put there is taken away by whoever comes.
//! What a twin is to be is decided by the twin and the configurations alone ([`Deployed::plan`]):
//! deciding it twice does no harm.
//!
//! | who | finds a twin that is not what it is to be | when |
//! |---|---|---|
//! | whoever writes tags or reported properties, or makes the twin | this one | in the same change |
//! | the sweep ([`Sweep`]) | any | the configurations have changed; and from time to time |
//!
//! and puts it into a queue ([`Todo`]), from which any node takes it.
//!
//! Source: the guides on automatic device and module management.

mod content;
mod metric;
mod overlay;
mod plan;
mod queue;
mod spec;
mod state;
mod stored;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use self::content::parse_settings;
pub use self::content::{Content, Kind, Setting};
pub use self::metric::{Metric, applied_query, target_metric, targeted_query};
pub(crate) use self::overlay::desired_patch;
pub use self::plan::Plan;
pub use self::queue::Todo;
pub use self::spec::ConfigurationSpec;
pub(crate) use self::state::not_found;
pub use self::state::{Configuration, delete, put};
pub use self::stored::Index;
pub use self::sweep::{Progress, Round, Sweep};
pub use self::table::{Deployed, target};
pub use crate::id::ConfigurationId;
