//! Routes at work: what decides where events go now, and the workers that bring them there.

mod handler;
mod health;
mod router;
mod worker;

pub use self::handler::HandlerEndpoint;
pub use self::health::{EndpointError, EndpointHealth};
pub(crate) use self::router::{Named, Router};
pub(crate) use self::worker::start;
