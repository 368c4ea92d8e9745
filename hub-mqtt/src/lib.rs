//! MQTT 3.1.1 adapter of the hub: what devices and modules of Azure IoT Hub say over TCP, TLS or a
//! WebSocket.
//!
//! ```no_run
//! # async fn serve(hub: hub_core::Hub, chain: &[u8], key: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! use hub_mqtt::{MqttTransport, TlsSettings};
//!
//! let tls = TlsSettings::from_pem(chain, key, b"")?;
//! let transport = MqttTransport::builder().listen_tls("0.0.0.0:8883".parse()?, tls).bind()?;
//! println!("listening on {:?}", transport.local_addrs());
//! hub.serve(transport);
//! # Ok(())
//! # }
//! ```
//!
//! # How it is made
//!
//! [`codec`] turns bytes into packets, [`topics`], [`bag`], [`username`] and [`problem`] translate
//! between the service's dialect and the hub's words, [`connect`] judges the first packet and
//! [`session`] is the rest of a connection as a machine. All of these are pure. The driver around
//! them owns the socket and the link, the server owns the listeners, `hub_tls` the certificates.
//!
//! # Where the standard and the service differ
//!
//! - QoS 2 publishes, unknown topics and unknown filters close the connection: MQTT 3.1.1 has no
//!   negative answer that stock SDKs understand.
//! - A retained message is an ordinary one with the property `mqtt-retain`.
//! - An unacknowledged cloud-to-device message is sent again with DUP when the device comes back;
//!   its packet id follows from its place in the queue, so it is the same one.
//! - Clean sessions forget subscriptions, never queued messages.
//!
//! # Bounds
//!
//! All are in [`hub_core::Limits`]: `connections_max` (per transport before authentication, per hub
//! after it), `handshake_timeout`, `silence_max`, `telemetry_bytes_max`, `link_window`,
//! `subscriptions_max` and `peer_write_bytes_max`. A peer that does not read what it is sent is
//! first not read from, then cut off.

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
