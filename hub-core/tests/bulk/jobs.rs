//! Jobs over the registry, from the question to their end.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hub_core::blob::{
    BlobAccess, BlobAddress, BlobError, BlobFolder, BlobInfo, BlobName, BlobReader, BlobStore,
    BlobWriter, FolderAddress, FolderProof,
};
use hub_core::conformance::blob::Model;
use hub_core::engine::{ExportJobSpec, ImportJobSpec};
use hub_core::error::ErrorKind;
use hub_core::id::JobId;
use hub_core::time::Timestamp;
use serde_json::{Value, json};

use crate::world::{World, address, bare, blob, export, folder, import, over, register};

#[tokio::test]
async fn an_export_is_a_file_that_can_be_imported() {
    let world = World::new();
    let hub = world.start();
    let lines: Vec<Value> = (0..300)
        .map(|n| json!({"id": format!("d{n}"), "tags": {"n": n}, "status": "disabled"}))
        .collect();
    world.put("devices.txt", &lines);
    let job = import(&hub).await;
    assert_eq!((job.status(), job.progress().percent), ("enqueued", 0));
    let done = over(&hub, &job.id).await;
    assert_eq!((done.status(), done.failure()), ("completed", None));
    let progress = done.progress();
    assert_eq!((progress.percent, progress.succeeded, progress.failed), (100, 300, 0));
    assert_eq!(world.lines("importErrors.log"), None);

    let done = over(&hub, &export(&hub).await.id).await;
    assert_eq!((done.status(), done.progress().succeeded), ("completed", 300));
    let exported = world.lines("devices.txt").unwrap();
    assert_eq!(exported.len(), 300);
    let key = &exported[0]["authentication"]["symmetricKey"]["primaryKey"];
    assert!(key.is_string());

    // The same files at another hub.
    let other = World { files: world.files.clone(), ..World::new() };
    let there = other.start();
    let done = over(&there, &import(&there).await.id).await;
    assert_eq!((done.status(), done.progress().failed), ("completed", 0));
    over(&there, &export(&there).await.id).await;
    assert_eq!(bare(world.lines("devices.txt").unwrap()), bare(exported));
}

#[tokio::test]
async fn what_is_refused_stands_in_the_log_and_the_rest_is_done() {
    let world = World::new();
    let hub = world.start();
    register(&hub, "old").await;
    let mut text = String::new();
    for line in [
        r#"{"id":"old","importMode":"create"}"#,
        "not json",
        "",
        r#"{"id":"new"}"#,
        r#"{"id":"none","moduleId":"m","importMode":"update"}"#,
        r#"{"id":"a b"}"#,
        r#"{"id":"d1","tags":{"a.b":1}}"#,
    ] {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(&format!("{{\"id\":\"long\",\"x\":\"{}\"}}\n", "x".repeat(5 << 20)));
    text.push_str(r#"{"id":"last"}"#);
    world.files.put(&blob("devices.txt"), text);
    let done = over(&hub, &import(&hub).await.id).await;
    assert_eq!((done.status(), done.failure()), ("completed", None));
    assert_eq!((done.progress().succeeded, done.progress().failed), (3, 5));
    let log = world.lines("importErrors.log").unwrap();
    let said: Vec<(&Value, &Value, &Value)> = log
        .iter()
        .map(|line| (&line["deviceId"], &line["errorCode"], &line["warningCode"]))
        .collect();
    let null = Value::Null;
    let (refused, warned) = (|code: u64| json!(code), json!("DeviceRegisteredWithoutTwin"));
    let want = [
        (json!("old"), refused(409_001), null.clone()),
        (null.clone(), refused(400_012), null.clone()),
        (json!("none"), refused(404_010), null.clone()),
        (json!("a b"), refused(400_004), null.clone()),
        (json!("d1"), null.clone(), warned),
        (null.clone(), refused(413_001), null),
    ];
    assert_eq!(said, want.iter().map(|(a, b, c)| (a, b, c)).collect::<Vec<_>>());
    assert_eq!(log[2]["moduleId"], "m");
    for device in ["new", "d1", "last"] {
        hub.registry().get(&address(device)).await.unwrap();
    }
    // The log of the next import says nothing of this one.
    world.put("devices.txt", &[json!({"id": "new"})]);
    over(&hub, &import(&hub).await.id).await;
    assert_eq!(world.lines("importErrors.log"), None);
}

#[tokio::test]
async fn there_is_one_job_at_a_time_over_all_nodes() {
    let world = World::new();
    let asks = world.start();
    let one = export(&asks).await;
    let folder = folder(&asks).await;
    let mut refused = 0;
    loop {
        match asks.registry_jobs().export(ExportJobSpec::new(folder.clone())).await {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::RegistryJobActive);
                refused += 1;
            }
            Ok(other) => {
                let first = asks.registry_jobs().get(&one.id).await.unwrap();
                assert!(first.ended().is_some(), "two at once: {first:?} {other:?}");
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    // What was refused left nothing.
    let kept = asks.registry_jobs().list().await.unwrap();
    assert_eq!(kept.len(), 2, "{refused} were refused");
    assert!(kept.iter().any(|job| job.id == one.id));
}

#[tokio::test]
async fn folders_that_are_none_are_refused() {
    let world = World::new();
    let hub = world.start();
    world.put("devices.txt", &[]);
    let good = folder(&hub).await;
    let bare = good.split('?').next().unwrap().to_owned();
    let elsewhere = "https://account.blob.core.windows.net/box?sv=1&sig=x".to_owned();
    for bad in [String::new(), elsewhere, bare.clone(), good.replace("~service", "d1")] {
        let refused = hub.registry_jobs().export(ExportJobSpec::new(bad.clone())).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::BlobFolderInvalid, "{bad}");
        let spec = ImportJobSpec::new(good.clone(), bad.clone());
        let refused = hub.registry_jobs().import(spec).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::BlobFolderInvalid, "{bad}");
        let spec = ImportJobSpec::new(bad.clone(), good.clone());
        let refused = hub.registry_jobs().import(spec).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::BlobFolderInvalid, "{bad}");
    }
    let empty = hub.folder_address(&BlobFolder::new("empty").unwrap()).await.unwrap().0;
    let spec = ImportJobSpec::new(empty, good.clone());
    assert!(!format!("{spec:?}").contains("?f."), "a right is printed: {spec:?}");
    let refused = hub.registry_jobs().import(spec).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BlobFolderInvalid);
    for name in ["../a", "", "a//b", "importErrors.log"] {
        let mut spec = ImportJobSpec::new(good.clone(), good.clone());
        spec.blob = Some(name.to_owned());
        let refused = hub.registry_jobs().import(spec).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ArgumentInvalid, "{name}");
    }
    // With the hub's own credentials no right has to be shown.
    let mut spec = ExportJobSpec::new(bare);
    spec.proof = FolderProof::Hub;
    spec.blob = Some("backup/now.txt".to_owned());
    let job = hub.registry_jobs().export(spec).await.unwrap();
    over(&hub, &job.id).await;
    assert_eq!(world.lines("backup/now.txt"), Some(Vec::new()));
    // After its expiry an address is good for nothing.
    world.clock.advance(world.limits.upload_ttl);
    let refused = hub.registry_jobs().export(ExportJobSpec::new(good)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BlobFolderInvalid);
}

#[tokio::test]
async fn a_hub_without_files_says_so() {
    let hub = hub_core::Hub::builder(hub_store_memory::MemoryStore::new()).start().unwrap();
    let refused = hub.registry_jobs().export(ExportJobSpec::new("x")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoBlobStore);
    let unknown = JobId::new("x").unwrap();
    let missing = hub.registry_jobs().get(&unknown).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::JobNotFound);
    let missing = hub.registry_jobs().cancel(&unknown).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::JobNotFound);
    assert_eq!(hub.registry_jobs().list().await.unwrap(), []);
}

#[tokio::test]
async fn jobs_over_devices_and_over_the_registry_are_kept_apart() {
    use hub_core::engine::JobFilter;
    use hub_core::job::{JobSpec, Work};
    let world = World::new();
    let hub = world.start();
    let job = over(&hub, &export(&hub).await.id).await;
    let twin = Work::UpdateTwin(json!({"tags": {"a": 1}}));
    for id in ["registry", "z"] {
        let spec = JobSpec::new(JobId::new(id).unwrap(), twin.clone(), "*");
        hub.jobs().create(spec).await.unwrap();
    }
    assert_eq!(hub.registry_jobs().list().await.unwrap(), std::slice::from_ref(&job));
    let page = hub.jobs().list(JobFilter::default(), None, None).await.unwrap();
    let ids: Vec<&str> = page.jobs.iter().map(|state| state.job.id.as_str()).collect();
    assert_eq!(ids, ["registry", "z"]);
    assert_eq!(hub.jobs().get(&job.id).await.unwrap_err().kind(), ErrorKind::JobNotFound);
}

#[tokio::test]
async fn jobs_are_forgotten_in_time() {
    let world = World::new();
    let hub = world.start();
    let old = over(&hub, &export(&hub).await.id).await;
    world.clock.advance(world.limits.jobs_retention);
    let gone = async {
        while !hub.registry_jobs().list().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    let missing = hub.registry_jobs().get(&old.id).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::JobNotFound);
}

/// Files that cannot be written or read, for a while or for good.
#[derive(Clone)]
struct Broken {
    files: Model,
    refuses: bool,
    /// How many calls fail before one goes well.
    failures: Arc<std::sync::atomic::AtomicU32>,
}

impl Broken {
    fn check(&self, operation: &'static str) -> Result<(), BlobError> {
        use std::sync::atomic::Ordering;
        if self.refuses {
            return Err(BlobError::refused(operation, "told so"));
        }
        let left =
            self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        match left {
            Ok(_) => Err(BlobError::unavailable(operation, "told so")),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl BlobStore for Broken {
    async fn address(
        &self,
        blob: &BlobName,
        access: BlobAccess,
        now: Timestamp,
        valid: Duration,
    ) -> Result<BlobAddress, BlobError> {
        self.files.address(blob, access, now, valid).await
    }

    async fn stat(&self, blob: &BlobName) -> Result<Option<BlobInfo>, BlobError> {
        self.files.stat(blob).await
    }

    async fn read(
        &self,
        blob: &BlobName,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn BlobReader>, BlobError> {
        self.check("read")?;
        self.files.read(blob, range).await
    }

    async fn write(&self, blob: &BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.check("write")?;
        self.files.write(blob).await
    }

    async fn folder_address(
        &self,
        folder: &BlobFolder,
        now: Timestamp,
        valid: Duration,
    ) -> Result<FolderAddress, BlobError> {
        self.files.folder_address(folder, now, valid).await
    }

    async fn folder(
        &self,
        address: &str,
        proof: FolderProof,
        now: Timestamp,
    ) -> Result<Option<BlobFolder>, BlobError> {
        self.files.folder(address, proof, now).await
    }

    async fn delete(&self, blob: &BlobName) -> Result<bool, BlobError> {
        self.files.delete(blob).await
    }

    async fn sweep(&self, untouched_since: Timestamp) -> Result<u64, BlobError> {
        self.files.sweep(untouched_since).await
    }
}

#[tokio::test]
async fn files_that_fail_for_a_while_are_waited_for_and_for_good_end_the_job() {
    let world = World::new();
    world.put("devices.txt", &[json!({"id": "d1"})]);
    for (refuses, want) in [(false, "completed"), (true, "failed")] {
        let failures = Arc::new(2.into());
        let files = Broken { files: world.files.clone(), refuses, failures };
        let hub = world.set_up(|builder| builder.blobs(Arc::new(files)));
        for job in [import(&hub).await, export(&hub_after(&hub).await).await] {
            let done = over(&hub, &job.id).await;
            assert_eq!(done.status(), want);
            assert_eq!(done.failure().is_some(), refuses, "{:?}", done.failure());
        }
        world.put("devices.txt", &[json!({"id": "d1"})]);
    }
}

/// The same hub, once no job goes on.
async fn hub_after(hub: &hub_core::Hub) -> hub_core::Hub {
    let idle = async {
        while hub.registry_jobs().list().await.unwrap().iter().any(|job| job.ended().is_none()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), idle).await.unwrap();
    hub.clone()
}
