//! The log: reading on, finding places, forgetting.

use std::num::NonZeroU32;

use bytes::Bytes;
use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{Entry, Seek, StoreError};
use tokio_postgres::{Error, Row};

use crate::chunk::Found;
use crate::pool::Pool;
use crate::session::{Call, Frame, Session};
use crate::sql::Sql;
use crate::sqlstate::store_error;
use crate::values::{bound, count, millis, stored};

fn part(partition: Partition) -> i32 {
    i32::from(partition.0)
}

/// The oldest kept number and the next, of a partition that was ever written to.
fn ends(rows: &[Row]) -> Result<Option<(i64, i64)>, Error> {
    rows.first().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

fn found(row: &Row, body: Bytes) -> Result<Found, Error> {
    let places: &[u8] = row.try_get(3)?;
    Ok(Found {
        first: row.try_get(0)?,
        floor: row.try_get(1)?,
        at: row.try_get(2)?,
        places: places.to_vec(),
        body,
    })
}

/// Entries from a number on.
pub(crate) async fn tail(
    pool: &Pool,
    partition: Partition,
    from: SequenceNumber,
    limit: NonZeroU32,
) -> Result<Vec<Entry>, StoreError> {
    let mut lease = pool.lease("tail").await?;
    let Some(session) = lease.session() else {
        return Err(StoreError::unavailable("tail", "no connection"));
    };
    let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
    let entries = follow(session, partition, bound(from.0), limit).await;
    let entries = entries.map_err(|error| store_error("tail", error, false))?;
    lease.done();
    Ok(entries)
}

/// A statement reads one segment. Numbers have no gaps, so what several statements read, each at its
/// own instant, fits together or shows that it does not.
async fn follow(
    session: &mut Session,
    partition: Partition,
    from: i64,
    limit: usize,
) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = Vec::new();
    // Far below the end of numbers, so that a page's end is a number too.
    let mut from = from.min(i64::MAX / 2);
    loop {
        let left = count(limit - entries.len());
        let head = Call::new(Sql::Head).with(part(partition));
        let tail = Call::new(Sql::Tail).with(part(partition)).with(from).with(left);
        let mut rows = session.pipeline(Frame::None, vec![head, tail]).await?.into_iter();
        let Some((oldest, next)) = ends(&rows.next().unwrap_or_default())? else {
            return Ok(entries);
        };
        let before = from;
        from = from.max(oldest);
        for row in rows.next().unwrap_or_default() {
            let (body, oldest): (&[u8], i64) = (row.try_get(4)?, row.try_get(5)?);
            let found = found(&row, Bytes::copy_from_slice(body))?;
            for entry in found.entries() {
                let number = bound(entry.sequence.0);
                if number < from || number < oldest {
                    continue;
                }
                // What was forgotten between two statements is missing, at the beginning only.
                if entries.len() >= limit || (number > from && !entries.is_empty()) {
                    return Ok(entries);
                }
                from = number.saturating_add(1);
                entries.push(entry);
            }
        }
        if from >= next || from == before || entries.len() >= limit {
            return Ok(entries);
        }
    }
}

/// The number of a place.
pub(crate) async fn seek(
    pool: &Pool,
    partition: Partition,
    to: Seek,
) -> Result<SequenceNumber, StoreError> {
    let failed = |error| store_error("seek", error, false);
    let mut lease = pool.lease("seek").await?;
    let Some(session) = lease.session() else {
        return Err(StoreError::unavailable("seek", "no connection"));
    };
    let mut calls = vec![Call::new(Sql::Head).with(part(partition))];
    if let Seek::Time(at) = to {
        calls.push(Call::new(Sql::SeekTime).with(part(partition)).with(millis(at)));
    }
    let frame = if calls.len() == 1 { Frame::None } else { Frame::Snapshot };
    let rows = session.pipeline(frame, calls).await.map_err(failed)?;
    lease.done();
    let mut rows = rows.into_iter();
    let head = rows.next().unwrap_or_default();
    let Some((oldest, next)) = ends(&head).map_err(failed)? else { return Ok(SequenceNumber(1)) };
    let number = match to {
        Seek::Oldest => oldest,
        Seek::Next => next,
        Seek::Time(at) => {
            let rows = rows.next().unwrap_or_default();
            let row = rows.first().map(|row| found(row, Bytes::new())).transpose();
            let found = row.map_err(failed)?;
            let mut times = found.iter().flat_map(Found::times);
            times.find(|(n, time)| *n >= oldest && *time >= at).map_or(next, |(n, _)| n)
        }
    };
    Ok(SequenceNumber(stored(number)))
}

/// Forgets what is below a number. Its space comes back when the segment goes.
pub(crate) async fn trim(
    pool: &Pool,
    partition: Partition,
    below: SequenceNumber,
) -> Result<(), StoreError> {
    let mut lease = pool.lease("trim").await?;
    let Some(session) = lease.session() else {
        return Err(StoreError::unavailable("trim", "no connection"));
    };
    let call = Call::new(Sql::Trim).with(part(partition)).with(bound(below.0));
    session.call(call).await.map_err(|error| store_error("trim", error, true))?;
    lease.done();
    Ok(())
}
