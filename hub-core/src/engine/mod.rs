//! The only module that awaits: it feeds inputs to the pure machines, makes their effects real, and
//! feeds the results back.
//!
//! - [`Hub`] is what applications hold; [`Link`] is a connection as an adapter holds it.
//! - A shard is a lock, the machines of the devices of one log partition, and a committer. Whoever
//!   brings an input carries out its effects.
//! - The committer has one batch in flight per shard; what waits gathers into the next. Events take
//!   the same way, without the shard's lock.
//! - Reads and claims are tried at once, and waited for in a task only if the store is not ready.
//!
//! **Invariant:** no lock is held across an await.
//! **Invariant:** a receipt leaves after the outcome of its change, never before.

mod admit;
mod asking;
mod builder;
mod bulk;
mod clock;
mod committer;
mod configurations;
mod core;
mod device_client;
mod events;
mod feedback;
mod files;
mod gate;
mod health;
mod history;
mod holder;
mod hooks;
mod hub;
mod inbox;
mod jobs;
mod letters;
mod lifecycle;
mod line;
mod link;
mod membership;
mod messages;
mod meter;
mod once;
mod outcomes;
mod query;
mod registry;
mod roster;
mod routing;
mod service_queue;
mod shard;
mod shutdown;
mod slots;
mod tasks;
mod throttle;
mod turn;
mod uploads;

pub use self::builder::{BuildError, HubBuilder, PARTITIONS_DEFAULT, PARTITIONS_MAX};
pub use self::bulk::{
    ExportJobSpec, ExportOptions, ImportJobSpec, ImportResult, Imported, RegistryJobs,
};
pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::configurations::{ConfigurationState, Configurations, MetricState, QueryTrial};
pub use self::device_client::{DeviceClient, DeviceEvent};
pub use self::events::{Cursor, EventReader, PartitionInfo, Position, check_group};
pub use self::feedback::{FeedbackBatch, FeedbackReceiver};
pub use self::files::{FileNotificationReceiver, ReceivedFileNotification};
pub use self::health::{Gauges, Health, Resource};
pub use self::history::TwinHistory;
pub use self::hooks::{Action, Actor, Authenticator, Authorizer, Decision, RegistryAuthenticator};
pub use self::hub::Hub;
pub use self::jobs::{JobFilter, JobPage, JobState, Jobs, PartPage, PartState};
pub use self::letters::DeadLetters;
pub use self::lifecycle::{Lifecycle, LifecycleEvent, LifecycleEvents};
pub use self::link::{Downlink, Link, Permit, Uplink};
pub use self::membership::{JoinError, NodeStatus};
pub use self::messages::{QueuedMessage, SentMessage};
#[cfg(feature = "conformance")]
pub(crate) use self::query::Scan;
pub use self::query::{QueryPage, QueryRows};
pub use self::registry::{Registration, Registry, Statistics, TwinState};
pub use self::routing::{EndpointError, EndpointHealth, HandlerEndpoint};
pub use self::shutdown::{Shutdown, ShutdownReport};
pub use self::uploads::{UploadReport, UploadTicket};
