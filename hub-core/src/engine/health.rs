//! How the hub is.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::hub::{Hub, Inner};
use super::throttle::Throttle;
use crate::id::Partition;

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

/// How one bounded resource stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resource {
    /// Which: see `docs/observability.md`.
    pub name: &'static str,
    /// The shard, and with it the partition, that it belongs to; `None` if it is the hub's.
    pub shard: Option<Partition>,
    /// How much it holds.
    pub depth: usize,
    /// How much it may hold; `None` if others bound it.
    pub capacity: Option<usize>,
    /// How often it turned something away, since the start; `None` if it never does.
    pub refusals: Option<u64>,
    /// How long the oldest that it holds is there; zero if it holds nothing. `None` if that is not
    /// measured: without the feature `metrics` it never is.
    pub oldest: Option<Duration>,
}

impl Resource {
    fn new(name: &'static str, shard: Option<Partition>, depth: usize) -> Self {
        Self { name, shard, depth, capacity: None, refusals: None, oldest: None }
    }

    fn of(self, capacity: usize) -> Self {
        Self { capacity: Some(capacity), ..self }
    }

    fn refused(self, refusals: u64) -> Self {
        Self { refusals: Some(refusals), ..self }
    }

    fn aged(self, oldest: Option<Duration>) -> Self {
        Self { oldest, ..self }
    }
}

impl Inner {
    /// How each bounded resource stands. With `anew`, what is a maximum since the last look is
    /// measured anew.
    pub(super) fn resources(&self, anew: bool) -> Vec<Resource> {
        let (core, limits) = (&self.core, &self.core.limits);
        let (outcomes, oldest_outcome) = core.outcomes.depth();
        let mut all = vec![
            Resource::new("connections", None, core.connections.load(Relaxed))
                .of(limits.connections_max)
                .refused(core.turned_away.connections.load(Relaxed)),
            Resource::new("outcomes", None, outcomes)
                .of(limits.outcomes_waiting_max)
                .refused(core.outcomes.turned_away())
                .aged(oldest_outcome),
            Resource::new("remote_calls", None, core.remote_calls.taken())
                .of(limits.remote_calls_max)
                .refused(core.remote_calls.turned_away()),
            Resource::new("patient_calls", None, core.patient_calls.taken())
                .of(limits.methods_patient_max)
                .refused(core.patient_calls.turned_away()),
            Resource::new("queries", None, core.queries_under_way())
                .of(limits.queries_in_flight_max),
        ];
        let throttle = core.throttle.as_ref();
        let (waiting, refused) = throttle.map(Throttle::waiting).unwrap_or_default();
        let (devices, untracked) = throttle.map(Throttle::devices).unwrap_or_default();
        let (messages, daily) = throttle.map(Throttle::today).unwrap_or_default();
        let mut messages = Resource::new("quota_messages", None, sized(messages));
        messages.capacity = daily.map(sized);
        all.extend([
            Resource::new("quota_waiting", None, waiting).refused(refused),
            Resource::new("quota_devices", None, devices)
                .of(limits.quota_devices_max)
                .refused(untracked),
            messages,
        ]);
        for shard in &self.shards {
            let own = |name, depth| Resource::new(name, Some(shard.partition), depth);
            let (changes, bytes) = shard.committer.depth();
            let holdings = shard.holdings(anew);
            all.extend([
                own("waiting_changes", changes)
                    .of(limits.waiting_changes_max)
                    .refused(shard.throttled.load(Relaxed))
                    .aged(shard.committer.oldest()),
                own("waiting_bytes", bytes).of(limits.waiting_bytes_max),
                own("device_inbox", holdings.inboxes.deepest)
                    .of(limits.device_inbox_max)
                    .refused(holdings.turned_away),
                own("inputs", holdings.inboxes.waiting),
                own("calls", holdings.calls).aged(holdings.oldest_call),
                own("devices", holdings.devices),
                own("idle_devices", holdings.idle)
                    .of(limits.idle_devices_max)
                    .refused(holdings.shed),
            ]);
        }
        all
    }
}

fn sized(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Hub {
    /// How each bounded resource of the hub stands now.
    #[must_use]
    pub fn resources(&self) -> Vec<Resource> {
        self.inner.resources(false)
    }

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
