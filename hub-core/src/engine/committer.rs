//! One batch in flight; what waits gathers into the next.
//!
//! Group commit needs no timer: while a batch is out, the next one fills. Whoever adds the first
//! change while nothing is out leads: it sends the batch itself, and if the store answers at once,
//! hands out the results itself. Only a batch that really has to be waited for gets a task.
//!
//! **Invariant:** one at a time leads, from sending a batch until its results are handed out and
//! nothing waits. So results are handed out in the order of the changes, and a link has its receipts
//! in the order of its events (T14).

mod lead;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::channel::oneshot;
use tokio::runtime::Handle;

use super::asking::Asker;
use super::inbox::nudges_of;
use super::line::{Line, lock};
use super::meter::{Began, Load, Meter, Waits};
use crate::id::{LinkId, Tag};
use crate::limits::Limits;
use crate::route::outbox;
use crate::store::{Batch, BatchId, Change, Op, Outcome, QueueKind, Store, StoreError};

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
