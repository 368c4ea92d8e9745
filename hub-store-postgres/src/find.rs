//! Finding twins by what is in them.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use hub_core::query::Path;
use hub_core::store::{
    Find, Found, FoundRow, Kind, Parts, Population, QueueKind, StoreError, Wanted,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use crate::index::value_at;
use crate::pool::Pool;
use crate::reach::{Reach, Way};
use crate::sql::within;
use crate::sqlstate::store_error;
use crate::values::{id, kind, queue_kind, stored, text};

/// Most twins that are counted in one call.
const COUNT_MAX: i64 = 100_000;

/// What is asked to find what is to be found.
pub(crate) struct Questions {
    /// Asked first, where the number is wanted and can be known.
    number: Option<Question>,
    rows: Question,
}

impl Questions {
    /// The statements for what is to be found, with these indexes.
    pub(crate) fn of(find: &Find<'_>, indexes: &[Path], schema: &str) -> Self {
        let number = match find.wanted {
            Wanted::Number => Question::count(find, indexes, schema),
            Wanted::Rows => None,
        };
        Self { number, rows: Question::of(find, indexes, schema) }
    }

    /// Asks them.
    pub(crate) async fn ask(self, pool: &Pool) -> Result<Found, StoreError> {
        if let Some(number) = self.number {
            let answer = number.ask(pool).await?;
            if let Some(found) = number.counted(answer) {
                return Ok(found);
            }
        }
        let answer = self.rows.ask(pool).await?;
        Ok(self.rows.found(answer.rows))
    }
}

/// What an answer of the server has.
struct Answered {
    /// Where rows are counted: the last of them, and their number.
    counted: Option<(Option<Arc<str>>, i64)>,
    rows: Vec<FoundRow>,
}

/// A statement that is made for a question. Its text depends on the form of the question only, so
/// that it is prepared once for all of that form.
struct Question {
    sql: String,
    params: Vec<Box<dyn ToSql + Sync + Send>>,
    limit: usize,
    /// Which columns the rows have behind their ids.
    columns: Parts,
    /// Whether it counts rows instead of giving them: the number is one more column.
    counts: bool,
}

/// The columns of the parts, in their order.
const PARTS: [&str; 4] = ["h.body", "i.body", "s.body", "q.depth"];
/// Nothing in their place.
const NOTHING: [&str; 4] = ["NULL::bytea", "NULL::bytea", "NULL::bytea", "NULL::bigint"];

/// Which parts are wanted, in the order of their columns.
fn wanted(parts: Parts) -> [bool; 4] {
    [parts.twin, parts.identity, parts.session, parts.messages]
}

impl Question {
    /// The statement that finds rows, with these indexes.
    fn of(find: &Find<'_>, indexes: &[Path], schema: &str) -> Self {
        let mut question = Self::empty(find);
        let base = question.base(find);
        let (mut branches, mut distinct) = (Vec::new(), "");
        match Reach::of(find.filter, indexes, find.population) {
            Reach::All => branches.push(base.branch("")),
            Reach::Ways(ways) => {
                // A row can be met on several ways, but not twice on one.
                distinct = if ways.len() > 1 { "DISTINCT ON (id) " } else { "" };
                for way in ways {
                    let index = way.index().and_then(|index| indexes.get(index));
                    branches.push(base.branch(&question.known(way, index)));
                    branches.extend(index.map(|index| base.branch(&unknown(index))));
                }
            }
        }
        if branches.is_empty() {
            branches.push(base.branch(" AND false"));
        }
        let limit = base.limit;
        let hit = format!(
            "(SELECT {distinct}id{} FROM ({}) AS b ORDER BY id LIMIT ${limit}) AS h",
            base.body,
            branches.join(" UNION ALL ")
        );
        question.sql.push_str("SELECT h.id");
        question.columns(&hit);
        question.sql.push_str(" ORDER BY h.id");
        question.finished(schema)
    }

    /// The statement that counts rows, where an index tells all that the condition asks for: first a row
    /// with their number as its last column and the last of them, then those of which the index does
    /// not know what they have. None where rows have to be found.
    fn count(find: &Find<'_>, indexes: &[Path], schema: &str) -> Option<Self> {
        let ways = Reach::exactly(find.filter, indexes, find.population)?;
        // On several ways a row could be met twice. Ids need no counting.
        let Ok([way]) = <[Way; 1]>::try_from(ways) else { return None };
        let index = indexes.get(way.index()?)?;
        let mut question = Self::empty(find);
        question.counts = true;
        let base = question.base(find);
        let known = question.known(way, Some(index));
        let most = question.param(COUNT_MAX);
        let counted = Base { limit: most, body: "", ..base.clone() }.branch(&known);
        let _ = write!(
            question.sql,
            "WITH c AS (SELECT count(*) AS n, max(id) AS last FROM {counted} AS l) \
             SELECT c.last"
        );
        let parts = NOTHING.into_iter().zip(wanted(find.parts)).filter(|(_, wanted)| *wanted);
        let parts: Vec<&str> = parts.map(|(nothing, _)| nothing).collect();
        for nothing in &parts {
            let _ = write!(question.sql, ", {nothing}");
        }
        question.sql.push_str(", c.n FROM c");
        let hit = format!("{} AS h", base.branch(&unknown(index)));
        question.sql.push_str(" UNION ALL SELECT h.id");
        question.columns(&hit);
        // Numbers are sorted before nothing.
        let _ = write!(question.sql, " ORDER BY {}, 1", parts.len() + 2);
        Some(question.finished(schema))
    }

    fn empty(find: &Find<'_>) -> Self {
        Self {
            sql: String::new(),
            params: Vec::new(),
            limit: usize::try_from(find.limit.get()).unwrap_or(usize::MAX),
            columns: find.parts,
            counts: false,
        }
    }

    fn finished(mut self, schema: &str) -> Self {
        self.sql = within(schema, &self.sql);
        self
    }

    /// What all branches have.
    fn base(&mut self, find: &Find<'_>) -> Base {
        // Without a place to begin after, the index gives the first rows at once.
        let after = find.after.map(|after| self.param(text(after).into_owned()));
        Base {
            after: after.map(|after| format!(" AND id > ${after}")).unwrap_or_default(),
            slash: match find.population {
                Population::Devices => "= 0",
                Population::Modules => "> 0",
            },
            body: if find.parts.twin { ", body" } else { "" },
            limit: self.param(i64::from(find.limit.get())),
        }
    }

    /// The place of a new parameter.
    fn param(&mut self, value: impl ToSql + Sync + Send + 'static) -> usize {
        self.params.push(Box::new(value));
        self.params.len()
    }

    /// The condition of the rows on a way, as far as its index knows.
    fn known(&mut self, way: Way, index: Option<&Path>) -> String {
        let value = index.map(value_at).unwrap_or_default();
        match way {
            Way::Ids(ids) => format!(" AND id = ANY(${}::text[])", self.param(ids)),
            // One value: the index gives its rows in the order of ids.
            Way::Equal(_, mut values) if values.len() == 1 => {
                format!(" AND {value} = ${}::text::jsonb", self.param(values.pop()))
            }
            Way::Equal(_, values) => {
                format!(" AND {value} = ANY(${}::text[]::jsonb[])", self.param(values))
            }
            // Numbers stand together among the values of JSON, and no double is beyond these.
            Way::Between(_, low, high) => {
                let low = low.map_or("-1.8e308".to_owned(), |low| low.to_string());
                let high = high.map_or("1.8e308".to_owned(), |high| high.to_string());
                let (low, high) = (self.param(low), self.param(high));
                format!(" AND {value} >= ${low}::text::jsonb AND {value} <= ${high}::text::jsonb")
            }
        }
    }

    /// The wanted parts of each row that was hit: not more, since each costs something in each row.
    fn columns(&mut self, hit: &str) {
        let columns = self.columns;
        for (name, wanted) in PARTS.into_iter().zip(wanted(columns)) {
            if wanted {
                self.sql.push_str(", ");
                self.sql.push_str(name);
            }
        }
        if self.counts {
            self.sql.push_str(", NULL::bigint");
        }
        let _ = write!(self.sql, " FROM {hit}");
        for (name, of, wanted) in
            [("i", Kind::Identity, columns.identity), ("s", Kind::Session, columns.session)]
        {
            if wanted {
                let of = kind(of);
                let _ = write!(
                    self.sql,
                    " LEFT JOIN $S.document AS {name} ON {name}.kind = {of} AND {name}.id = h.id"
                );
            }
        }
        if columns.messages {
            let of = queue_kind(QueueKind::Mailbox);
            let _ = write!(self.sql, " LEFT JOIN $S.queue AS q ON q.kind = {of} AND q.id = h.id");
        }
    }

    async fn ask(&self, pool: &Pool) -> Result<Answered, StoreError> {
        let failed = |error| store_error("find", error, false);
        let mut lease = pool.lease("find").await?;
        let Some(session) = lease.session() else {
            return Err(StoreError::unavailable("find", "no connection"));
        };
        let statement = session.made(&self.sql).await.map_err(failed)?;
        let params = self.params.iter().map(|param| &**param as &(dyn ToSql + Sync));
        let stream = session.client.query_raw(&statement, params).await.map_err(failed)?;
        let mut stream = pin!(stream);
        let mut answer = Answered { counted: None, rows: Vec::new() };
        // Rows are read while the server still looks for others.
        while let Some(row) = stream.try_next().await.map_err(failed)? {
            if self.counts && answer.counted.is_none() {
                answer.counted = Some(counted_row(&row).map_err(failed)?);
            } else {
                answer.rows.push(found_row(&row, self.columns).map_err(failed)?);
            }
        }
        lease.done();
        Ok(answer)
    }

    fn found(&self, rows: Vec<FoundRow>) -> Found {
        // Fewer than asked for are all there are.
        let next = rows.last().filter(|_| rows.len() >= self.limit).map(|row| row.id.clone());
        let looked_at = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        Found { rows, counted: 0, next, looked_at }
    }

    /// None if there are more rows than it can count at once.
    fn counted(&self, answer: Answered) -> Option<Found> {
        let (last, count) = answer.counted?;
        let mut found = self.found(answer.rows);
        if found.next.is_some() {
            // What was counted may be beyond the rows that came.
            return None;
        }
        if count >= COUNT_MAX {
            found.rows.retain(|row| last.as_ref().is_none_or(|last| row.id <= *last));
            found.next = last;
        }
        found.counted = stored(count);
        found.looked_at = found.looked_at.saturating_add(found.counted);
        Some(found)
    }
}

/// The last of the rows that were counted, and their number, which is in the last column.
fn counted_row(row: &Row) -> Result<(Option<Arc<str>>, i64), Error> {
    let last: Option<&str> = row.try_get(0)?;
    Ok((last.map(id), row.try_get(row.len().saturating_sub(1))?))
}

fn found_row(row: &Row, parts: Parts) -> Result<FoundRow, Error> {
    let mut column = 0;
    let mut next = |wanted: bool| {
        column += usize::from(wanted);
        wanted.then_some(column)
    };
    let body = |column: Option<usize>| {
        let body: Option<&[u8]> = column.map_or(Ok(None), |column| row.try_get(column))?;
        Ok::<_, Error>(body.map(Bytes::copy_from_slice))
    };
    let (twin, identity) = (body(next(parts.twin))?, body(next(parts.identity))?);
    let session = body(next(parts.session))?;
    let depth: Option<i64> = next(parts.messages).map_or(Ok(None), |column| row.try_get(column))?;
    let messages = depth.and_then(|depth| u32::try_from(depth).ok()).unwrap_or(0);
    Ok(FoundRow { id: id(row.try_get(0)?), twin, identity, session, messages })
}

/// What the branches of a statement have in common.
#[derive(Clone)]
struct Base {
    after: String,
    slash: &'static str,
    body: &'static str,
    limit: usize,
}

impl Base {
    /// Twins under a condition: in the order of ids, and no more than are asked for.
    fn branch(&self, wanted: &str) -> String {
        let Self { after, slash, body, limit } = self;
        let twin = kind(Kind::Twin);
        format!(
            "(SELECT id{body} FROM $S.document WHERE kind = {twin}{wanted}{after} \
             AND strpos(id, '/') {slash} ORDER BY id LIMIT ${limit})"
        )
    }
}

/// The condition of the rows of which an index does not know what they have.
fn unknown(index: &Path) -> String {
    format!(" AND {} = '[]'::jsonb", value_at(index))
}
