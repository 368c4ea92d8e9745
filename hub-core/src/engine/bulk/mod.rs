//! The registry in bulk: exporting and importing in process, and the jobs that do it with files. What a
//! record asks for is in [`crate::bulk`].

mod apply;
mod export;
mod import;
mod jobs;
mod keeper;
mod runner;
mod waves;

pub use self::apply::Imported;
pub use self::export::ExportOptions;
pub use self::import::ImportResult;
pub use self::jobs::{ExportJobSpec, ImportJobSpec, RegistryJobs};
pub(super) use self::keeper::start;
