//! Twin queries: reading, paging, grouping.
//!
//! Twins are found by the store's own [`Query`](store::Query) port, or by reading all of them where
//! there is none; the condition is evaluated here in either case. An answer sees all that was
//! committed before the page was asked for.
//!
//! A page is as large as was asked for, in the order of ids, or in that of `ORDER BY`, by keys and
//! then by id. The next page begins after the last row of this one as it stood then, so rows that do
//! not change are seen once, whatever comes and goes between two pages.

mod group;
mod order;
mod row;
mod scan;
mod token;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

pub(super) use self::scan::Scan;

use self::group::Groups;
use self::order::{Key, Place};
use self::row::{Row, both, parts_of, parts_of_path};
use self::token::{After, Token};
use super::hub::Hub;
use super::jobs::query_page;
use super::registry::TwinState;
use crate::error::{ErrorKind, HubError};
use crate::query::{Case, Collection, Fields as _, Item, Query, Select, Source};
use crate::store::{Find, Found, Parts, Population};

/// A page of the answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryPage {
    /// The rows.
    pub rows: QueryRows,
    /// Where the answer goes on: to be given back with the same query. `None` on the last page.
    pub continuation: Option<String>,
}

/// The rows of a page.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum QueryRows {
    /// Whole twins, of `SELECT *`.
    Twins(Vec<TwinState>),
    /// Members by name, of other queries. What a twin does not have is left out.
    Values(Vec<Map<String, Json>>),
    /// What jobs did on devices, of `FROM devices.jobs`.
    Jobs(Vec<Map<String, Json>>),
}

impl QueryRows {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Twins(rows) => rows.len(),
            Self::Values(rows) | Self::Jobs(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Hub {
    /// Answers a twin query: one page of at most `page_size` rows (`None`: as many as
    /// [`Limits::query_page_default`](crate::Limits); never more than `query_page_max`), from where
    /// `continuation` says.
    ///
    /// Sees all that was committed before. Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// `ArgumentInvalid` for a query that cannot be read, with the place and what could stand there;
    /// for a continuation of another query; for an aggregate or an order over more than
    /// `query_scan_max` twins, and for too many groups. `Throttled` when too many queries wait,
    /// `Unavailable` when the store cannot be reached or the answer takes longer than `call_timeout`.
    pub async fn query(
        &self,
        text: &str,
        page_size: Option<u32>,
        continuation: Option<&str>,
    ) -> Result<QueryPage, HubError> {
        let query = Query::parse(text, self.limits())
            .map_err(|error| HubError::argument(error.to_string()))?;
        self.run_query(&query, page_size, continuation).await
    }

    /// Answers a query that was parsed before; see [`Hub::query`].
    ///
    /// # Errors
    /// As [`Hub::query`].
    pub async fn run_query(
        &self,
        query: &Query,
        page_size: Option<u32>,
        continuation: Option<&str>,
    ) -> Result<QueryPage, HubError> {
        let limits = self.limits();
        let token = continuation.map(|text| Token::decode(text, query)).transpose()?;
        let size =
            page_size.unwrap_or(limits.query_page_default).clamp(1, limits.query_page_max.max(1));
        let left = token.as_ref().map_or(query.top, |token| token.left);
        let wanted = left.map_or(size, |left| size.min(u32::try_from(left).unwrap_or(u32::MAX)));
        let Some(population) = population(query.from) else {
            return self.jobs_page(query, token, wanted, left).await;
        };
        let run = Run {
            hub: self,
            query,
            population,
            wanted: usize::try_from(wanted).unwrap_or(usize::MAX),
            left,
            parts: parts(query),
        };
        let answer = async {
            let slots = &self.core().queries_in_flight;
            let slot = slots.acquire().await;
            let _slot = slot.map_err(|_| HubError::new(ErrorKind::Unavailable, "the hub stops"))?;
            run.page(token.map(|token| token.after)).await
        };
        match tokio::time::timeout(limits.call_timeout, answer).await {
            Ok(page) => page,
            Err(_) => Err(HubError::new(ErrorKind::Unavailable, "the query took too long")),
        }
    }
}

impl Hub {
    /// A page of `devices.jobs`, in the order of the jobs' ids.
    async fn jobs_page(
        &self,
        query: &Query,
        token: Option<Token>,
        wanted: u32,
        left: Option<u64>,
    ) -> Result<QueryPage, HubError> {
        if !query.order_by.is_empty() {
            return Err(HubError::argument("devices.jobs has an order of its own"));
        }
        let after = match token.map(|token| token.after) {
            None => None,
            Some(After::Id(id)) => Some(id),
            Some(After::Place(_)) => {
                return Err(HubError::argument("the continuation does not belong to this query"));
            }
        };
        if wanted == 0 {
            return Ok(QueryPage { rows: QueryRows::Jobs(Vec::new()), continuation: None });
        }
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let answer = async {
            let slots = &self.core().queries_in_flight;
            let slot = slots.acquire().await;
            let _slot = slot.map_err(|_| HubError::new(ErrorKind::Unavailable, "the hub stops"))?;
            query_page(self, &query.filter, after, wanted).await
        };
        let (rows, next) = match tokio::time::timeout(self.limits().call_timeout, answer).await {
            Ok(page) => page?,
            Err(_) => {
                return Err(HubError::new(ErrorKind::Unavailable, "the query took too long"));
            }
        };
        let given = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let left = left.map(|left| left.saturating_sub(given));
        let next = next.filter(|_| left != Some(0));
        let continuation = next.map(|next| Token::new(query, After::Id(next), left).encode());
        Ok(QueryPage { rows: QueryRows::Jobs(rows), continuation })
    }
}

/// Whose twins a collection has. Jobs have no twins.
fn population(from: Collection) -> Option<Population> {
    match from {
        Collection::Devices => Some(Population::Devices),
        Collection::Modules => Some(Population::Modules),
        Collection::Jobs => None,
    }
}

/// What has to be read for a query.
fn parts(query: &Query) -> Parts {
    let selected = match &query.select {
        Select::All => Parts::ALL,
        Select::Items(items) => {
            let paths = items.iter().filter_map(|item| match &item.source {
                Source::Field(path) => Some(path),
                Source::Aggregate(_, path) => path.as_ref(),
            });
            paths.map(parts_of_path).fold(Parts::default(), both)
        }
    };
    let grouped = query.group_by.iter().map(parts_of_path);
    let ordered = query.order_by.iter().map(|key| parts_of_path(&key.path));
    grouped.chain(ordered).fold(both(selected, parts_of(&query.filter)), both)
}

/// One page on its way.
struct Run<'h> {
    hub: &'h Hub,
    query: &'h Query,
    population: Population,
    /// How many rows the page has at most.
    wanted: usize,
    /// How many rows the rest of the answer has at most.
    left: Option<u64>,
    parts: Parts,
}

/// What a search does with each row.
enum Next {
    GoOn,
    Stop,
}

/// How a search ended.
enum End {
    /// All twins were looked at.
    Complete,
    /// It was told to stop.
    Stopped,
    /// It has looked at as many twins as it may, the last of which has this id.
    Limit(Arc<str>),
}

impl Run<'_> {
    async fn page(&self, after: Option<After>) -> Result<QueryPage, HubError> {
        let aggregated = self.query.is_aggregated();
        let ordered = aggregated || !self.query.order_by.is_empty();
        match (after, ordered) {
            _ if self.wanted == 0 => Ok(self.answer(Vec::new(), None)),
            (None, false) => self.by_id(None).await,
            (Some(After::Id(id)), false) => self.by_id(Some(id)).await,
            (None, true) => self.ordered(aggregated, None).await,
            (Some(After::Place(place)), true) => self.ordered(aggregated, Some(place)).await,
            _ => Err(HubError::argument("the continuation does not belong to this query")),
        }
    }

    async fn ordered(&self, aggregated: bool, after: Option<Place>) -> Result<QueryPage, HubError> {
        if aggregated { self.by_group(after).await } else { self.by_keys(after).await }
    }

    /// Rows in the order of their ids: reads until the page is full.
    async fn by_id(&self, after: Option<String>) -> Result<QueryPage, HubError> {
        let mut rows: Vec<Row> = Vec::new();
        let end = self
            .search(after.as_deref(), |row| {
                // One more than wanted tells that there are more.
                rows.push(row);
                Ok(if rows.len() > self.wanted { Next::Stop } else { Next::GoOn })
            })
            .await?;
        let more = rows.len() > self.wanted;
        rows.truncate(self.wanted);
        let last = match end {
            End::Limit(id) if !more => Some(id.to_string()),
            _ => rows.last().filter(|_| more).map(|row| row.address().as_str().to_owned()),
        };
        Ok(self.answer(rows, last.map(After::Id)))
    }

    /// Rows in the order of `ORDER BY`: sees all of them and keeps the first of those after a place.
    async fn by_keys(&self, after: Option<Place>) -> Result<QueryPage, HubError> {
        let mut first: BTreeMap<Place, Row> = BTreeMap::new();
        let mut more = false;
        let end = self.search(None, |row| {
            let keys = self.query.order_by.iter();
            let keys = keys.map(|key| (Key::of(&row.value(&key.path, Case::Exact)), key.direction));
            let place = Place::new(keys, row.address().as_str().to_owned());
            if after.as_ref().is_none_or(|after| place > *after) {
                first.insert(place, row);
                if first.len() > self.wanted {
                    first.pop_last();
                    more = true;
                }
            }
            Ok(Next::GoOn)
        });
        complete(end.await?, self.hub)?;
        let last = first.last_key_value().map(|(place, _)| place.clone()).filter(|_| more);
        Ok(self.answer(first.into_values().collect(), last.map(After::Place)))
    }

    /// Rows that stand for many twins: sees all of them.
    async fn by_group(&self, after: Option<Place>) -> Result<QueryPage, HubError> {
        let mut groups = Groups::new(self.query, self.hub.limits());
        let end = self.search(None, |row| groups.add(&row).map(|()| Next::GoOn)).await?;
        complete(end, self.hub)?;
        let mut rows = groups.rows();
        rows.retain(|(place, _)| after.as_ref().is_none_or(|after| place > after));
        let more = rows.len() > self.wanted;
        rows.truncate(self.wanted);
        let last = rows.last().map(|(place, _)| place.clone()).filter(|_| more);
        let count = rows.len();
        let rows = QueryRows::Values(rows.into_iter().map(|(_, members)| members).collect());
        Ok(QueryPage { rows, continuation: self.continuation(count, last.map(After::Place)) })
    }

    /// Shows each twin that the condition selects, in the order of ids, until it is enough.
    async fn search(
        &self,
        after: Option<&str>,
        mut seen: impl FnMut(Row) -> Result<Next, HubError>,
    ) -> Result<End, HubError> {
        let limits = self.hub.limits();
        let mut after: Option<Arc<str>> = after.map(Into::into);
        let mut looked_at = 0_u64;
        loop {
            let find = Find {
                population: self.population,
                filter: &self.query.filter,
                parts: self.parts,
                after: after.as_deref(),
                limit: NonZeroU32::new(limits.query_page_max).unwrap_or(NonZeroU32::MIN),
            };
            let Found { rows, next, looked_at: more } = self.hub.core().queries.find(find).await?;
            for found in &rows {
                let Some(row) = Row::decode(found, self.parts)? else { continue };
                if self.query.filter.selects(&row)
                    && let Next::Stop = seen(row)?
                {
                    return Ok(End::Stopped);
                }
            }
            let Some(next) = next else { return Ok(End::Complete) };
            looked_at = looked_at.saturating_add(more);
            if looked_at >= limits.query_scan_max {
                return Ok(End::Limit(next));
            }
            after = Some(next);
            // A store in memory never waits, and others want to run, too.
            tokio::task::yield_now().await;
        }
    }

    fn answer(&self, rows: Vec<Row>, last: Option<After>) -> QueryPage {
        let continuation = self.continuation(rows.len(), last);
        let rows = match &self.query.select {
            Select::All => QueryRows::Twins(rows.into_iter().filter_map(Row::into_state).collect()),
            Select::Items(items) => {
                QueryRows::Values(rows.iter().map(|row| members(items, row)).collect())
            }
        };
        QueryPage { rows, continuation }
    }

    /// How the answer goes on after so many rows, if it does.
    fn continuation(&self, rows: usize, last: Option<After>) -> Option<String> {
        let given = u64::try_from(rows).unwrap_or(u64::MAX);
        let left = self.left.map(|left| left.saturating_sub(given));
        let last = last.filter(|_| left != Some(0))?;
        Some(Token::new(self.query, last, left).encode())
    }
}

/// A row of a query that names what it wants.
fn members(items: &[Item], row: &Row) -> Map<String, Json> {
    let member = |item: &Item| match &item.source {
        Source::Field(path) => row.to_json(path).map(|value| (item.name().to_owned(), value)),
        Source::Aggregate(..) => None,
    };
    items.iter().filter_map(member).collect()
}

/// What has to see all twins is refused when it may not.
fn complete(end: End, hub: &Hub) -> Result<(), HubError> {
    match end {
        End::Limit(_) => Err(HubError::argument(format!(
            "an aggregate or an order may look at {} twins; this query has more",
            hub.limits().query_scan_max
        ))),
        End::Complete | End::Stopped => Ok(()),
    }
}
