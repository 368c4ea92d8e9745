//! Jobs: one piece of work over many devices.
//!
//! A job is a document, and its devices lie in four queues. What becomes of a device is one change: it
//! leaves a queue and enters another, together with what was done to it. So a device is done once,
//! however many nodes work on the job and however often they stop in the middle, and the depths of
//! the queues are the statistics of the job.
//!
//! | the job | becomes | when |
//! |---|---|---|
//! | queued | running | its start has come |
//! | running | running | it has found some of its devices: they enter the queue of those to do |
//! | running | completed | all devices are found, and none is to do or waits |
//! | running | failed | its devices cannot be found, or not before its time is over |
//! | queued, running | cancelled | somebody says so |
//!
//! | a device is | it is taken, and | then |
//! |---|---|---|
//! | to do, or waits | the job's time is over | it has failed, for the reason it waited for |
//! | to do, or waits | a call was made and its end is not known | it has failed: nobody calls twice |
//! | to do, or waits | the work is done | it has succeeded |
//! | to do, or waits | the work was refused for good | it has failed |
//! | to do, or waits | the device is not online, or the hub was busy | it waits, for some seconds |
//!
//! Writing a twin and noting so is one change. A direct method is noted before it is made and not
//! repeated when its end is not known: whoever has to know whether it happened asks the device.
//!
//! Source: the developer guide on jobs, and the SDKs' tests for the names of states.

mod body;
mod device;
mod event;
mod failure;
mod row;
mod spec;
mod state;
mod statistics;
#[cfg(test)]
mod tests;

pub use self::device::{Done, Part, Shelf, Step, ended, retried};
pub use self::event::event;
pub use self::failure::{Cause, Failure};
pub use self::row::{PartStatus, row, status};
pub use self::spec::{JobKind, JobSpec, Work, twin_update};
pub use self::state::{End, Finding, Job, JobStatus, Phase};
pub use self::statistics::Statistics;
pub use crate::id::JobId;
