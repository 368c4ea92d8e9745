//! An IoT hub as a library: the protocol-agnostic core, its ports and the engine.

pub mod envelope;
pub mod error;
pub mod frame;
pub mod hello;
pub mod id;
pub mod limits;
pub mod registry;
pub mod security;
pub mod store;
pub mod time;
pub mod twin;
