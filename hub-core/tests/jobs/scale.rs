//! Ten thousand devices, a bound, and two restarts in the middle.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hub_core::engine::Hub;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::registry::{Context, IdentitySpec, create};
use hub_core::store::{
    Ask, Batch, BatchId, Change, Claim, Document, Durability, Entry, Item, Key, Kind, Op, Outcome,
    QueueKind, Record, Seek, Store, StoreError,
};
use hub_core::time::Timestamp;
use hub_core::twin::Twin;
use hub_store_memory::MemoryStore;
use tokio::sync::Notify;

use crate::world::{START, World, address, counts, id, over, update};

const DEVICES: usize = 10_000;
const BOUND: usize = 24;

/// What one node does with its store, until it dies.
struct Watched {
    inner: Arc<MemoryStore>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Devices that are taken and not given back.
    taken: AtomicUsize,
    taken_max: AtomicUsize,
    done: AtomicUsize,
    /// After so many the node hears nothing from its store any more.
    dies_after: usize,
    dead: AtomicBool,
    died: Notify,
}

impl Watched {
    async fn alive(&self) {
        if self.seen.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Store for Watched {
    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        self.alive().await;
        self.inner.read(asks).await
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        self.alive().await;
        self.inner.scan(kind, after, limit).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        self.alive().await;
        let outcomes = self.inner.commit(batch).await?;
        let committed = batch.changes.iter().zip(&outcomes);
        let committed = committed.filter(|(_, outcome)| matches!(outcome, Outcome::Committed(_)));
        let settled = committed
            .flat_map(|(change, _)| change.ops())
            .filter(|op| matches!(op, Op::Settle(at) if at.queue().kind == QueueKind::JobDevice))
            .count();
        self.seen.taken.fetch_sub(settled, Ordering::SeqCst);
        let done = self.seen.done.fetch_add(settled, Ordering::SeqCst) + settled;
        if done >= self.seen.dies_after {
            // What it has just written is written, and it never learns so.
            self.seen.dead.store(true, Ordering::SeqCst);
            self.seen.died.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(outcomes)
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        self.alive().await;
        let lists = self.inner.claim(now, claims).await?;
        let of_jobs = lists.iter().flatten();
        let of_jobs = of_jobs.filter(|item| item.at.queue().kind == QueueKind::JobDevice).count();
        let taken = self.seen.taken.fetch_add(of_jobs, Ordering::SeqCst) + of_jobs;
        self.seen.taken_max.fetch_max(taken, Ordering::SeqCst);
        Ok(lists)
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.inner.tail(partition, from, limit).await
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        self.inner.seek(partition, to).await
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        self.inner.trim(partition, below).await
    }

    async fn nudged(&self, node: &NodeId) {
        self.inner.nudged(node).await;
    }
}

/// Registers devices as the registry does, in large batches.
async fn register(world: &World) {
    let context = Context {
        now: START,
        random: &[7; 64],
        limits: &world.limits,
        edges: &[],
        previous_generation: None,
    };
    let names: Vec<usize> = (0..DEVICES).collect();
    for (number, names) in names.chunks(1000).enumerate() {
        let changes = names.iter().map(|name| {
            let device = address(&format!("d{name:05}"));
            let identity = create(&IdentitySpec::new(device.clone()), &context).unwrap();
            Change::new()
                .create(Key::identity(&device), identity.encode())
                .create(Key::twin(&device), Twin::new(START).encode())
        });
        let id = BatchId(number as u128 + 1);
        let batch = Batch { id, changes: changes.collect(), nudges: Vec::new() };
        world.store.commit(&batch).await.unwrap();
    }
}

/// A node that dies once it has done so many devices.
fn node(world: &World, dies_after: usize) -> (Hub, Arc<Seen>) {
    let seen = Arc::new(Seen { dies_after, ..Seen::default() });
    let watched = Watched { inner: world.store.clone(), seen: seen.clone() };
    let builder = Hub::builder(watched).clock(world.clock.clone()).limits(world.limits.clone());
    (builder.partitions(4).start().unwrap(), seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_ten_thousand_devices_is_done_once_in_spite_of_two_restarts() {
    let world = World::with(|limits| limits.job_devices_in_flight_max = BOUND);
    register(&world).await;
    let (hub, seen) = node(&world, 3_000);
    hub.jobs().create(update("large", "*").lasting(Duration::from_secs(86_400))).await.unwrap();
    seen.died.notified().await;
    drop(hub);
    assert!(seen.taken_max.load(Ordering::SeqCst) <= BOUND, "{seen:?}", seen = seen.taken_max);
    // What the dead node had taken is free when its claims end.
    world.pass(Duration::from_secs(600));
    let (hub, seen) = node(&world, 4_000);
    seen.died.notified().await;
    drop(hub);
    assert!(seen.taken_max.load(Ordering::SeqCst) <= BOUND);
    world.pass(Duration::from_secs(600));
    let (hub, seen) = node(&world, usize::MAX);
    let state = over(&hub, "large").await;
    assert_eq!(state.statistics, counts(10_000, 10_000, 0, 0, 0));
    assert!(seen.taken_max.load(Ordering::SeqCst) <= BOUND);
    assert!(seen.done.load(Ordering::SeqCst) < 4_000, "the others have done their share");
    assert_eq!(hub.jobs().get(&id("large")).await.unwrap().job.status().name(), "completed");
    let all = NonZeroU32::new(20_000).unwrap();
    let twins = world.store.scan(Kind::Twin, None, all).await.unwrap();
    assert_eq!(twins.len(), DEVICES);
    for document in twins {
        let twin = Twin::decode(&document.body).unwrap();
        assert_eq!(twin.desired_version(), 2, "{}", document.at.key().id);
    }
}
