//! Where events go: sources, routes with conditions, the fallback, enrichments, and the delivery to
//! endpoints.
//!
//! | source | an event when |
//! |---|---|
//! | telemetry | a device or module sends one |
//! | twin changes | a twin is patched or replaced, or properties are reported |
//! | device lifecycle | an identity is created or deleted |
//! | connection state | a session begins or ends |
//! | digital twin changes | a digital twin is patched |
//! | job lifecycle | the part of a job that concerns one device begins or ends |
//!
//! Events that the hub makes are written down as [`Fact`]s in the very change of which they tell:
//! none without the other. A [`Routing`] is asked where an event goes, at the time it comes in and
//! before anything is stored. What goes to the built-in log is appended there; what goes to other
//! endpoints is appended once to the [`outbox`], in the same change, and each endpoint works it off
//! from a position of its own, as [`Courier`] says.
//!
//! **Invariant:** an event goes to an endpoint once, however many routes name it.
//! **Invariant:** the fallback takes telemetry, and only what no route took.

mod courier;
mod enrich;
mod error;
mod fact;
pub mod outbox;
mod place;
mod spec;
mod table;
#[cfg(test)]
mod tests;
mod trial;

pub use self::courier::{Courier, EndpointStatus, Failure, FailureKind, Pace};
pub use self::error::RoutingError;
pub use self::fact::{Fact, OMITTED, Presence};
pub use self::place::{Place, Tenure};
pub use self::spec::{
    BUILT_IN, EnrichmentSpec, FALLBACK, FallbackSpec, NAME_MAX, RouteSpec, RoutingSpec,
};
pub use self::table::{ENDPOINTS_CEILING, RouteCounts, Routing, RoutingCounts};
pub use self::trial::{Sample, Trial, try_route};
