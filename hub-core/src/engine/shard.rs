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
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use futures::channel::oneshot;
use tokio::sync::Notify;

use super::committer::{Committer, Done, Finish};
use super::core::Core;
use super::line::{Line, lock};
use super::meter::{Ages, Born};
use super::once::{Boxed, poll_once};
use crate::device::{Answer, Device, Effects, Input, LifecycleKind, Purpose, Said};
use crate::error::{CloseReason, DisconnectCause, ErrorKind, HubError};
use crate::frame::Outbound;
use crate::id::{Address, CallId, LinkId, Partition};
use crate::node::{Inboxes, Incarnation, Node};
use crate::store::{Ask, Change, Claim, Item, Outcome, Record, StoreError, StoreErrorKind};
use crate::time::Timestamp;

struct State {
    node: Node,
    lines: HashMap<LinkId, Arc<Line>>,
    calls: HashMap<CallId, Caller>,
    /// Since when these wait.
    ages: Ages,
    fx: Effects,
    last_call: u64,
}

/// Somebody who waits for an answer of a device's machine.
struct Caller {
    of: Address,
    answer: oneshot::Sender<Answer>,
    born: Born,
}

impl State {
    fn answer(&mut self, call: CallId, answer: Answer) {
        if let Some(caller) = self.calls.remove(&call) {
            self.ages.leave(caller.born);
            // A caller that went away meanwhile has cancelled.
            let _ = caller.answer.send(answer);
        }
    }
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
    /// Inputs that were turned away because too many waited for their device.
    turned_away: AtomicU64,
    /// Requests that were turned away because too much waited for the store.
    pub(crate) throttled: AtomicU64,
}

/// What a turn wants of the store, besides changes.
enum Io {
    Read(Asker, Vec<Ask>),
    Claim(Asker, Purpose, Timestamp, Claim),
}

/// The machine that waits for an answer. A later one of the same device has not asked for it.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    address: Address,
    incarnation: Incarnation,
}

type Todo = VecDeque<Io>;

type Loaded = Result<Vec<Option<Record>>, StoreError>;

const RETRY: Duration = Duration::from_millis(50);

impl Shard {
    pub(crate) fn new(core: Arc<Core>, partition: Partition, prefix: u128) -> Arc<Self> {
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
                last_call: 0,
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
    fn answered(self: &Arc<Self>, asker: &Asker, input: Input) {
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
    ) -> (CallId, oneshot::Receiver<Answer>) {
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

    /// One input, decided and said under the lock, so that what is said to one link stays in order.
    fn step(&self, address: &Address, input: Input, todo: &mut Todo) {
        self.decide(lock(&self.state), address, input, todo);
    }

    /// An answer, if whoever asked for it is still there. It is not when it failed meanwhile; the
    /// machine made after it would take the answer for one to its own question.
    fn step_of(&self, asker: &Asker, input: Input, todo: &mut Todo) {
        let state = lock(&self.state);
        if state.node.incarnation(&asker.address) == asker.incarnation {
            self.decide(state, &asker.address, input, todo);
        }
    }

    fn decide(
        &self,
        mut guard: MutexGuard<'_, State>,
        address: &Address,
        input: Input,
        todo: &mut Todo,
    ) {
        let now = self.core.clock.now();
        let state = &mut *guard;
        let span = tracing::debug_span!("device", %address);
        let _entered = span.enter();
        let (node, fx) = (&mut state.node, &mut state.fx);
        let decided = catch_unwind(AssertUnwindSafe(|| node.handle(now, address, input, fx)));
        if decided.is_err() {
            return self.failed(state, now, address);
        }
        let meter = &self.core.meter;
        // Taken out while in use, and put back with its memory.
        let mut all = std::mem::take(&mut state.fx.said);
        for said in all.drain(..) {
            match said {
                Said::ToLink(link, outbound) => {
                    match &outbound {
                        Outbound::Refused(_, error) => meter.request_refused(error.kind()),
                        Outbound::Offer(_) => meter.offered(),
                        _ => {}
                    }
                    if let Some(line) = state.lines.get(&link) {
                        line.push(outbound);
                    }
                }
                Said::Answer(call, answer) => {
                    if let Answer::Failed(error) = &answer {
                        meter.request_refused(error.kind());
                    }
                    state.answer(call, answer);
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
        state.fx.said = all;
        meter.tally(&state.fx.tally);
        if state.fx.tally.turned_away > 0 {
            self.turned_away.fetch_add(state.fx.tally.turned_away, Ordering::Relaxed);
        }
        let asks =
            state.fx.change.is_some() || !state.fx.reads.is_empty() || !state.fx.claims.is_empty();
        let incarnation =
            if asks { state.node.incarnation(address) } else { Incarnation::default() };
        let asker = || Asker { address: address.clone(), incarnation };
        if let Some(change) = state.fx.change.take() {
            self.committer.submit(change, Done::Device(asker()));
        }
        for append in state.fx.appends.drain(..) {
            if let Some(line) = state.lines.get(&append.link) {
                let (line, tag) = (line.clone(), append.tag);
                self.committer.submit(append.change, Done::Receipt { line, tag, bytes: 0 });
            }
        }
        if !state.fx.reads.is_empty() {
            todo.push_back(Io::Read(asker(), std::mem::take(&mut state.fx.reads)));
        }
        for (purpose, at, claim) in state.fx.claims.drain(..) {
            todo.push_back(Io::Claim(asker(), purpose, at, claim));
        }
        let deadline = state.node.deadline().map_or(u64::MAX, Timestamp::as_millis);
        drop(guard);
        if deadline < self.armed.load(Ordering::Relaxed) {
            self.armed.store(deadline, Ordering::Relaxed);
            self.rearm.notify_one();
        }
    }

    /// A bug in a machine costs its device a reconnect, not the hub its life. What it held is in
    /// the store, from where it is made anew.
    fn failed(&self, state: &mut State, now: Timestamp, address: &Address) {
        state.fx.clear();
        let link = state.node.device(address).and_then(Device::link);
        state.node.forget(address);
        self.core.meter.machine_failed();
        tracing::error!(device = %address, "a machine failed and was dropped");
        if let Some((_, epoch)) = link {
            let cause = DisconnectCause::Closed(CloseReason::Internal);
            self.core.tell(now, address, LifecycleKind::Disconnected(epoch, cause));
        }
        for line in state.lines.values().filter(|line| line.address == *address) {
            line.close(CloseReason::Internal);
        }
        let calls: Vec<_> = state
            .calls
            .iter()
            .filter(|(_, caller)| caller.of == *address)
            .map(|(call, _)| *call)
            .collect();
        for call in calls {
            let error = HubError::new(ErrorKind::Internal, "the device's machine failed");
            state.answer(call, Answer::Failed(error));
        }
    }

    /// The store is lost: nobody stays connected, and nobody waits for what will not come.
    pub(crate) fn give_up(&self) {
        let mut state = lock(&self.state);
        for line in state.lines.values() {
            line.close(CloseReason::Internal);
        }
        let calls: Vec<_> = state.calls.keys().copied().collect();
        for call in calls {
            let error = HubError::new(ErrorKind::Internal, "the store has failed");
            state.answer(call, Answer::Failed(error));
        }
    }

    /// Asks the store what the turn wants to know, and goes on with what it answers at once.
    fn carry_out(self: &Arc<Self>, mut todo: Todo) {
        while let Some(io) = todo.pop_front() {
            match io {
                Io::Read(asker, asks) => {
                    let store = self.core.store.clone();
                    let read: Boxed<_> = Box::pin(async move { store.read(&asks).await });
                    match poll_once(read) {
                        Ok(Ok(records)) => {
                            self.step_of(&asker, Input::Loaded(records), &mut todo);
                        }
                        Ok(Err(_)) | Err(_) if self.core.is_failed() => {}
                        other => self.read_later(asker, other),
                    }
                }
                Io::Claim(asker, purpose, at, claim) => {
                    let store = self.core.store.clone();
                    let limit = claim.limit;
                    let claiming: Boxed<_> =
                        Box::pin(async move { store.claim(at, &[claim]).await });
                    match poll_once(claiming) {
                        Ok(result) => {
                            let input = self.claimed(purpose, limit, result);
                            self.step_of(&asker, input, &mut todo);
                        }
                        Err(later) => {
                            let this = self.clone();
                            self.core.runtime.spawn(async move {
                                let input = this.claimed(purpose, limit, later.await);
                                this.answered(&asker, input);
                            });
                        }
                    }
                }
            }
        }
    }

    fn read_later(self: &Arc<Self>, asker: Asker, first: Result<Loaded, Boxed<Loaded>>) {
        let this = self.clone();
        self.core.runtime.spawn(async move {
            let result = match first {
                Ok(result) => result,
                Err(later) => later.await,
            };
            let error = match result {
                Ok(records) => return this.answered(&asker, Input::Loaded(records)),
                Err(error) => error,
            };
            this.core.meter.store_failed(&error);
            if error.kind() == StoreErrorKind::Fatal {
                return this.fatal(&error);
            }
            tracing::debug!(device = %asker.address, %error, "a read failed and is tried again");
            // Nobody is told anything meanwhile; the machine asks the same again.
            tokio::time::sleep(RETRY).await;
            if !this.committer.is_abandoned() {
                this.answered(&asker, Input::ReadFailed);
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

    fn claimed(
        &self,
        purpose: Purpose,
        limit: u32,
        result: Result<Vec<Vec<Item>>, StoreError>,
    ) -> Input {
        match result {
            Ok(lists) => Input::Claimed(purpose, limit, lists.into_iter().flatten().collect()),
            Err(error) => {
                self.core.meter.store_failed(&error);
                tracing::debug!(%error, "a claim failed");
                if error.kind() == StoreErrorKind::Fatal {
                    self.core.fail(&error);
                }
                Input::ClaimFailed(purpose)
            }
        }
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
                Done::Device(asker) => {
                    self.step_of(&asker, Input::Outcome(outcome), &mut todo);
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
        self.give_up();
    }

    fn degraded(&self, yes: bool) {
        self.core.degraded(yes);
    }
}
