//! A connection that is set up for the hub's statements.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, poll_fn};
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Error, Notification, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::PostgresConfig;
use crate::sql::{Sql, quote, within};

/// Versions that a connection takes at once. Each is used at most once, and there are enough blocks
/// for a hub that opens a thousand connections a second for ten thousand years.
pub(crate) const BLOCK: i64 = 1 << 24;

/// Statements made for questions that a connection keeps prepared.
const MADE_MAX: usize = 64;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    server: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    schema: String,
    setup: Arc<str>,
    within: Duration,
    /// Longest time to connect.
    bound: Duration,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no connection within {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Connector {
    pub(crate) fn new(config: &PostgresConfig, tls: MakeRustlsConnect) -> Self {
        let millis = config.operation_timeout.as_millis();
        // All statements find their rows by key. Told so, the planner needs no statistics to know it,
        // and a plan made when a table was empty is right when it is not.
        let mut setup = format!(
            "SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}; \
             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
             SET search_path = pg_catalog, pg_temp; SET plan_cache_mode = force_generic_plan; \
             SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
             SET enable_bitmapscan = off; SET jit = off; SET client_min_messages = warning; \
             SET default_transaction_isolation = 'read committed'; "
        );
        setup.push_str(match config.synced {
            // A server's own choice among the durable ones is kept.
            true => {
                "SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off'"
            }
            false => "SET synchronous_commit = off",
        });
        Self {
            server: config.server.clone(),
            tls,
            schema: quote(&config.schema),
            setup: setup.into(),
            within: config.connect_timeout,
            bound: config.connect_bound(),
        }
    }

    /// The schema, quoted.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// A connection, not set up. `heard` is given what the server says unasked.
    pub(crate) async fn bare(
        &self,
        heard: impl Fn(Notification) + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), ConnectError> {
        // The driver bounds what it does for one address, but not the server's silence after that.
        let connecting = self.server.connect(self.tls.clone());
        let bound = self.bound;
        let (client, mut connection) = tokio::time::timeout(bound, connecting)
            .await
            .map_err(|_| ConnectError::Late(bound))??;
        let driver = tokio::spawn(async move {
            loop {
                match poll_fn(|cx| connection.poll_message(cx)).await {
                    Some(Ok(AsyncMessage::Notification(notification))) => heard(notification),
                    Some(Ok(_)) => {}
                    // Whoever waits for an answer on it learns of the end there.
                    Some(Err(_)) | None => return,
                }
            }
        });
        Ok((client, driver))
    }

    /// A connection that is ready for the hub's statements.
    pub(crate) async fn session(&self) -> Result<Session, ConnectError> {
        let (client, driver) = self.bare(|_| {}).await?;
        let session = Session {
            client,
            driver,
            schema: self.schema.clone(),
            statements: [const { None }; Sql::COUNT],
            made: HashMap::new(),
            next: 0,
            end: 0,
            clean: true,
        };
        let setup = session.client.batch_execute(&self.setup);
        let ready = tokio::time::timeout(self.within, setup).await;
        ready.map_err(|_| ConnectError::Late(self.within))??;
        Ok(session)
    }
}

/// A statement and its parameters.
pub(crate) struct Call<'a> {
    pub(crate) sql: Sql,
    params: Vec<Box<dyn ToSql + Sync + Send + 'a>>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(sql: Sql) -> Self {
        Self { sql, params: Vec::with_capacity(8) }
    }

    /// The parameters, as the driver takes them.
    pub(crate) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.params.iter().map(|param| &**param as _).collect()
    }

    /// With one more parameter.
    pub(crate) fn with(mut self, param: impl ToSql + Sync + Send + 'a) -> Self {
        self.params.push(Box::new(param));
        self
    }
}

/// What stands around the calls of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Nothing: one call is a transaction by itself, and inside of one it is a part of it.
    None,
    /// A transaction begins and stays open.
    Begin,
    /// The open transaction is committed.
    Commit,
    /// One transaction.
    Whole,
    /// One transaction that sees one instant and writes nothing.
    Snapshot,
}

impl Frame {
    fn begin(self) -> Option<&'static str> {
        match self {
            Self::Begin | Self::Whole => Some("BEGIN"),
            Self::Snapshot => Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            Self::None | Self::Commit => None,
        }
    }

    fn end(self) -> Option<&'static str> {
        match self {
            Self::Commit | Self::Whole | Self::Snapshot => Some("COMMIT"),
            Self::None | Self::Begin => None,
        }
    }
}

/// Polls futures in their order, so that each has sent what it sends before the next does, and gives
/// their results.
async fn in_order<T>(mut calls: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut results: Vec<Option<T>> = calls.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut ready = true;
        for (call, result) in calls.iter_mut().zip(&mut results) {
            if result.is_none() {
                match call.poll_unpin(cx) {
                    Poll::Ready(done) => *result = Some(done),
                    Poll::Pending => ready = false,
                }
            }
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}

/// A connection with its prepared statements. Ends with its last word unsaid when it is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    driver: JoinHandle<()>,
    schema: String,
    statements: [Option<Statement>; Sql::COUNT],
    /// Statements that were made for a question, by their text.
    made: HashMap<String, Statement>,
    /// Versions not used yet.
    next: i64,
    end: i64,
    /// Nothing is under way on it.
    pub(crate) clean: bool,
}

impl Session {
    /// A statement, prepared on this connection.
    pub(crate) async fn statement(&mut self, sql: Sql) -> Result<Statement, Error> {
        let known = self.statements.get(sql as usize).and_then(Clone::clone);
        if let Some(statement) = known {
            return Ok(statement);
        }
        let text = within(&self.schema, sql.template());
        let statement = self.client.prepare(&text).await?;
        if let Some(slot) = self.statements.get_mut(sql as usize) {
            *slot = Some(statement.clone());
        }
        Ok(statement)
    }

    /// A statement of this text, prepared on this connection.
    pub(crate) async fn made(&mut self, text: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.made.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text).await?;
        if self.made.len() >= MADE_MAX {
            // Whoever asks this many kinds of questions does not come back to one soon.
            self.made.clear();
        }
        self.made.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Versions that were never given to anything: so many, from the first on.
    pub(crate) async fn versions(&mut self, count: i64) -> Result<i64, Error> {
        if self.end - self.next < count {
            let statement = self.statement(Sql::Block).await?;
            let block: i64 = self.client.query_one(&statement, &[]).await?.try_get(0)?;
            self.next = block.saturating_mul(BLOCK);
            self.end = self.next.saturating_add(BLOCK);
        }
        let first = self.next;
        self.next = self.next.saturating_add(count);
        Ok(first)
    }

    /// Sends calls one behind the other without waiting, and gives the rows of each, or the first
    /// error. The server takes them in order; with `Frame::Whole` as one transaction, which an error
    /// ends without effect.
    pub(crate) async fn pipeline(
        &mut self,
        frame: Frame,
        calls: Vec<Call<'_>>,
    ) -> Result<Vec<Vec<Row>>, Error> {
        let mut prepared = Vec::with_capacity(calls.len());
        for call in &calls {
            prepared.push(self.statement(call.sql).await?);
        }
        let client = &self.client;
        let simple = |text: &'static str| -> BoxFuture<'_, Result<Vec<Row>, Error>> {
            async move { client.batch_execute(text).await.map(|()| Vec::new()) }.boxed()
        };
        let mut sent = Vec::with_capacity(calls.len() + 2);
        sent.extend(frame.begin().map(simple));
        let first = sent.len();
        for (statement, call) in prepared.into_iter().zip(calls) {
            let asked = async move { client.query(&statement, &call.params()).await };
            sent.push(asked.boxed());
        }
        let end = sent.len();
        sent.extend(frame.end().map(simple));
        let mut rows = in_order(sent).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        rows.truncate(end);
        rows.drain(..first);
        Ok(rows)
    }

    /// One call by itself.
    pub(crate) async fn call(&mut self, call: Call<'_>) -> Result<Vec<Row>, Error> {
        let rows = self.pipeline(Frame::None, vec![call]).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// Whether it can be used again.
    pub(crate) fn is_usable(&self) -> bool {
        self.clean && !self.client.is_closed()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The driver would go on for as long as a silent server keeps it waiting.
        self.driver.abort();
    }
}
