//! What an engine and a link share: a short queue towards the peer, and how much is unanswered.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::{CloseReason, HubError};
use crate::frame::Outbound;
use crate::id::{Address, LinkId};
use crate::limits::Limits;

/// Locks, also when a panic left the lock poisoned: what it guards is changed in single steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct State {
    out: VecDeque<Outbound>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    closed: bool,
    unanswered: usize,
    bytes: usize,
    /// How many frames wait for their turn; meanwhile no more are taken.
    holds: usize,
}

impl State {
    fn has_room(&self, line: &Line) -> bool {
        self.holds == 0 && self.unanswered < line.window && self.bytes < line.bytes_max
    }
}

/// One connection as the engine knows it. A few hundred bytes: there may be very many.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: LinkId,
    pub(crate) address: Address,
    window: usize,
    bytes_max: usize,
    out_max: usize,
    state: Mutex<State>,
}

/// How much one line may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most frames of the peer that are unanswered.
    pub(crate) window: usize,
    /// Most bytes of telemetry in these.
    pub(crate) bytes_max: usize,
    /// Most frames for the peer that it has not taken.
    pub(crate) out_max: usize,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        let offers = usize::try_from(limits.offer_window).unwrap_or(usize::MAX);
        Self {
            window: limits.link_window,
            bytes_max: limits.link_bytes_max,
            // All that may be on its way to a peer that reads, at once and in one turn: an answer
            // to every frame, every offer, every call. As much again are notices.
            out_max: limits
                .link_window
                .saturating_add(offers)
                .saturating_add(limits.methods_in_flight_max)
                .saturating_mul(2),
        }
    }
}

impl Line {
    pub(crate) fn new(id: LinkId, address: Address, bounds: Bounds) -> Self {
        let Bounds { window, bytes_max, out_max } = bounds;
        Self { id, address, window, bytes_max, out_max, state: Mutex::default() }
    }

    /// Hands something to the peer's side. Answers free their place in the window.
    pub(crate) fn push(&self, outbound: Outbound) {
        let answers = matches!(
            outbound,
            Outbound::Receipt(_)
                | Outbound::Refused(..)
                | Outbound::Twin(..)
                | Outbound::Reported(..)
        );
        self.push_to(lock(&self.state), outbound, answers);
    }

    fn push_to(&self, mut state: MutexGuard<'_, State>, outbound: Outbound, answers: bool) {
        if state.closed {
            return;
        }
        let mut writer = None;
        if answers {
            state.unanswered = state.unanswered.saturating_sub(1);
            writer = state.writer.take();
        }
        if state.out.len() >= self.out_max {
            // The peer's side takes nothing: it is cut off rather than kept for.
            tracing::info!(device = %self.address, "a peer takes nothing and is cut off");
            state.out.clear();
            state.out.push_back(Outbound::Close(CloseReason::PeerStuck));
            state.closed = true;
        } else {
            state.closed = matches!(outbound, Outbound::Close(_));
            state.out.push_back(outbound);
        }
        let reader = state.reader.take();
        drop(state);
        writer.into_iter().chain(reader).for_each(Waker::wake);
    }

    /// A receipt for events of so many bytes.
    pub(crate) fn receipt(&self, tag: crate::id::Tag, bytes: usize) {
        let mut state = lock(&self.state);
        state.bytes = state.bytes.saturating_sub(bytes);
        self.push_to(state, Outbound::Receipt(tag), true);
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.push(Outbound::Close(reason));
    }

    /// A frame that will be answered is on its way in.
    pub(crate) fn sent(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.unanswered = state.unanswered.saturating_add(1);
        state.bytes = state.bytes.saturating_add(bytes);
    }

    /// A frame that was counted will not be answered after all.
    pub(crate) fn uncount(&self) {
        let mut state = lock(&self.state);
        state.unanswered = state.unanswered.saturating_sub(1);
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
    }

    /// Events of so many bytes are refused.
    pub(crate) fn refuse(&self, tag: crate::id::Tag, bytes: usize, error: HubError) {
        let mut state = lock(&self.state);
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.push(Outbound::Refused(tag, error));
    }

    /// A frame has to wait for its turn.
    pub(crate) fn hold(&self) {
        lock(&self.state).holds += 1;
    }

    /// A frame that had to wait does not any more.
    pub(crate) fn release(&self) {
        let mut state = lock(&self.state);
        state.holds = state.holds.saturating_sub(1);
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
    }

    /// Whether a frame waits for its turn.
    pub(crate) fn is_held(&self) -> bool {
        lock(&self.state).holds > 0
    }

    pub(crate) fn has_room(&self) -> bool {
        lock(&self.state).has_room(self)
    }

    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.has_room(self) || state.closed {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// What is there to say now. Whoever calls this is awake, so nothing need wake it meanwhile.
    pub(crate) fn try_next(&self) -> Option<Outbound> {
        let mut state = lock(&self.state);
        state.reader = None;
        state.out.pop_front()
    }

    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Outbound>> {
        let mut state = lock(&self.state);
        match state.out.pop_front() {
            Some(outbound) => Poll::Ready(Some(outbound)),
            None if state.closed => Poll::Ready(None),
            None => {
                match &mut state.reader {
                    Some(waker) => waker.clone_from(cx.waker()),
                    slot => *slot = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
