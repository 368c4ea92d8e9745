//! One batch in flight; what waits gathers into the next.
//!
//! Group commit needs no timer: while a batch is out, the next one fills. Whoever adds the first
//! change while nothing is out leads: it sends the batch itself, and if the store answers at once,
//! hands out the results itself. Only a batch that really has to be waited for gets a task.
//!
//! **Invariant:** one at a time leads, from sending a batch until its results are handed out and
//! nothing waits. So results are handed out in the order of the changes, and a link has its receipts
//! in the order of its events (T14).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::channel::oneshot;
use tokio::runtime::Handle;
use tracing::Instrument as _;

use super::asking::Asker;
use super::inbox::nudges_of;
use super::line::{Line, lock};
use super::meter::{Began, Load, Meter, Waits};
use super::once::{Boxed, poll_once};
use crate::id::{LinkId, Tag};
use crate::limits::Limits;
use crate::route::outbox;
use crate::store::{
    Batch, BatchId, Change, Op, Outcome, QueueKind, Store, StoreError, StoreErrorKind,
};

/// Who is told what became of a change.
pub(crate) enum Done {
    /// A link, whose events these were.
    Receipt { line: Arc<Line>, tag: Tag, bytes: usize },
    /// The machine of a device.
    Device(Asker),
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
    /// Somebody leads: a batch is out, or its results are being handed out.
    led: bool,
    failed: bool,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    waits: Waits,
    /// Links that wait for room. One that is polled again takes its own place.
    room: HashMap<LinkId, Waker>,
}

impl State {
    /// Nothing goes to the store any more, and whoever waits for room is let go.
    fn fail(&mut self) -> HashMap<LinkId, Waker> {
        self.failed = true;
        self.led = false;
        self.bytes = 0;
        self.waits.taken(self.waiting.len());
        self.waiting.clear();
        std::mem::take(&mut self.room)
    }
}

/// What is remembered of a batch while it is out.
struct Sent {
    id: BatchId,
    done: Vec<Done>,
    load: Load,
    began: Began,
    appends: Appends,
}

type Answered = (Batch, Result<Vec<Outcome>, StoreError>);
type Committing = Boxed<Answered>;
/// A commit that was tried once: answered at once, or to be waited for.
type Polled = Result<Answered, Committing>;

/// What a shard does with answered changes.
pub(crate) trait Finish: Send + Sync + 'static {
    /// These changes are answered, in order. May add more.
    fn finish(self: &Arc<Self>, answered: impl Iterator<Item = (Done, Outcome)>);
    /// Entries were appended; some of them to the outbox.
    fn appended(&self, outbox: bool);
    /// Twins wait for configurations to be applied.
    fn to_configure(&self);
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
    /// The hub is gone: what the store does not take is not offered again.
    abandoned: AtomicBool,
    limits: Arc<Limits>,
    runtime: Handle,
    meter: Arc<Meter>,
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
    pub(crate) fn new(
        store: Arc<dyn Store>,
        limits: Arc<Limits>,
        runtime: Handle,
        meter: Arc<Meter>,
        prefix: u128,
    ) -> Self {
        Self {
            store,
            state: Mutex::default(),
            full: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            limits,
            runtime,
            meter,
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
        state.waits.joined();
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
    pub(crate) fn poll_room(&self, link: LinkId, cx: &Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        let mut state = lock(&self.state);
        if !self.is_full() || state.failed {
            return Poll::Ready(());
        }
        // Bounded by the number of links; each wakes once and registers again if it must.
        state.room.insert(link, cx.waker().clone());
        Poll::Pending
    }

    /// How many changes, and bytes of them, wait.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.waiting.len(), state.bytes)
    }

    /// How long the first change has waited, if that is measured.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        lock(&self.state).waits.oldest()
    }

    /// The hub is gone.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }

    /// Whether the hub is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    /// Whether nothing waits and nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        state.waiting.is_empty() && !state.led && !state.failed
    }

    /// Begins to lead, if nobody does, with what waits.
    fn begin(&self) -> Option<(Batch, Sent)> {
        let state = lock(&self.state);
        if state.led { None } else { self.take(state) }
    }

    /// Goes on leading with what waits, or leads no more.
    fn go_on(&self) -> Option<(Batch, Sent)> {
        let mut state = lock(&self.state);
        state.led = false;
        self.take(state)
    }

    /// What waits, while results are yet to be handed out: whoever leads goes on leading, whether
    /// there is anything or not.
    fn go_ahead(&self) -> Option<(Batch, Sent)> {
        self.take(lock(&self.state))
    }

    /// The next batch, to be led by whoever takes it.
    fn take(&self, mut state: MutexGuard<'_, State>) -> Option<(Batch, Sent)> {
        if state.waiting.is_empty() || state.failed {
            return None;
        }
        state.led = true;
        let most = state.waiting.len().min(self.limits.batch_changes_max.max(1));
        let mut changes = Vec::with_capacity(most);
        let mut done = Vec::with_capacity(most);
        let mut load = Load::default();
        while let Some(first) = state.waiting.front() {
            let fits = changes.len() < self.limits.batch_changes_max
                && load.bytes.saturating_add(first.bytes) <= self.limits.batch_bytes_max;
            if !changes.is_empty() && !fits {
                break;
            }
            let Some(waiting) = state.waiting.pop_front() else { break };
            load.bytes = load.bytes.saturating_add(waiting.bytes);
            Meter::weigh(&mut load, waiting.change.ops());
            changes.push(waiting.change);
            done.push(waiting.done);
        }
        load.changes = changes.len();
        state.bytes = state.bytes.saturating_sub(load.bytes);
        state.waits.taken(changes.len());
        // At most half, so that room is not given back change by change. Half of one is none.
        let room = if state.waiting.len() <= self.limits.waiting_changes_max / 2
            && state.bytes <= self.limits.waiting_bytes_max / 2
            && self.full.swap(false, Ordering::Relaxed)
        {
            std::mem::take(&mut state.room)
        } else {
            HashMap::new()
        };
        drop(state);
        room.into_values().for_each(Waker::wake);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = BatchId(self.prefix | u128::try_from(number).unwrap_or(0));
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        self.counters.changes.fetch_add(changes.len(), Ordering::Relaxed);
        let appends = Appends::of(&changes);
        let sent = Sent { id, done, load, began: Began::now(), appends };
        let nudges = nudges_of(&changes);
        Some((Batch { id, changes, nudges }, sent))
    }

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

/// Where a batch adds what somebody waits for.
#[derive(Clone, Copy, Default)]
struct Appends {
    /// To any log.
    any: bool,
    /// To the outbox.
    outbox: bool,
    /// To the queue of twins to configure.
    to_configure: bool,
}

impl Appends {
    fn of(changes: &[Change]) -> Self {
        let mut appends = Self::default();
        // Events of the hub's own stand behind the change of which they tell.
        for op in changes.iter().flat_map(Change::ops) {
            match op {
                Op::Append(partition, ..) => {
                    appends.any = true;
                    appends.outbox |= outbox::contains(*partition);
                }
                Op::Push(push) if push.queue.kind == QueueKind::Configure => {
                    appends.to_configure = true;
                }
                _ => {}
            }
        }
        appends
    }
}

#[cfg(test)]
#[path = "committer_tests.rs"]
mod tests;
