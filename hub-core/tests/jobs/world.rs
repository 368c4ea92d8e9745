//! Hubs on one store, and what the tests do with their jobs.

use std::sync::Arc;
use std::time::Duration;

use hub_core::engine::{Hub, HubBuilder, JobState, ManualClock, QueryRows};
use hub_core::id::{Address, JobId};
use hub_core::job::{JobSpec, JobStatus, Statistics, Work};
use hub_core::limits::Limits;
use hub_core::registry::IdentitySpec;
use hub_core::time::Timestamp;
use hub_core::twin::ServicePatch;
use hub_store_memory::MemoryStore;
use serde_json::{Value, json};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(crate) fn id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}

/// A store, the time, and the bounds of all hubs on it.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) limits: Limits,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adapt: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        adapt(&mut limits);
        let clock = Arc::new(ManualClock::new(START));
        Self { store: Arc::new(MemoryStore::new()), clock, limits }
    }

    pub(crate) fn set_up(&self, set_up: impl FnOnce(HubBuilder) -> HubBuilder) -> Hub {
        let builder = Hub::builder_on(self.store.clone())
            .clock(self.clock.clone())
            .limits(self.limits.clone())
            .partitions(2);
        set_up(builder).start().unwrap()
    }

    pub(crate) fn start(&self) -> Hub {
        self.set_up(|builder| builder)
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

/// Devices `d0`, `d1` …, of which the even ones are at site `a`.
pub(crate) async fn fleet(hub: &Hub, count: usize) {
    for i in 0..count {
        let device = address(&format!("d{i}"));
        hub.registry().put(&IdentitySpec::new(device.clone()), None).await.unwrap();
        let site = if i % 2 == 0 { "a" } else { "b" };
        let tags = json!({"tags": {"site": site}});
        let patch = ServicePatch::from_value(&tags, hub.limits()).unwrap();
        hub.patch_twin(&device, patch, None).await.unwrap();
    }
}

pub(crate) fn update(job: &str, condition: &str) -> JobSpec {
    let twin = json!({"etag": "*", "properties": {"desired": {"rate": 5}}, "tags": {"site": "c"}});
    JobSpec::new(id(job), Work::UpdateTwin(twin), condition)
}

/// The job, once it is as wanted.
pub(crate) async fn until(hub: &Hub, job: &str, wanted: impl Fn(&JobState) -> bool) -> JobState {
    let look = async {
        loop {
            let state = hub.jobs().get(&id(job)).await.unwrap();
            if wanted(&state) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.unwrap()
}

/// The job, once it is over.
pub(crate) async fn over(hub: &Hub, job: &str) -> JobState {
    until(hub, job, |state| state.job.ended().is_some()).await
}

pub(crate) fn counts(
    devices: u64,
    succeeded: u64,
    failed: u64,
    running: u64,
    pending: u64,
) -> Statistics {
    Statistics { devices, failed, succeeded, running, pending }
}

/// Rows of `devices.jobs`, without their times.
pub(crate) async fn rows(hub: &Hub, condition: &str) -> Vec<Value> {
    let text = format!("SELECT * FROM devices.jobs WHERE {condition}");
    let page = hub.query(&text, Some(1000), None).await.unwrap();
    assert_eq!(page.continuation, None);
    let QueryRows::Jobs(rows) = page.rows else { panic!("{:?}", page.rows) };
    let rows = rows.into_iter().map(|mut row| {
        row.retain(|name, _| !name.ends_with("Utc"));
        Value::Object(row)
    });
    rows.collect()
}

pub(crate) fn completed(state: &JobState) -> bool {
    state.job.status() == JobStatus::Completed
}
