//! Metrics that differ in one label.

use metrics::{Counter, SharedString, Unit};

use super::names::Named;

/// One counter per word of a closed set, all there from the start: a rate over a counter that
/// appears with its first event misses that event.
#[derive(Debug)]
pub(super) struct Family {
    counters: Vec<(&'static str, Counter)>,
}

impl Family {
    pub(super) fn of<T: Named>(
        hub: &SharedString,
        name: &'static str,
        label: &'static str,
    ) -> Self {
        Self::new(hub, name, label, T::ALL.iter().copied())
    }

    pub(super) fn new(
        hub: &SharedString,
        name: &'static str,
        label: &'static str,
        words: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let counter = |word| (word, metrics::counter!(name, "hub" => hub.clone(), label => word));
        Self { counters: words.into_iter().map(counter).collect() }
    }

    /// With one more label, that is the same for all.
    pub(super) fn with(
        hub: &SharedString,
        name: &'static str,
        (fixed, value): (&'static str, &'static str),
        label: &'static str,
        words: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let counter = |word| {
            let counter =
                metrics::counter!(name, "hub" => hub.clone(), fixed => value, label => word);
            (word, counter)
        };
        Self { counters: words.into_iter().map(counter).collect() }
    }

    pub(super) fn add(&self, word: &'static str, by: u64) {
        // A few short words: looking through them costs less than a hash.
        if let Some((_, counter)) = self.counters.iter().find(|(found, _)| *found == word) {
            counter.increment(by);
        }
    }

    pub(super) fn count(&self, what: &impl Named) {
        self.add(what.name(), 1);
    }
}

/// Says what a metric is, to recorders that want to know.
pub(super) fn describe() {
    use Unit::{Bytes, Count, Seconds};
    let counters: [(&'static str, Unit, &'static str); 24] = [
        ("hub_connections_total", Count, "connections accepted"),
        ("hub_disconnections_total", Count, "connections ended, by cause"),
        ("hub_refusals_total", Count, "connections refused, by kind"),
        ("hub_frames_total", Count, "frames of devices, by kind"),
        ("hub_link_pauses_total", Count, "times a peer was not read from, by reason"),
        ("hub_telemetry_messages_total", Count, "telemetry messages made durable"),
        ("hub_telemetry_bytes_total", Bytes, "bytes of telemetry made durable"),
        ("hub_batches_total", Count, "batches that the store answered"),
        ("hub_changes_total", Count, "changes that the store answered, by outcome"),
        ("hub_batch_retries_total", Count, "times a batch was sent again"),
        ("hub_store_errors_total", Count, "calls that the store failed, by operation and kind"),
        ("hub_refused_requests_total", Count, "requests that a machine refused, by kind"),
        ("hub_quota_waits_total", Count, "operations that waited for their turn"),
        ("hub_quota_refusals_total", Count, "operations that had no turn, by reason"),
        ("hub_messages_sent_total", Count, "cloud-to-device messages sent, by outcome"),
        ("hub_messages_offered_total", Count, "cloud-to-device messages offered to links"),
        ("hub_messages_ended_total", Count, "cloud-to-device messages ended, by outcome"),
        ("hub_methods_total", Count, "direct methods called, by outcome"),
        ("hub_queries_total", Count, "pages of answers to twin queries, by outcome"),
        ("hub_twin_writes_total", Count, "writes of twins, by section and outcome"),
        ("hub_machine_failures_total", Count, "machines dropped because they panicked"),
        ("hub_endpoint_events_total", Count, "events for endpoints, by outcome"),
        ("hub_endpoint_failures_total", Count, "batches that an endpoint did not take, by kind"),
        ("hub_resource_refusals_total", Count, "what a bounded resource turned away"),
    ];
    for (name, unit, text) in counters {
        metrics::describe_counter!(name, unit, text);
    }
    metrics::describe_histogram!("hub_batch_changes", Count, "changes in a batch");
    metrics::describe_histogram!("hub_batch_bytes", Bytes, "bytes of a batch");
    metrics::describe_histogram!("hub_commit_seconds", Seconds, "time to commit a batch");
    metrics::describe_histogram!("hub_query_seconds", Seconds, "time to answer a page of a query");
    metrics::describe_gauge!("hub_resource_depth", Count, "what a bounded resource holds");
    metrics::describe_gauge!("hub_resource_capacity", Count, "what a bounded resource may hold");
    metrics::describe_gauge!("hub_resource_oldest_seconds", Seconds, "age of the oldest held");
    metrics::describe_gauge!("hub_store_degraded", Count, "shards that the store does not answer");
}
