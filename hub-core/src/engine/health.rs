//! How the hub is.

use super::hub::Hub;

/// Whether the hub can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ok,
    /// The store does not answer. Nothing is lost; nothing is acknowledged.
    Degraded,
    /// It stops.
    Stopping,
    /// The store has failed for good.
    Failed,
}

/// What is in use now, of each bounded resource that the hub as a whole has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Gauges {
    /// Open connections.
    pub connections: usize,
    /// Loaded machines.
    pub devices: usize,
    /// Changes that wait for the store.
    pub waiting_changes: usize,
    /// Bytes of these.
    pub waiting_bytes: usize,
    /// Batches sent to the store since the start.
    pub batches: usize,
    /// Changes in these.
    pub changes: usize,
    /// Changes that lost against another writer.
    pub conflicts: usize,
    /// Batches that were sent again.
    pub retries: usize,
}

impl Hub {
    /// Whether the hub can do its work.
    #[must_use]
    pub fn health(&self) -> Health {
        if self.core().is_failed() {
            Health::Failed
        } else if *self.inner.stop.borrow() {
            Health::Stopping
        } else if self.core().is_degraded() {
            Health::Degraded
        } else {
            Health::Ok
        }
    }

    /// What is in use now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        use std::sync::atomic::Ordering::Relaxed;
        let mut gauges = Gauges { connections: self.connections(), ..Gauges::default() };
        for shard in &self.inner.shards {
            let (changes, bytes) = shard.committer.depth();
            let counters = &shard.committer.counters;
            gauges.devices += shard.devices();
            gauges.waiting_changes += changes;
            gauges.waiting_bytes += bytes;
            gauges.batches += counters.batches.load(Relaxed);
            gauges.changes += counters.changes.load(Relaxed);
            gauges.conflicts += counters.conflicts.load(Relaxed);
            gauges.retries += counters.retries.load(Relaxed);
        }
        gauges
    }

    /// Ends when the store has failed for good, after which the hub does nothing more.
    pub async fn failed(&self) {
        loop {
            let failure = self.core().failure.notified();
            tokio::pin!(failure);
            failure.as_mut().enable();
            if self.core().is_failed() {
                return;
            }
            failure.await;
        }
    }
}
