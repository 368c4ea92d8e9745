//! A turn: one input, decided, and what it says handed out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use super::asking::{Asker, Io, Todo};
use super::committer::Done;
use super::line::lock;
use super::shard::{Shard, State};
use crate::device::{Answer, Device, Input, LifecycleKind, Said};
use crate::error::{CloseReason, DisconnectCause, ErrorKind, HubError};
use crate::frame::Outbound;
use crate::id::Address;
use crate::node::Incarnation;
use crate::time::Timestamp;

impl Shard {
    /// One input, decided and said under the lock, so that what is said to one link stays in order.
    pub(super) fn step(&self, address: &Address, input: Input, todo: &mut Todo) {
        self.decide(lock(&self.state), address, input, todo);
    }

    /// An answer, if whoever asked for it is still there. It is not when it failed meanwhile; the
    /// machine made after it would take the answer for one to its own question.
    pub(super) fn step_of(&self, asker: &Asker, input: Input, todo: &mut Todo) {
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
                Said::Received(link, tag, bytes) => {
                    if let Some(line) = state.lines.get(&link) {
                        line.receipt(tag, bytes);
                    }
                }
                Said::Answer(call, answer) => {
                    let mut outcome = None;
                    match &answer {
                        Answer::Failed(error) => meter.request_refused(error.kind()),
                        Answer::Sent(sent) if state.calls.contains_key(&call) => {
                            let outcomes = &self.core.outcomes;
                            outcome = Some(outcomes.expect(address, sent.sequence, sent.expiry));
                        }
                        _ => {}
                    }
                    state.answer_with(call, answer, outcome);
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
                let done =
                    Done::Receipt { line: line.clone(), tag: append.tag, bytes: append.bytes };
                self.committer.submit(append.change, done);
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
}
