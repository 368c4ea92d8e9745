//! One batch in flight; what waits gathers into the next.
//!
//! Group commit needs no timer: while a batch is out, the next one fills. Whoever adds the first
//! change while nothing is out leads: it sends the batch itself, and if the store answers at once,
//! hands out the results itself. Only a batch that really has to be waited for gets a task.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::channel::oneshot;

use super::line::{Line, lock};
use super::once::{Boxed, poll_once};
use crate::id::{Address, Tag};
use crate::limits::Limits;
use crate::store::{Batch, BatchId, Change, Outcome, Store, StoreError, StoreErrorKind};

/// Who is told what became of a change.
pub(crate) enum Done {
    /// A link, whose events these were.
    Receipt { line: Arc<Line>, tag: Tag, bytes: usize },
    /// The machine of a device.
    Device(Address),
    /// A caller.
    Caller(oneshot::Sender<Outcome>),
}

struct Waiting {
    change: Change,
    bytes: usize,
    done: Done,
}

#[derive(Default)]
struct State {
    in_flight: bool,
    failed: bool,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    room: Vec<Waker>,
}

/// What a shard does with answered changes.
pub(crate) trait Finish: Send + Sync + 'static {
    /// These changes are answered, in order. May add more.
    fn finish(self: &Arc<Self>, answered: impl Iterator<Item = (Done, Outcome)>);
    /// Entries were appended.
    fn appended(&self);
    /// The store cannot be used any more.
    fn fatal(&self, error: &StoreError);
    /// The store does not answer (`true`), or does again.
    fn degraded(&self, yes: bool);
}

/// Counters of a committer.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicUsize,
    pub(crate) changes: AtomicUsize,
    pub(crate) conflicts: AtomicUsize,
    pub(crate) retries: AtomicUsize,
}

pub(crate) struct Committer {
    store: Arc<dyn Store>,
    state: Mutex<State>,
    /// A copy of `waiting` being over its bounds, for a look without the lock.
    full: AtomicBool,
    limits: Arc<Limits>,
    prefix: u128,
    next: AtomicUsize,
    pub(crate) counters: Counters,
}

/// Longest pause between two tries of a batch.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Batches one caller leads before it hands the rest to a task.
const LEAD_MAX: usize = 16;

impl Committer {
    /// `prefix` makes its batch ids unique over all nodes: 64 random bits and a shard number.
    pub(crate) fn new(store: Arc<dyn Store>, limits: Arc<Limits>, prefix: u128) -> Self {
        Self {
            store,
            state: Mutex::default(),
            full: AtomicBool::new(false),
            limits,
            prefix,
            next: AtomicUsize::new(0),
            counters: Counters::default(),
        }
    }

    /// Puts a change in line. It goes with the next [`Committer::kick`].
    pub(crate) fn submit(&self, change: Change, done: Done) {
        let bytes = change.bytes();
        let mut state = lock(&self.state);
        if state.failed {
            return;
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.waiting.push_back(Waiting { change, bytes, done });
        if state.waiting.len() >= self.limits.waiting_changes_max
            || state.bytes >= self.limits.waiting_bytes_max
        {
            self.full.store(true, Ordering::Relaxed);
        }
    }

    /// Whether so much waits that nothing new should be begun.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Ready when [`Committer::is_full`] is over.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        let mut state = lock(&self.state);
        if !self.is_full() || state.failed {
            return Poll::Ready(());
        }
        // Bounded by the number of links; each wakes once and registers again if it must.
        state.room.push(cx.waker().clone());
        Poll::Pending
    }

    /// How many changes, and bytes of them, wait.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.waiting.len(), state.bytes)
    }

    /// Whether nothing waits and nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        state.waiting.is_empty() && !state.in_flight
    }

    fn take(&self) -> Option<(Batch, Vec<Done>)> {
        let mut state = lock(&self.state);
        if state.in_flight || state.waiting.is_empty() || state.failed {
            return None;
        }
        state.in_flight = true;
        let most = state.waiting.len().min(self.limits.batch_changes_max.max(1));
        let mut changes = Vec::with_capacity(most);
        let mut done = Vec::with_capacity(most);
        let mut bytes = 0_usize;
        while let Some(first) = state.waiting.front() {
            let fits = changes.len() < self.limits.batch_changes_max
                && bytes.saturating_add(first.bytes) <= self.limits.batch_bytes_max;
            if !changes.is_empty() && !fits {
                break;
            }
            let Some(waiting) = state.waiting.pop_front() else { break };
            bytes = bytes.saturating_add(waiting.bytes);
            changes.push(waiting.change);
            done.push(waiting.done);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        let room = if state.waiting.len() < self.limits.waiting_changes_max / 2
            && state.bytes < self.limits.waiting_bytes_max / 2
            && self.full.swap(false, Ordering::Relaxed)
        {
            std::mem::take(&mut state.room)
        } else {
            Vec::new()
        };
        drop(state);
        room.into_iter().for_each(Waker::wake);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = BatchId(self.prefix | u128::try_from(number).unwrap_or(0));
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        self.counters.changes.fetch_add(changes.len(), Ordering::Relaxed);
        Some((Batch { id, changes, nudges: Vec::new() }, done))
    }

    /// Sends what waits, unless a batch is out already.
    pub(crate) fn kick<F: Finish>(self: &Arc<Self>, to: &Arc<F>) {
        for _ in 0..LEAD_MAX {
            let Some((batch, done)) = self.take() else { return };
            let store = self.store.clone();
            let appends = batch.changes.iter().any(has_append);
            let commit: Boxed<(Batch, Result<Vec<Outcome>, StoreError>)> = Box::pin(async move {
                let result = store.commit(&batch).await;
                (batch, result)
            });
            match poll_once(commit) {
                Ok((_, Ok(outcomes))) => self.answered(to, done, outcomes, appends),
                Ok((batch, Err(error))) => {
                    let (this, to) = (self.clone(), to.clone());
                    let first = Box::pin(std::future::ready((batch, Err(error))));
                    tokio::spawn(async move { this.follow(to, first, done, appends).await });
                    return;
                }
                Err(commit) => {
                    let (this, to) = (self.clone(), to.clone());
                    tokio::spawn(async move { this.follow(to, commit, done, appends).await });
                    return;
                }
            }
        }
        // Others keep adding: they should not be served at the cost of one caller for ever.
        let (this, to) = (self.clone(), to.clone());
        tokio::spawn(async move { this.kick(&to) });
    }

    /// Waits for a batch, tries it again with the same id for as long as the store does not know,
    /// and then goes on with what has gathered.
    async fn follow<F: Finish>(
        self: Arc<Self>,
        to: Arc<F>,
        mut commit: Boxed<(Batch, Result<Vec<Outcome>, StoreError>)>,
        done: Vec<Done>,
        appends: bool,
    ) {
        let mut pause = Duration::from_millis(5);
        let mut degraded = false;
        let outcomes = loop {
            let (batch, result) = commit.await;
            match result {
                Ok(outcomes) => break outcomes,
                Err(error) if error.kind() == StoreErrorKind::Fatal => {
                    let mut state = lock(&self.state);
                    state.failed = true;
                    state.waiting.clear();
                    let room = std::mem::take(&mut state.room);
                    drop(state);
                    room.into_iter().for_each(Waker::wake);
                    return to.fatal(&error);
                }
                Err(error) => {
                    self.counters.retries.fetch_add(1, Ordering::Relaxed);
                    if !degraded {
                        degraded = true;
                        to.degraded(true);
                        tracing::warn!(%error, "the store does not answer; the batch is kept");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                    let store = self.store.clone();
                    commit = Box::pin(async move {
                        let result = store.commit(&batch).await;
                        (batch, result)
                    });
                }
            }
        };
        if degraded {
            to.degraded(false);
        }
        self.answered(&to, done, outcomes, appends);
        self.kick(&to);
    }

    fn answered<F: Finish>(
        self: &Arc<Self>,
        to: &Arc<F>,
        done: Vec<Done>,
        outcomes: Vec<Outcome>,
        appends: bool,
    ) {
        // The next batch may go while the results of this one are handed out.
        lock(&self.state).in_flight = false;
        let conflicts = outcomes.iter().filter(|o| **o == Outcome::Conflict).count();
        self.counters.conflicts.fetch_add(conflicts, Ordering::Relaxed);
        if appends {
            to.appended();
        }
        to.finish(done.into_iter().zip(outcomes));
    }
}

fn has_append(change: &Change) -> bool {
    matches!(change.ops(), [crate::store::Op::Append(..), ..])
}
