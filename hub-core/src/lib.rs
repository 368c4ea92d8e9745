//! An IoT hub as a library: the protocol-agnostic core, its ports and the engine.

pub mod blob;
pub mod bulk;
pub mod configuration;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod delivery;
pub mod device;
pub mod endpoint;
pub mod engine;
pub mod envelope;
pub mod error;
pub mod frame;
pub mod hello;
pub mod id;
pub mod inbox;
pub mod job;
pub mod limits;
pub mod method;
pub mod node;
pub mod query;
pub mod quota;
pub mod registry;
pub mod roster;
pub mod route;
pub mod security;
pub mod session;
pub mod store;
pub mod time;
pub mod transport;
pub mod twin;
pub mod upload;

pub use blob::BlobStore;
pub use endpoint::Endpoint;
pub use engine::{
    Clock, DeviceClient, Downlink, Hub, HubBuilder, Link, Shutdown, ShutdownReport, Uplink,
};
pub use error::{ErrorKind, HubError};
pub use id::{Address, DeviceId, ModuleId, NodeId};
pub use limits::Limits;
pub use store::Store;
pub use time::Timestamp;
pub use transport::{StreamHandler, Transport, TransportError};
