//! Reading documents, items and depths at one instant; documents page by page.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use bytes::Bytes;
use hub_core::id::SequenceNumber;
use hub_core::store::{
    Ask, Document, DocumentRef, Item, ItemRef, Key, Kind, Marks, QueueId, QueueKind, Record,
    StoreError, Version,
};
use tokio_postgres::{Error, Row};

use crate::pool::Pool;
use crate::session::{Call, Frame};
use crate::sql::Sql;
use crate::sqlstate::store_error;
use crate::values::{id, kind, known_queue, number, queue_kind, stored, text, time};

/// What the asks of one sort are, and where their answers go.
#[derive(Default)]
pub(crate) struct Sorted<'a> {
    documents: Vec<(usize, &'a Key)>,
    items: Vec<(usize, &'a QueueId, i64)>,
    depths: Vec<(usize, &'a QueueId)>,
    lists: Vec<(usize, &'a QueueId, i64, i64)>,
    kinds: Vec<(usize, QueueKind, &'a str, i64, i64)>,
}

impl<'a> Sorted<'a> {
    pub(crate) fn of(asks: &'a [Ask]) -> Self {
        let mut sorted = Self::default();
        for (place, ask) in asks.iter().enumerate() {
            match ask {
                Ask::Document(key) => sorted.documents.push((place, key)),
                Ask::Item(queue, sequence) => {
                    sorted.items.push((place, queue, number(sequence.0)));
                }
                Ask::Depth(queue) => sorted.depths.push((place, queue)),
                Ask::Items(queue, after, limit) => {
                    let after = crate::values::bound(after.0);
                    sorted.lists.push((place, queue, after, i64::from(*limit)));
                }
                Ask::ItemsOfKind(kind, queue, after, limit) => {
                    let after = crate::values::bound(after.0);
                    sorted.kinds.push((place, *kind, queue, after, i64::from(*limit)));
                }
            }
        }
        sorted
    }

    pub(crate) fn calls(&self) -> Vec<Call<'a>> {
        let mut calls = Vec::with_capacity(3 + self.lists.len() + self.kinds.len());
        if !self.documents.is_empty() {
            let kinds: Vec<_> = self.documents.iter().map(|(_, key)| kind(key.kind)).collect();
            let ids: Vec<_> = self.documents.iter().map(|(_, key)| text(&key.id)).collect();
            calls.push(Call::new(Sql::Documents).with(kinds).with(ids));
        }
        if !self.items.is_empty() {
            let kinds: Vec<_> = self.items.iter().map(|(_, q, _)| queue_kind(q.kind)).collect();
            let ids: Vec<_> = self.items.iter().map(|(_, queue, _)| text(&queue.id)).collect();
            let numbers: Vec<_> = self.items.iter().map(|(_, _, number)| *number).collect();
            calls.push(Call::new(Sql::Items).with(kinds).with(ids).with(numbers));
        }
        if !self.depths.is_empty() {
            let kinds: Vec<_> = self.depths.iter().map(|(_, q)| queue_kind(q.kind)).collect();
            let ids: Vec<_> = self.depths.iter().map(|(_, queue)| text(&queue.id)).collect();
            calls.push(Call::new(Sql::Depths).with(kinds).with(ids));
        }
        for (_, queue, after, limit) in &self.lists {
            let call =
                Call::new(Sql::ItemsAfter).with(queue_kind(queue.kind)).with(text(&queue.id));
            calls.push(call.with(*after).with(*limit));
        }
        for (_, kind, queue, after, limit) in &self.kinds {
            let call = Call::new(Sql::ItemsOfKind).with(queue_kind(*kind)).with(text(queue));
            calls.push(call.with(*after).with(*limit));
        }
        calls
    }

    /// The answers, in the order of the asks.
    pub(crate) fn answers(
        &self,
        asks: usize,
        rows: Vec<Vec<Row>>,
    ) -> Result<Vec<Option<Record>>, Error> {
        let mut answers: Vec<_> = std::iter::repeat_with(|| None).take(asks).collect();
        let mut put = |place: usize, record| {
            if let Some(answer) = answers.get_mut(place) {
                *answer = Some(record);
            }
        };
        let mut rows = rows.into_iter();
        if !self.documents.is_empty() {
            for row in rows.next().unwrap_or_default() {
                if let Some((place, key)) = self.documents.get(nth(&row, 0)?) {
                    let document = document((*key).clone(), &row, 1)?;
                    put(*place, Record::Document(document));
                }
            }
        }
        if !self.items.is_empty() {
            for row in rows.next().unwrap_or_default() {
                if let (Some((place, ..)), Some(item)) =
                    (self.items.get(nth(&row, 9)?), item(&row)?)
                {
                    put(*place, Record::Item(item));
                }
            }
        }
        if !self.depths.is_empty() {
            self.depths.iter().for_each(|(place, _)| put(*place, Record::Depth(0)));
            for row in rows.next().unwrap_or_default() {
                if let Some((place, _)) = self.depths.get(nth(&row, 0)?) {
                    let depth: i64 = row.try_get(1)?;
                    put(*place, Record::Depth(u32::try_from(depth.max(0)).unwrap_or(u32::MAX)));
                }
            }
        }
        let lists = self.lists.iter().map(|(place, ..)| place);
        for place in lists.chain(self.kinds.iter().map(|(place, ..)| place)) {
            let mut items = Vec::new();
            for row in rows.next().unwrap_or_default() {
                items.extend(item(&row)?);
            }
            put(*place, Record::Items(items));
        }
        Ok(answers)
    }
}

/// Which of the asked rows a row is; they are counted from one.
fn nth(row: &Row, column: usize) -> Result<usize, Error> {
    let n: i64 = row.try_get(column)?;
    Ok(usize::try_from(n - 1).unwrap_or(usize::MAX))
}

/// A document from its version and body, the columns from `column` on.
fn document(key: Key, row: &Row, column: usize) -> Result<Document, Error> {
    let version: i64 = row.try_get(column)?;
    let body: &[u8] = row.try_get(column + 1)?;
    let at = DocumentRef::new(key, Version(stored(version)));
    Ok(Document { at, body: Bytes::copy_from_slice(body) })
}

/// An item from kind, queue, number, version, times, claims, marks and body: the first nine columns.
pub(crate) fn item(row: &Row) -> Result<Option<Item>, Error> {
    let Some(kind) = known_queue(row.try_get(0)?) else { return Ok(None) };
    let queue = QueueId { kind, id: id(row.try_get(1)?) };
    let (sequence, version): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
    let claims: i32 = row.try_get(6)?;
    let (marks, body): (&[u8], &[u8]) = (row.try_get(7)?, row.try_get(8)?);
    Ok(Some(Item {
        at: ItemRef::new(queue, SequenceNumber(stored(sequence)), Version(stored(version))),
        visible: time(row.try_get(4)?),
        deadline: time(row.try_get(5)?),
        claims: u32::try_from(claims).unwrap_or(0),
        marks: Marks::new(marks).unwrap_or_default(),
        body: Bytes::copy_from_slice(body),
    }))
}

/// What is asked for, as it stands at one instant.
pub(crate) async fn read(pool: &Pool, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
    if asks.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error| store_error("read", error, false);
    let mut lease = pool.lease("read").await?;
    let Some(session) = lease.session() else {
        return Err(StoreError::unavailable("read", "no connection"));
    };
    let sorted = Sorted::of(asks);
    let calls = sorted.calls();
    // One statement sees one instant by itself.
    let frame = if calls.len() == 1 { Frame::None } else { Frame::Snapshot };
    let rows = session.pipeline(frame, calls).await.map_err(failed)?;
    let answers = sorted.answers(asks.len(), rows).map_err(failed)?;
    lease.done();
    Ok(answers)
}

/// Documents of one kind in the order of their ids.
pub(crate) async fn scan(
    pool: &Pool,
    kind: Kind,
    after: Option<&str>,
    limit: NonZeroU32,
) -> Result<Vec<Document>, StoreError> {
    let failed = |error| store_error("scan", error, false);
    let mut lease = pool.lease("scan").await?;
    let Some(session) = lease.session() else {
        return Err(StoreError::unavailable("scan", "no connection"));
    };
    let call = Call::new(Sql::Scan).with(crate::values::kind(kind));
    let call = call.with(after.map(text)).with(i64::from(limit.get()));
    let rows = session.call(call).await.map_err(failed)?;
    let documents = rows.iter().map(|row| {
        let key = Key { kind, id: id(row.try_get(0)?) };
        document(key, row, 1)
    });
    let documents = documents.collect::<Result<_, _>>().map_err(failed)?;
    lease.done();
    Ok(documents)
}

/// Items by the claim that took them, in the order of their queues and numbers.
pub(crate) fn claimed(
    rows: &[Row],
    lists: &mut BTreeMap<usize, Vec<Item>>,
    first: usize,
) -> Result<(), Error> {
    for row in rows {
        if let Some(item) = item(row)? {
            lists.entry(first + nth(row, 9)?).or_default().push(item);
        }
    }
    Ok(())
}
