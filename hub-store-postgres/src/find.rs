//! Finding twins by what is in them.

use std::fmt::Write as _;

use bytes::Bytes;
use hub_core::query::{Path, Step};
use hub_core::store::{Find, Found, FoundRow, Kind, Population, QueueKind, StoreError};
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use crate::pool::Pool;
use crate::reach::{Reach, Way};
use crate::sql::within;
use crate::sqlstate::store_error;
use crate::values::{id, kind, queue_kind, text};

/// A statement that is made for a question. Its text depends on the form of the question only, so
/// that it is prepared once for all of that form.
pub(crate) struct Question {
    sql: String,
    params: Vec<Box<dyn ToSql + Sync + Send>>,
    limit: usize,
}

impl Question {
    /// The statement for what is to be found, with these indexes.
    pub(crate) fn of(find: &Find<'_>, indexes: &[Path], schema: &str) -> Self {
        let mut question = Self {
            sql: String::new(),
            params: Vec::new(),
            limit: usize::try_from(find.limit.get()).unwrap_or(usize::MAX),
        };
        let after = question.param(find.after.map(|after| text(after).into_owned()));
        let limit = question.param(i64::from(find.limit.get()));
        let slash = match find.population {
            Population::Devices => "= 0",
            Population::Modules => "> 0",
        };
        let twin = kind(Kind::Twin);
        let body = if find.parts.twin { ", body" } else { "" };
        // One branch of the union: in the order of ids, and no longer than the answer.
        let branch = |wanted: &str| {
            format!(
                "(SELECT id{body} FROM $S.document WHERE kind = {twin}{wanted} \
                 AND (${after}::text IS NULL OR id > ${after}) AND strpos(id, '/') {slash} \
                 ORDER BY id LIMIT ${limit})"
            )
        };
        let (mut branches, mut distinct) = (Vec::new(), "");
        match Reach::of(find.filter, indexes, find.population) {
            Reach::All => branches.push(branch("")),
            Reach::Ways(ways) => {
                // A row can be met on several ways, but not twice on one.
                distinct = if ways.len() > 1 { "DISTINCT ON (id) " } else { "" };
                for way in ways {
                    question.way(way, indexes, &branch, &mut branches);
                }
            }
        }
        if branches.is_empty() {
            branches.push(branch(" AND false"));
        }
        let hit = format!(
            "(SELECT {distinct}id{body} FROM ({}) AS b ORDER BY id LIMIT ${limit}) AS h",
            branches.join(" UNION ALL ")
        );
        question.sql.push_str("SELECT h.id");
        question.columns(find, &hit);
        question.sql.push_str(" ORDER BY h.id");
        question.sql = within(schema, &question.sql);
        question
    }

    /// The place of a new parameter.
    fn param(&mut self, value: impl ToSql + Sync + Send + 'static) -> usize {
        self.params.push(Box::new(value));
        self.params.len()
    }

    /// The branches of a way.
    fn way(
        &mut self,
        way: Way,
        indexes: &[Path],
        branch: &impl Fn(&str) -> String,
        branches: &mut Vec<String>,
    ) {
        let index = match &way {
            Way::Ids(_) => None,
            Way::Equal(index, _) | Way::Between(index, ..) => indexes.get(*index),
        };
        let value = index.map(value_at).unwrap_or_default();
        branches.push(branch(&match way {
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
        }));
        if index.is_some() {
            // Rows of which the index does not know what they have.
            branches.push(branch(&format!(" AND {value} = '[]'::jsonb")));
        }
    }

    /// The wanted parts of each row that was hit.
    fn columns(&mut self, find: &Find<'_>, hit: &str) {
        let parts = find.parts;
        self.sql.push_str(if parts.twin { ", h.body" } else { ", NULL::bytea" });
        let documents =
            [("i", Kind::Identity, parts.identity), ("s", Kind::Session, parts.session)];
        for (name, _, wanted) in documents {
            self.sql.push_str(", ");
            self.sql.push_str(&if wanted { format!("{name}.body") } else { "NULL::bytea".into() });
        }
        self.sql.push_str(if parts.messages { ", q.depth" } else { ", NULL::bigint" });
        let _ = write!(self.sql, " FROM {hit}");
        for (name, of, _) in documents.into_iter().filter(|(.., wanted)| *wanted) {
            let of = kind(of);
            let _ = write!(
                self.sql,
                " LEFT JOIN $S.document AS {name} ON {name}.kind = {of} AND {name}.id = h.id"
            );
        }
        if parts.messages {
            let of = queue_kind(QueueKind::Mailbox);
            let _ = write!(self.sql, " LEFT JOIN $S.queue AS q ON q.kind = {of} AND q.id = h.id");
        }
    }

    /// Asks it.
    pub(crate) async fn ask(self, pool: &Pool) -> Result<Found, StoreError> {
        let failed = |error| store_error("find", error, false);
        let mut lease = pool.lease("find").await?;
        let Some(session) = lease.session() else {
            return Err(StoreError::unavailable("find", "no connection"));
        };
        let statement = session.made(&self.sql).await.map_err(failed)?;
        let params: Vec<_> = self.params.iter().map(|param| &**param as _).collect();
        let rows = session.client.query(&statement, &params).await.map_err(failed)?;
        let row = |row: &tokio_postgres::Row| {
            let body = |column: usize| {
                let body: Option<&[u8]> = row.try_get(column)?;
                Ok::<_, Error>(body.map(Bytes::copy_from_slice))
            };
            let depth: Option<i64> = row.try_get(4)?;
            Ok(FoundRow {
                id: id(row.try_get(0)?),
                twin: body(1)?,
                identity: body(2)?,
                session: body(3)?,
                messages: depth.and_then(|depth| u32::try_from(depth).ok()).unwrap_or(0),
            })
        };
        let rows = rows.iter().map(row).collect::<Result<Vec<_>, Error>>().map_err(failed)?;
        lease.done();
        // Fewer than asked for are all there are.
        let next = rows.last().filter(|_| rows.len() >= self.limit).map(|row| row.id.clone());
        Ok(Found { looked_at: u64::try_from(rows.len()).unwrap_or(u64::MAX), rows, next })
    }
}

/// The expression of the index at a path.
fn value_at(path: &Path) -> String {
    let steps = path.steps().iter().map(|step| match step {
        Step::Member(name) => format!("'{}'", name.replace('\'', "''")),
        Step::Index(index) => format!("'{index}'"),
    });
    format!("$S.value_at(body, ARRAY[{}]::text[])", steps.collect::<Vec<_>>().join(", "))
}

/// The statement that makes the index at a path, if it is not there.
pub(crate) fn index(path: &Path, schema: &str) -> (String, String) {
    // FNV-1a: the same name for the same path, in every process.
    let hash = path.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let (twin, value) = (kind(Kind::Twin), value_at(path));
    let name = format!("twin_value_{hash:016x}");
    let make = format!("CREATE INDEX {name} ON $S.document (({value}), id) WHERE kind = {twin}");
    let make = within(schema, &make);
    (name, make)
}
