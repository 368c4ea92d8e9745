//! The store: the contract's methods, opening and closing.

use std::num::NonZeroU32;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, Change, Claim, Document, Durability, Entry, Find, Found, Item, Kind, Op, Outcome,
    Query, Record, Seek, Store, StoreError,
};
use hub_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::PostgresConfig;
use crate::error::OpenError;
use crate::find::Questions;
use crate::index::{Indexes, Maker};
use crate::migrate::migrate;
use crate::orphans::Orphans;
use crate::pool::Pool;
use crate::session::{ConnectError, Connector};
use crate::signal::Signals;
use crate::upkeep::Upkeep;
use crate::{claim, commit, log, read, tls};

/// A store in a schema of a PostgreSQL database. Several processes may share it.
///
/// See the [crate's documentation](crate). Every call that may write, and every read but `find`, runs in
/// a task of its own, so that a caller may stop waiting for it at any moment. Dropping the store ends its connections, those too on which
/// something is under way for a caller who has gone.
#[derive(Debug)]
pub struct PostgresStore {
    pool: Arc<Pool>,
    signals: Arc<Signals>,
    orphans: Arc<Orphans>,
    /// Its end is heard by the calls that nobody waits for.
    open: watch::Sender<()>,
    runtime: Handle,
    tasks: Vec<JoinHandle<()>>,
    upkeep: Upkeep,
    durability: Durability,
    within: Duration,
    indexes: Arc<Indexes>,
}

impl PostgresStore {
    /// Connects, checks the server, and brings the schema to the form that this version knows; makes
    /// it if there is none. Safe to call from several nodes at once.
    ///
    /// # Errors
    /// [`OpenError`], whose message says what to do. Nothing in the database is changed then.
    pub async fn open(config: PostgresConfig) -> Result<Self, OpenError> {
        let config = config.checked()?;
        let runtime = Handle::try_current().map_err(|_| OpenError::NoRuntime)?;
        let connector = Connector::new(&config, tls::connector(&config)?);
        let (client, driver) = connector.bare(|_| {}).await.map_err(|error| match error {
            ConnectError::Failed(error) => OpenError::database(&config, &error),
            late @ ConnectError::Late(_) => {
                OpenError::Unreachable { place: config.place(), reason: late.to_string() }
            }
        })?;
        let server =
            tokio::time::timeout(config.operation_timeout, migrate(&client, &config)).await;
        driver.abort();
        let server = server.map_err(|_| OpenError::Unreachable {
            place: config.place(),
            reason: "it does not answer".to_owned(),
        })??;
        if config.synced && !server.syncs {
            tracing::warn!(
                "the server runs with fsync = off: a crash of it may lose what was acknowledged"
            );
        }
        let durability = if server.syncs { Durability::Synced } else { Durability::Volatile };
        let pool = Pool::new(connector.clone(), config.connections_max, config.connect_timeout);
        let pool = Arc::new(pool);
        let signals = Signals::new(&config.schema);
        let upkeep = Upkeep::new(&config);
        let indexes = Indexes::new(&config);
        let tasks = vec![
            runtime.spawn(Maker::new(&indexes, &connector, &config).run()),
            runtime.spawn(Arc::clone(&signals).run(connector)),
            runtime.spawn(upkeep.clone().run(Arc::clone(&pool))),
        ];
        let within = config.operation_timeout;
        let (orphans, open) = (Arc::default(), watch::Sender::new(()));
        Ok(Self {
            pool,
            signals,
            orphans,
            open,
            runtime,
            tasks,
            upkeep,
            durability,
            within,
            indexes,
        })
    }

    /// [`PostgresStore::open`] by a URL, else with the defaults of [`PostgresConfig`].
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn open_url(url: &str) -> Result<Self, OpenError> {
        Self::open(PostgresConfig::from_str(url)?).await
    }

    /// Looks after the tables now, as the store does every ten seconds: forgets old batches, begins a
    /// new segment of the log if one is due, drops those that nobody needs.
    ///
    /// # Errors
    /// As the methods of the store.
    pub async fn maintain(&self) -> Result<(), StoreError> {
        let (pool, upkeep) = (Arc::clone(&self.pool), self.upkeep.clone());
        self.task("upkeep", true, async move { upkeep.once(&pool).await }).await
    }

    /// Ends when all indexes are there that the configuration asks for ([`PostgresConfig::index`]).
    /// They are made beside the store's work; until then a query reads what an index would have found.
    /// Dropping the future changes nothing.
    pub async fn indexed(&self) {
        self.indexes.all().await;
    }

    /// Runs a call in a task, within the time that a call may take. `writing` is whether it may have
    /// happened when there is no answer.
    async fn task<T: Send + 'static>(
        &self,
        operation: &'static str,
        writing: bool,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let lost = |why: &'static str| match writing {
            true => StoreError::unknown(operation, why),
            false => StoreError::unavailable(operation, why),
        };
        let (within, mut open) = (self.within, self.open.subscribe());
        let call = self.runtime.spawn(async move {
            tokio::select! {
                biased;
                answer = tokio::time::timeout(within, call) => Some(answer),
                _ = open.changed() => None,
            }
        });
        match call.await {
            Ok(Some(Ok(answer))) => answer,
            Ok(Some(Err(_))) => Err(lost("the server did not answer in time")),
            Ok(None) => Err(lost("the store was closed")),
            Err(_) => Err(lost("the store's runtime has ended")),
        }
    }
}

/// Whether a batch locks items that a claim may want.
fn locks_items(batch: &Batch) -> bool {
    let mut ops = batch.changes.iter().flat_map(Change::ops);
    ops.any(|op| matches!(op, Op::Retime(..) | Op::Settle(_) | Op::Clear(_)))
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.pool.close();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl Query for PostgresStore {
    async fn find(&self, find: Find<'_>) -> Result<Found, StoreError> {
        let pool = Arc::clone(&self.pool);
        let questions = Questions::of(&find, &self.indexes.ready(), pool.connector().schema());
        let here = Handle::try_current().is_ok_and(|here| here.id() == self.runtime.id());
        if !here {
            return self.task("find", false, async move { questions.ask(&pool).await }).await;
        }
        // Nothing is written and no row is locked: a caller who stops waiting ends the call, and its
        // connection with it. A task of its own costs as much as finding a few rows does.
        match tokio::time::timeout(self.within, questions.ask(&pool)).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::unavailable("find", "the server did not answer in time")),
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn durability(&self) -> Durability {
        self.durability
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        let (pool, asks) = (Arc::clone(&self.pool), asks.to_vec());
        self.task("read", false, async move { read::read(&pool, &asks).await }).await
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        let (pool, after) = (Arc::clone(&self.pool), after.map(str::to_owned));
        let scan = async move { read::scan(&pool, kind, after.as_deref(), limit).await };
        self.task("scan", false, scan).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        let (pool, batch) = (Arc::clone(&self.pool), batch.clone());
        let signals = Arc::clone(&self.signals);
        let (caller, task) = locks_items(&batch).then(|| self.orphans.call()).unzip();
        let commit = async move {
            let _task = task;
            let outcomes = commit::commit(&pool, &batch).await?;
            signals.nudge(&batch.nudges);
            Ok(outcomes)
        };
        let answer = self.task("commit", true, commit).await;
        drop(caller);
        answer
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        let (pool, claims) = (Arc::clone(&self.pool), claims.to_vec());
        self.orphans.none().await;
        let (caller, task) = self.orphans.call();
        let claim = async move {
            let _task = task;
            claim::claim(&pool, now, &claims).await
        };
        let answer = self.task("claim", true, claim).await;
        drop(caller);
        answer
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        let pool = Arc::clone(&self.pool);
        let tail = async move { log::tail(&pool, partition, from, limit).await };
        self.task("tail", false, tail).await
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        let pool = Arc::clone(&self.pool);
        self.task("seek", false, async move { log::seek(&pool, partition, to).await }).await
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        let pool = Arc::clone(&self.pool);
        self.task("trim", true, async move { log::trim(&pool, partition, below).await }).await
    }

    async fn nudged(&self, node: &NodeId) {
        self.signals.wait(node).await;
    }
}
