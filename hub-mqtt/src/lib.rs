//! MQTT 3.1.1 adapter.

pub mod bag;
pub mod codec;
mod conn;
pub mod connect;
mod metrics;
pub mod problem;
mod server;
pub mod session;
pub mod topics;
pub mod username;

pub use self::metrics::Metrics;
pub use self::server::{MqttMetrics, MqttStreamHandler, MqttTransport, MqttTransportBuilder};
pub use hub_tls::{TlsError, TlsSettings};
