//! Waiting for nudges.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub_core::id::NodeId;
use tokio::sync::Notify;

/// The nodes that wait for nudges, or did. A node that never waited takes no memory, and a nudge for
/// it is dropped: it polls before it first waits.
#[derive(Debug, Default)]
pub(crate) struct Nudges {
    bells: Mutex<HashMap<NodeId, Bell>>,
}

/// The nudges of one node.
///
/// A nudge ends all waits there are; only one that finds none is kept for the next. So one nudge
/// never ends two waits of the same waiter, which would make it look for work twice.
#[derive(Debug, Default)]
struct Bell {
    notify: Arc<Notify>,
    /// Waits that the next nudge will end.
    waiters: usize,
    /// Counts the nudges that have ended waits.
    rung: u64,
    /// A nudge came when nobody waited.
    kept: bool,
}

impl Nudges {
    pub(crate) fn nudge(&self, nodes: &[NodeId]) {
        if nodes.is_empty() {
            return;
        }
        let mut bells = self.lock();
        for node in nodes {
            let Some(bell) = bells.get_mut(node) else { continue };
            if bell.waiters == 0 {
                bell.kept = true;
            } else {
                bell.waiters = 0;
                bell.rung += 1;
                bell.notify.notify_waiters();
            }
        }
    }

    pub(crate) async fn wait(&self, node: &NodeId) {
        let (notified, mut wait) = {
            let mut bells = self.lock();
            let bell = match bells.get_mut(node) {
                Some(bell) => bell,
                None => bells.entry(node.clone()).or_default(),
            };
            if std::mem::take(&mut bell.kept) {
                return;
            }
            bell.waiters += 1;
            // It hears every `notify_waiters` from its making on, so nothing is missed between
            // here and its first poll.
            let notified = Arc::clone(&bell.notify).notified_owned();
            (notified, Wait { nudges: self, node, rung: bell.rung, ended: false })
        };
        notified.await;
        wait.ended = true;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Bell>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait under way.
struct Wait<'a> {
    nudges: &'a Nudges,
    node: &'a NodeId,
    /// The bell's count when it began.
    rung: u64,
    ended: bool,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Some(bell) = self.nudges.lock().get_mut(self.node) {
            if bell.rung == self.rung {
                bell.waiters = bell.waiters.saturating_sub(1);
            } else {
                // The nudge came, and its waiter was dropped before it saw it: kept for the next.
                bell.kept = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll(wait: std::pin::Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
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
}
