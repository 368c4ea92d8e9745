//! Where the engine gets the time from. Nothing below the engine has one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::time::Timestamp;

/// A source of time.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The time now. May jump; machines read a smaller time as the last one they saw.
    fn now(&self) -> Timestamp;

    /// Ends when `now` is `at` or later. May end early: callers look at `now` again.
    async fn wait_until(&self, at: Timestamp);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let millis = since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        Timestamp::from_millis(millis)
    }

    async fn wait_until(&self, at: Timestamp) {
        // The wall clock may be set while we sleep, so never sleep long without looking.
        let wait = at.since(self.now()).min(Duration::from_secs(60));
        tokio::time::sleep(wait).await;
    }
}

/// A clock that a test moves by hand.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
    moved: Notify,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { now: now.as_millis().into(), moved: Notify::new() }
    }

    /// Moves the clock forward, and wakes whoever waits for that.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.now.fetch_add(by, Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    async fn wait_until(&self, at: Timestamp) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Registered before the look, so a move in between is not missed.
            moved.as_mut().enable();
            if self.now() >= at {
                return;
            }
            moved.await;
        }
    }
}

#[async_trait]
impl<C: Clock> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    async fn wait_until(&self, at: Timestamp) {
        (**self).wait_until(at).await;
    }
}
