//! Bringing events to endpoints: in order, at least once, whatever happens on the way.

use std::sync::Arc;
use std::time::Duration;

use hub_core::endpoint::FailureKind;
use hub_core::engine::{Hub, HubBuilder, ManualClock};
use hub_core::envelope::{EventSource, Property};
use hub_core::id::NodeId;
use hub_core::limits::Limits;
use hub_core::route::{EndpointStatus, EnrichmentSpec, FallbackSpec, RouteSpec, RoutingSpec};
use hub_core::twin::ServicePatch;
use hub_store_memory::MemoryStore;

use crate::sink::{Mood, Sink};
use crate::world::{START, address, log, property, register, soon};

const HOUR: Duration = Duration::from_secs(3600);

fn all_to(endpoint: &str) -> RouteSpec {
    RouteSpec::new("all", EventSource::Telemetry, "true", endpoint)
}

/// The usual bounds, but for some.
fn limits(but: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    but(&mut limits);
    limits
}

struct World {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    sink: Sink,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START));
        Self { store: Arc::new(MemoryStore::new()), clock, sink: Sink::new() }
    }

    /// A node with the endpoint `sink`, to which all telemetry goes.
    fn node(&self, name: &str, set_up: impl FnOnce(HubBuilder) -> HubBuilder) -> Hub {
        let builder = Hub::builder_on(self.store.clone())
            .clock(self.clock.clone())
            .partitions(1)
            .node(NodeId::new(name).unwrap())
            .endpoint("sink", self.sink.clone())
            .routes([all_to("sink")]);
        set_up(builder).start().unwrap()
    }

    async fn registered(&self, set_up: impl FnOnce(HubBuilder) -> HubBuilder) -> Hub {
        let hub = self.node("a", set_up);
        register(&hub, "d1").await;
        hub
    }

    /// Lets time pass in steps, so that whoever waits for it gets to work.
    async fn pass(&self, time: Duration) {
        for _ in 0..time.as_secs() / 10 {
            self.clock.advance(Duration::from_secs(10));
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Lets time pass until it holds.
    async fn until(&self, holds: impl Fn(&Sink) -> bool) {
        soon(async {
            while !holds(&self.sink) {
                self.clock.advance(Duration::from_secs(5));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

async fn send(hub: &Hub, bodies: impl IntoIterator<Item = usize>) {
    let mut device = hub.device(&address("d1")).await.unwrap();
    for body in bodies {
        device.send(body.to_string().as_bytes(), &[]).await.unwrap();
    }
    device.disconnect();
}

fn texts(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn events_come_in_order_and_the_log_gets_none_of_them() {
    let world = World::new();
    let hub = world.registered(|builder| builder).await;
    send(&hub, 0..50).await;
    world.until(|sink| sink.seen().len() >= 50).await;
    assert_eq!(world.sink.seen(), texts(0..50));
    assert_eq!(log(&hub).await, []);
}

#[tokio::test]
async fn an_endpoint_that_was_down_for_long_gets_all_of_it() {
    let world = World::new();
    let hub = world.registered(|builder| builder).await;
    world.sink.is(Mood::Fails(0, FailureKind::Transient));
    send(&hub, 0..20).await;
    world.pass(HOUR / 2).await;
    let health = &hub.endpoint_health().await.unwrap()[0];
    assert_eq!((health.status, health.lag), (EndpointStatus::Unhealthy, 20));
    assert!(health.behind >= HOUR / 2 && health.last_success.is_none());
    let error = health.last_error.as_ref().unwrap();
    assert_eq!((error.kind, error.message.as_str()), (FailureKind::Transient, "as told"));
    send(&hub, 20..40).await;
    world.pass(HOUR).await;
    let health = &hub.endpoint_health().await.unwrap()[0];
    assert_eq!((health.status, health.lag), (EndpointStatus::Dead, 40));
    world.sink.is(Mood::Takes);
    world.until(|sink| sink.seen().len() >= 40).await;
    assert_eq!(world.sink.seen(), texts(0..40));
    soon(async {
        while hub.endpoint_health().await.unwrap()[0].lag > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let health = &hub.endpoint_health().await.unwrap()[0];
    assert_eq!((health.status, health.delivered), (EndpointStatus::Healthy, 40));
    assert_eq!((health.invalid, health.expired, health.behind), (0, 0, Duration::ZERO));
}

#[tokio::test]
async fn what_is_older_than_the_log_is_kept_is_counted() {
    let limits = limits(|limits| limits.log_retention = HOUR);
    let world = World::new();
    let hub = world.registered(|builder| builder.limits(limits)).await;
    send(&hub, 0..5).await;
    world.until(|sink| sink.seen().len() == 5).await;
    world.sink.is(Mood::Fails(0, FailureKind::Transient));
    send(&hub, 5..15).await;
    world.pass(HOUR * 2).await;
    send(&hub, 15..20).await;
    world.sink.is(Mood::Takes);
    world.until(|sink| sink.seen().len() == 10).await;
    assert_eq!(world.sink.seen(), [texts(0..5), texts(15..20)].concat());
    soon(async {
        while hub.endpoint_health().await.unwrap()[0].delivered < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(hub.endpoint_health().await.unwrap()[0].expired, 10);
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_left_and_tried_again() {
    let limits = limits(|limits| limits.endpoint_timeout = Duration::from_millis(5));
    let world = World::new();
    let hub = world.registered(|builder| builder.limits(limits)).await;
    world.sink.is(Mood::Hangs);
    send(&hub, 0..3).await;
    world.until(|sink| sink.calls() >= 3).await;
    assert_eq!(world.sink.seen().len(), 0);
    world.sink.is(Mood::Takes);
    world.until(|sink| sink.seen().len() >= 3).await;
    assert_eq!(world.sink.seen(), texts(0..3));
    let health = &hub.endpoint_health().await.unwrap()[0];
    assert_eq!(health.last_error.as_ref().unwrap().kind, FailureKind::Timeout);
}

/// What it is told of its time is less than what the hub waits, so its last word is heard.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_uses_all_of_its_time_is_heard() {
    let limits = limits(|limits| limits.endpoint_timeout = Duration::from_secs(10));
    let world = World::new();
    let hub = world.registered(|builder| builder.limits(limits)).await;
    world.sink.is(Mood::TakesInTheEnd);
    send(&hub, 0..1).await;
    soon(async {
        while hub.endpoint_health().await.unwrap()[0].delivered < 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!((world.sink.calls(), world.sink.seen()), (1, texts(0..1)));
}

#[tokio::test]
async fn an_endpoint_that_panics_is_tried_again() {
    let world = World::new();
    let hub = world.registered(|builder| builder).await;
    world.sink.is(Mood::Panics);
    send(&hub, 0..3).await;
    world.until(|sink| sink.calls() >= 2).await;
    world.sink.is(Mood::Takes);
    world.until(|sink| sink.seen().len() >= 3).await;
    assert_eq!(world.sink.seen(), texts(0..3));
    let health = &hub.endpoint_health().await.unwrap()[0];
    assert_eq!(health.last_error.as_ref().unwrap().kind, FailureKind::Internal);
}

#[tokio::test]
async fn an_entry_of_an_unknown_format_is_not_passed_over() {
    use hub_core::store::{Batch, BatchId, Change, Entries, Store as _};
    let world = World::new();
    let hub = world.registered(|builder| builder).await;
    let outbox = hub_core::route::outbox::partition(hub_core::id::Partition(0));
    let strange = Change::new().append(outbox, START, Entries::one(b"strange"[..].into()));
    let batch = Batch { id: BatchId(7), changes: vec![strange], nudges: Vec::new() };
    world.store.commit(&batch).await.unwrap();
    send(&hub, 0..3).await;
    world.pass(HOUR).await;
    assert_eq!(world.sink.calls(), 0);
    let health = &hub.endpoint_health().await.unwrap()[0];
    assert_eq!(health.lag, 4);
    assert_eq!(health.last_error.as_ref().unwrap().message, "an entry is of no known format");
}

#[tokio::test]
async fn an_event_that_is_never_taken_is_dropped_and_the_rest_comes() {
    let world = World::new();
    let hub = world.registered(|builder| builder).await;
    world.sink.is(Mood::Fails(2, FailureKind::Refused));
    // In one frame, so that they come in one batch.
    let mut batch = hub_core::envelope::EventBatch::new();
    let stamp =
        hub_core::envelope::Stamp::new(EventSource::Telemetry, &address("d1"), "1", None, None);
    for body in texts(0..5) {
        batch.push(&stamp, [], body.as_bytes(), 100).unwrap();
    }
    hub.publish(&address("d1"), &mut batch).await.unwrap();
    world.until(|sink| sink.seen().len() >= 4).await;
    world.sink.is(Mood::Takes);
    assert_eq!(world.sink.seen(), ["0", "1", "3", "4"]);
    soon(async {
        while hub.endpoint_health().await.unwrap()[0].lag > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let health = &hub.endpoint_health().await.unwrap()[0];
    assert_eq!((health.delivered, health.invalid), (4, 1));
    assert_eq!(health.status, EndpointStatus::Healthy);
}

#[tokio::test]
async fn after_an_orderly_end_nothing_comes_twice() {
    let world = World::new();
    let hub = world.registered(|builder| builder).await;
    send(&hub, 0..30).await;
    world.until(|sink| sink.seen().len() >= 30).await;
    let report = hub.shutdown(Duration::from_secs(10)).await;
    assert!(report.drained);
    drop(hub);
    // Another node takes over without waiting: the first has let go.
    let hub = world.node("b", |builder| builder);
    send(&hub, 30..40).await;
    soon(async {
        while world.sink.seen().len() < 40 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(world.sink.seen(), texts(0..40));
}

#[tokio::test]
async fn one_node_at_a_time_brings_events_and_another_follows_when_it_ends() {
    let world = World::new();
    let a = world.registered(|builder| builder).await;
    let b = world.node("b", |builder| builder);
    send(&a, 0..5).await;
    world.until(|sink| sink.seen().len() >= 5).await;
    let holder = a.endpoint_health().await.unwrap()[0].node.clone().unwrap();
    assert_eq!(b.endpoint_health().await.unwrap()[0].node.as_ref(), Some(&holder));
    let (gone, left) = if holder.as_str() == "a" { (a, b) } else { (b, a) };
    // It ends without a word; its tenure runs out.
    drop(gone);
    send(&left, 5..10).await;
    assert_eq!(world.sink.seen(), texts(0..5));
    world.until(|sink| sink.seen().len() >= 10).await;
    let next = left.endpoint_health().await.unwrap()[0].node.clone().unwrap();
    assert_ne!(next, holder);
    // What was not noted when the first ended may have come once more.
    let mut seen = world.sink.seen();
    seen.dedup();
    assert_eq!(seen.last().map(String::as_str), Some("9"));
}

#[tokio::test]
async fn a_batch_holds_no_more_than_its_bounds() {
    let limits =
        limits(|limits| (limits.endpoint_batch_max, limits.endpoint_batch_bytes_max) = (7, 5));
    let world = World::new();
    let hub = world.registered(|builder| builder.limits(limits)).await;
    world.sink.is(Mood::Fails(0, FailureKind::Throttled));
    send(&hub, 0..10).await;
    send(&hub, [1_000_000]).await;
    world.until(|sink| sink.calls() > 0).await;
    world.sink.is(Mood::Takes);
    world.until(|sink| sink.seen().len() >= 11).await;
    assert!(world.sink.batches().iter().all(|count| *count <= 5), "{:?}", world.sink.batches());
    assert_eq!(world.sink.seen().last().map(String::as_str), Some("1000000"));
}

#[tokio::test]
async fn enrichments_have_the_value_that_the_twin_had_when_the_event_came_in() {
    let world = World::new();
    let enrichment = EnrichmentSpec::new("floor", "$twin.tags.floor", ["sink"]);
    let hub = world.registered(|builder| builder.enrichment(enrichment)).await;
    let d1 = address("d1");
    let floor = |number: usize| {
        let text = format!(r#"{{"tags":{{"floor":"{number}"}}}}"#);
        ServicePatch::parse(text.as_bytes(), &Limits::default()).unwrap()
    };
    world.sink.is(Mood::Fails(0, FailureKind::Transient));
    let mut device = hub.device(&d1).await.unwrap();
    for number in 0..10 {
        hub.patch_twin(&d1, floor(number), None).await.unwrap();
        device.send(number.to_string().as_bytes(), &[]).await.unwrap();
    }
    world.sink.is(Mood::Takes);
    world.until(|sink| sink.seen().len() >= 10).await;
    for event in world.sink.events() {
        let number = String::from_utf8(event.body.to_vec()).unwrap();
        assert_eq!(property(&event, "floor"), Some(number.as_str()));
    }
    assert_eq!(world.sink.seen(), texts(0..10));
}

#[tokio::test]
async fn routes_by_the_twin_decide_for_links_and_for_requests() {
    let world = World::new();
    let cold = RouteSpec::new("cold", EventSource::Telemetry, "$twin.tags.cold = true", "sink");
    let hub = Hub::builder_on(world.store.clone())
        .partitions(1)
        .endpoint("sink", world.sink.clone())
        .routes([cold])
        .start()
        .unwrap();
    let (d1, d2) = (register(&hub, "d1").await, register(&hub, "d2").await);
    let write = ServicePatch::parse(br#"{"tags":{"cold":true}}"#, &Limits::default()).unwrap();
    hub.patch_twin(&d2, write, None).await.unwrap();
    for (device, body) in [(&d1, "a"), (&d2, "b")] {
        let mut client = hub.device(device).await.unwrap();
        client.send(body.as_bytes(), &[]).await.unwrap();
        let mut batch = hub_core::envelope::EventBatch::new();
        let stamp = hub_core::envelope::Stamp::new(EventSource::Telemetry, device, "1", None, None);
        batch.push(&stamp, [Property::Application("k", None)], body.as_bytes(), 100).unwrap();
        hub.publish(device, &mut batch).await.unwrap();
    }
    world.until(|sink| sink.seen().len() >= 2).await;
    assert_eq!(world.sink.seen(), ["b", "b"]);
    let logged: Vec<_> = log(&hub).await.into_iter().map(|event| event.body).collect();
    assert_eq!(logged, ["a", "a"]);
}

#[tokio::test]
async fn routes_are_replaced_while_the_hub_runs() {
    let world = World::new();
    let hub = world.registered(|builder| builder).await;
    send(&hub, 0..2).await;
    hub.set_routing(RoutingSpec::default()).unwrap();
    send(&hub, 2..4).await;
    let mut spec = RoutingSpec::default();
    spec.fallback = FallbackSpec::disabled();
    hub.set_routing(spec.clone()).unwrap();
    send(&hub, 4..6).await;
    assert_eq!(hub.routing_counts().orphaned, 2);
    spec.routes = vec![all_to("nowhere")];
    assert!(hub.set_routing(spec.clone()).is_err());
    spec.routes = vec![
        RouteSpec::new("twin", EventSource::Telemetry, "NOT is_defined($twin.tags.a)", "sink"),
        RouteSpec::of_source(EventSource::ConnectionState),
    ];
    hub.set_routing(spec).unwrap();
    send(&hub, 6..8).await;
    world.until(|sink| sink.seen().len() >= 4).await;
    assert_eq!(world.sink.seen(), ["0", "1", "6", "7"]);
    let logged = log(&hub).await;
    let bodies: Vec<_> = logged[..2].iter().map(|event| event.body.clone()).collect();
    assert_eq!(bodies, ["2", "3"]);
    assert_eq!(logged[2].source, EventSource::ConnectionState);
}

#[tokio::test]
async fn a_hub_with_routes_that_cannot_be_used_does_not_start() {
    let refused = |builder: HubBuilder| builder.start().unwrap_err().to_string();
    let builder = || Hub::builder(MemoryStore::new());
    assert_eq!(refused(builder().routes([all_to("sink")])), "the routes cannot be used");
    assert_eq!(refused(builder().endpoint("events", Sink::new())), "the routes cannot be used");
    let limits = limits(|limits| limits.endpoint_tenure = Duration::from_secs(30));
    assert_eq!(
        refused(builder().limits(limits)),
        "limit endpoint_tenure: must be longer than endpoint_timeout"
    );
}
