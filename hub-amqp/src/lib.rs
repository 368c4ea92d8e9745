//! AMQP 1.0 adapter of the hub: what back ends, Event Hubs clients and devices of Azure IoT Hub say
//! over TLS, plain TCP or a WebSocket.
//!
//! ```no_run
//! # async fn serve(hub: hub_core::Hub, chain: &[u8], key: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! use hub_amqp::{AmqpTransport, TlsSettings};
//!
//! let tls = TlsSettings::from_pem(chain, key, b"")?;
//! let transport = AmqpTransport::builder().listen_tls("0.0.0.0:5671".parse()?, tls).bind()?;
//! println!("listening on {:?}", transport.local_addrs());
//! hub.serve(transport);
//! # Ok(())
//! # }
//! ```
//!
//! # How it is made
//!
//! [`codec`] turns bytes into values and performatives, [`endpoint`] is a connection with its
//! sessions, links, windows and credit as a machine, [`address`], [`filter`], [`token`],
//! [`inbound`] and [`outbound`] translate between the service's dialect and the hub's words. All of
//! these are pure. The driver (`conn`) owns the socket, the hub's links and what is being waited
//! for; the server owns the listeners, `hub_tls` the certificates.
//!
//! # One listener for everybody
//!
//! Nothing on the wire but the addresses of links tells a back end from a reader of the event log
//! or a device:
//!
//! | address | who | what |
//! |---|---|---|
//! | `$cbs` | all | tokens, put and renewed |
//! | `$management` | readers | what the log and its partitions hold |
//! | `/messages/devicebound` | back ends | sends cloud-to-device messages |
//! | `/messages/serviceBound/feedback` | back ends | receives feedback, under locks |
//! | `/messages/serviceBound/filenotifications` | back ends | receives file notifications, under locks |
//! | `{hub}/ConsumerGroups/{group}/Partitions/{partition}` | readers | the event log |
//! | `/devices/{id}/messages/events` | devices | telemetry |
//! | `/devices/{id}/messages/devicebound` | devices | cloud-to-device messages |
//! | `/devices/{id}/twin` | devices | the twin |
//! | `/devices/{id}/methods/devicebound` | devices | direct methods |
//!
//! `messages/events` is the log by another name, and `/devices/{id}/modules/{id}` stands for a
//! module wherever a device may.
//!
//! # Where it differs from the service
//!
//! - The hub's own name serves the event log too; there is no redirect to another.
//! - An epoch counts on the node where its reader is connected.
//! - Application properties of devices are text in the hub, whatever they were on the wire.
//!
//! # Bounds
//!
//! [`AmqpLimits`] has what one connection may hold, [`hub_core::Limits`] what all protocols share:
//! `connections_max`, `handshake_timeout`, `peer_write_bytes_max` and the sizes of messages. A
//! receiver of events holds no more than its credit lets it be sent, and no more than one page.
//!
//! Measured on Linux, release profile, ten thousand links on ten connections: an idle link takes
//! about 0.8 KiB, a reader that has credit and waits for events about 1.7 KiB, an idle connection
//! without TLS some 20 KiB (`readers` in the project's benches).

pub mod address;
pub mod codec;
mod conn;
pub mod endpoint;
pub mod filter;
pub mod inbound;
mod limits;
mod metrics;
pub mod outbound;
pub mod problem;
mod readers;
mod server;
pub mod token;

pub use self::limits::AmqpLimits;
pub use self::metrics::Metrics;
pub use self::server::{AmqpMetrics, AmqpStreamHandler, AmqpTransport, AmqpTransportBuilder};
pub use hub_tls::{TlsError, TlsSettings};
