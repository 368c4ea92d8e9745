//! Committing a batch.
//!
//! The usual batch holds: its guards are those of records that only this node writes, and its queues
//! have room. It is sent whole in one trip, each statement of it with its guards, and ends without
//! effect if one of them fails. Then, or if its changes have to be judged one after the other, its
//! records are locked in the order of their keys, compared here, and what is admitted is written: two
//! trips.

use hub_core::store::{Batch, BatchId, Key, Outcome, QueueId, StoreError};
use tokio_postgres::Row;

use crate::draft::Drafts;
use crate::judge::{Locked, Named, judge};
use crate::plan::Plan;
use crate::pool::Pool;
use crate::session::{Call, Frame, Session};
use crate::sql::Sql;
use crate::sqlstate::{self, Failure, store_error};
use crate::values::{Uuid, count, id, kind, known_kind, known_queue, millis, queue_kind, text};

/// Most times a batch is judged because others were quicker.
const TRIES_MAX: u32 = 100;
/// The constraint that a repeated batch meets.
const BATCH_KEY: &str = "batch_pkey";

/// How one try has ended.
enum Ended {
    Done(Vec<Outcome>),
    /// Nothing happened: it has to be judged.
    Refused,
    /// The batch was committed before.
    Repeated,
}

/// Commits a batch, or finds what it came to before.
pub(crate) async fn commit(pool: &Pool, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
    let mut lease = pool.lease("commit").await?;
    let Some(session) = lease.session() else {
        return Err(StoreError::unavailable("commit", "no connection"));
    };
    let outcomes = tries(session, batch).await?;
    lease.done();
    Ok(outcomes)
}

async fn tries(session: &mut Session, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
    let changes = count(batch.changes.len());
    let mut hopeful = true;
    for _ in 0..TRIES_MAX {
        let asked = session.versions(changes).await;
        let version = asked.map_err(|error| store_error("commit", error, false))?;
        let plan = if hopeful { Plan::hopeful(batch, version) } else { None };
        hopeful = false;
        let ended = match plan {
            Some(plan) => write(session, batch.id, &plan, Frame::Whole, None).await?,
            None => look_and_write(session, batch, version).await?,
        };
        match ended {
            Ended::Done(outcomes) => return Ok(outcomes),
            Ended::Refused => {}
            Ended::Repeated => {
                let call = Call::new(Sql::FindBatch).with(Uuid(batch.id.0));
                let rows = session.call(call).await;
                let rows = rows.map_err(|error| store_error("commit", error, false))?;
                if let Some(row) = rows.first() {
                    return remembered(row);
                }
            }
        }
    }
    Err(StoreError::unavailable("commit", "others were quicker too many times"))
}

/// What was answered to a batch.
fn remembered(row: &Row) -> Result<Vec<Outcome>, StoreError> {
    let damaged = || StoreError::fatal("commit", "a remembered batch cannot be read");
    let packed: &[u8] = row.try_get(0).map_err(|error| store_error("commit", error, false))?;
    let bases: Vec<i64> = row.try_get(1).map_err(|error| store_error("commit", error, false))?;
    Drafts::unpack(packed).and_then(|drafts| drafts.outcomes(&bases)).ok_or_else(damaged)
}

/// Locks what a batch names, judges it, and writes what is admitted.
async fn look_and_write(
    session: &mut Session,
    batch: &Batch,
    version: i64,
) -> Result<Ended, StoreError> {
    let named = Named::of(batch);
    let looked = session.pipeline(Frame::Begin, looks(&named, Some(batch.id))).await;
    let rows = match looked {
        Ok(rows) => rows,
        Err(error) => {
            let again = sqlstate::judge(&error, false) == Failure::Again;
            if !again {
                return Err(store_error("commit", error, false));
            }
            roll_back(session).await?;
            return Ok(Ended::Refused);
        }
    };
    let mut rows = rows.into_iter().skip(makes(&named));
    let found = locked(&mut rows).map_err(|error| store_error("commit", error, false))?;
    if let Some(row) = rows.next().as_deref().and_then(<[Row]>::first) {
        let outcomes = remembered(row)?;
        roll_back(session).await?;
        return Ok(Ended::Done(outcomes));
    }
    let plan = judge(batch, version, &found);
    write(session, batch.id, &plan, Frame::Commit, Some(&named)).await
}

async fn roll_back(session: &Session) -> Result<(), StoreError> {
    let rolled = session.client.batch_execute("ROLLBACK").await;
    rolled.map_err(|error| store_error("commit", error, false))
}

/// How many calls of [`looks`] come before those that give rows.
pub(crate) fn makes(named: &Named) -> usize {
    [named.partitions.is_empty(), named.pushed.is_empty(), named.absent.is_empty()]
        .iter()
        .filter(|empty| !**empty)
        .count()
}

/// The calls that make and lock what a batch names: documents, then queues, then items.
pub(crate) fn looks(named: &Named, batch: Option<BatchId>) -> Vec<Call<'_>> {
    let mut calls = Vec::with_capacity(8);
    if !named.partitions.is_empty() {
        let partitions: Vec<_> = named.partitions.iter().map(|number| i32::from(*number)).collect();
        calls.push(Call::new(Sql::MakeHeads).with(partitions));
    }
    if !named.pushed.is_empty() {
        calls.push(queues(Call::new(Sql::MakeQueues), named.pushed.iter()));
    }
    if !named.absent.is_empty() {
        calls.push(keys(Call::new(Sql::HoldAbsent), named.absent.iter()));
    }
    calls.push(keys(Call::new(Sql::LockDocuments), named.documents.iter()));
    calls.push(queues(Call::new(Sql::LockQueues), named.queues.iter()));
    let numbers: Vec<_> = named.items.iter().map(|(_, number)| *number).collect();
    let items = queues(Call::new(Sql::LockItems), named.items.iter().map(|(queue, _)| queue));
    calls.push(items.with(numbers));
    // After the locks: whoever held them may have been the first try of this batch.
    calls.extend(batch.map(|batch| Call::new(Sql::FindBatch).with(Uuid(batch.0))));
    calls
}

/// What the locking calls have found.
pub(crate) fn locked(
    rows: &mut impl Iterator<Item = Vec<Row>>,
) -> Result<Locked, tokio_postgres::Error> {
    let mut locked = Locked::default();
    for row in rows.next().unwrap_or_default() {
        let version: i64 = row.try_get(2)?;
        // Version 0 is our own place-holder for what must stay absent.
        if let Some(kind) = known_kind(row.try_get(0)?)
            && version != 0
        {
            locked.documents.insert(Key { kind, id: id(row.try_get(1)?) }, version);
        }
    }
    for row in rows.next().unwrap_or_default() {
        if let Some(kind) = known_queue(row.try_get(0)?) {
            locked.depths.insert(QueueId { kind, id: id(row.try_get(1)?) }, row.try_get(2)?);
        }
    }
    for row in rows.next().unwrap_or_default() {
        if let Some(kind) = known_queue(row.try_get(0)?) {
            let queue = QueueId { kind, id: id(row.try_get(1)?) };
            locked.items.insert((queue, row.try_get(2)?), row.try_get(3)?);
        }
    }
    Ok(locked)
}

/// With the kinds and ids of documents.
fn keys<'a>(call: Call<'a>, keys: impl Iterator<Item = &'a Key> + Clone) -> Call<'a> {
    let kinds: Vec<_> = keys.clone().map(|key| kind(key.kind)).collect();
    call.with(kinds).with(keys.map(|key| text(&key.id)).collect::<Vec<_>>())
}

/// With the kinds and ids of queues.
fn queues<'a>(call: Call<'a>, queues: impl Iterator<Item = &'a QueueId> + Clone) -> Call<'a> {
    let kinds: Vec<_> = queues.clone().map(|queue| queue_kind(queue.kind)).collect();
    call.with(kinds).with(queues.map(|queue| text(&queue.id)).collect::<Vec<_>>())
}

/// Writes a plan and ends the transaction.
async fn write(
    session: &mut Session,
    batch: BatchId,
    plan: &Plan,
    frame: Frame,
    looked: Option<&Named>,
) -> Result<Ended, StoreError> {
    let mut calls = writes(plan, looked);
    calls.push(finish(plan, Some(batch)));
    // A lone statement is a transaction of its own.
    let frame = if frame == Frame::Whole && calls.len() == 1 { Frame::None } else { frame };
    let rows = match session.pipeline(frame, calls).await {
        Ok(rows) => rows,
        Err(error) => {
            let repeated =
                error.as_db_error().is_some_and(|error| error.constraint() == Some(BATCH_KEY));
            return match sqlstate::judge(&error, true) {
                Failure::Refused if repeated => Ok(Ended::Repeated),
                Failure::Refused | Failure::Again => Ok(Ended::Refused),
                _ => Err(store_error("commit", error, true)),
            };
        }
    };
    let bases: Option<Vec<i64>> = rows.last().and_then(|rows| rows.first()?.try_get(1).ok());
    let outcomes = bases.and_then(|bases| plan.drafts.outcomes(&bases));
    let lost =
        || StoreError::fatal("commit", "the database issued fewer numbers than were asked for");
    outcomes.map(Ended::Done).ok_or_else(lost)
}

/// The calls that write a plan, all but the last. Documents come first, queues before their items.
pub(crate) fn writes<'a>(plan: &'a Plan, looked: Option<&'a Named>) -> Vec<Call<'a>> {
    let mut calls = Vec::with_capacity(12);
    if let Some(named) = looked.filter(|named| !named.absent.is_empty()) {
        calls.push(keys(Call::new(Sql::ReleaseAbsent), named.absent.iter()));
    }
    if !plan.requires.is_empty() {
        let versions: Vec<_> = plan.requires.values().copied().collect();
        let call = keys(Call::new(Sql::Require), plan.requires.keys());
        calls.push(call.with(versions).with(count(plan.requires.len())));
    }
    if !plan.removes.is_empty() {
        let versions: Vec<_> = plan.removes.values().copied().collect();
        let call = keys(Call::new(Sql::Remove), plan.removes.keys());
        calls.push(call.with(versions).with(count(plan.removes.len())));
    }
    if !plan.updates.is_empty() {
        let updates = plan.updates.values();
        let old: Vec<_> = updates.clone().map(|update| update.old).collect();
        let new: Vec<_> = updates.clone().map(|update| update.new).collect();
        let bodies: Vec<&[u8]> = updates.map(|update| &*update.body).collect();
        let call = keys(Call::new(Sql::Update), plan.updates.keys());
        calls.push(call.with(old).with(new).with(bodies).with(count(plan.updates.len())));
    }
    if !plan.creates.is_empty() {
        let versions: Vec<_> = plan.creates.values().map(|(version, _)| *version).collect();
        let bodies: Vec<&[u8]> = plan.creates.values().map(|(_, body)| &**body).collect();
        let call = keys(Call::new(Sql::Create), plan.creates.keys());
        calls.push(call.with(versions).with(bodies));
    }
    if !plan.queues.is_empty() {
        let depths = plan.queues.values();
        let pushes: Vec<_> = depths.clone().map(|depth| depth.pushes).collect();
        let deltas: Vec<_> = depths.clone().map(|depth| depth.delta).collect();
        let rooms: Vec<_> = depths.map(|depth| depth.room).collect();
        let call = queues(Call::new(Sql::Queue), plan.queues.keys());
        calls.push(call.with(pushes).with(deltas).with(rooms).with(count(plan.queues.len())));
    }
    if !plan.clears.is_empty() {
        calls.push(queues(Call::new(Sql::Clear), plan.clears.iter()));
    }
    if !plan.settles.is_empty() {
        let numbers: Vec<_> = plan.settles.keys().map(|(_, number)| *number).collect();
        let versions: Vec<_> = plan.settles.values().copied().collect();
        let call = queues(Call::new(Sql::Settle), plan.settles.keys().map(|(queue, _)| queue));
        calls.push(call.with(numbers).with(versions).with(count(plan.settles.len())));
    }
    if !plan.retimes.is_empty() {
        let numbers: Vec<_> = plan.retimes.keys().map(|(_, number)| *number).collect();
        let retimes = plan.retimes.values();
        let old: Vec<_> = retimes.clone().map(|retime| retime.old).collect();
        let new: Vec<_> = retimes.clone().map(|retime| retime.new).collect();
        let visible: Vec<_> = retimes.clone().map(|retime| millis(retime.visible)).collect();
        let marks: Vec<&[u8]> = retimes.map(|retime| retime.marks.as_bytes()).collect();
        let call = queues(Call::new(Sql::Retime), plan.retimes.keys().map(|(queue, _)| queue));
        let call = call.with(numbers).with(old).with(new).with(visible).with(marks);
        calls.push(call.with(count(plan.retimes.len())));
    }
    if !plan.pushes.is_empty() {
        calls.push(push(plan));
    }
    calls
}

fn push(plan: &Plan) -> Call<'_> {
    let pushes = plan.pushes.iter();
    let back = pushes
        .clone()
        .map(|pushed| plan.queues.get(&pushed.queue).map_or(0, |depth| depth.pushes) - pushed.rank);
    let back: Vec<_> = back.collect();
    let versions: Vec<_> = pushes.clone().map(|pushed| pushed.version).collect();
    let visible: Vec<_> = pushes.clone().map(|pushed| millis(pushed.visible)).collect();
    let deadlines: Vec<_> = pushes.clone().map(|pushed| millis(pushed.deadline)).collect();
    let bodies: Vec<&[u8]> = pushes.clone().map(|pushed| &*pushed.body).collect();
    let call = queues(Call::new(Sql::Push), pushes.map(|pushed| &pushed.queue));
    call.with(back).with(versions).with(visible).with(deadlines).with(bodies)
}

/// The last call of a transaction: the log, and the answer to the batch, if it is one.
pub(crate) fn finish(plan: &Plan, batch: Option<BatchId>) -> Call<'_> {
    let pushed = plan.based_queues();
    let pushes: Vec<_> = pushed.clone().map(|(_, depth)| depth.pushes).collect();
    let packed = batch.map(|_| plan.drafts.pack()).unwrap_or_default();
    let id = batch.map(|batch| Uuid(batch.0));
    let sql = match (id.is_some() && pushes.is_empty(), plan.appends.is_empty()) {
        (true, true) => return Call::new(Sql::Answer).with(id).with(packed),
        (true, false) => Sql::FinishLog,
        (false, _) => Sql::Finish,
    };
    let appends = plan.appends.iter();
    let part = |append: &crate::plan::Append| i32::from(append.partition.0);
    let parts: Vec<_> = appends.clone().map(part).collect();
    let counts: Vec<_> = appends.clone().map(|append| append.count).collect();
    let untils: Vec<_> = appends.clone().map(|append| append.until).collect();
    let call = Call::new(sql).with(parts).with(counts).with(untils);
    let chunks = appends.flat_map(|append| append.chunks.iter().map(move |chunk| (append, chunk)));
    let parts: Vec<_> = chunks.clone().map(|(append, _)| part(append)).collect();
    let offsets: Vec<_> = chunks.clone().map(|(_, chunk)| chunk.offset).collect();
    let counts: Vec<_> = chunks.clone().map(|(_, chunk)| chunk.count).collect();
    let ats: Vec<_> = chunks.clone().map(|(_, chunk)| chunk.at).collect();
    let untils: Vec<_> = chunks.clone().map(|(_, chunk)| chunk.until).collect();
    let places: Vec<&[u8]> = chunks.clone().map(|(_, chunk)| &*chunk.places).collect();
    let bodies: Vec<&[u8]> = chunks.map(|(_, chunk)| &*chunk.body).collect();
    let call = call.with(parts).with(offsets).with(counts).with(ats).with(untils);
    let call = call.with(places).with(bodies);
    let call = match sql {
        Sql::FinishLog => call,
        _ => queues(call, pushed.map(|(queue, _)| queue)).with(pushes),
    };
    call.with(id).with(packed)
}
