//! Metrics: queries of which the number of rows is told.

use crate::error::{ErrorKind, HubError};
use crate::id::ConfigurationId;
use crate::limits::Limits;
use crate::query::{Aggregate, Collection, Item, Query, Select, Source};

/// A query of which the number of rows is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The query that counts.
    pub query: Query,
    /// Most that it can come to.
    pub most: Option<u64>,
}

impl Metric {
    /// Reads a query for twins, `SELECT deviceId FROM devices WHERE …`, and makes of it the one that
    /// counts its rows.
    ///
    /// # Errors
    /// `ConfigurationMetricInvalid` for what is no query, with the place; for one over jobs, and for
    /// one whose rows stand for many twins each.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, HubError> {
        let query = Query::parse(text, limits).map_err(|error| invalid(error.to_string()))?;
        if query.from == Collection::Jobs {
            return Err(invalid("a metric counts devices or modules, not jobs"));
        }
        if query.is_aggregated() {
            return Err(invalid("a metric counts the rows of a query without aggregates"));
        }
        Ok(Self::counting(query))
    }

    fn counting(query: Query) -> Self {
        let count = Item { source: Source::Aggregate(Aggregate::Count, None), alias: None };
        let most = query.top;
        let (select, order_by) = (Select::Items(vec![count]), Vec::new());
        Self { query: Query { select, top: None, order_by, ..query }, most }
    }
}

/// Counts what a target condition selects.
#[must_use]
pub fn target_metric(target: Query) -> Metric {
    Metric::counting(target)
}

/// The text of the query for what a configuration targets.
#[must_use]
pub fn targeted_query(target: &str, from: Collection) -> String {
    let text = target.trim();
    match from {
        Collection::Modules => format!("select deviceId, moduleId {text}"),
        _ if text == "*" => "select deviceId from devices".to_owned(),
        _ if begins_with_from(text) => format!("select deviceId {text}"),
        _ => format!("select deviceId from devices where {text}"),
    }
}

/// The text of the query for what a configuration is applied to.
#[must_use]
pub fn applied_query(id: &ConfigurationId, from: Collection) -> String {
    let (columns, from) = match from {
        Collection::Modules => ("deviceId, moduleId", "devices.modules"),
        _ => ("deviceId", "devices"),
    };
    format!("select {columns} from {from} where configurations.[[{id}]].status = 'Applied'")
}

fn begins_with_from(text: &str) -> bool {
    let mut words = text.split_whitespace();
    words.next().is_some_and(|word| word.eq_ignore_ascii_case("from"))
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> HubError {
    HubError::new(ErrorKind::ConfigurationMetricInvalid, message)
}
