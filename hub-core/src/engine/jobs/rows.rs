//! What became of each device: of one job, and as the rows of `devices.jobs`.

use serde_json::{Map, Value as Json};

use super::{Jobs, SCAN, not_found};
use crate::engine::hub::Hub;
use crate::error::HubError;
use crate::id::{JobId, SequenceNumber};
use crate::job::{Job, Part, PartStatus, Shelf, row, status};
use crate::query::{BinaryOp, Expr, ExprKind, Filter, Literal, Path, Reference};
use crate::store::{Ask, Item, Kind, Record};

/// A device's part in a job, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartState {
    /// How far it is.
    pub status: PartStatus,
    /// The part.
    pub part: Part,
}

/// A page of a job's devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPage {
    /// The devices: those to do, those that wait, those that succeeded, those that failed.
    pub parts: Vec<PartState>,
    /// Where the list goes on: to be given back. `None` on the last page.
    pub continuation: Option<String>,
}

/// A place among the devices of all jobs: behind this item.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    job: JobId,
    shelf: usize,
    after: SequenceNumber,
}

impl Place {
    fn first(job: JobId) -> Self {
        Self { job, shelf: 0, after: SequenceNumber::default() }
    }

    /// `/` is in no id.
    fn encode(&self) -> String {
        format!("{}/{}/{}", self.job, self.shelf, self.after.0)
    }

    fn decode(text: &str) -> Option<Self> {
        let mut fields = text.split('/');
        let job = JobId::new(fields.next()?).ok()?;
        let shelf = fields.next()?.parse().ok()?;
        let after = SequenceNumber(fields.next()?.parse().ok()?);
        fields.next().is_none().then_some(Self { job, shelf, after })
    }
}

fn refused() -> HubError {
    HubError::argument("the continuation does not belong to this list")
}

impl Jobs<'_> {
    /// What became of the devices of a job: one page of at most `size` (`None`: as many as
    /// `Limits::query_page_default`; never more than `query_page_max`), from where `continuation` says.
    /// A device that moves on between two pages may be on both, and is on one.
    ///
    /// # Errors
    /// `JobNotFound`; `ArgumentInvalid` for a continuation of another list; `Unavailable` when the
    /// store cannot be reached.
    pub async fn devices(
        &self,
        id: &JobId,
        size: Option<u32>,
        continuation: Option<&str>,
    ) -> Result<PartPage, HubError> {
        let limits = self.hub.limits();
        let size = size.unwrap_or(limits.query_page_default).clamp(1, limits.query_page_max.max(1));
        let wanted = usize::try_from(size).unwrap_or(usize::MAX);
        let place = match continuation {
            None => Place::first(id.clone()),
            Some(text) => Place::decode(text).filter(|p| p.job == *id).ok_or_else(refused)?,
        };
        let mut walk = Walk { hub: self.hub, place: Some(place), only: true };
        let (mut parts, mut last) = (Vec::new(), None);
        let mut exists = false;
        while let Some(step) = walk.next(size).await? {
            exists = true;
            for (item, part) in &step.parts {
                if parts.len() == wanted {
                    return Ok(PartPage { parts, continuation: last });
                }
                let status = status(&step.job, step.shelf, item, self.hub.now());
                last = Some(step.place(item).encode());
                parts.push(PartState { status, part: part.clone() });
            }
        }
        if exists { Ok(PartPage { parts, continuation: None }) } else { Err(not_found(id)) }
    }
}

/// A page of the answer to a query of `devices.jobs`: rows that a condition selects, after a place,
/// and the place where it goes on.
pub(in crate::engine) async fn query_page(
    hub: &Hub,
    filter: &Filter,
    after: Option<String>,
    wanted: usize,
) -> Result<(Vec<Map<String, Json>>, Option<String>), HubError> {
    let limits = hub.limits();
    let named = filter.expr().and_then(named_job);
    let only = named.is_some();
    let place = match (after, named) {
        (Some(text), _) => Some(Place::decode(&text).ok_or_else(refused)?),
        (None, Some(name)) => match JobId::new(name) {
            Ok(job) => Some(Place::first(job)),
            // No job has such an id.
            Err(_) => return Ok((Vec::new(), None)),
        },
        (None, None) => first_after(hub, None).await?.map(Place::first),
    };
    let mut walk = Walk { hub, place, only };
    let (mut rows, mut last) = (Vec::new(), None);
    let mut looked_at = 0_u64;
    while let Some(step) = walk.next(limits.query_page_max.max(1)).await? {
        for (item, part) in &step.parts {
            let row = row(&step.job, part, status(&step.job, step.shelf, item, hub.now()));
            let row = Json::Object(row);
            looked_at += 1;
            if filter.selects(&row) {
                if rows.len() == wanted {
                    return Ok((rows, last));
                }
                if let Json::Object(row) = row {
                    rows.push(row);
                }
                last = Some(step.place(item).encode());
            }
            if looked_at >= limits.query_scan_max {
                return Ok((rows, Some(step.place(item).encode())));
            }
        }
        // A store in memory never waits, and others want to run, too.
        tokio::task::yield_now().await;
    }
    Ok((rows, None))
}

/// The job that a condition asks for by its id, if it is true of no other: what an index would do.
fn named_job(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::And(operands) => operands.iter().find_map(named_job),
        ExprKind::Binary(BinaryOp::Equal, left, right) => match (&left.kind, &right.kind) {
            (
                ExprKind::Reference(Reference::Column(path)),
                ExprKind::Literal(Literal::Text(text)),
            )
            | (
                ExprKind::Literal(Literal::Text(text)),
                ExprKind::Reference(Reference::Column(path)),
            ) if *path == Path::of(["jobId"]) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

async fn first_after(hub: &Hub, after: Option<&JobId>) -> Result<Option<JobId>, HubError> {
    let mut after = after.map(|id| id.as_str().to_owned());
    loop {
        let documents = hub.core().store.scan(Kind::Job, after.as_deref(), SCAN).await?;
        let Some(last) = documents.last() else { return Ok(None) };
        after = Some(last.at.key().id.to_string());
        let mut ids = documents.iter().filter_map(|found| JobId::new(&found.at.key().id).ok());
        if let Some(id) = ids.next() {
            return Ok(Some(id));
        }
    }
}

/// Goes through the devices of jobs.
struct Walk<'h> {
    hub: &'h Hub,
    /// Where it is; nothing at the end.
    place: Option<Place>,
    /// Through those of one job.
    only: bool,
}

/// Some devices of a job, in order.
struct Step {
    job: Job,
    at: usize,
    shelf: Shelf,
    parts: Vec<(Item, Part)>,
}

impl Step {
    fn place(&self, item: &Item) -> Place {
        Place { job: self.job.id.clone(), shelf: self.at, after: item.at.sequence() }
    }
}

impl Walk<'_> {
    async fn next(&mut self, page: u32) -> Result<Option<Step>, HubError> {
        loop {
            let Some(place) = self.place.clone() else { return Ok(None) };
            let Some(shelf) = Shelf::ALL.get(place.shelf).copied() else {
                self.place = if self.only {
                    None
                } else {
                    first_after(self.hub, Some(&place.job)).await?.map(Place::first)
                };
                continue;
            };
            let asks = [
                Ask::Document(Job::key(&place.job)),
                Ask::Items(shelf.of(&place.job), place.after, page),
            ];
            let mut records = self.hub.core().store.read(&asks).await?.into_iter();
            let job = match records.next().flatten() {
                Some(Record::Document(document)) => Job::decode(&document.body),
                _ => None,
            };
            let Some(job) = job else {
                self.place = Some(Place { shelf: Shelf::ALL.len(), ..place });
                continue;
            };
            let items = match records.next().flatten() {
                Some(Record::Items(items)) => items,
                _ => Vec::new(),
            };
            self.place = Some(match items.last() {
                Some(last) => Place { after: last.at.sequence(), ..place.clone() },
                None => Place {
                    shelf: place.shelf + 1,
                    after: SequenceNumber::default(),
                    ..place.clone()
                },
            });
            let parts = items
                .into_iter()
                .filter_map(|item| Some((item.clone(), Part::decode(&item.body)?)));
            let parts = parts.collect();
            return Ok(Some(Step { job, at: place.shelf, shelf, parts }));
        }
    }
}
