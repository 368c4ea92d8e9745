//! With the feature: counters, histograms and gauges of the `metrics` façade.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, SharedString, counter, gauge, histogram};

use super::families::{self, Family};
use super::names::Named as _;
use super::{Began, Ended, Load, Pause};
use crate::delivery::MessageOutcome;
use crate::device::Tally;
use crate::engine::health::Resource;
use crate::error::{DisconnectCause, ErrorKind};
use crate::frame::Inbound;
use crate::hello::Refusal;
use crate::quota::{Operation, Reason};
use crate::route::FailureKind;
use crate::store::{Op, Outcome, StoreError};

/// The handles of one hub.
pub(crate) struct Meter {
    hub: SharedString,
    disconnections: Family,
    refusals: Family,
    frames: Family,
    pauses: Family,
    messages: Counter,
    message_bytes: Counter,
    batches: Counter,
    changes: Family,
    retries: Counter,
    refused: Family,
    quota_waits: Family,
    /// By reason.
    quota_refusals: Vec<(&'static str, Family)>,
    sent: Family,
    offered: Counter,
    ended: Family,
    methods: Family,
    queries: Family,
    query_seconds: Histogram,
    desired: Family,
    reported: Family,
    machine_failures: Counter,
    batch_changes: Histogram,
    batch_bytes: Histogram,
    commit_seconds: Histogram,
    degraded: Gauge,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("hub", &self.hub).finish_non_exhaustive()
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new("")
    }
}

/// The outcomes of a request that is counted: done, dropped, and every kind of refusal.
fn outcomes() -> impl Iterator<Item = &'static str> {
    ["done", "dropped"].into_iter().chain(ErrorKind::ALL.iter().copied())
}

/// The operations that quotas are for.
fn operations() -> impl Iterator<Item = &'static str> {
    Operation::ALL.iter().map(|operation| operation.name())
}

fn outcome(ended: Ended) -> &'static str {
    match ended {
        Ended::Done => "done",
        Ended::Dropped => "dropped",
        Ended::Refused(kind) => kind.name(),
    }
}

impl Meter {
    pub(crate) fn new(hub: &str) -> Self {
        let hub = SharedString::from(hub.to_owned());
        families::describe();
        let counter = |name: &'static str| counter!(name, "hub" => hub.clone());
        let histogram = |name: &'static str| histogram!(name, "hub" => hub.clone());
        let writes = |section: &'static str| {
            let name = "hub_twin_writes_total";
            Family::with(&hub, name, ("section", section), "outcome", outcomes())
        };
        let no_turn = |reason: &'static str| {
            let name = "hub_quota_refusals_total";
            Family::with(&hub, name, ("reason", reason), "operation", operations())
        };
        Self {
            disconnections: Family::of::<DisconnectCause>(
                &hub,
                "hub_disconnections_total",
                "cause",
            ),
            refusals: Family::of::<Refusal>(&hub, "hub_refusals_total", "kind"),
            frames: Family::of::<Inbound>(&hub, "hub_frames_total", "kind"),
            pauses: Family::new(
                &hub,
                "hub_link_pauses_total",
                "reason",
                ["window_full", "committing", "throttled"],
            ),
            messages: counter("hub_telemetry_messages_total"),
            message_bytes: counter("hub_telemetry_bytes_total"),
            batches: counter("hub_batches_total"),
            changes: Family::of::<Outcome>(&hub, "hub_changes_total", "outcome"),
            retries: counter("hub_batch_retries_total"),
            refused: Family::of::<ErrorKind>(&hub, "hub_refused_requests_total", "kind"),
            quota_waits: Family::new(&hub, "hub_quota_waits_total", "operation", operations()),
            quota_refusals: Reason::ALL.iter().map(|word| (*word, no_turn(word))).collect(),
            sent: Family::new(&hub, "hub_messages_sent_total", "outcome", outcomes()),
            offered: counter("hub_messages_offered_total"),
            ended: Family::of::<MessageOutcome>(&hub, "hub_messages_ended_total", "outcome"),
            methods: Family::new(&hub, "hub_methods_total", "outcome", outcomes()),
            queries: Family::new(&hub, "hub_queries_total", "outcome", outcomes()),
            query_seconds: histogram("hub_query_seconds"),
            desired: writes("desired"),
            reported: writes("reported"),
            machine_failures: counter("hub_machine_failures_total"),
            batch_changes: histogram("hub_batch_changes"),
            batch_bytes: histogram("hub_batch_bytes"),
            commit_seconds: histogram("hub_commit_seconds"),
            degraded: gauge!("hub_store_degraded", "hub" => hub.clone()),
            hub,
        }
    }

    pub(crate) fn connected(&self, protocol: &'static str) {
        let hub = self.hub.clone();
        counter!("hub_connections_total", "hub" => hub, "protocol" => protocol).increment(1);
    }

    pub(crate) fn disconnected(&self, cause: DisconnectCause) {
        self.disconnections.count(&cause);
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.refusals.count(refusal);
    }

    /// A frame that is no telemetry; that is counted by the batch.
    pub(crate) fn frame(&self, frame: &Inbound) {
        self.frames.count(frame);
    }

    pub(crate) fn paused(&self, pause: Pause) {
        let word = match pause {
            Pause::WindowFull => "window_full",
            Pause::Committing => "committing",
            Pause::Throttled => "throttled",
        };
        self.pauses.add(word, 1);
    }

    /// Adds what a change carries of telemetry.
    pub(crate) fn weigh(load: &mut Load, ops: &[Op]) {
        if let [Op::Append(_, _, entries), ..] = ops {
            load.frames += 1;
            load.messages += entries.len();
            load.message_bytes += entries.bytes();
        }
    }

    pub(crate) fn committed(&self, load: Load, began: Began, outcomes: &[Outcome]) {
        let mut counts = [0_u64; Outcome::ALL.len()];
        for outcome in outcomes {
            let at = match outcome {
                Outcome::Committed(_) => 0,
                Outcome::Conflict => 1,
                Outcome::Full(_) => 2,
            };
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
        }
        for (word, count) in Outcome::ALL.iter().zip(counts) {
            if count > 0 {
                self.changes.add(word, count);
            }
        }
        self.batches.increment(1);
        self.batch_changes.record(number(load.changes));
        self.batch_bytes.record(number(load.bytes));
        self.commit_seconds.record(began.seconds());
        if load.frames > 0 {
            self.frames.add("telemetry", wide(load.frames));
            self.messages.increment(wide(load.messages));
            self.message_bytes.increment(wide(load.message_bytes));
        }
    }

    pub(crate) fn retried(&self) {
        self.retries.increment(1);
    }

    pub(crate) fn store_failed(&self, error: &StoreError) {
        counter!(
            "hub_store_errors_total",
            "hub" => self.hub.clone(),
            "operation" => error.operation(),
            "kind" => error.kind().name(),
        )
        .increment(1);
    }

    pub(crate) fn request_refused(&self, kind: ErrorKind) {
        self.refused.count(&kind);
    }

    /// An operation has to wait for its turn.
    pub(crate) fn quota_waited(&self, operation: Operation) {
        self.quota_waits.add(operation.name(), 1);
    }

    /// An operation has no turn.
    pub(crate) fn quota_refused(&self, operation: Operation, reason: Reason) {
        let of_reason = self.quota_refusals.iter().find(|(word, _)| *word == reason.name());
        if let Some((_, family)) = of_reason {
            family.add(operation.name(), 1);
        }
    }

    pub(crate) fn message_sent(&self, ended: Ended) {
        self.sent.add(outcome(ended), 1);
    }

    pub(crate) fn offered(&self) {
        self.offered.increment(1);
    }

    pub(crate) fn settled(&self, outcome: MessageOutcome) {
        self.ended.count(&outcome);
    }

    pub(crate) fn method(&self, ended: Ended) {
        self.methods.add(outcome(ended), 1);
    }

    pub(crate) fn twin_written(&self, ended: Ended) {
        self.desired.add(outcome(ended), 1);
    }

    /// A page of an answer to a query, or its refusal.
    pub(crate) fn queried(&self, ended: Ended, began: Began) {
        self.queries.add(outcome(ended), 1);
        self.query_seconds.record(began.seconds());
    }

    pub(crate) fn tally(&self, tally: &Tally) {
        if tally.reports > 0 {
            self.reported.add("done", tally.reports);
        }
        for kind in &tally.reports_refused {
            self.reported.count(kind);
        }
    }

    pub(crate) fn machine_failed(&self) {
        self.machine_failures.increment(1);
    }

    /// An endpoint took so many events.
    pub(crate) fn delivered(&self, endpoint: &str, events: u64) {
        self.outgoing("hub_endpoint_events_total", endpoint, "outcome", "delivered", events);
    }

    /// An endpoint did not take all it was handed. If that concerns one event, that was dropped.
    pub(crate) fn delivery_failed(&self, endpoint: &str, kind: FailureKind) {
        self.outgoing("hub_endpoint_failures_total", endpoint, "kind", kind.name(), 1);
        if kind.is_of_one_event() {
            self.outgoing("hub_endpoint_events_total", endpoint, "outcome", "invalid", 1);
        }
    }

    /// The log was not kept until an endpoint took so many entries.
    pub(crate) fn events_expired(&self, endpoint: &str, entries: u64) {
        self.outgoing("hub_endpoint_events_total", endpoint, "outcome", "expired", entries);
    }

    fn outgoing(
        &self,
        name: &'static str,
        endpoint: &str,
        label: &'static str,
        word: &'static str,
        by: u64,
    ) {
        let endpoint = endpoint.to_owned();
        counter!(name, "hub" => self.hub.clone(), "endpoint" => endpoint, label => word)
            .increment(by);
    }

    /// Tells the gauges how things stand. To be called now and then.
    pub(crate) fn sample(&self, resources: &[Resource], degraded: usize) {
        self.degraded.set(number(degraded));
        for resource in resources {
            let mut labels = vec![
                metrics::Label::new("hub", self.hub.clone()),
                metrics::Label::from_static_parts("resource", resource.name),
            ];
            if let Some(shard) = resource.shard {
                labels.push(metrics::Label::new("shard", shard.0.to_string()));
            }
            gauge!("hub_resource_depth", labels.iter()).set(number(resource.depth));
            if let Some(capacity) = resource.capacity {
                gauge!("hub_resource_capacity", labels.iter()).set(number(capacity));
            }
            if let Some(oldest) = resource.oldest {
                gauge!("hub_resource_oldest_seconds", labels.iter()).set(oldest.as_secs_f64());
            }
            if let Some(refusals) = resource.refusals {
                counter!("hub_resource_refusals_total", labels.iter()).absolute(refusals);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of more than 2^52 may be off by one")]
fn number(count: usize) -> f64 {
    count as f64
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The second in which something began.
pub(crate) type Born = u32;

/// How old the oldest of many things is, to the second, whatever the order in which they go.
#[derive(Debug)]
pub(crate) struct Ages {
    start: Instant,
    /// How many began in each second since the start.
    began: BTreeMap<Born, usize>,
}

impl Default for Ages {
    fn default() -> Self {
        Self { start: Instant::now(), began: BTreeMap::new() }
    }
}

impl Ages {
    pub(crate) fn enter(&mut self) -> Born {
        let born = u32::try_from(self.start.elapsed().as_secs()).unwrap_or(u32::MAX);
        *self.began.entry(born).or_default() += 1;
        born
    }

    pub(crate) fn leave(&mut self, born: Born) {
        if let Some(count) = self.began.get_mut(&born) {
            *count -= 1;
            if *count == 0 {
                self.began.remove(&born);
            }
        }
    }

    /// Zero if there is nothing.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        let born = self.began.first_key_value().map(|(born, _)| *born);
        Some(born.map_or(Duration::ZERO, |born| {
            self.start.elapsed().saturating_sub(Duration::from_secs(born.into()))
        }))
    }
}

/// How long the first of a queue has waited, with one look at a clock per batch and not per item.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// What joined between two batches: how many are left of it, and when its first came.
    groups: VecDeque<(usize, Instant)>,
    /// Whether nothing was taken since the last one joined.
    open: bool,
}

impl Waits {
    /// One more, at the end.
    #[inline]
    pub(crate) fn joined(&mut self) {
        match self.groups.back_mut() {
            Some((count, _)) if self.open => *count += 1,
            _ => {
                self.groups.push_back((1, Instant::now()));
                self.open = true;
            }
        }
    }

    /// So many less, at the front.
    pub(crate) fn taken(&mut self, mut taken: usize) {
        self.open = false;
        while let Some((count, _)) = self.groups.front_mut() {
            if *count > taken {
                *count -= taken;
                return;
            }
            taken -= *count;
            self.groups.pop_front();
        }
    }

    /// Zero if there is nothing.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        Some(self.groups.front().map_or(Duration::ZERO, |(_, since)| since.elapsed()))
    }
}
