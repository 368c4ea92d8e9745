//! One shard: a lock, the machines of its devices, and a committer.
//!
//! A shard is a lock and not a task. Whoever brings an input takes the lock, lets the machine
//! decide (a few microseconds, never waiting), and carries out the effects itself; what the store
//! does not answer at once gets a task. A call to a device and its answer so cost no task switch
//! between the caller's task and the connection's. `docs/decisions/0002-a-shard-is-a-lock.md` has
//! the reasons and figures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use futures::channel::oneshot;
use tokio::sync::Notify;

use super::asking::{Asker, Todo};
use super::committer::{Committer, Done};
use super::core::Core;
use super::line::{Line, lock};
use super::meter::{Ages, Born};
use super::outcomes::Outcome;
use crate::configuration::Deployed;
use crate::device::{Answer, Effects, Input};
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, CallId, LinkId, Partition};
use crate::node::{Inboxes, Node};
use crate::route::Routing;
use crate::store::{self, Change};
use crate::time::Timestamp;

/// What the lock guards.
pub(super) struct State {
    pub(super) node: Node,
    pub(super) lines: HashMap<LinkId, Arc<Line>>,
    pub(super) calls: HashMap<CallId, Caller>,
    /// Since when these wait.
    ages: Ages,
    pub(super) fx: Effects,
    last_call: u64,
}

/// Somebody who waits for an answer of a device's machine.
pub(super) struct Caller {
    pub(super) of: Address,
    answer: oneshot::Sender<Answered>,
    born: Born,
}

/// An answer of a device's machine, on its way to whoever asked.
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    /// Of a message that was sent: what its outcome is waited for on.
    pub(crate) outcome: Option<Outcome>,
}

impl State {
    pub(super) fn answer(&mut self, call: CallId, answer: Answer) {
        self.answer_with(call, answer, None);
    }

    pub(super) fn answer_with(&mut self, call: CallId, answer: Answer, outcome: Option<Outcome>) {
        if let Some(caller) = self.calls.remove(&call) {
            self.ages.leave(caller.born);
            // A caller that went away meanwhile has cancelled.
            let _ = caller.answer.send(Answered { answer, outcome });
        }
    }
}

pub(crate) struct Shard {
    pub(crate) core: Arc<Core>,
    pub(crate) partition: Partition,
    pub(super) state: Mutex<State>,
    pub(crate) committer: Arc<Committer>,
    /// The earliest deadline may have changed.
    pub(crate) rearm: Notify,
    /// Entries were appended to this shard's partition.
    pub(crate) appended: Notify,
    /// Milliseconds of the deadline the timer task sleeps for, to leave it alone if none is earlier.
    pub(super) armed: AtomicU64,
    /// Inputs that were turned away because too many waited for their device.
    pub(super) turned_away: AtomicU64,
    /// Requests that were turned away because too much waited for the store.
    pub(crate) throttled: AtomicU64,
}

impl Shard {
    pub(crate) fn new(core: Arc<Core>, partition: Partition, prefix: u128) -> Arc<Self> {
        // Calls of one run of a node are none of the next, to whom an answer may come late.
        let first_call = u64::try_from(prefix & u128::from(u64::MAX)).unwrap_or(0);
        let prefix = prefix << 64 | u128::from(partition.0) << 48;
        let committer = Arc::new(Committer::new(
            core.store.clone(),
            core.limits.clone(),
            core.runtime.clone(),
            core.meter.clone(),
            prefix,
        ));
        Arc::new(Self {
            partition,
            state: Mutex::new(State {
                node: Node::new(core.setup.clone()),
                lines: HashMap::new(),
                calls: HashMap::new(),
                ages: Ages::default(),
                fx: Effects::default(),
                last_call: first_call,
            }),
            committer,
            rearm: Notify::new(),
            appended: Notify::new(),
            armed: AtomicU64::new(u64::MAX),
            turned_away: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            core,
        })
    }

    /// Something happened to a device of this shard.
    pub(crate) fn input(self: &Arc<Self>, address: &Address, input: Input) {
        let mut todo = Todo::new();
        self.step(address, input, &mut todo);
        self.carry_out(todo);
        self.committer.kick(self);
    }

    /// The store's answer to what a machine asked for.
    pub(super) fn answered(self: &Arc<Self>, asker: &Asker, input: Input) {
        let mut todo = Todo::new();
        self.step_of(asker, input, &mut todo);
        self.carry_out(todo);
        self.committer.kick(self);
    }

    /// A caller's question: registered first, so that the answer finds it.
    pub(crate) fn ask(
        self: &Arc<Self>,
        address: &Address,
        input: impl FnOnce(CallId) -> Input,
    ) -> (CallId, oneshot::Receiver<Answered>) {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        state.last_call = state.last_call.wrapping_add(1);
        let call = CallId(state.last_call);
        let born = state.ages.enter();
        let caller = Caller { of: address.clone(), answer: sender, born };
        state.calls.insert(call, caller);
        drop(state);
        self.input(address, input(call));
        (call, receiver)
    }

    /// A caller does not wait any more.
    pub(crate) fn cancel(self: &Arc<Self>, address: &Address, call: CallId) {
        let mut state = lock(&self.state);
        let caller = state.calls.remove(&call);
        if let Some(caller) = &caller {
            state.ages.leave(caller.born);
        }
        drop(state);
        if caller.is_some() {
            self.input(address, Input::Cancel(call));
        }
    }

    /// Commits a change that no machine decides, and waits for the outcome.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        change: Change,
        within: Duration,
    ) -> Result<store::Outcome, HubError> {
        let (sender, receiver) = oneshot::channel();
        self.committer.submit(change, Done::Caller(sender));
        self.committer.kick(self);
        match tokio::time::timeout(within, receiver).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(HubError::new(ErrorKind::Internal, "the store has failed")),
            Err(_) => {
                Err(HubError::new(ErrorKind::Unavailable, "the store does not answer in time"))
            }
        }
    }

    /// From now on its machines see events go by these routes.
    pub(crate) fn configure(&self, routing: &Arc<Routing>) {
        lock(&self.state).node.configure(routing);
    }

    /// From now on its machines know these configurations.
    pub(crate) fn deploy(&self, configurations: &Arc<Deployed>) {
        lock(&self.state).node.deploy(configurations);
    }

    pub(crate) fn add_line(&self, line: Arc<Line>) {
        lock(&self.state).lines.insert(line.id, line);
    }

    pub(crate) fn remove_line(&self, id: LinkId) {
        lock(&self.state).lines.remove(&id);
    }

    pub(crate) fn lines(&self) -> Vec<Arc<Line>> {
        lock(&self.state).lines.values().cloned().collect()
    }

    pub(crate) fn devices(&self) -> usize {
        lock(&self.state).node.len()
    }

    /// What its devices hold. With `anew`, the deepest inbox is measured anew.
    pub(crate) fn holdings(&self, anew: bool) -> Holdings {
        let mut state = lock(&self.state);
        let inboxes = if anew { state.node.look_at_inboxes() } else { state.node.inboxes() };
        let (idle, shed) = state.node.idle();
        Holdings {
            devices: state.node.len(),
            calls: state.calls.len(),
            oldest_call: state.ages.oldest(),
            inboxes,
            turned_away: self.turned_away.load(Ordering::Relaxed),
            idle,
            shed,
        }
    }

    /// Ticks every device whose deadline has come. Returns when the next one is.
    pub(crate) fn tick(self: &Arc<Self>) -> Timestamp {
        let now = self.core.clock.now();
        self.armed.store(u64::MAX, Ordering::Relaxed);
        loop {
            let due = lock(&self.state).node.due(now);
            let Some(address) = due else { break };
            self.input(&address, Input::Tick);
        }
        let next = lock(&self.state).node.deadline().unwrap_or(Timestamp::MAX);
        self.armed.store(next.as_millis(), Ordering::Relaxed);
        next
    }
}

/// What the devices of a shard hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holdings {
    pub(crate) devices: usize,
    pub(crate) calls: usize,
    pub(crate) oldest_call: Option<Duration>,
    pub(crate) inboxes: Inboxes,
    pub(crate) turned_away: u64,
    pub(crate) idle: usize,
    pub(crate) shed: u64,
}
