//! Hubs on one store, and what the tests do with their configurations.

use std::sync::Arc;
use std::time::Duration;

use hub_core::configuration::{Configuration, ConfigurationSpec};
use hub_core::engine::{ConfigurationState, Hub, HubBuilder, ManualClock};
use hub_core::id::{Address, ConfigurationId};
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

pub(crate) fn id(text: &str) -> ConfigurationId {
    ConfigurationId::new(text).unwrap()
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
}

pub(crate) async fn create(hub: &Hub, name: &str) {
    hub.registry().put(&IdentitySpec::new(address(name)), None).await.unwrap();
}

pub(crate) async fn write(hub: &Hub, name: &str, patch: Value) {
    let patch = ServicePatch::from_value(&patch, hub.limits()).unwrap();
    hub.patch_twin(&address(name), patch, None).await.unwrap();
}

pub(crate) async fn tag(hub: &Hub, name: &str, tags: Value) {
    write(hub, name, json!({ "tags": tags })).await;
}

/// Settings for devices: paths below `properties.desired`.
pub(crate) fn spec(name: &str, target: &str, settings: Value) -> ConfigurationSpec {
    let settings = settings.as_object().unwrap().iter();
    let paths = settings.map(|(path, value)| (format!("properties.desired.{path}"), value.clone()));
    let content = json!({ "deviceContent": paths.collect::<serde_json::Map<_, _>>() });
    ConfigurationSpec::new(id(name)).content(content).target(target)
}

pub(crate) async fn make(hub: &Hub, spec: ConfigurationSpec) -> Configuration {
    hub.configurations().put(&spec, None).await.unwrap()
}

pub(crate) async fn desired(hub: &Hub, name: &str) -> Value {
    hub.registry().twin(&address(name)).await.unwrap().twin.desired().to_value()
}

pub(crate) async fn statuses(hub: &Hub, name: &str) -> Value {
    let found = hub.registry().twin(&address(name)).await.unwrap();
    serde_json::to_value(found.twin.configured().statuses()).unwrap()
}

/// Waits until something holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.unwrap();
}

/// Waits until a device's desired properties are these.
pub(crate) async fn becomes(hub: &Hub, name: &str, want: Value) {
    let look = async {
        loop {
            let now = desired(hub, name).await;
            if now == want {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), look).await.is_err() {
        panic!("{name}: {} is not {want}", desired(hub, name).await);
    }
}

/// The results of all metrics, the hub's and others.
pub(crate) async fn counts(hub: &Hub, name: &str) -> Value {
    let state: ConfigurationState = hub.configurations().get(&id(name)).await.unwrap();
    let system = state.system_metrics.iter().map(|(name, m)| ((*name).to_owned(), json!(m.result)));
    let own = state.metrics.iter().map(|(name, m)| (name.clone(), json!(m.result)));
    Value::Object(system.chain(own).collect())
}
