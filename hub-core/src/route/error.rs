//! Why routes cannot be used.

use crate::query::ParseError;

/// What is wrong with a set of routes. Nothing of the set is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoutingError {
    /// A name that is none: 1 to 64 ASCII letters, digits and `. _ -`.
    #[error("{what} name {name:?}: a name is 1 to 64 letters, digits or . _ -")]
    Name {
        /// Of what: `route` or `endpoint`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Two of a kind have one name. Case does not tell names apart.
    #[error("two have the {what} name {name:?}")]
    Duplicate {
        /// Of what: `route`, `endpoint` or `enrichment`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// More than the limit.
    #[error("{count} {what}, the limit is {limit}")]
    TooMany {
        /// Of what: `routes`, `endpoints` or `enrichments`.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// An endpoint that nobody has defined.
    #[error("{by} names the endpoint {endpoint:?}, which is not defined")]
    NoSuchEndpoint {
        /// The route or enrichment that names it.
        by: String,
        /// The name.
        endpoint: String,
    },
    /// A condition that is none. The error below it has the position.
    #[error("the condition of {route} is wrong")]
    Condition {
        /// The route.
        route: String,
        /// What is wrong, and where.
        #[source]
        error: ParseError,
    },
    /// An enrichment whose key is not 1 to 128 ASCII letters, digits and `- _ .`.
    #[error("enrichment key {0:?}: a key is 1 to 128 letters, digits or - _ .")]
    EnrichmentKey(String),
    /// An enrichment whose value begins with `$` and is neither `$iothubname` nor a path below
    /// `$twin.tags.`, `$twin.properties.desired.` or `$twin.properties.reported.`, or is too long.
    #[error("enrichment {key}: the value is no text, no path into a twin and not $iothubname")]
    EnrichmentValue {
        /// The key of the enrichment.
        key: String,
    },
    /// An enrichment that names no endpoint.
    #[error("enrichment {0} names no endpoint")]
    EnrichmentNowhere(String),
    /// A sample that is too large to be an event.
    #[error("the sample is too large to be an event")]
    Sample,
}
