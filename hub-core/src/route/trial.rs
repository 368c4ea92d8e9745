//! Trying a route on a sample event: the same evaluation as for real ones, and nothing is delivered.

use bytes::Bytes;
use serde_json::Value as Json;

use super::error::RoutingError;
use super::spec::RouteSpec;
use crate::envelope::{
    EventBatch, EventSource, EventView, Properties, Property, Stamp, SystemProperty,
};
use crate::id::Address;
use crate::limits::Limits;
use crate::query::{Condition, EventSubject, Explanation};
use crate::time::Timestamp;

/// An event to try routes on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// What kind of event it is.
    pub source: EventSource,
    /// Who sends it.
    pub sender: Address,
    /// Its properties. Nothing is added: a body counts as JSON only if they say so.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
    /// The model that the sender's connection announced.
    pub model: Option<String>,
    /// The sender's twin: an object with `tags` and `properties`, if routes are to see one.
    pub twin: Option<Json>,
    /// When it comes in.
    pub at: Timestamp,
}

impl Sample {
    /// An event without properties, body and twin.
    #[must_use]
    pub fn new(source: EventSource, sender: Address, at: Timestamp) -> Self {
        Self {
            source,
            sender,
            properties: Properties::default(),
            body: Bytes::new(),
            model: None,
            twin: None,
            at,
        }
    }

    /// With a system property, as a device sets it.
    #[must_use]
    pub fn with_system(self, name: SystemProperty, value: &str) -> Self {
        self.with(Property::System(name, value))
    }

    /// With an application property.
    #[must_use]
    pub fn with_application(self, name: &str, value: Option<&str>) -> Self {
        self.with(Property::Application(name, value))
    }

    fn with(mut self, property: Property<'_>) -> Self {
        self.properties = self.properties.iter().chain([property]).collect();
        self
    }

    /// With a body.
    #[must_use]
    pub fn with_body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// With the twin of the sender.
    #[must_use]
    pub fn with_twin(self, twin: Json) -> Self {
        Self { twin: Some(twin), ..self }
    }

    fn encode(&self) -> Option<Bytes> {
        let stamp = Stamp::new(self.source, &self.sender, "", None, self.model.as_deref());
        let mut batch = EventBatch::new();
        batch.push(&stamp, self.properties.iter(), &self.body, usize::MAX).ok()?;
        batch.take().get(0)
    }

    /// What a condition comes to for this event, operand by operand.
    fn explain(&self, condition: &Condition) -> Option<Explanation> {
        let event = self.encode()?;
        let view = EventView::parse(&event)?;
        let subject = EventSubject::of(&view, self.at);
        Some(match &self.twin {
            Some(twin) => condition.explain(&subject.with_twin(twin)),
            None => condition.explain(&subject),
        })
    }
}

/// What became of a sample.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Trial {
    /// The route that was tried.
    pub route: RouteSpec,
    /// Whether the event would go to the route's endpoint. Not where the route is disabled or of
    /// another source, whatever its condition says.
    pub matched: bool,
    /// What its condition came to, operand by operand.
    pub explanation: Explanation,
}

/// Tries a route on a sample. Which endpoint it names does not matter.
///
/// # Errors
/// [`RoutingError::Condition`] where the condition is wrong, and where.
pub fn try_route(
    route: &RouteSpec,
    sample: &Sample,
    limits: &Limits,
) -> Result<Trial, RoutingError> {
    let wrong = |error| RoutingError::Condition { route: route.name.clone(), error };
    let condition = Condition::parse(&route.condition, limits).map_err(wrong)?;
    // Fails only for a sample that is no event: one of more than 4 GiB.
    let explanation = sample.explain(&condition).ok_or(RoutingError::Sample)?;
    let applies = route.enabled && route.source == sample.source;
    let matched = applies && explanation.evaluation.truth.holds();
    Ok(Trial { route: route.clone(), matched, explanation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Truth;
    use serde_json::json;

    fn sample() -> Sample {
        let sender = Address::parse("d1").unwrap();
        Sample::new(EventSource::Telemetry, sender, Timestamp::from_millis(5))
            .with_system(SystemProperty::ContentType, "application/json")
            .with_system(SystemProperty::ContentEncoding, "utf-8")
            .with_application("kind", Some("Alarm"))
            .with_body(r#"{"t":50}"#)
            .with_twin(json!({"tags": {"floor": "1"}}))
    }

    fn tried(condition: &str, sample: &Sample) -> Trial {
        let route = RouteSpec::new("r", EventSource::Telemetry, condition, "anywhere");
        try_route(&route, sample, &Limits::default()).unwrap()
    }

    #[test]
    fn each_operand_is_explained() {
        let trial = tried("kind = 'Alarm' AND $body.t > 60", &sample());
        assert!(!trial.matched);
        let told: Vec<(String, String)> = trial
            .explanation
            .operands
            .iter()
            .map(|operand| (operand.text.clone(), operand.value.to_string()))
            .collect();
        let of = |text: &str| {
            told.iter().find(|(found, _)| found == text).map(|(_, value)| value.as_str())
        };
        assert_eq!(of("kind"), Some("'Alarm'"));
        assert_eq!(of("$body.t"), Some("50"));
        assert_eq!(of("$body.t > 60"), Some("false"));
        assert_eq!(of("kind = 'Alarm'"), Some("true"));
    }

    #[test]
    fn the_sample_is_tried_as_it_is() {
        assert!(tried("$twin.tags.floor = '1' AND $connectionDeviceId = 'd1'", &sample()).matched);
        let mut bare = sample();
        bare.properties = Properties::default();
        let trial = tried("$body.t = 50", &bare);
        assert_eq!(trial.explanation.evaluation.truth, Truth::Undefined);
        assert!(trial.explanation.evaluation.fault.is_some());
    }

    #[test]
    fn a_route_of_another_source_does_not_match_and_is_explained_all_the_same() {
        let mut twins = sample();
        twins.source = EventSource::TwinChange;
        let trial = tried("kind = 'Alarm'", &twins);
        assert!(!trial.matched && trial.explanation.evaluation.truth == Truth::True);
    }

    #[test]
    fn a_wrong_condition_is_told_with_its_place() {
        let route = RouteSpec::new("r", EventSource::Telemetry, "kind = ", "anywhere");
        let error = try_route(&route, &sample(), &Limits::default()).unwrap_err();
        let RoutingError::Condition { error, .. } = error else { panic!("{error}") };
        assert_eq!((error.line(), error.column()), (1, 8));
    }
}
