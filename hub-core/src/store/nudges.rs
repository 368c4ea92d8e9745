//! Waiting for nudges: what a store needs for S21, whatever it keeps its data in.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::id::NodeId;

/// The nodes that wait for nudges, or did: [`Store::nudged`](super::Store::nudged) for stores that
/// hear of every batch themselves.
///
/// A nudge ends all waits there are; only one that finds none is kept for the next. So one nudge
/// never ends two waits of the same waiter, which would make it look for work twice. A node that
/// never waited takes no memory, and a nudge for it is dropped: it polls before it first waits. One
/// small record is kept for each node that ever waited.
///
/// It names no runtime: a wait is a plain future.
///
/// ```
/// use std::pin::pin;
/// use std::task::{Context, Waker};
///
/// use hub_core::id::NodeId;
/// use hub_core::store::Nudges;
///
/// let (nudges, node) = (Nudges::default(), NodeId::new("n")?);
/// // What `nudged` awaits …
/// let mut wait = pin!(nudges.wait(&node));
/// let mut cx = Context::from_waker(Waker::noop());
/// assert!(wait.as_mut().poll(&mut cx).is_pending());
/// // … ends when `commit` has the batch in the store, and not before.
/// nudges.nudge(&[node.clone()]);
/// assert!(wait.poll(&mut cx).is_ready());
/// # Ok::<(), hub_core::id::IdError>(())
/// ```
#[derive(Debug, Default)]
pub struct Nudges {
    bells: Mutex<HashMap<NodeId, Bell>>,
}

/// The nudges of one node.
#[derive(Debug, Default)]
struct Bell {
    /// Waits that the next nudge will end, by number. Bounded by the futures there are.
    waiting: HashMap<u64, Waker>,
    /// How many waits there have been.
    waits: u64,
    /// A nudge came when nobody waited.
    kept: bool,
}

impl Nudges {
    /// Ends the waits of these nodes. To be called when what they are to look for can be read.
    pub fn nudge(&self, nodes: &[NodeId]) {
        if nodes.is_empty() {
            return;
        }
        let mut woken = Vec::new();
        let mut bells = self.lock();
        for node in nodes {
            let Some(bell) = bells.get_mut(node) else { continue };
            if bell.waiting.is_empty() {
                bell.kept = true;
            } else {
                woken.extend(bell.waiting.drain().map(|(_, waker)| waker));
            }
        }
        drop(bells);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Ends with the next nudge of the node; at once if one came since its last wait ended. The
    /// wait begins when the future is first polled. A nudge for a wait that was dropped before it
    /// saw it is kept for the next.
    pub fn wait<'a>(&'a self, node: &'a NodeId) -> Nudged<'a> {
        Nudged { nudges: self, node, number: None }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Bell>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for a nudge: what [`Nudges::wait`] gives.
#[must_use = "futures do nothing unless polled"]
pub struct Nudged<'a> {
    nudges: &'a Nudges,
    node: &'a NodeId,
    /// Which wait it is, while it is under way.
    number: Option<u64>,
}

impl fmt::Debug for Nudged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nudged").field("node", self.node).finish_non_exhaustive()
    }
}

impl Future for Nudged<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut bells = this.nudges.lock();
        let bell = match bells.get_mut(this.node) {
            Some(bell) => bell,
            None => bells.entry(this.node.clone()).or_default(),
        };
        match this.number {
            None if std::mem::take(&mut bell.kept) => Poll::Ready(()),
            None => {
                bell.waits += 1;
                this.number = Some(bell.waits);
                bell.waiting.insert(bell.waits, cx.waker().clone());
                Poll::Pending
            }
            Some(number) => match bell.waiting.get_mut(&number) {
                Some(waker) => {
                    waker.clone_from(cx.waker());
                    Poll::Pending
                }
                None => {
                    this.number = None;
                    Poll::Ready(())
                }
            },
        }
    }
}

impl Drop for Nudged<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        if let Some(bell) = self.nudges.lock().get_mut(self.node)
            && bell.waiting.remove(&number).is_none()
        {
            // The nudge came, and its waiter was dropped before it saw it: kept for the next.
            bell.kept = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn poll(wait: Pin<&mut Nudged<'_>>) -> Poll<()> {
        wait.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn node() -> NodeId {
        NodeId::new("n").unwrap()
    }

    #[test]
    fn a_nudge_ends_all_waits_and_only_those() {
        let (nudges, node) = (Nudges::default(), node());
        {
            let (mut one, mut two) = (pin!(nudges.wait(&node)), pin!(nudges.wait(&node)));
            assert!(poll(one.as_mut()).is_pending() && poll(two.as_mut()).is_pending());
            nudges.nudge(std::slice::from_ref(&node));
            assert!(poll(one.as_mut()).is_ready() && poll(two.as_mut()).is_ready());
        }
        assert!(poll(pin!(nudges.wait(&node))).is_pending());
    }

    #[test]
    fn nudges_between_two_waits_end_the_second_once() {
        let (nudges, node) = (Nudges::default(), node());
        assert!(poll(pin!(nudges.wait(&node))).is_pending());
        nudges.nudge(&[node.clone(), node.clone()]);
        assert!(poll(pin!(nudges.wait(&node))).is_ready());
        assert!(poll(pin!(nudges.wait(&node))).is_pending());
    }

    #[test]
    fn a_nudge_that_a_dropped_wait_did_not_see_is_kept() {
        let (nudges, node) = (Nudges::default(), node());
        {
            let mut wait = pin!(nudges.wait(&node));
            assert!(poll(wait.as_mut()).is_pending());
            nudges.nudge(std::slice::from_ref(&node));
        }
        assert!(poll(pin!(nudges.wait(&node))).is_ready());
    }

    #[test]
    fn a_second_nudge_before_the_waiter_has_run_is_kept() {
        let (nudges, node) = (Nudges::default(), node());
        {
            let mut wait = pin!(nudges.wait(&node));
            assert!(poll(wait.as_mut()).is_pending());
            nudges.nudge(std::slice::from_ref(&node));
            nudges.nudge(std::slice::from_ref(&node));
            assert!(poll(wait.as_mut()).is_ready());
        }
        assert!(poll(pin!(nudges.wait(&node))).is_ready());
    }

    #[test]
    fn nodes_that_never_waited_take_no_memory() {
        let nudges = Nudges::default();
        nudges.nudge(&[node()]);
        assert!(nudges.lock().is_empty());
    }

    #[test]
    fn a_nudge_wakes_the_task_that_polled_last() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let (nudges, node) = (Nudges::default(), node());
        let count = std::sync::Arc::new(Count(std::sync::atomic::AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut wait = pin!(nudges.wait(&node));
        assert!(poll(wait.as_mut()).is_pending());
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        nudges.nudge(std::slice::from_ref(&node));
        assert_eq!(count.0.load(std::sync::atomic::Ordering::SeqCst), 1);
        assert!(poll(wait).is_ready());
    }

    #[test]
    fn what_was_waited_for_is_forgotten() {
        let (nudges, node) = (Nudges::default(), node());
        for _ in 0..100 {
            assert!(poll(pin!(nudges.wait(&node))).is_pending());
        }
        assert!(nudges.lock().values().all(|bell| bell.waiting.is_empty()));
    }
}
