//! Enrichments: application properties that the hub puts on events on their way to endpoints.

use super::error::RoutingError;
use super::spec::EnrichmentSpec;
use super::table::Targets;
use crate::envelope::{EventSource, Properties, Property};
use crate::query::{Case, Fields, Path, Value};

/// Longest key, in bytes.
const KEY_MAX: usize = 128;

/// Longest value as it is written down, in bytes: that of a string in a twin.
const VALUE_MAX: usize = 4096;

/// An enrichment that was checked.
#[derive(Debug)]
pub(super) struct Enrichment {
    key: Box<str>,
    value: Source,
    /// For whom.
    pub(super) to: Targets,
}

#[derive(Debug)]
enum Source {
    Text(Box<str>),
    /// A path into the twin, and the text that stands for it where it leads nowhere.
    Twin(Path, Box<str>),
}

impl Enrichment {
    pub(super) fn new(spec: &EnrichmentSpec, to: Targets, hub: &str) -> Result<Self, RoutingError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if spec.key.is_empty() || spec.key.len() > KEY_MAX || !spec.key.chars().all(legal) {
            return Err(RoutingError::EnrichmentKey(spec.key.clone()));
        }
        if to == 0 {
            return Err(RoutingError::EnrichmentNowhere(spec.key.clone()));
        }
        let wrong = || RoutingError::EnrichmentValue { key: spec.key.clone() };
        if spec.value.len() > VALUE_MAX {
            return Err(wrong());
        }
        let value = match spec.value.strip_prefix('$') {
            None => Source::Text(spec.value.as_str().into()),
            Some(name) if name.eq_ignore_ascii_case("iothubname") => Source::Text(hub.into()),
            Some(name) => {
                let path = twin_path(name).ok_or_else(wrong)?;
                Source::Twin(path, spec.value.as_str().into())
            }
        };
        Ok(Self { key: spec.key.as_str().into(), value, to })
    }

    /// Whether its value is looked up in the sender's twin.
    pub(super) fn needs_twin(&self) -> bool {
        matches!(self.value, Source::Twin(..))
    }
}

/// The path below `$twin`, of at least one name below the section.
fn twin_path(name: &str) -> Option<Path> {
    let path = name.strip_prefix("twin.")?;
    let inside = path
        .strip_prefix("tags.")
        .or_else(|| path.strip_prefix("properties.desired."))
        .or_else(|| path.strip_prefix("properties.reported."))?;
    inside.split('.').all(|name| !name.is_empty()).then(|| Path::of(path.split('.')))
}

/// An endpoint gets a property once.
pub(super) fn check_keys(all: &[Enrichment]) -> Result<(), RoutingError> {
    for (index, one) in all.iter().enumerate() {
        let clash = |other: &&Enrichment| {
            other.to & one.to != 0 && other.key.eq_ignore_ascii_case(&one.key)
        };
        if all.iter().take(index).any(|other| clash(&other)) {
            let name = one.key.to_string();
            return Err(RoutingError::Duplicate { what: "enrichment", name });
        }
    }
    Ok(())
}

/// Whether events of this source are enriched.
pub(super) fn applies_to(source: EventSource) -> bool {
    source != EventSource::DigitalTwinChange
}

/// The properties of these enrichments for an event of this sender.
pub(super) fn properties<'e>(
    enrichments: impl Iterator<Item = &'e Enrichment>,
    twin: Option<&dyn Fields>,
) -> Properties {
    let texts: Vec<(&str, String)> = enrichments.map(|e| (&*e.key, e.text(twin))).collect();
    texts.iter().map(|(key, text)| Property::Application(key, Some(text))).collect()
}

/// What they add to the size of an event. A property that is replaced is counted too.
pub(super) fn size(properties: &Properties) -> usize {
    let of = |property| match property {
        Property::System(_, value) => value.len(),
        Property::Application(key, value) => key.len() + value.map_or(0, str::len),
    };
    properties.iter().map(of).fold(0, usize::saturating_add)
}

impl Enrichment {
    fn text(&self, twin: Option<&dyn Fields>) -> String {
        match &self.value {
            Source::Text(text) => text.to_string(),
            Source::Twin(path, literal) => {
                let found =
                    twin.map_or(Value::Undefined, |twin| twin.value(path, Case::ExactFirst));
                match found {
                    Value::Text(text) => text.into_owned(),
                    Value::Bool(value) => value.to_string(),
                    Value::Number(value) => value.to_string(),
                    _ => literal.to_string(),
                }
            }
        }
    }
}
