//! What the queries of configurations come to.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{ConfigurationState, Configurations};
use crate::configuration::{
    Configuration, Kind, Metric, applied_query, target, target_metric, targeted_query,
};
use crate::engine::query::QueryRows;
use crate::error::HubError;
use crate::query::{Collection, Query};

/// A query, and how many rows it has.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricState {
    /// The text of the query.
    pub query: String,
    /// How many rows it has now. `None` where that could not be told within `Limits::call_timeout`,
    /// over all queries that were asked for.
    pub result: Option<u64>,
}

/// What is wrong with the queries of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryTrial {
    /// What is wrong with the target condition, and where.
    pub target: Option<HubError>,
    /// What is wrong with which metrics, and where.
    pub metrics: BTreeMap<String, HubError>,
}

impl Configurations<'_> {
    /// Tells what is wrong with a target condition and metrics, without making a configuration.
    #[must_use]
    pub fn test_queries(
        &self,
        condition: Option<&str>,
        metrics: &BTreeMap<String, String>,
    ) -> QueryTrial {
        let limits = self.hub.limits();
        let wrong = |condition: &str| {
            // For whichever kind of content: there is none here.
            let device = target(condition, Kind::Device, limits);
            let module = target(condition, Kind::Module, limits);
            device.and(Ok(())).or_else(|error| module.map(drop).map_err(|_| error)).err()
        };
        let metrics = metrics
            .iter()
            .filter_map(|(name, query)| Some((name.clone(), Metric::parse(query, limits).err()?)));
        QueryTrial { target: condition.and_then(wrong), metrics: metrics.collect() }
    }

    pub(super) async fn states(
        &self,
        configurations: impl IntoIterator<Item = Configuration>,
    ) -> Vec<ConfigurationState> {
        let until = Instant::now() + self.hub.limits().call_timeout;
        let mut states = Vec::new();
        for configuration in configurations {
            states.push(self.state(configuration, until).await);
        }
        states
    }

    async fn state(&self, configuration: Configuration, until: Instant) -> ConfigurationState {
        let limits = self.hub.limits();
        let kind = configuration.parsed(limits).map_or(Kind::Device, |content| content.kind);
        let from = match kind {
            Kind::Device => Collection::Devices,
            Kind::Module => Collection::Modules,
        };
        let targeted = target(&configuration.target, kind, limits).unwrap_or_default();
        let targeted = match targeted.map(target_metric) {
            Some(metric) => self.count(Ok(metric), until).await,
            None => Some(0),
        };
        let applied_query = applied_query(&configuration.id, from);
        let applied = Metric::parse(&applied_query, limits);
        let query = targeted_query(&configuration.target, from);
        let system_metrics = BTreeMap::from([
            ("targetedCount", MetricState { query, result: targeted }),
            (
                "appliedCount",
                MetricState { query: applied_query, result: self.count(applied, until).await },
            ),
        ]);
        let mut metrics = BTreeMap::new();
        for (name, query) in &configuration.metrics {
            let result = self.count(Metric::parse(query, limits), until).await;
            metrics.insert(name.clone(), MetricState { query: query.clone(), result });
        }
        ConfigurationState { configuration, system_metrics, metrics }
    }

    async fn count(&self, metric: Result<Metric, HubError>, until: Instant) -> Option<u64> {
        let Metric { query, most } = metric.ok()?;
        let count = tokio::time::timeout_at(until, self.rows(&query)).await.ok()??;
        Some(most.map_or(count, |most| count.min(most)))
    }

    async fn rows(&self, query: &Query) -> Option<u64> {
        let page = self.hub.run_query(query, Some(1), None).await.ok()?;
        let QueryRows::Values(rows) = page.rows else { return None };
        rows.first()?.get("count")?.as_u64()
    }
}
