//! Configurations as JSON, both ways.

use std::collections::BTreeMap;

use hub_core::configuration::ConfigurationSpec;
use hub_core::engine::{ConfigurationState, MetricState, QueryTrial};
use hub_core::id::ConfigurationId;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::identity::{Object, Text};
use crate::problem::Problem;

/// A configuration with what its queries come to. The content stands as it was given.
pub(crate) struct ConfigurationJson<'a>(pub(crate) &'a ConfigurationState);

impl Serialize for ConfigurationJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ConfigurationState { configuration, system_metrics, metrics } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", configuration.id.as_str())?;
        map.serialize_entry("schemaVersion", &configuration.schema_version)?;
        map.serialize_entry("labels", &configuration.labels)?;
        map.serialize_entry("content", &configuration.content)?;
        map.serialize_entry("targetCondition", &configuration.target)?;
        map.serialize_entry("createdTimeUtc", &Text(configuration.created))?;
        map.serialize_entry("lastUpdatedTimeUtc", &Text(configuration.updated))?;
        map.serialize_entry("priority", &configuration.priority)?;
        map.serialize_entry("systemMetrics", &MetricsJson(system_metrics))?;
        map.serialize_entry("metrics", &MetricsJson(metrics))?;
        map.serialize_entry("etag", &configuration.etag())?;
        map.end()
    }
}

/// `{"results":{…},"queries":{…}}`; a result that is not known is left out.
struct MetricsJson<'a, N>(&'a BTreeMap<N, MetricState>);

impl<N: Serialize> Serialize for MetricsJson<'_, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self.0.iter().filter_map(|(name, state)| Some((name, state.result?)));
        let queries = self.0.iter().map(|(name, state)| (name, &state.query));
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("results", &Pairs(known.collect()))?;
        map.serialize_entry("queries", &Pairs(queries.collect()))?;
        map.end()
    }
}

struct Pairs<N, V>(Vec<(N, V)>);

impl<N: Serialize, V: Serialize> Serialize for Pairs<N, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// What was found wrong with queries: `null` and nothing where nothing is.
pub(crate) struct TrialJson<'a>(pub(crate) &'a QueryTrial);

impl Serialize for TrialJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let errors: BTreeMap<&str, &str> =
            self.0.metrics.iter().map(|(name, error)| (name.as_str(), error.message())).collect();
        let mut map = serializer.serialize_map(Some(2))?;
        let target = self.0.target.as_ref().map(|error| error.message());
        map.serialize_entry("targetConditionError", &target)?;
        map.serialize_entry("customMetricQueryErrors", &errors)?;
        map.end()
    }
}

/// What a document asks a configuration to be. Members that the hub owns are ignored: clients read a
/// document, change it, and send all of it back.
pub(crate) fn spec(
    id: ConfigurationId,
    document: Object<'_>,
) -> Result<ConfigurationSpec, Problem> {
    if document.text("id")?.is_some_and(|given| given != id.as_str()) {
        return Err(Problem::argument("the body is about another configuration than the path"));
    }
    let mut spec = ConfigurationSpec::new(id);
    spec.content = document.get("content").cloned();
    spec.target = document.text("targetCondition")?.map(str::to_owned);
    spec.priority = match document.get("priority") {
        None => None,
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            Some(number.ok_or_else(|| {
                Problem::argument("priority is not a whole number from 0 to 4294967295")
            })?)
        }
    };
    if let Some(metrics) = document.object("metrics")? {
        spec.metrics = Some(queries(metrics.object("queries")?)?);
    }
    spec.labels = document.object("labels")?.map(|labels| labels.0.clone());
    spec.schema_version = document.text("schemaVersion")?.map(str::to_owned);
    Ok(spec)
}

/// Queries by name.
pub(crate) fn queries(given: Option<Object<'_>>) -> Result<BTreeMap<String, String>, Problem> {
    let members = given.map(|given| given.0);
    let query = |(name, query): (&String, &Value)| match query {
        Value::String(text) => Ok((name.clone(), text.clone())),
        _ => Err(Problem::argument("a metric query is not a string")),
    };
    members.into_iter().flat_map(Map::iter).map(query).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(document: &Value) -> Result<ConfigurationSpec, Problem> {
        spec(ConfigurationId::new("c1").unwrap(), Object::of(document, "the body").unwrap())
    }

    #[test]
    fn what_the_hub_owns_is_ignored_and_null_is_absent() {
        let document = json!({
            "id": "c1", "etag": "x", "createdTimeUtc": "x", "systemMetrics": {"results": {"a": 1}},
            "metrics": {"results": {"m": 1}, "queries": {"m": "SELECT"}}, "labels": null,
            "priority": 7, "content": {"deviceContent": {}},
        });
        let spec = read(&document).unwrap();
        assert_eq!((spec.priority, spec.labels, spec.target), (Some(7), None, None));
        assert_eq!(spec.metrics.unwrap()["m"], "SELECT");
        assert_eq!(spec.content, Some(json!({"deviceContent": {}})));
    }

    #[test]
    fn other_kinds_of_values_are_refused() {
        for bad in [
            json!({"id": "c2"}),
            json!({"priority": -1}),
            json!({"priority": 1.5}),
            json!({"targetCondition": 1}),
            json!({"metrics": {"queries": {"m": 1}}}),
            json!({"labels": []}),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
