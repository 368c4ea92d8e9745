//! The rules of jobs against a plain list: nodes take devices, do them, put them off, die in the
//! middle and come back, in whatever order. The rules alone, on a store, without an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hub_core::error::{ErrorKind, HubError};
use hub_core::job::{Done, Job, JobSpec, JobStatus, Part, Shelf, Step, Work, ended, retried};
use hub_core::limits::Limits;
use hub_core::method::MethodCall;
use hub_core::store::{
    Ask, Batch, BatchId, Change, Claim, Item, ItemRef, Outcome, Record, Scope, Store as _,
};
use hub_store_memory::MemoryStore;
use proptest::prelude::*;

use crate::world::{START, address, id};

const LOCK: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
enum Act {
    /// The job finds some more devices.
    Find(u8),
    /// A node takes some.
    Take(u8),
    /// One that was taken is called, if it may be.
    Dispatch(prop::sample::Index),
    /// The work of one that was taken is done.
    Finish(prop::sample::Index, bool),
    /// One that was taken is put off.
    PutOff(prop::sample::Index),
    /// A node forgets one that it has taken.
    Die(prop::sample::Index),
    Wait(u32),
    Cancel,
}

fn act() -> impl Strategy<Value = Act> {
    let which = || any::<prop::sample::Index>();
    prop_oneof![
        2 => (1..5_u8).prop_map(Act::Find),
        4 => (1..4_u8).prop_map(Act::Take),
        3 => which().prop_map(Act::Dispatch),
        4 => (which(), any::<bool>()).prop_map(|(at, ok)| Act::Finish(at, ok)),
        2 => which().prop_map(Act::PutOff),
        2 => which().prop_map(Act::Die),
        3 => (1..90_000_u32).prop_map(Act::Wait),
        1 => Just(Act::Cancel),
    ]
}

struct World {
    store: MemoryStore,
    limits: Limits,
    now: hub_core::time::Timestamp,
    batches: u128,
    found: usize,
    /// Taken by some node, that believes it still has them.
    taken: Vec<(Item, Part)>,
    /// How often each was called.
    calls: BTreeMap<String, u32>,
    /// Which are done, by what the store has confirmed.
    done: BTreeSet<String>,
}

impl World {
    async fn commit(&mut self, change: Change) -> Outcome {
        self.batches += 1;
        let batch = Batch { id: BatchId(self.batches), changes: vec![change], nudges: Vec::new() };
        self.store.commit(&batch).await.unwrap().remove(0)
    }

    async fn job(&self) -> (hub_core::store::DocumentRef, Job) {
        let asks = [Ask::Document(Job::key(&id("j")))];
        let Some(Record::Document(document)) = self.store.read(&asks).await.unwrap().remove(0)
        else {
            panic!("the job is gone");
        };
        let job = Job::decode(&document.body).unwrap();
        (document.at, job)
    }

    async fn shelf(&self, shelf: Shelf) -> Vec<Part> {
        let asks = [Ask::Items(shelf.of(&id("j")), Default::default(), u32::MAX)];
        let Some(Record::Items(items)) = self.store.read(&asks).await.unwrap().remove(0) else {
            panic!("no list");
        };
        items.iter().map(|item| Part::decode(&item.body).unwrap()).collect()
    }

    async fn take(&mut self, count: u32) {
        let job = id("j");
        for shelf in [Shelf::Todo, Shelf::Waiting] {
            let scope = Scope::Queue(shelf.of(&job));
            let claim = Claim { scope, limit: count, hide_until: self.now.after(LOCK) };
            for item in self.store.claim(self.now, &[claim]).await.unwrap().remove(0) {
                let part = Part::decode(&item.body).unwrap();
                self.taken.push((item, part));
            }
        }
    }

    async fn apply(&mut self, act: &Act) {
        let job_id = id("j");
        let (at, job) = self.job().await;
        let over = job.ended().is_some();
        match act {
            Act::Find(count) if !over => {
                let from = self.found;
                self.found += usize::from(*count);
                let devices = (from..self.found).map(|i| address(&format!("d{i}")));
                let (next, pushes) =
                    job.found(devices, Some(self.found.to_string()), self.now).unwrap();
                let outcome = self.commit(next.replace(&at).and(pushes)).await;
                assert!(matches!(outcome, Outcome::Committed(_)));
            }
            Act::Take(count) if !over => self.take(u32::from(*count)).await,
            Act::Dispatch(which) if !self.taken.is_empty() => {
                let index = which.index(self.taken.len());
                let (item, part) = self.taken[index].clone();
                if Step::of(&job, &item, &part, self.now) != Step::Work {
                    return;
                }
                let change = Step::dispatch(&item, item.visible);
                if let Outcome::Committed(issued) = self.commit(change).await {
                    *self.calls.entry(part.device.to_string()).or_default() += 1;
                    let queue = item.at.queue().clone();
                    self.taken[index].0.at =
                        ItemRef::new(queue, item.at.sequence(), issued.version);
                    self.taken[index].0.marks = hub_core::store::Marks::new(&[1]).unwrap();
                } else {
                    self.taken.remove(index);
                }
            }
            Act::Finish(which, well) if !self.taken.is_empty() => {
                self.finish(&job, which.index(self.taken.len()), *well).await;
            }
            Act::PutOff(which) if !self.taken.is_empty() => {
                let (item, part) = self.taken.remove(which.index(self.taken.len()));
                if Step::of(&job, &item, &part, self.now) != Step::Work {
                    return;
                }
                let offline = HubError::new(ErrorKind::DeviceNotOnline, "off");
                let again = self.now.after(RETRY);
                let change = retried(&job_id, &item, &part, &offline, self.now, again).unwrap();
                self.commit(change).await;
            }
            Act::Die(which) if !self.taken.is_empty() => {
                self.taken.remove(which.index(self.taken.len()));
            }
            Act::Wait(millis) => self.now = self.now.after(Duration::from_millis((*millis).into())),
            Act::Cancel => {
                if let Some(job) = job.cancel(self.now) {
                    self.commit(job.replace(&at)).await;
                }
            }
            _ => {}
        }
    }

    /// The work of one that was taken is done, or it has failed before.
    async fn finish(&mut self, job: &Job, index: usize, well: bool) {
        let (item, part) = self.taken.remove(index);
        let result = match Step::of(job, &item, &part, self.now) {
            Step::Fail(failure) => Err(failure),
            Step::Work if well => Ok(Done::Updated),
            Step::Work => Err((&HubError::new(ErrorKind::PreconditionFailed, "no")).into()),
        };
        let (_, change) = ended(&job.id, &item, &part, result, self.now);
        if let Outcome::Committed(_) = self.commit(change).await {
            assert!(self.done.insert(part.device.to_string()), "done twice: {part:?}");
        }
    }

    /// Each device that was found is on one shelf, and on one of the last two if it is done.
    async fn check(&self) {
        let mut seen = BTreeSet::new();
        let mut done = BTreeSet::new();
        for shelf in Shelf::ALL {
            for part in self.shelf(shelf).await {
                let name = part.device.to_string();
                assert!(seen.insert(name.clone()), "{name} is there twice");
                let last = matches!(shelf, Shelf::Succeeded | Shelf::Failed);
                if last {
                    done.insert(name);
                }
                assert_eq!(last && shelf == Shelf::Succeeded, matches!(part.result, Some(Ok(_))));
            }
        }
        assert_eq!(seen.len(), self.found, "none is lost");
        assert_eq!(done, self.done);
        assert!(self.calls.values().all(|calls| *calls == 1), "{:?}", self.calls);
    }

    /// Whatever happened, nodes that go on bring the job to its end.
    async fn settle(&mut self) {
        let (at, job) = self.job().await;
        if job.ended().is_some() {
            return;
        }
        let (next, _) = job.found([], None, self.now).unwrap();
        self.commit(next.replace(&at)).await;
        for _ in 0..4 {
            self.taken.clear();
            self.now = self.now.after(LOCK);
            self.take(u32::MAX).await;
            while !self.taken.is_empty() {
                self.finish(&job, 0, true).await;
            }
        }
        let left = self.shelf(Shelf::Todo).await.len() + self.shelf(Shelf::Waiting).await.len();
        let (_, job) = self.job().await;
        let ended = job.complete(left.try_into().unwrap(), self.now).unwrap();
        assert_eq!(ended.status(), JobStatus::Completed);
        assert_eq!(self.done.len(), self.found);
    }
}

async fn run(acts: &[Act]) {
    let limits = Limits::default();
    let spec = JobSpec::new(id("j"), Work::CallMethod(MethodCall::new("m")), "*");
    let job = Job::new(spec, START, &limits).unwrap();
    let mut world = World {
        store: MemoryStore::new(),
        limits,
        now: START,
        batches: 0,
        found: 0,
        taken: Vec::new(),
        calls: BTreeMap::new(),
        done: BTreeSet::new(),
    };
    let create = job.create(&world.limits);
    world.commit(create).await;
    let (at, job) = world.job().await;
    let started = job.start(START).unwrap();
    world.commit(started.replace(&at)).await;
    for act in acts {
        world.apply(act).await;
        world.check().await;
    }
    world.settle().await;
    world.check().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn no_device_is_lost_or_done_twice(acts in prop::collection::vec(act(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(&acts));
    }
}
