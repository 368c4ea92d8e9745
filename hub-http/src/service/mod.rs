//! What back ends do.

pub(crate) mod bulk;
pub(crate) mod c2d;
pub(crate) mod configurations;
pub(crate) mod digital_twins;
pub(crate) mod events;
pub(crate) mod feedback;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod jobs;
pub(crate) mod letters;
pub(crate) mod method;
pub(crate) mod query;
pub(crate) mod registry;
pub(crate) mod registry_jobs;
pub(crate) mod routing;
pub(crate) mod stream;
pub(crate) mod twin;
