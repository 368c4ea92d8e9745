//! Calls whose callers have gone.
//!
//! A call goes on when its caller stops waiting. Until it ends, the items it has locked are skipped by
//! every claim: whoever claims next would find fewer than there are. So a new claim first lets those
//! end. A commit counts as well as a claim: the first try of a batch may come late, and lock its items
//! once more when the second was answered long ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// How many there are.
#[derive(Debug)]
pub(crate) struct Orphans {
    count: watch::Sender<i64>,
}

impl Default for Orphans {
    fn default() -> Self {
        Self { count: watch::Sender::new(0) }
    }
}

impl Orphans {
    /// Ends when there are none.
    pub(crate) async fn none(&self) {
        // The sender is here, so the wait does not end for want of it.
        self.count.subscribe().wait_for(|count| *count <= 0).await.ok();
    }

    /// The two ends of a call: its caller's, and that of the task that does it.
    pub(crate) fn call(self: &Arc<Self>) -> (End, End) {
        let other_ended = Arc::new(AtomicBool::new(false));
        let end = |by| End { orphans: Arc::clone(self), other_ended: Arc::clone(&other_ended), by };
        (end(1), end(-1))
    }
}

/// One end of a call. An orphan is a call whose caller's end is dropped before its task's.
#[derive(Debug)]
pub(crate) struct End {
    orphans: Arc<Orphans>,
    other_ended: Arc<AtomicBool>,
    by: i64,
}

impl Drop for End {
    fn drop(&mut self) {
        self.orphans.count.send_if_modified(|count| {
            // Under the lock of the count, so that what is taken back was counted before.
            let second = self.other_ended.swap(true, Ordering::AcqRel);
            // The caller counts if it is first, the task takes back if it is second.
            let counts = second == (self.by < 0);
            if counts {
                *count += self.by;
            }
            counts
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn only_a_call_without_its_caller_is_waited_for() {
        let orphans = Arc::new(Orphans::default());
        let none = || orphans.none().now_or_never().is_some();
        let (caller, task) = orphans.call();
        assert!(none());
        drop(task);
        assert!(none());
        drop(caller);
        assert!(none());
        let (caller, task) = orphans.call();
        drop(caller);
        assert!(!none());
        drop(task);
        assert!(none());
    }
}
