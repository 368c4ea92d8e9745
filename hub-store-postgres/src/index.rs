//! Indexes on values of twins: which there are, and making those that are missing.
//!
//! They are made after the store was opened, beside its work and without holding up writers, by one
//! node at a time. Until an index is there queries read what it would have found, as they do without
//! one, so an answer never depends on it.

use std::sync::Arc;
use std::time::Duration;

use hub_core::query::{Path, Step};
use hub_core::store::Kind;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

use crate::config::{PostgresConfig, explained};
use crate::migrate::number_of;
use crate::session::{ConnectError, Connector};
use crate::sql::within;
use crate::values::kind;

/// Pause before another look, while another node is at it.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The indexes of a store.
#[derive(Debug)]
pub(crate) struct Indexes {
    /// Those that were asked for.
    wanted: Vec<Path>,
    /// Those of them that are there.
    ready: watch::Sender<Arc<[Path]>>,
}

/// Makes the indexes that are missing.
pub(crate) struct Maker {
    indexes: Arc<Indexes>,
    connector: Connector,
    /// The name of the schema as it is stored, not quoted.
    schema: String,
    lock: i64,
}

/// What became of a try.
enum Turn {
    /// All indexes are there.
    Done,
    /// Another node is at it.
    Taken,
}

/// A connection that ends with this.
struct Own {
    client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Own {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Indexes {
    pub(crate) fn new(config: &PostgresConfig) -> Arc<Self> {
        let ready = watch::Sender::new(Arc::default());
        Arc::new(Self { wanted: config.indexes.clone(), ready })
    }

    /// Those that queries can use now.
    pub(crate) fn ready(&self) -> Arc<[Path]> {
        self.ready.borrow().clone()
    }

    /// Ends when all that were asked for are there.
    pub(crate) async fn all(&self) {
        let mut ready = self.ready.subscribe();
        // The sender is here, so the wait does not end for want of it.
        ready.wait_for(|ready| ready.len() >= self.wanted.len()).await.ok();
    }
}

impl Maker {
    pub(crate) fn new(
        indexes: &Arc<Indexes>,
        connector: &Connector,
        config: &PostgresConfig,
    ) -> Self {
        Self {
            indexes: Arc::clone(indexes),
            connector: connector.clone(),
            schema: config.schema.clone(),
            // After those of migrations and of the upkeep.
            lock: number_of(&config.schema).wrapping_add(2),
        }
    }

    /// Looks for the indexes, and makes those that are missing, until all are there.
    pub(crate) async fn run(self) {
        let mut pause = PAUSE;
        while !self.indexes.wanted.is_empty() {
            match self.turn().await {
                Ok(Turn::Done) => return,
                Ok(Turn::Taken) => pause = PAUSE,
                Err(error) => {
                    let error = explained(&error);
                    tracing::warn!(error, "an index was not made; it is tried again");
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn turn(&self) -> Result<Turn, ConnectError> {
        let (client, driver) = self.connector.bare(|_| {}).await?;
        let own = Own { client, driver };
        // An index over many twins takes its time.
        let setup = "SET statement_timeout = 0; SET lock_timeout = 0; SET search_path = pg_catalog, pg_temp";
        own.client.batch_execute(setup).await?;
        self.look(&own.client).await?;
        // Not waited for: making an index waits for all transactions there are, and whoever waits for
        // a lock is in one.
        let lock = "SELECT pg_try_advisory_lock($1)";
        let alone: bool = own.client.query_one(lock, &[&self.lock]).await?.try_get(0)?;
        if !alone {
            return Ok(Turn::Taken);
        }
        let mut made = false;
        for path in &self.indexes.wanted {
            made |= self.make(&own.client, path).await?;
        }
        if made {
            // Without it the planner does not know that an index tells rows apart.
            own.client.batch_execute(&self.within("ANALYZE $S.document")).await?;
        }
        // The lock goes with the connection.
        self.look(&own.client).await?;
        Ok(Turn::Done)
    }

    /// Tells queries which indexes are there.
    async fn look(&self, client: &Client) -> Result<(), Error> {
        let mut ready = Vec::new();
        for path in &self.indexes.wanted {
            if self.is_valid(client, path).await? == Some(true) {
                ready.push(path.clone());
            }
        }
        self.indexes.ready.send_if_modified(|known| {
            let new = **known != *ready;
            *known = ready.into();
            new
        });
        Ok(())
    }

    /// Whether the index at a path can be used. None if there is none.
    async fn is_valid(&self, client: &Client, path: &Path) -> Result<Option<bool>, Error> {
        let look = "SELECT i.indisvalid FROM pg_catalog.pg_index AS i \
             JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
             JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2";
        let row = client.query_opt(look, &[&self.schema, &name(path)]).await?;
        row.map(|row| row.try_get(0)).transpose()
    }

    /// Makes the index at a path, if it is not there. Whether it did.
    async fn make(&self, client: &Client, path: &Path) -> Result<bool, Error> {
        let name = name(path);
        match self.is_valid(client, path).await? {
            Some(true) => return Ok(false),
            // Whoever began it did not get to the end.
            Some(false) => {
                let drop = format!("DROP INDEX CONCURRENTLY $S.{name}");
                client.batch_execute(&self.within(&drop)).await?;
            }
            None => {}
        }
        let (twin, value) = (kind(Kind::Twin), value_at(path));
        let make = format!(
            "CREATE INDEX CONCURRENTLY {name} ON $S.document (({value}), id) WHERE kind = {twin}"
        );
        client.batch_execute(&self.within(&make)).await?;
        tracing::info!(schema = self.schema, path = %path, "an index was made");
        Ok(true)
    }

    fn within(&self, sql: &str) -> String {
        within(self.connector.schema(), sql)
    }
}

/// The expression of the index at a path.
pub(crate) fn value_at(path: &Path) -> String {
    let steps = path.steps().iter().map(|step| match step {
        Step::Member(name) => format!("'{}'", name.replace('\'', "''")),
        Step::Index(index) => format!("'{index}'"),
    });
    format!("$S.value_at(body, ARRAY[{}]::text[])", steps.collect::<Vec<_>>().join(", "))
}

/// The name of the index at a path: the same in every process.
fn name(path: &Path) -> String {
    // FNV-1a.
    let hash = path.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("twin_value_{hash:016x}")
}
