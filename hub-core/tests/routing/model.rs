//! Delivery against a model that is a list: whatever an endpoint does, and whatever becomes of the
//! nodes, it sees every event, in order, and after one that it sees again come its successors.

use std::sync::Arc;
use std::time::Duration;

use hub_core::endpoint::FailureKind;
use hub_core::engine::{DeviceClient, Hub, ManualClock};
use hub_core::envelope::EventSource;
use hub_core::id::NodeId;
use hub_core::limits::Limits;
use hub_core::route::RouteSpec;
use hub_store_memory::MemoryStore;
use proptest::prelude::*;

use crate::sink::{Mood, Sink};
use crate::world::{START, address, register, soon};

#[derive(Debug, Clone)]
enum Step {
    /// So many events, at one of two nodes.
    Send(usize, usize),
    Is(Mood),
    Pass(u64),
    /// A node ends without a word, and one of another name begins, as nodes without a fixed name do.
    Crash(usize),
    /// A node ends in good order, and another of its name begins.
    Restart(usize),
    /// The workers have some time.
    Work,
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = [FailureKind::Transient, FailureKind::Throttled, FailureKind::InvalidAnswer];
    let mood = prop_oneof![
        4 => Just(Mood::Takes),
        3 => (0_usize..4, prop::sample::select(kinds.to_vec())).prop_map(|(n, k)| Mood::Fails(n, k)),
        1 => Just(Mood::TakesInSilence),
        1 => Just(Mood::Hangs),
    ];
    prop_oneof![
        4 => (0_usize..2, 1_usize..6).prop_map(|(node, count)| Step::Send(node, count)),
        3 => mood.prop_map(Step::Is),
        2 => (1_u64..90).prop_map(Step::Pass),
        1 => (0_usize..2).prop_map(Step::Crash),
        1 => (0_usize..2).prop_map(Step::Restart),
        3 => Just(Step::Work),
    ]
}

struct World {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    sink: Sink,
    nodes: Vec<Option<Hub>>,
    /// How often a place was left without a word.
    crashes: [u32; 2],
    sent: usize,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let (store, sink) = (Arc::new(MemoryStore::new()), Sink::new());
        let mut world = Self { store, clock, sink, nodes: Vec::new(), crashes: [0; 2], sent: 0 };
        world.nodes = vec![Some(world.start(0)), Some(world.start(1))];
        register(world.nodes[0].as_ref().unwrap(), "d1").await;
        world
    }

    fn start(&self, node: usize) -> Hub {
        let mut limits = Limits::default();
        limits.endpoint_batch_max = 4;
        limits.endpoint_timeout = Duration::from_millis(2);
        Hub::builder_on(self.store.clone())
            .clock(self.clock.clone())
            .partitions(1)
            .limits(limits)
            .node(NodeId::new(&format!("n{node}-{}", self.crashes[node])).unwrap())
            .endpoint("sink", self.sink.clone())
            .routes([RouteSpec::new("all", EventSource::Telemetry, "true", "sink")])
            .start()
            .unwrap()
    }

    /// A node that time has passed by, or that has just begun, lets nobody in for a moment.
    async fn connect(&self, hub: &Hub) -> DeviceClient {
        loop {
            match hub.device(&address("d1")).await {
                Ok(device) => return device,
                Err(_) => {
                    self.clock.advance(Duration::from_secs(5));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    async fn work(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Send(node, count) => {
                let hub = self.nodes[node].as_ref().unwrap();
                let mut device = soon(self.connect(hub)).await;
                for _ in 0..count {
                    device.send(self.sent.to_string().as_bytes(), &[]).await.unwrap();
                    self.sent += 1;
                }
            }
            Step::Is(mood) => self.sink.is(mood),
            Step::Pass(seconds) => {
                self.clock.advance(Duration::from_secs(seconds));
                self.work().await;
            }
            Step::Crash(node) => {
                self.nodes[node] = None;
                self.crashes[node] += 1;
                self.nodes[node] = Some(self.start(node));
            }
            Step::Restart(node) => {
                let hub = self.nodes[node].take().unwrap();
                hub.shutdown(Duration::from_secs(10)).await;
                drop(hub);
                self.nodes[node] = Some(self.start(node));
            }
            Step::Work => self.work().await,
        }
    }

    /// That what was seen until now is legal: each is the successor of the one before, or begins
    /// again at one that was seen.
    fn check(&self) {
        let mut next = 0;
        let mut most = 0;
        for seen in self.sink.seen() {
            let seen: usize = seen.parse().unwrap();
            assert!(seen == next || seen < most, "{seen} after {next} in {:?}", self.sink.seen());
            next = seen + 1;
            most = most.max(next);
        }
    }

    /// The endpoint is well again: it gets all there is.
    async fn settle(&self) {
        self.sink.is(Mood::Takes);
        soon(async {
            let last =
                |sink: &Sink| sink.seen().last().map(|seen| seen.parse::<usize>().unwrap() + 1);
            while last(&self.sink).unwrap_or(0) != self.sent {
                self.clock.advance(Duration::from_secs(30));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let seen = self.sink.seen();
        for number in 0..self.sent {
            assert!(seen.contains(&number.to_string()), "{number} is not in {seen:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_event_comes_in_order_at_least_once(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await;
                world.check();
            }
            world.settle().await;
            world.check();
        });
    }
}
