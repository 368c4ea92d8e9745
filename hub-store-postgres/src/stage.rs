//! Changes of the hub within a transaction of the application.

use std::collections::BTreeSet;

use hub_core::device::{Staged, Staging};
use hub_core::envelope::Message;
use hub_core::error::{ErrorKind, HubError};
use hub_core::id::{Address, SequenceNumber};
use hub_core::store::{Batch, BatchId, Change, Issued, Op, Outcome, QueueId, QueueKind, Record};
use hub_core::time::Timestamp;
use hub_core::twin::{ServicePatch, Twin};
use tokio_postgres::{Error, Transaction};

use crate::commit::{finish, locked, looks, makes, writes};
use crate::draft::Draft;
use crate::judge::{Named, judge};
use crate::read::Sorted;
use crate::session::{BLOCK, Call};
use crate::signal::channel;
use crate::sql::{Sql, quote, within};

/// Most times a change is decided anew because a record has changed since it was read.
const TRIES_MAX: u32 = 8;

/// Why a change was not staged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The hub's rules are against it. Nothing was written, and the transaction goes on.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The database refused, so the transaction can only be rolled back. `40001` and `40P01` mean
    /// that trying all of it again may succeed.
    #[error("the transaction has failed")]
    Database(#[from] Error),
}

/// A cloud-to-device message that is sent when the transaction is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StagedMessage {
    /// Its place in the device's queue.
    pub sequence: SequenceNumber,
    /// When it expires.
    pub expiry: Timestamp,
}

/// A transaction of the application that changes the hub as well: what is staged happens when it is
/// committed, and not otherwise.
///
/// The hub's rules decide, within the transaction, on rows that are locked from then on. As long as it
/// is open, the hub waits where it wants to change the same devices, and with them the other changes of
/// their batches; so stage last, and commit at once. A connection that the device holds, on whichever
/// node, learns of it by itself.
///
/// ```no_run
/// # use hub_core::{Hub, envelope::Message, id::Address};
/// # use hub_store_postgres::Stage;
/// # async fn order(
/// #     hub: &Hub,
/// #     client: &mut hub_store_postgres::tokio_postgres::Client,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let transaction = client.transaction().await?;
/// transaction.execute("INSERT INTO orders (item) VALUES ($1)", &[&"coffee"]).await?;
/// let stage = Stage::new(&transaction, "hub", hub.staging());
/// stage.send(&Address::parse("machine")?, Message::new("brew")).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
pub struct Stage<'a> {
    transaction: &'a Transaction<'a>,
    schema: String,
    channel: String,
    staging: Staging,
}

impl std::fmt::Debug for Stage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl<'a> Stage<'a> {
    /// In a transaction on the database that has the hub's schema. The rules and the time are the
    /// hub's: [`Hub::staging`](hub_core::Hub::staging).
    #[must_use]
    pub fn new(transaction: &'a Transaction<'a>, schema: &str, staging: Staging) -> Self {
        Self { transaction, schema: quote(schema), channel: channel(schema), staging }
    }

    /// Sends a cloud-to-device message to a device or module.
    ///
    /// # Errors
    /// [`StageError::Hub`] as [`Hub::send`](hub_core::Hub::send).
    pub async fn send(&self, to: &Address, message: Message) -> Result<StagedMessage, StageError> {
        let decide = |read| self.staging.send(to, read, message.clone());
        let (issued, expiry) = self.change(to, decide).await?;
        // The message's number is that of the first push.
        let sequence = issued.sequences.first().copied().unwrap_or_default();
        Ok(StagedMessage { sequence, expiry })
    }

    /// Merges into tags and desired properties, if the twin has this etag (`None` or `*`: any). Gives
    /// the twin as it then is.
    ///
    /// # Errors
    /// [`StageError::Hub`] as [`Hub::patch_twin`](hub_core::Hub::patch_twin).
    pub async fn patch_twin(
        &self,
        of: &Address,
        patch: &ServicePatch,
        if_match: Option<&str>,
    ) -> Result<Twin, StageError> {
        let decide = |read| self.staging.patch_twin(of, read, patch, if_match);
        Ok(self.change(of, decide).await?.1)
    }

    /// Reads, decides and writes, and again if somebody was quicker in between.
    async fn change<T>(
        &self,
        of: &Address,
        decide: impl Fn(Vec<Option<Record>>) -> Result<Staged<T>, HubError>,
    ) -> Result<(Issued, T), StageError> {
        for _ in 0..TRIES_MAX {
            let asks = Staging::asks(of);
            let sorted = Sorted::of(&asks);
            let mut rows = Vec::new();
            for call in sorted.calls() {
                rows.push(self.call(call).await?);
            }
            let mut staged = decide(sorted.answers(asks.len(), rows)?)?;
            let mut outcome = self.apply(&staged.change).await?;
            if is_hint_full(&outcome) {
                staged = staged.quiet();
                outcome = self.apply(&staged.change).await?;
            }
            if let Outcome::Full(queue) = &outcome
                && let Some(change) = self.with_room(&staged.change, queue).await?
            {
                outcome = self.apply(&change).await?;
            }
            match outcome {
                Outcome::Committed(issued) => return Ok((issued, staged.then)),
                Outcome::Conflict => {}
                Outcome::Full(queue) => return Err(full(&queue).into()),
            }
        }
        Err(HubError::new(ErrorKind::Busy, "others changed the same record too often").into())
    }

    /// The change with the oldest items of a full queue gone, if these give way to new ones.
    async fn with_room(&self, change: &Change, queue: &QueueId) -> Result<Option<Change>, Error> {
        let mut items = None;
        loop {
            let Some(asks) = self.staging.room(queue, items) else { return Ok(None) };
            let sorted = Sorted::of(&asks);
            let mut rows = Vec::new();
            for call in sorted.calls() {
                rows.push(self.call(call).await?);
            }
            let read = sorted.answers(asks.len(), rows)?;
            match self.staging.with_room(change.clone(), queue, &read) {
                Ok(change) => return Ok(Some(change)),
                // More are there than were thought, and they cannot become fewer than that.
                Err(more) if items.is_none_or(|asked| asked < more) => items = Some(more),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Writes a change, if its guards hold. A refused one leaves no trace but locks.
    async fn apply(&self, change: &Change) -> Result<Outcome, Error> {
        let block = self.call(Call::new(Sql::Block)).await?;
        let block: i64 = block.first().map_or(Ok(0), |row| row.try_get(0))?;
        let changes = vec![change.clone()];
        let batch = Batch { id: BatchId(0), changes, nudges: Vec::new() };
        let named = Named::of(&batch);
        let mut rows = Vec::new();
        for call in looks(&named, None) {
            rows.push(self.call(call).await?);
        }
        let found = locked(&mut rows.into_iter().skip(makes(&named)))?;
        let plan = judge(&batch, block.saturating_mul(BLOCK), &found);
        for call in writes(&plan, Some(&named)) {
            self.call(call).await?;
        }
        match plan.drafts.changes.first() {
            Some(Draft::Committed(_)) => {}
            Some(Draft::Full(queue)) => return Ok(Outcome::Full(queue.clone())),
            Some(Draft::Conflict) | None => return Ok(Outcome::Conflict),
        }
        let rows = self.call(finish(&plan, None)).await?;
        let bases: Vec<i64> = rows.first().map_or(Ok(Vec::new()), |row| row.try_get(1))?;
        self.nudge(change).await?;
        let outcomes = plan.drafts.outcomes(&bases).unwrap_or_default();
        Ok(outcomes.into_iter().next().unwrap_or(Outcome::Conflict))
    }

    /// Wakes the nodes whose inboxes were pushed to, once the transaction is committed.
    async fn nudge(&self, change: &Change) -> Result<(), Error> {
        let pushed = change.ops().iter().filter_map(|op| match op {
            Op::Push(push) if push.queue.kind == QueueKind::Inbox => Some(&*push.queue.id),
            _ => None,
        });
        for node in pushed.collect::<BTreeSet<_>>() {
            self.transaction.execute("SELECT pg_notify($1, $2)", &[&self.channel, &node]).await?;
        }
        Ok(())
    }

    async fn call(&self, call: Call<'_>) -> Result<Vec<tokio_postgres::Row>, Error> {
        let text = within(&self.schema, call.sql.template());
        self.transaction.query(text.as_str(), &call.params()).await
    }
}

/// Whether a queue of signs was full: of signs to nodes that would find by themselves.
fn is_hint_full(outcome: &Outcome) -> bool {
    let kinds = [QueueKind::Inbox, QueueKind::Configure];
    matches!(outcome, Outcome::Full(queue) if kinds.contains(&queue.kind))
}

fn full(queue: &QueueId) -> HubError {
    HubError::new(ErrorKind::QueueFull, format!("the queue of {} is full", queue.id))
}
