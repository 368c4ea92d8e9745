//! What a store does by itself: forgetting old batches, new segments of the log, dropping old ones.
//!
//! Every node does it, one at a time: who does not get the lock leaves it to who has it. The clock is
//! the server's, and only decides when space is used anew, never what is seen.

use std::sync::Arc;
use std::time::Duration;

use hub_core::store::StoreError;
use tokio_postgres::Error;

use crate::config::PostgresConfig;
use crate::migrate::number_of;
use crate::pool::Pool;
use crate::session::Session;
use crate::sql::within;
use crate::sqlstate::{Failure, judge, store_error};

/// How often it is looked after.
const EVERY: Duration = Duration::from_secs(10);
/// How long the answer to a batch is kept. The contract asks for ten minutes (S8), counted by no clock in
/// particular; this is counted by the server's, so that a step of it by some minutes does no harm.
const BATCH_AGE: Duration = Duration::from_secs(15 * 60);
/// Longest wait for a table's lock. Statements that come meanwhile wait behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '500ms'";

/// When what is done.
#[derive(Debug, Clone)]
pub(crate) struct Upkeep {
    lock: i64,
    segment_bytes: i64,
    segment_secs: f64,
}

impl Upkeep {
    pub(crate) fn new(config: &PostgresConfig) -> Self {
        Self {
            // The number after the one that migrations lock.
            lock: number_of(&config.schema).wrapping_add(1),
            segment_bytes: i64::try_from(config.segment_bytes).unwrap_or(i64::MAX),
            segment_secs: config.segment_age.as_secs_f64(),
        }
    }

    /// Looks after the tables from time to time.
    pub(crate) async fn run(self, pool: Arc<Pool>) {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = self.once(&pool).await {
                tracing::debug!(
                    error = crate::config::explained(&error),
                    "the tables were not looked after"
                );
            }
        }
    }

    /// Does what is due now.
    pub(crate) async fn once(&self, pool: &Pool) -> Result<(), StoreError> {
        let mut lease = pool.lease("upkeep").await?;
        let schema = pool.connector().schema().to_owned();
        let Some(session) = lease.session() else { return Ok(()) };
        let done = async {
            self.forget_batches(session, &schema).await?;
            self.new_segment(session, &schema).await?;
            while self.drop_segment(session, &schema).await? {}
            Ok::<_, Error>(())
        };
        match done.await {
            Ok(()) => {}
            // Somebody needs the table just now: next time.
            Err(error) if judge(&error, false) == Failure::Again => {
                let ended = session.client.batch_execute("ROLLBACK").await;
                ended.map_err(|error| store_error("upkeep", error, false))?;
            }
            Err(error) => return Err(store_error("upkeep", error, false)),
        }
        lease.done();
        Ok(())
    }

    /// Begins a transaction, if no other node is at it.
    async fn begin(&self, session: &Session) -> Result<bool, Error> {
        session.client.batch_execute("BEGIN").await?;
        let lock = "SELECT pg_try_advisory_xact_lock($1)";
        let alone: bool = session.client.query_one(lock, &[&self.lock]).await?.try_get(0)?;
        if !alone {
            session.client.batch_execute("COMMIT").await?;
        }
        Ok(alone)
    }

    async fn forget_batches(&self, session: &Session, schema: &str) -> Result<(), Error> {
        if self.begin(session).await? {
            let forget = "DELETE FROM $S.batch WHERE at < now() - make_interval(secs => $1)";
            session.client.execute(&within(schema, forget), &[&BATCH_AGE.as_secs_f64()]).await?;
            session.client.batch_execute("COMMIT").await?;
        }
        Ok(())
    }

    /// Begins a new segment when the newest is large or old, and not empty.
    async fn new_segment(&self, session: &Session, schema: &str) -> Result<(), Error> {
        if !self.begin(session).await? {
            return Ok(());
        }
        let look = "SELECT id, extract(epoch FROM now() - born)::double precision >= $1 AS old, \
             pg_total_relation_size(format('%s.%I', $2::text, 'log_' || id)::regclass) AS bytes, \
             EXISTS (SELECT FROM $S.head AS h JOIN $S.span AS s ON s.part = h.part AND s.segment = h.segment \
                 WHERE h.segment = f.id AND h.next > s.first) AS used \
             FROM $S.segment AS f ORDER BY id DESC LIMIT 1";
        let row =
            session.client.query_one(&within(schema, look), &[&self.segment_secs, &schema]).await?;
        let (id, old, bytes, used): (i32, bool, i64, bool) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        if used && (old || bytes >= self.segment_bytes) {
            let next = id + 1;
            // Readers go on: the table is attached, not created as a partition. Writers wait. One that
            // has begun knows the segments there were then, and would be led to one that it does not
            // know if it waited for a head while the heads turn.
            let make = format!(
                "{LOCK_TIMEOUT}; LOCK TABLE $S.log IN SHARE MODE; CREATE TABLE $S.log_{next} (LIKE $S.log INCLUDING DEFAULTS INCLUDING STORAGE) \
                 WITH (fillfactor = 100, toast_tuple_target = 8160, autovacuum_vacuum_insert_threshold = -1); \
                 ALTER TABLE $S.log ATTACH PARTITION $S.log_{next} FOR VALUES IN ({next}); \
                 INSERT INTO $S.segment (id) VALUES ({next}); \
                 SELECT FROM $S.head ORDER BY part FOR UPDATE; \
                 INSERT INTO $S.span (part, segment, first) SELECT part, {next}, next FROM $S.head; \
                 UPDATE $S.head SET segment = {next}"
            );
            session.client.batch_execute(&within(schema, &make)).await?;
            tracing::debug!(segment = next, "a new segment of the log");
        }
        session.client.batch_execute("COMMIT").await
    }

    /// Drops the oldest segment if nobody keeps anything in it. Whether there may be more.
    async fn drop_segment(&self, session: &Session, schema: &str) -> Result<bool, Error> {
        if !self.begin(session).await? {
            return Ok(false);
        }
        // Its row is locked before the heads are looked at: one that is being made holds that lock.
        let take = "DELETE FROM $S.segment WHERE id = (SELECT min(id) FROM $S.segment) \
             AND id < (SELECT max(id) FROM $S.segment) RETURNING id";
        session.client.batch_execute(LOCK_TIMEOUT).await?;
        let rows = session.client.query(&within(schema, take), &[]).await?;
        let Some(row) = rows.first() else {
            session.client.batch_execute("ROLLBACK").await?;
            return Ok(false);
        };
        let id: i32 = row.try_get(0)?;
        let kept = "SELECT EXISTS (SELECT FROM $S.head AS h WHERE h.segment <= $1 OR h.oldest < \
             (SELECT min(s.first) FROM $S.span AS s WHERE s.part = h.part AND s.segment > $1))";
        let kept: bool =
            session.client.query_one(&within(schema, kept), &[&id]).await?.try_get(0)?;
        if kept {
            session.client.batch_execute("ROLLBACK").await?;
            return Ok(false);
        }
        let forget =
            format!("DELETE FROM $S.span WHERE segment <= {id}; DROP TABLE $S.log_{id}; COMMIT");
        session.client.batch_execute(&within(schema, &forget)).await?;
        tracing::debug!(segment = id, "a segment of the log was dropped");
        Ok(true)
    }
}
