//! Hubs on one store with files, and what the tests do with them.

use std::sync::Arc;
use std::time::Duration;

use hub_core::Store;
use hub_core::blob::{BlobFolder, BlobName};
use hub_core::bulk::{DeviceRecord, RegistryJob};
use hub_core::conformance::blob::Model;
use hub_core::engine::{ExportJobSpec, Hub, HubBuilder, ImportJobSpec, ManualClock};
use hub_core::id::{Address, JobId};
use hub_core::limits::Limits;
use hub_core::registry::IdentitySpec;
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;
use serde_json::Value;

pub(crate) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(crate) fn record(line: &Value) -> DeviceRecord {
    DeviceRecord::parse(line.to_string().as_bytes()).unwrap()
}

/// A store, files, the time, and the bounds of all hubs on them.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) files: Model,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) limits: Limits,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(MemoryStore::new()), |_| {})
    }

    pub(crate) fn on(store: Arc<dyn Store>, adapt: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        adapt(&mut limits);
        let clock = Arc::new(ManualClock::new(START));
        Self { store, files: Model::new(), clock, limits }
    }

    pub(crate) fn set_up(&self, set_up: impl FnOnce(HubBuilder) -> HubBuilder) -> Hub {
        let builder = Hub::builder_on(self.store.clone())
            .clock(self.clock.clone())
            .limits(self.limits.clone())
            .blobs(Arc::new(self.files.clone()))
            .partitions(2);
        set_up(builder).start().unwrap()
    }

    pub(crate) fn start(&self) -> Hub {
        self.set_up(|builder| builder)
    }

    pub(crate) fn put(&self, name: &str, lines: &[Value]) {
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        self.files.put(&blob(name), text);
    }

    /// The lines of a file, as JSON. `None` if there is no such file.
    pub(crate) fn lines(&self, name: &str) -> Option<Vec<Value>> {
        let file = self.files.get(&blob(name))?;
        let text = std::str::from_utf8(&file).unwrap();
        assert!(text.is_empty() || text.ends_with("\r\n"));
        Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
}

pub(crate) fn blob(name: &str) -> BlobName {
    BlobName::parse(&format!("~service/{name}")).unwrap()
}

/// The address of the folder of all files of back ends.
pub(crate) async fn folder(hub: &Hub) -> String {
    hub.folder_address(&BlobFolder::root()).await.unwrap().0.as_str().to_owned()
}

pub(crate) async fn export(hub: &Hub) -> RegistryJob {
    let folder = folder(hub).await;
    hub.registry_jobs().export(ExportJobSpec::new(folder)).await.unwrap()
}

pub(crate) async fn import(hub: &Hub) -> RegistryJob {
    let folder = folder(hub).await;
    hub.registry_jobs().import(ImportJobSpec::new(folder.clone(), folder)).await.unwrap()
}

pub(crate) async fn register(hub: &Hub, text: &str) {
    hub.registry().put(&IdentitySpec::new(address(text)), None).await.unwrap();
}

/// The job, once it is as wanted.
pub(crate) async fn until(
    hub: &Hub,
    id: &JobId,
    wanted: impl Fn(&RegistryJob) -> bool,
) -> RegistryJob {
    let look = async {
        loop {
            let job = hub.registry_jobs().get(id).await.unwrap();
            if wanted(&job) {
                return job;
            }
            // Without a pause: a job that is looked at now and then is over before it is seen.
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), look).await.unwrap()
}

/// The job, once it is over.
pub(crate) async fn over(hub: &Hub, id: &JobId) -> RegistryJob {
    until(hub, id, |job| job.ended().is_some()).await
}

/// A registry as lines, without what a hub makes for itself.
pub(crate) fn bare(mut lines: Vec<Value>) -> Vec<Value> {
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        for name in ["eTag", "twinETag", "deviceScope", "parentScopes"] {
            line.remove(name);
        }
        for section in ["desired", "reported"] {
            let section = line["properties"][section].as_object_mut().unwrap();
            section.retain(|name, _| !name.starts_with('$'));
        }
    }
    lines
}
