//! A page of an answer on its way.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::group::Groups;
use super::order::{Key, Place};
use super::reading::Reading;
use super::row::Row;
use super::token::{After, Token};
use super::{QueryPage, QueryRows};
use crate::engine::hub::Hub;
use crate::error::HubError;
use crate::query::{Case, Fields as _, Item, Query, Select, Source};
use crate::store::{Find, Population, Wanted};

/// One page on its way.
pub(super) struct Run<'h> {
    pub(super) hub: &'h Hub,
    pub(super) query: &'h Query,
    pub(super) population: Population,
    /// How many rows the page has at most.
    pub(super) wanted: usize,
    /// How many rows the rest of the answer has at most.
    pub(super) left: Option<u64>,
    pub(super) reading: Reading,
}

/// What a search does with each row.
enum Next {
    GoOn,
    Stop,
}

/// What is searched for.
struct Search<'a> {
    after: Option<&'a str>,
    /// How many rows are asked for at first; 0: as many as a page may have.
    first: usize,
    wanted: Wanted,
}

impl Search<'_> {
    /// All twins that the condition selects.
    fn of_all(wanted: Wanted) -> Self {
        Self { after: None, first: 0, wanted }
    }
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
    pub(super) async fn page(&self, after: Option<After>) -> Result<QueryPage, HubError> {
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
        // One more than wanted tells that there are more.
        let enough = self.wanted.saturating_add(1);
        let mut rows: Vec<Row<'_>> = Vec::new();
        let search = Search { after: after.as_deref(), first: enough, wanted: Wanted::Rows };
        let (end, _) = self
            .search(search, |row| {
                rows.push(row);
                Ok(if rows.len() < enough { Next::GoOn } else { Next::Stop })
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
        let mut first: BTreeMap<Place, Row<'_>> = BTreeMap::new();
        let mut more = false;
        let search = self.search(Search::of_all(Wanted::Rows), |row| {
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
        complete(search.await?.0, self.hub)?;
        let last = first.last_key_value().map(|(place, _)| place.clone()).filter(|_| more);
        Ok(self.answer(first.into_values().collect(), last.map(After::Place)))
    }

    /// Rows that stand for many twins: sees all of them.
    async fn by_group(&self, after: Option<Place>) -> Result<QueryPage, HubError> {
        let mut groups = Groups::new(self.query, self.hub.limits());
        let wanted = if groups.are_a_number() { Wanted::Number } else { Wanted::Rows };
        let search = Search::of_all(wanted);
        let (end, counted) =
            self.search(search, |row| groups.add(&row).map(|()| Next::GoOn)).await?;
        complete(end, self.hub)?;
        groups.count(counted);
        let mut rows = groups.rows();
        rows.retain(|(place, _)| after.as_ref().is_none_or(|after| place > after));
        let more = rows.len() > self.wanted;
        rows.truncate(self.wanted);
        let last = rows.last().map(|(place, _)| place.clone()).filter(|_| more);
        let count = rows.len();
        let rows = QueryRows::Values(rows.into_iter().map(|(_, members)| members).collect());
        Ok(QueryPage { rows, continuation: self.continuation(count, last.map(After::Place)) })
    }

    /// Shows each twin that the condition selects, in the order of ids, until it is enough. Also gives
    /// how many were selected and not shown, where only the number is wanted.
    async fn search<'s>(
        &'s self,
        search: Search<'_>,
        mut seen: impl FnMut(Row<'s>) -> Result<Next, HubError>,
    ) -> Result<(End, u64), HubError> {
        let limits = self.hub.limits();
        let page = NonZeroU32::new(limits.query_page_max).unwrap_or(NonZeroU32::MIN);
        // What an index finds is all wanted, and no more than that is asked for. Where most of what
        // comes is not selected, large pages find the rest sooner.
        let mut limit = u32::try_from(search.first).ok().and_then(NonZeroU32::new).unwrap_or(page);
        let mut after: Option<Arc<str>> = search.after.map(Into::into);
        let (mut looked_at, mut counted) = (0_u64, 0_u64);
        loop {
            let find = Find {
                population: self.population,
                filter: &self.query.filter,
                parts: self.reading.parts,
                wanted: search.wanted,
                after: after.as_deref(),
                limit,
            };
            let core = self.hub.core();
            let found = core.queries.find(find).await;
            let found = found.inspect_err(|error| core.meter.store_failed(error))?;
            counted = counted.saturating_add(found.counted);
            for row in &found.rows {
                let Some(row) = Row::decode(row, &self.reading)? else { continue };
                if self.query.filter.selects(&row)
                    && let Next::Stop = seen(row)?
                {
                    return Ok((End::Stopped, counted));
                }
            }
            let Some(next) = found.next else { return Ok((End::Complete, counted)) };
            looked_at = looked_at.saturating_add(found.looked_at);
            if looked_at >= limits.query_scan_max {
                return Ok((End::Limit(next), counted));
            }
            (after, limit) = (Some(next), page);
            // A store in memory never waits, and others want to run, too.
            tokio::task::yield_now().await;
        }
    }

    fn answer(&self, rows: Vec<Row<'_>>, last: Option<After>) -> QueryPage {
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
fn members(items: &[Item], row: &Row<'_>) -> Map<String, Json> {
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
