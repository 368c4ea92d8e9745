//! Crashes a hub under load and checks that it kept its word.
//!
//! Devices (MQTT, and HTTP for some of their messages) and back ends (HTTP) work against a `hubd`
//! process. Meanwhile faults are injected at moments that a seed decides: the process is killed, killed
//! while it starts, asked to stop, frozen, and its disk is filled. Everything that a client was told is
//! written down by an [`oracle`], which compares it with what the hub shows from then on:
//!
//! - every acknowledged telemetry message is in the log, those of a device in the order in which it
//!   sent them, and what has been read once is read again the same;
//! - every accepted cloud-to-device message stays in its queue until it is settled or expires, and one
//!   that was settled does not come back;
//! - every acknowledged twin write is there, and each version is the one before it plus one;
//! - numbers of the log follow each other; none is used twice;
//! - a method call is dispatched at most once, and answered with what the device said;
//! - registered devices stay registered, and acknowledged subscriptions stay.
//!
//! An answer that never came means "unknown", never "no". When the faults are over, everything must
//! settle within a bound.
//!
//! Power loss is simulated instead, see [`power`].

pub mod args;
mod backend;
mod device;
mod faults;
mod follower;
mod http;
mod mqtt;
pub mod oracle;
mod postgres;
pub mod power;
mod proxy;
mod receiver;
mod run;
mod server;
mod text;
mod world;

pub use self::faults::Fault;
pub use self::run::{Plan, Report, run};
pub use self::server::{HubdError, Place};
