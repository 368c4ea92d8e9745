//! What an engine and a link share: a short queue towards the peer, and how much is unanswered.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::CloseReason;
use crate::frame::Outbound;
use crate::id::{Address, LinkId};

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
}

/// One connection as the engine knows it. A few hundred bytes: there may be very many.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: LinkId,
    pub(crate) address: Address,
    window: usize,
    bytes_max: usize,
    state: Mutex<State>,
}

impl Line {
    pub(crate) fn new(id: LinkId, address: Address, window: usize, bytes_max: usize) -> Self {
        Self { id, address, window, bytes_max, state: Mutex::default() }
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
        if state.out.len() >= self.window.saturating_mul(2) {
            // The peer's side takes nothing: it is cut off rather than kept for.
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

    pub(crate) fn has_room(&self) -> bool {
        let state = lock(&self.state);
        state.unanswered < self.window && state.bytes < self.bytes_max
    }

    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if (state.unanswered < self.window && state.bytes < self.bytes_max) || state.closed {
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
