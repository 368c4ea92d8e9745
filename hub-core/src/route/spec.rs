//! Routes as they are written down.

use crate::envelope::EventSource;

/// The name of the built-in event log among endpoints.
pub const BUILT_IN: &str = "events";

/// The name by which the fallback route is told and counted.
pub const FALLBACK: &str = "$fallback";

/// Longest name of a route or endpoint, in characters.
pub const NAME_MAX: usize = 64;

/// A route: which events go to which endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteSpec {
    /// Its name: 1 to 64 ASCII letters, digits and `. _ -`, unique without regard to case.
    pub name: String,
    /// Which events it looks at.
    pub source: EventSource,
    /// Which of these it takes: a condition in the language of `query`. `true` takes all; an empty
    /// one is undefined and takes none.
    pub condition: String,
    /// Where they go: [`BUILT_IN`], or the name of an endpoint.
    pub endpoint: String,
    /// Whether it counts. One that does not is checked all the same.
    pub enabled: bool,
}

impl RouteSpec {
    /// An enabled route.
    #[must_use]
    pub fn new(name: &str, source: EventSource, condition: &str, endpoint: &str) -> Self {
        Self {
            name: name.to_owned(),
            source,
            condition: condition.to_owned(),
            endpoint: endpoint.to_owned(),
            enabled: true,
        }
    }

    /// The route that puts all events of a source into the built-in log.
    #[must_use]
    pub fn of_source(source: EventSource) -> Self {
        Self::new(source.name(), source, "true", BUILT_IN)
    }

    /// The same, not counting.
    #[must_use]
    pub fn disabled(self) -> Self {
        Self { enabled: false, ..self }
    }
}

/// The route for telemetry that no other route took. It never takes other events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FallbackSpec {
    /// Which telemetry it takes; `true` if nothing else is said.
    pub condition: String,
    /// Where it goes; [`BUILT_IN`] if nothing else is said.
    pub endpoint: String,
    /// Whether it counts; it does if nothing else is said. Without it such telemetry is orphaned:
    /// acknowledged, counted, and kept nowhere.
    pub enabled: bool,
}

impl Default for FallbackSpec {
    fn default() -> Self {
        Self { condition: "true".to_owned(), endpoint: BUILT_IN.to_owned(), enabled: true }
    }
}

impl FallbackSpec {
    /// A fallback that takes all and sends it to this endpoint.
    #[must_use]
    pub fn to(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), ..Self::default() }
    }

    /// The same as a route, which is called [`FALLBACK`]. No other route can have that name.
    #[must_use]
    pub fn as_route(&self) -> RouteSpec {
        let source = EventSource::Telemetry;
        let route = RouteSpec::new(FALLBACK, source, &self.condition, &self.endpoint);
        RouteSpec { enabled: self.enabled, ..route }
    }

    /// A fallback that does not count.
    #[must_use]
    pub fn disabled() -> Self {
        Self { enabled: false, ..Self::default() }
    }
}

/// An application property that is put on every event for some endpoints.
///
/// Source: message enrichments of IoT Hub. Digital twin change events are not enriched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnrichmentSpec {
    /// The name of the property: 1 to 128 ASCII letters, digits and `- _ .`. A property that the
    /// event has under this name is replaced.
    pub key: String,
    /// Its value: a text; `$iothubname`; or a path into the twin of the sender that begins with
    /// `$twin.tags.`, `$twin.properties.desired.` or `$twin.properties.reported.`. Where such a
    /// path leads to no text, number or boolean, the path itself is the value.
    pub value: String,
    /// Which endpoints: at least one.
    pub endpoints: Vec<String>,
}

impl EnrichmentSpec {
    /// An enrichment of what goes to these endpoints.
    pub fn new<'e>(key: &str, value: &str, endpoints: impl IntoIterator<Item = &'e str>) -> Self {
        Self {
            key: key.to_owned(),
            value: value.to_owned(),
            endpoints: endpoints.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// All that decides where events go. The default is no route and the fallback: telemetry goes to
/// the built-in log, and there are no other events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RoutingSpec {
    /// The routes. Their order does not matter.
    pub routes: Vec<RouteSpec>,
    /// What becomes of telemetry that none of them took.
    pub fallback: FallbackSpec,
    /// What is put on events on their way out.
    pub enrichments: Vec<EnrichmentSpec>,
}

/// Whether a text can name a route or an endpoint.
pub(super) fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=NAME_MAX).contains(&text.len()) && text.chars().all(legal)
}
