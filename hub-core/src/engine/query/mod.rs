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
mod reading;
mod row;
mod run;
mod scan;
mod token;

use serde_json::{Map, Value as Json};

pub(crate) use self::scan::Scan;

use self::reading::Reading;
use self::run::Run;
use self::token::{After, Token};
use super::hub::Hub;
use super::jobs::query_page;
use super::meter::{Began, Counted, Ended, Meter};
use super::registry::TwinState;
use crate::error::{ErrorKind, HubError};
use crate::query::{Collection, Query};
use crate::store::Population;

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
        let counted = self.counted_query();
        counted.end(match Query::parse(text, self.limits()) {
            Ok(query) => self.page_of(&query, page_size, continuation).await,
            Err(error) => Err(HubError::argument(error.to_string())),
        })
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
        let counted = self.counted_query();
        counted.end(self.page_of(query, page_size, continuation).await)
    }

    /// Counts a query by how it ends and how long it takes.
    fn counted_query(&self) -> Counted<'_, impl Fn(&Meter, Ended) + use<>> {
        let began = Began::now();
        Counted::new(&self.core().meter, move |meter, ended| meter.queried(ended, began))
    }

    async fn page_of(
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
            reading: Reading::of(query),
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
