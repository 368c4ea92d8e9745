//! Leading: sending batches one after the other, and handing out what they came to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use tracing::Instrument as _;

use super::{Committer, Finish, Sent};
use crate::engine::line::lock;
use crate::engine::once::{Boxed, poll_once};
use crate::store::{Batch, BatchId, Outcome, StoreError, StoreErrorKind};

type Answered = (Batch, Result<Vec<Outcome>, StoreError>);
type Committing = Boxed<Answered>;
/// A commit that was tried once: answered at once, or to be waited for.
type Polled = Result<Answered, Committing>;

/// Longest pause between two tries of a batch.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Batches one caller leads before it hands the rest to a task.
pub(super) const LEAD_MAX: usize = 16;

impl Committer {
    fn commit(&self, batch: Batch) -> Committing {
        let store = self.store.clone();
        let (id, changes) = (batch.id, batch.changes.len());
        let span = tracing::trace_span!("commit", batch = %Hex(id), changes);
        let commit = async move {
            let result = store.commit(&batch).await;
            (batch, result)
        };
        // The span is for what the store says about the batch. When nobody listens it is a word.
        if span.is_disabled() { Box::pin(commit) } else { Box::pin(commit.instrument(span)) }
    }

    /// Sends what waits, unless somebody leads already.
    pub(crate) fn kick<F: Finish>(self: &Arc<Self>, to: &Arc<F>) {
        if let Some(next) = self.begin() {
            let (polled, sent) = self.offer(next);
            self.lead(to, polled, sent);
        }
    }

    /// Begins a commit.
    fn offer(&self, (batch, sent): (Batch, Sent)) -> (Polled, Sent) {
        (poll_once(self.commit(batch)), sent)
    }

    /// Hands out what a batch came to and sends what waits, for as long as the store answers at
    /// once.
    fn lead<F: Finish>(self: &Arc<Self>, to: &Arc<F>, mut polled: Polled, mut sent: Sent) {
        for _ in 0..LEAD_MAX {
            let outcomes = match polled {
                Ok((_, Ok(outcomes))) if self.is_whole(to, &sent, &outcomes) => outcomes,
                Ok((_, Ok(_))) => return,
                other => return self.spawn(to, other, sent),
            };
            self.hand_out(to, sent, outcomes);
            let Some(next) = self.go_on() else { return };
            (polled, sent) = self.offer(next);
        }
        // Others keep adding: they should not be served at the cost of one caller for ever.
        self.spawn(to, polled, sent);
    }

    fn spawn<F: Finish>(self: &Arc<Self>, to: &Arc<F>, polled: Polled, sent: Sent) {
        let commit = polled.map_or_else(|later| later, |now| Box::pin(std::future::ready(now)));
        let (this, to) = (self.clone(), to.clone());
        self.runtime.spawn(async move { this.follow(to, commit, sent).await });
    }

    /// Leads batches that have to be waited for.
    async fn follow<F: Finish>(
        self: Arc<Self>,
        to: Arc<F>,
        mut commit: Committing,
        mut sent: Sent,
    ) {
        loop {
            let Some(outcomes) = self.outcomes(&to, commit, sent.id).await else { return };
            if !self.is_whole(&to, &sent, &outcomes) {
                return;
            }
            // The next batch goes first: the store works on it while results are handed out.
            let next = self.go_ahead().map(|next| self.offer(next));
            self.hand_out(&to, sent, outcomes);
            let next = next.or_else(|| self.go_on().map(|next| self.offer(next)));
            match next {
                Some((Err(later), next)) => (commit, sent) = (later, next),
                Some((answered, next)) => return self.lead(&to, answered, next),
                None => return,
            }
        }
    }

    /// Waits for a batch, and tries it again with the same id for as long as the store does not
    /// know. `None` when there is nothing more to lead.
    async fn outcomes<F: Finish>(
        &self,
        to: &Arc<F>,
        mut commit: Committing,
        id: BatchId,
    ) -> Option<Vec<Outcome>> {
        let mut pause = Duration::from_millis(5);
        let mut tries = 1_u32;
        let outcomes = loop {
            let (batch, result) = commit.await;
            let error = match result {
                Ok(outcomes) => break outcomes,
                Err(error) => error,
            };
            self.meter.store_failed(&error);
            if error.kind() == StoreErrorKind::Fatal {
                self.fatal(to, &error);
                return None;
            }
            if self.is_abandoned() {
                lock(&self.state).fail();
                return None;
            }
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
            self.meter.retried();
            if tries == 1 {
                to.degraded(true);
                tracing::warn!(batch = %Hex(id), %error, "the store does not answer; the batch is kept");
            }
            tries = tries.saturating_add(1);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
            commit = self.commit(batch);
        };
        if tries > 1 {
            to.degraded(false);
            tracing::info!(batch = %Hex(id), tries, "the store answers again");
        }
        Some(outcomes)
    }

    fn fatal<F: Finish>(&self, to: &Arc<F>, error: &StoreError) {
        let room = lock(&self.state).fail();
        room.into_values().for_each(Waker::wake);
        to.fatal(error);
    }

    /// Whether there is an outcome for every change. If not, nobody can tell any more what was
    /// written.
    fn is_whole<F: Finish>(&self, to: &Arc<F>, sent: &Sent, outcomes: &[Outcome]) -> bool {
        let whole = outcomes.len() == sent.done.len();
        if !whole {
            let error = StoreError::fatal("commit", "there is not one outcome per change");
            self.fatal(to, &error);
        }
        whole
    }

    /// Tells everybody what became of their changes.
    fn hand_out<F: Finish>(&self, to: &Arc<F>, sent: Sent, outcomes: Vec<Outcome>) {
        let conflicts = outcomes.iter().filter(|o| **o == Outcome::Conflict).count();
        self.counters.conflicts.fetch_add(conflicts, Ordering::Relaxed);
        self.meter.committed(sent.load, sent.began, &outcomes);
        tracing::trace!(
            batch = %Hex(sent.id),
            changes = sent.load.changes,
            bytes = sent.load.bytes,
            conflicts,
            seconds = sent.began.seconds(),
            "batch committed"
        );
        if sent.appends.any {
            to.appended(sent.appends.outbox);
        }
        if sent.appends.to_configure {
            to.to_configure();
        }
        to.finish(sent.done.into_iter().zip(outcomes));
    }
}

/// A batch id as logs show it.
struct Hex(BatchId);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0.0)
    }
}
