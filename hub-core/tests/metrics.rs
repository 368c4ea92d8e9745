//! Every documented metric is there and moves, and no other is.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[expect(dead_code, reason = "shared with the tests of the engine")]
#[path = "engine/store.rs"]
mod store;
#[expect(dead_code, reason = "shared with the tests of the engine")]
#[path = "engine/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use hub_core::endpoint::{Failure, FailureKind, Outgoing};
use hub_core::engine::{Action, Actor, HandlerEndpoint, Hub, HubBuilder, ManualClock};
use hub_core::envelope::{EventSource, Message};
use hub_core::frame::{Disposition, Inbound, Interest, Outbound};
use hub_core::id::Tag;
use hub_core::method::MethodCall;
use hub_core::quota::{Operation, Quotas, Rate};
use hub_core::route::RouteSpec;
use hub_core::security::Principal;
use hub_core::store::StoreErrorKind;
use hub_core::twin::ServicePatch;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use crate::store::{Control, TestStore};
use crate::world::{
    START, address, connect, events, hello, limits, next, publish, register, soon, subscribe,
    until, waits,
};

/// What one series was told.
#[derive(Debug, Clone, Default)]
struct Series {
    kind: &'static str,
    labels: BTreeMap<String, String>,
    /// The sum of a counter, the last of a gauge, the count of a histogram.
    value: f64,
    most: f64,
    calls: u64,
}

/// Keeps everything in sight.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<(String, String), Series>>>, Arc<Mutex<BTreeMap<String, String>>>);

#[derive(Debug)]
struct One(Kept, (String, String));

impl One {
    fn tell(&self, change: impl FnOnce(&mut Series)) {
        let mut all = self.0.0.lock().unwrap();
        let series = all.get_mut(&self.1).unwrap();
        change(series);
        series.most = series.most.max(series.value);
        series.calls += 1;
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.tell(|series| series.value += value as f64);
    }

    fn absolute(&self, value: u64) {
        self.tell(|series| series.value = series.value.max(value as f64));
    }
}

impl GaugeFn for One {
    fn increment(&self, value: f64) {
        self.tell(|series| series.value += value);
    }

    fn decrement(&self, value: f64) {
        self.tell(|series| series.value -= value);
    }

    fn set(&self, value: f64) {
        self.tell(|series| series.value = value);
    }
}

impl HistogramFn for One {
    fn record(&self, _: f64) {
        self.tell(|series| series.value += 1.0);
    }
}

impl Kept {
    fn one(&self, key: &Key, kind: &'static str) -> Arc<One> {
        let id = (key.name().to_owned(), format!("{:?}", key.labels().collect::<Vec<_>>()));
        let labels = key.labels().map(|l| (l.key().to_owned(), l.value().to_owned())).collect();
        let fresh = Series { kind, labels, ..Series::default() };
        self.0.lock().unwrap().entry(id.clone()).or_insert(fresh);
        Arc::new(One(self.clone(), id))
    }

    fn unit(&self, name: &KeyName, unit: Option<Unit>) {
        let unit = unit.map_or("", |unit| unit.as_str()).to_owned();
        self.1.lock().unwrap().insert(name.as_str().to_owned(), unit);
    }

    /// All series of one hub, by name.
    fn of(&self, hub: &str) -> BTreeMap<String, Vec<Series>> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((name, _), series) in &*self.0.lock().unwrap() {
            if series.labels.get("hub").is_some_and(|of| of == hub) {
                found.entry(name.clone()).or_default().push(series.clone());
            }
        }
        found
    }

    /// The value of one series, by a word among its labels.
    fn value(&self, hub: &str, name: &str, word: &str) -> f64 {
        let all = self.of(hub);
        let series =
            all[name].iter().filter(|s| word.is_empty() || s.labels.values().any(|v| v == word));
        series.map(|series| series.value).sum()
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.unit(&name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.unit(&name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.unit(&name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key, "counter"))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key, "gauge"))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key, "histogram"))
    }
}

/// One recorder for the process, and a hub with a name of its own for each test.
static KEPT: LazyLock<Kept> = LazyLock::new(|| {
    let kept = Kept::default();
    metrics::set_global_recorder(kept.clone()).expect("it is the first");
    kept
});

async fn named(name: &str, but: impl FnOnce(HubBuilder) -> HubBuilder) -> (Hub, Control) {
    LazyLock::force(&KEPT);
    let (store, control) = TestStore::new();
    let builder = Hub::builder(store).clock(Arc::new(ManualClock::new(START))).partitions(1);
    let hub = but(builder).host_name(name).start().unwrap();
    register(&hub, "d1").await;
    (hub, control)
}

/// A payload that makes the machine that lets go of it panic.
struct Bomb;

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        b"1"
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("as told");
        }
    }
}

/// A row of the table in the documentation.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    name: String,
    kind: String,
    unit: String,
    labels: BTreeSet<String>,
}

const PAGE: &str = include_str!("../../docs/observability.md");

fn documented() -> Vec<Row> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `hub_"));
    let mut rows: Vec<_> = rows
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
            let labels = cells[4].split(',').map(|label| label.trim().to_owned());
            Row {
                name: cells[1].clone(),
                kind: cells[2].clone(),
                unit: cells[3].clone(),
                labels: labels.filter(|label| !label.is_empty()).collect(),
            }
        })
        .collect();
    rows.sort();
    rows
}

fn reported(hub: &str) -> Vec<Row> {
    let all = KEPT.of(hub);
    let units = KEPT.1.lock().unwrap().clone();
    let row = |(name, series): (String, Vec<Series>)| {
        let mut labels: BTreeSet<_> =
            series.iter().flat_map(|s| s.labels.keys().cloned()).collect();
        labels.remove("hub");
        let (kind, unit) = (series[0].kind.to_owned(), units[&name].clone());
        Row { name, kind, unit, labels }
    };
    all.into_iter().map(row).collect()
}

/// Everything that is counted happens at least once.
async fn everything(hub: &Hub, store: &Control) {
    let d1 = address("d1");
    hub.connect(hello("nobody")).await.unwrap_err();
    let mut link = connect(hub, "d1").await;
    for (tag, interest) in [(1, Interest::Messages), (2, Interest::TwinResponses)] {
        subscribe(&mut link, tag, interest);
        assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(tag)));
    }
    // A message completed, and one more settlement than there are messages.
    let sent = hub.send(&d1, Message::new("x")).await.unwrap();
    let Outbound::Offer(delivery) = next(&mut link).await else { panic!("no offer") };
    for tag in [3, 4] {
        let settle = Inbound::Settle(Some(Tag(tag)), delivery.token, Disposition::Complete);
        link.up.send(settle);
        next(&mut link).await;
    }
    sent.await.unwrap();
    // The twin from both sides.
    let patch = ServicePatch::parse(b"{\"tags\":{\"a\":1}}", hub.limits()).unwrap();
    hub.patch_twin(&d1, patch, None).await.unwrap();
    link.up.send(Inbound::Report(Tag(5), "{\"a\":1}".into(), None));
    assert!(matches!(next(&mut link).await, Outbound::Reported(..)));
    link.up.send(Inbound::Report(Tag(6), "{".into(), None));
    assert!(matches!(next(&mut link).await, Outbound::Refused(..)));
    hub.invoke(&d1, MethodCall::new("x")).await.unwrap_err();
    // Queries: one that is answered, one that cannot be read, one that nobody waits for.
    hub.query("SELECT deviceId FROM devices", None, None).await.unwrap();
    hub.query("SELECT", None, None).await.unwrap_err();
    drop(hub.query("SELECT * FROM devices", None, None).now_or_never());
    // A store that is away: retries, waiting changes, a full window, a device that waits.
    store.fail_commits(Some(StoreErrorKind::Unavailable));
    publish(&mut link, 7, b"x");
    publish(&mut link, 8, b"y");
    publish(&mut link, 9, b"z");
    assert!(waits(link.up.ready()).await);
    link.up.send(Inbound::Report(Tag(10), "{\"a\":2}".into(), None));
    let asking = tokio::spawn({
        let (hub, d1) = (hub.clone(), d1.clone());
        async move { hub.send(&d1, Message::new("y")).await.map(drop) }
    });
    let gauge = |name: &str| {
        KEPT.of("one").get(name).is_some_and(|all| all.iter().any(|series| series.most > 0.0))
    };
    until(|| gauge("hub_store_degraded") && gauge("hub_resource_oldest_seconds")).await;
    store.fail_commits(None);
    soon(asking).await.unwrap().unwrap();
    while !matches!(next(&mut link).await, Outbound::Reported(Tag(10), _)) {}
    // An operation that waits for its turn, and one that has none.
    let principal = Principal::in_process();
    for (action, refused) in [(Action::ReadJobs, true), (Action::QueryTwins, false)] {
        hub.authorize(Actor::Service(&principal), action).await.unwrap();
        let again = hub.authorize(Actor::Service(&principal), action);
        if refused {
            again.await.unwrap_err();
        } else {
            assert!(waits(again).await);
        }
    }
    // One connection more than may be, one machine that fails, one that is let go.
    hub.connect(hello("d1")).await.unwrap_err();
    drop(link);
    let bomb = MethodCall::new("x").with_payload(Bytes::from_owner(Bomb));
    hub.invoke(&d1, bomb).await.unwrap_err();
    let refused = |all: &[Series]| all.iter().any(|series| series.value > 0.0);
    until(|| KEPT.of("one").get("hub_resource_refusals_total").is_some_and(|all| refused(all)))
        .await;
}

#[tokio::test]
async fn every_documented_metric_moves_and_no_other_is_there() {
    let few = limits(|limits| {
        limits.connections_max = 1;
        limits.link_window = 3;
    });
    // The first event that an endpoint gets it refuses, and takes all others.
    let refused = std::sync::atomic::AtomicBool::new(false);
    let picky = HandlerEndpoint::new(move |_: Outgoing| {
        let first = !refused.swap(true, std::sync::atomic::Ordering::SeqCst);
        let failure = Failure::new(FailureKind::Refused, "as told");
        std::future::ready(if first { Err(failure) } else { Ok(()) })
    });
    let quotas = Quotas::default()
        .per_hub(Operation::Job, Rate::per_minute(1))
        .per_hub(Operation::Query, Rate::per_second(1));
    let route = RouteSpec::new("twins", EventSource::TwinChange, "true", "picky");
    let builder = |builder: HubBuilder| {
        builder.limits(few).endpoint("picky", picky).routes([route]).quotas(quotas)
    };
    let (hub, store) = named("one", builder).await;
    everything(&hub, &store).await;
    let delivered = |series: &Series| series.labels["outcome"] == "delivered";
    until(|| {
        let events = KEPT.of("one").remove("hub_endpoint_events_total");
        events.is_some_and(|all| all.iter().any(delivered))
    })
    .await;

    let (documented, reported) = (documented(), reported("one"));
    assert_eq!(reported, documented);
    for (name, all) in KEPT.of("one") {
        assert!(all.iter().any(|series| series.most > 0.0), "{name} has not moved: {all:?}");
        for series in all {
            for (label, word) in &series.labels {
                let free =
                    ["hub", "protocol", "shard", "operation", "endpoint"].contains(&label.as_str());
                assert!(free || PAGE.contains(&format!("`{word}`")), "{name}: {label}={word}");
            }
        }
    }
    let value = |name, word| KEPT.value("one", name, word);
    for (name, word, wanted) in [
        ("hub_connections_total", "test", 1.0),
        ("hub_refusals_total", "unknown", 1.0),
        ("hub_refusals_total", "unavailable", 1.0),
        ("hub_disconnections_total", "connection_lost", 1.0),
        ("hub_frames_total", "settle", 2.0),
        ("hub_frames_total", "report", 3.0),
        ("hub_frames_total", "telemetry", 3.0),
        ("hub_link_pauses_total", "window_full", 1.0),
        ("hub_telemetry_messages_total", "", 3.0),
        ("hub_messages_sent_total", "done", 2.0),
        ("hub_messages_ended_total", "completed", 1.0),
        ("hub_refused_requests_total", "message_lock_lost", 1.0),
        ("hub_quota_waits_total", "query", 1.0),
        ("hub_quota_waits_total", "", 1.0),
        ("hub_quota_refusals_total", "job", 1.0),
        ("hub_quota_refusals_total", "hub", 1.0),
        ("hub_methods_total", "device_not_online", 1.0),
        ("hub_methods_total", "internal", 1.0),
        ("hub_queries_total", "argument_invalid", 1.0),
        ("hub_query_seconds", "", 3.0),
        ("hub_twin_writes_total", "desired", 1.0),
        ("hub_twin_writes_total", "argument_invalid", 1.0),
        ("hub_machine_failures_total", "", 1.0),
    ] {
        assert!((value(name, word) - wanted).abs() < 0.5, "{name} {word}: {}", value(name, word));
    }
    let answered = value("hub_queries_total", "done") + value("hub_queries_total", "dropped");
    assert!((answered - 2.0).abs() < 0.5 && value("hub_queries_total", "done") > 0.5, "{answered}");
    assert!(value("hub_batch_retries_total", "") > 0.0);
    assert!(value("hub_store_errors_total", "commit") > 0.0);
    assert!((value("hub_store_degraded", "")).abs() < 0.5);
}

/// Gauges show the bounds of the hub's own limits, per shard where they are.
#[tokio::test]
async fn resources_are_shown_with_their_bounds() {
    let few = limits(|limits| {
        limits.connections_max = 5;
        limits.waiting_changes_max = 7;
    });
    let (hub, _) = named("two", |builder| builder.limits(few).partitions(3)).await;
    let _link = connect(&hub, "d1").await;
    until(|| {
        KEPT.of("two").get("hub_resource_depth").is_some_and(|all| {
            all.iter().any(|s| s.labels["resource"] == "connections" && s.value > 0.5)
        })
    })
    .await;
    assert!((KEPT.value("two", "hub_resource_capacity", "connections") - 5.0).abs() < 0.5);
    assert!((KEPT.value("two", "hub_resource_capacity", "waiting_changes") - 21.0).abs() < 0.5);
    let names: BTreeSet<_> = hub.resources().iter().map(|resource| resource.name).collect();
    let page: BTreeSet<_> = PAGE
        .split("### The resources")
        .nth(1)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(names, page, "the page lists every resource");
}

/// A thousand messages in one frame are counted with a few additions.
#[tokio::test]
async fn telemetry_is_counted_by_the_batch() {
    let (hub, _) = named("three", |builder| builder).await;
    let mut link = connect(&hub, "d1").await;
    let calls = || KEPT.of("three").values().flatten().map(|series| series.calls).sum::<u64>();
    let gauges = || {
        let all = KEPT.of("three");
        let sampled = all.values().flatten().filter(|series| series.kind == "gauge");
        let refusals = all.get("hub_resource_refusals_total").into_iter().flatten();
        sampled.chain(refusals).map(|series| series.calls).sum::<u64>()
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = calls() - gauges();
    let bodies = vec![&b"x"[..]; 1000];
    let many = events(&link, &bodies);
    link.up.send(Inbound::Telemetry(Tag(1), many));
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    let after = calls() - gauges();
    assert!(after - before <= 10, "{} additions for one batch", after - before);
    assert!((KEPT.value("three", "hub_telemetry_messages_total", "") - 1000.0).abs() < 0.5);
    assert!(KEPT.value("three", "hub_telemetry_bytes_total", "") >= 1000.0);
}
