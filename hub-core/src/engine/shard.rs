//! One shard: a lock, the machines of its devices, and a committer.
//!
//! A shard is a lock and not a task. Whoever brings an input takes the lock, lets the machine
//! decide (a few microseconds, never waiting), and carries out the effects itself; what the store
//! does not answer at once gets a task. A call to a device and its answer so cost no task switch
//! between the caller's task and the connection's. `docs/decisions/0002-a-shard-is-a-lock.md` has
//! the reasons and figures.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use futures::channel::oneshot;
use tokio::sync::Notify;

use super::committer::{Committer, Done, Finish};
use super::core::Core;
use super::line::{Line, lock};
use super::once::{Boxed, poll_once};
use crate::device::{Answer, Effects, Input, Purpose, Said};
use crate::error::{CloseReason, ErrorKind, HubError};
use crate::id::{Address, CallId, LinkId, Partition};
use crate::node::Node;
use crate::store::{Ask, Change, Claim, Item, Outcome, Record, StoreError, StoreErrorKind};
use crate::time::Timestamp;

struct State {
    node: Node,
    lines: HashMap<LinkId, Arc<Line>>,
    calls: HashMap<CallId, oneshot::Sender<Answer>>,
    fx: Effects,
    last_call: u64,
}

pub(crate) struct Shard {
    pub(crate) core: Arc<Core>,
    pub(crate) partition: Partition,
    state: Mutex<State>,
    pub(crate) committer: Arc<Committer>,
    /// The earliest deadline may have changed.
    pub(crate) rearm: Notify,
    /// Entries were appended to this shard's partition.
    pub(crate) appended: Notify,
    /// Milliseconds of the deadline the timer task sleeps for, to leave it alone if none is earlier.
    armed: AtomicU64,
}

/// What a turn wants of the store, besides changes.
enum Io {
    Read(Address, Vec<Ask>),
    Claim(Address, Purpose, Timestamp, Claim),
}

type Todo = VecDeque<Io>;

type Loaded = Result<Vec<Option<Record>>, StoreError>;

const RETRY: Duration = Duration::from_millis(50);

impl Shard {
    pub(crate) fn new(core: Arc<Core>, partition: Partition, prefix: u128) -> Arc<Self> {
        let prefix = prefix << 64 | u128::from(partition.0) << 48;
        let committer = Arc::new(Committer::new(core.store.clone(), core.limits.clone(), prefix));
        Arc::new(Self {
            partition,
            state: Mutex::new(State {
                node: Node::new(core.setup.clone()),
                lines: HashMap::new(),
                calls: HashMap::new(),
                fx: Effects::default(),
                last_call: 0,
            }),
            committer,
            rearm: Notify::new(),
            appended: Notify::new(),
            armed: AtomicU64::new(u64::MAX),
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

    /// A caller's question: registered first, so that the answer finds it.
    pub(crate) fn ask(
        self: &Arc<Self>,
        address: &Address,
        input: impl FnOnce(CallId) -> Input,
    ) -> (CallId, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        state.last_call = state.last_call.wrapping_add(1);
        let call = CallId(state.last_call);
        state.calls.insert(call, sender);
        drop(state);
        self.input(address, input(call));
        (call, receiver)
    }

    /// A caller does not wait any more.
    pub(crate) fn cancel(self: &Arc<Self>, address: &Address, call: CallId) {
        if lock(&self.state).calls.remove(&call).is_some() {
            self.input(address, Input::Cancel(call));
        }
    }

    /// Commits a change that no machine decides, and waits for the outcome.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        change: Change,
        within: Duration,
    ) -> Result<Outcome, HubError> {
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

    /// One input, decided and said under the lock, so that what is said to one link stays in order.
    fn step(&self, address: &Address, input: Input, todo: &mut Todo) {
        let now = self.core.clock.now();
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let (node, fx) = (&mut state.node, &mut state.fx);
        let decided = catch_unwind(AssertUnwindSafe(|| node.handle(now, address, input, fx)));
        if decided.is_err() {
            // A bug in a machine costs its device a reconnect, not the hub its life. What it held
            // is in the store, from where it is made anew.
            fx.clear();
            node.forget(address);
            tracing::error!(device = %address, "a machine failed and was dropped");
            for line in state.lines.values().filter(|line| line.address == *address) {
                line.close(CloseReason::Internal);
            }
            return;
        }
        for said in state.fx.said.drain(..) {
            match said {
                Said::ToLink(link, outbound) => {
                    if let Some(line) = state.lines.get(&link) {
                        line.push(outbound);
                    }
                }
                Said::Answer(call, answer) => {
                    if let Some(caller) = state.calls.remove(&call) {
                        // A caller that went away meanwhile has cancelled.
                        let _ = caller.send(answer);
                    }
                }
                Said::Close(link, reason) => {
                    if let Some(line) = state.lines.get(&link) {
                        line.close(reason);
                    }
                }
                Said::Lifecycle(kind) => self.core.tell(now, address, kind),
                Said::FeedbackMade => self.core.feedback_made(),
            }
        }
        if let Some(change) = state.fx.change.take() {
            self.committer.submit(change, Done::Device(address.clone()));
        }
        for append in state.fx.appends.drain(..) {
            if let Some(line) = state.lines.get(&append.link) {
                let (line, tag) = (line.clone(), append.tag);
                self.committer.submit(append.change, Done::Receipt { line, tag, bytes: 0 });
            }
        }
        if !state.fx.reads.is_empty() {
            todo.push_back(Io::Read(address.clone(), std::mem::take(&mut state.fx.reads)));
        }
        for (purpose, at, claim) in state.fx.claims.drain(..) {
            todo.push_back(Io::Claim(address.clone(), purpose, at, claim));
        }
        let deadline = state.node.deadline().map_or(u64::MAX, Timestamp::as_millis);
        drop(guard);
        if deadline < self.armed.load(Ordering::Relaxed) {
            self.armed.store(deadline, Ordering::Relaxed);
            self.rearm.notify_one();
        }
    }

    /// Asks the store what the turn wants to know, and goes on with what it answers at once.
    fn carry_out(self: &Arc<Self>, mut todo: Todo) {
        while let Some(io) = todo.pop_front() {
            match io {
                Io::Read(address, asks) => {
                    let store = self.core.store.clone();
                    let read: Boxed<_> = Box::pin(async move { store.read(&asks).await });
                    match poll_once(read) {
                        Ok(Ok(records)) => self.step(&address, Input::Loaded(records), &mut todo),
                        Ok(Err(_)) | Err(_) if self.core.is_failed() => {}
                        other => self.read_later(address, other),
                    }
                }
                Io::Claim(address, purpose, at, claim) => {
                    let store = self.core.store.clone();
                    let limit = claim.limit;
                    let claiming: Boxed<_> =
                        Box::pin(async move { store.claim(at, &[claim]).await });
                    match poll_once(claiming) {
                        Ok(result) => {
                            let input = claimed(purpose, limit, result);
                            self.step(&address, input, &mut todo);
                        }
                        Err(later) => {
                            let this = self.clone();
                            tokio::spawn(async move {
                                let input = claimed(purpose, limit, later.await);
                                this.input(&address, input);
                            });
                        }
                    }
                }
            }
        }
    }

    fn read_later(self: &Arc<Self>, address: Address, first: Result<Loaded, Boxed<Loaded>>) {
        let this = self.clone();
        tokio::spawn(async move {
            let result = match first {
                Ok(result) => result,
                Err(later) => later.await,
            };
            match result {
                Ok(records) => this.input(&address, Input::Loaded(records)),
                Err(error) if error.kind() == StoreErrorKind::Fatal => this.fatal(&error),
                Err(_) => {
                    // Nobody is told anything meanwhile; the machine asks the same again.
                    tokio::time::sleep(RETRY).await;
                    this.input(&address, Input::ReadFailed);
                }
            }
        });
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

fn claimed(purpose: Purpose, limit: u32, result: Result<Vec<Vec<Item>>, StoreError>) -> Input {
    match result {
        Ok(lists) => Input::Claimed(purpose, limit, lists.into_iter().flatten().collect()),
        Err(_) => Input::ClaimFailed(purpose),
    }
}

impl Finish for Shard {
    fn finish(self: &Arc<Self>, answered: impl Iterator<Item = (Done, Outcome)>) {
        let mut todo = Todo::new();
        for (done, outcome) in answered {
            match done {
                Done::Receipt { line, tag, bytes } => match outcome {
                    Outcome::Committed(_) => line.receipt(tag, bytes),
                    // An append has no guard and no bound to break.
                    _ => line.close(CloseReason::Internal),
                },
                Done::Device(address) => {
                    self.step(&address, Input::Outcome(outcome), &mut todo);
                }
                Done::Caller(caller) => {
                    let _ = caller.send(outcome);
                }
            }
        }
        // Changes that this brings go with the next batch of whoever called.
        self.carry_out(todo);
    }

    fn appended(&self) {
        self.appended.notify_waiters();
    }

    fn fatal(&self, error: &StoreError) {
        self.core.fail(error);
        let mut state = lock(&self.state);
        for line in state.lines.values() {
            line.close(CloseReason::Internal);
        }
        for (_, caller) in state.calls.drain() {
            let error = HubError::new(ErrorKind::Internal, "the store has failed");
            let _ = caller.send(Answer::Failed(error));
        }
    }

    fn degraded(&self, yes: bool) {
        self.core.degraded(yes);
    }
}
