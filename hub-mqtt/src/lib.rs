//! MQTT 3.1.1 adapter.

pub mod bag;
pub mod codec;
pub mod connect;
pub mod problem;
pub mod session;
pub mod topics;
pub mod username;
