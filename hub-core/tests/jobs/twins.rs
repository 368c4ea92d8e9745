//! Jobs that write twins.

use std::time::Duration;

use hub_core::engine::{JobFilter, Position};
use hub_core::envelope::EventSource;
use hub_core::error::ErrorKind;
use hub_core::id::Partition;
use hub_core::job::{JobKind, JobSpec, JobStatus, PartStatus, Work};
use hub_core::registry::IdentitySpec;
use hub_core::twin::ServicePatch;
use serde_json::{Value, json};

use crate::world::{
    START, World, address, completed, counts, fleet, id, over, rows, until, update,
};

#[tokio::test]
async fn each_device_that_the_condition_selects_is_written_once() {
    let world = World::new();
    let hub = world.start();
    fleet(&hub, 7).await;
    let asked = hub.jobs().create(update("j1", "tags.site = 'a'")).await.unwrap();
    assert_eq!((asked.job.status(), asked.job.created), (JobStatus::Queued, START));
    let state = over(&hub, "j1").await;
    assert!(completed(&state), "{state:?}");
    // The work makes the condition false: that changes nothing.
    assert_eq!(state.statistics, counts(4, 4, 0, 0, 0));
    for i in 0..7 {
        let twin = hub.registry().twin(&address(&format!("d{i}"))).await.unwrap().twin;
        let done = i % 2 == 0;
        assert_eq!(twin.desired_version(), if done { 2 } else { 1 }, "d{i}");
        let tags: Value = serde_json::to_value(twin.tags()).unwrap();
        assert_eq!(tags, json!({"site": if done { "c" } else { "b" }}));
    }
    let row = |device: &str| {
        json!({
            "deviceId": device, "jobId": "j1", "jobType": "scheduleUpdateTwin",
            "status": "completed", "outcome": {"deviceMethodResponse": null},
        })
    };
    let seen = rows(&hub, "devices.jobs.jobId = 'j1'").await;
    let mut names: Vec<&str> = seen.iter().map(|row| row["deviceId"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["d0", "d2", "d4", "d6"]);
    assert_eq!(rows(&hub, "jobId = 'j1' AND deviceId = 'd4'").await, [row("d4")]);
    assert_eq!(rows(&hub, "deviceId = 'd1'").await, [] as [Value; 0]);
    assert_eq!(rows(&hub, "jobId = 'j2'").await, [] as [Value; 0]);
}

#[tokio::test]
async fn what_fails_at_one_device_leaves_the_others_alone() {
    let world = World::new();
    let hub = world.start();
    fleet(&hub, 3).await;
    // A large tag: there is no more room in this twin.
    let large = json!({"tags": {"a": "x".repeat(4000), "b": "x".repeat(4000)}});
    let patch = ServicePatch::from_value(&large, hub.limits()).unwrap();
    hub.patch_twin(&address("d1"), patch, None).await.unwrap();
    let twin = json!({"tags": {"c": "x".repeat(1000)}});
    hub.jobs().create(JobSpec::new(id("j"), Work::UpdateTwin(twin), "*")).await.unwrap();
    let state = over(&hub, "j").await;
    assert!(completed(&state), "a job is complete also if devices failed");
    assert_eq!(state.statistics, counts(3, 2, 1, 0, 0));
    let failed = rows(&hub, "jobId = 'j' AND status = 'failed'").await;
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0]["deviceId"], &failed[0]["outcome"]), (&json!("d1"), &Value::Null));
    assert_eq!(failed[0]["error"]["code"], "TwinTooLarge");
    // With an etag that no twin has.
    let twin = json!({"etag": "other", "tags": {"x": 2}});
    hub.jobs().create(JobSpec::new(id("k"), Work::UpdateTwin(twin), "*")).await.unwrap();
    assert_eq!(over(&hub, "k").await.statistics, counts(3, 0, 3, 0, 0));
    for row in rows(&hub, "jobId = 'k'").await {
        assert_eq!(row["error"]["code"], "PreconditionFailed");
    }
}

#[tokio::test]
async fn a_job_waits_for_its_start_and_finds_its_devices_then() {
    let world = World::new();
    let hub = world.start();
    fleet(&hub, 2).await;
    let start = START.after(Duration::from_secs(3600));
    let spec = update("later", "tags.site = 'a'").starting(start);
    hub.jobs().create(spec).await.unwrap();
    // Registered after the job was asked for.
    for name in ["d6", "d8"] {
        let device = address(name);
        hub.registry().put(&IdentitySpec::new(device.clone()), None).await.unwrap();
        let patch = ServicePatch::from_value(&json!({"tags": {"site": "a"}}), hub.limits());
        hub.patch_twin(&device, patch.unwrap(), None).await.unwrap();
    }
    let state = hub.jobs().get(&id("later")).await.unwrap();
    assert_eq!(state.job.status(), JobStatus::Queued);
    assert_eq!(state.statistics, counts(0, 0, 0, 0, 0));
    world.pass(Duration::from_secs(3600));
    let state = over(&hub, "later").await;
    assert_eq!((state.job.started(), state.statistics.succeeded), (Some(start), 3));
}

#[tokio::test]
async fn a_job_that_is_cancelled_before_its_start_does_nothing() {
    let world = World::new();
    let hub = world.start();
    fleet(&hub, 2).await;
    let start = START.after(Duration::from_secs(60));
    hub.jobs().create(update("j", "*").starting(start)).await.unwrap();
    let state = hub.jobs().cancel(&id("j")).await.unwrap();
    assert_eq!((state.job.status(), state.job.started()), (JobStatus::Cancelled, None));
    world.pass(Duration::from_secs(120));
    // One that is asked for later is done, so the first had every chance.
    hub.jobs().create(update("k", "*")).await.unwrap();
    over(&hub, "k").await;
    let state = hub.jobs().cancel(&id("j")).await.unwrap();
    assert_eq!((state.job.ended(), state.statistics.devices), (Some(START), 0));
    assert_eq!(rows(&hub, "jobId = 'j'").await, [] as [Value; 0]);
    assert_eq!(hub.jobs().cancel(&id("k")).await.unwrap().job.status(), JobStatus::Completed);
}

#[tokio::test]
async fn two_nodes_share_a_job() {
    let world = World::with(|limits| {
        limits.job_devices_in_flight_max = 2;
        limits.job_find_max = 7;
    });
    let (a, b) = (world.start(), world.start());
    fleet(&a, 60).await;
    a.jobs().create(update("j", "*")).await.unwrap();
    let state = over(&b, "j").await;
    assert_eq!(state.statistics, counts(60, 60, 0, 0, 0));
    for i in 0..60 {
        let twin = a.registry().twin(&address(&format!("d{i}"))).await.unwrap().twin;
        assert_eq!(twin.desired_version(), 2, "d{i}");
    }
}

#[tokio::test]
async fn jobs_and_their_devices_are_listed_in_pages() {
    let world = World::new();
    let hub = world.start();
    fleet(&hub, 5).await;
    for job in ["a", "b", "c"] {
        hub.jobs().create(update(job, "*")).await.unwrap();
        over(&hub, job).await;
    }
    let start = START.after(Duration::from_secs(60));
    hub.jobs().create(update("d", "*").starting(start)).await.unwrap();
    let names = async |filter: JobFilter, size: u32| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = hub.jobs().list(filter, Some(size), after.as_ref()).await.unwrap();
            assert!(page.jobs.len() <= usize::try_from(size).unwrap());
            names.extend(page.jobs.iter().map(|state| state.job.id.to_string()));
            after = page.continuation;
            if after.is_none() {
                return names;
            }
        }
    };
    for size in [1, 2, 3, 4, 100] {
        assert_eq!(names(JobFilter::default(), size).await, ["a", "b", "c", "d"]);
        let done = JobFilter { status: Some(JobStatus::Completed), ..JobFilter::default() };
        assert_eq!(names(done, size).await, ["a", "b", "c"]);
        let calls = JobFilter { kind: Some(JobKind::CallMethod), ..JobFilter::default() };
        assert_eq!(names(calls, size).await, [""; 0]);
    }
    for size in [1, 2, 5, 6] {
        let (mut seen, mut from) = (Vec::new(), None::<String>);
        loop {
            let page = hub.jobs().devices(&id("b"), Some(size), from.as_deref()).await.unwrap();
            seen.extend(page.parts);
            from = page.continuation;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 5);
        assert!(seen.iter().all(|part| part.status == PartStatus::Completed));
        let (mut rows, mut from) = (0, None::<String>);
        loop {
            let text = "SELECT * FROM devices.jobs";
            let page = hub.query(text, Some(size), from.as_deref()).await.unwrap();
            rows += page.rows.len();
            from = page.continuation;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(rows, 15);
    }
    let missing = hub.jobs().devices(&id("x"), None, None).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::JobNotFound);
}

#[tokio::test]
async fn the_end_of_each_part_is_an_event() {
    let world = World::new();
    let hub = world.set_up(|builder| builder.event_source(EventSource::JobLifecycle));
    fleet(&hub, 2).await;
    hub.jobs().create(update("j", "*")).await.unwrap();
    over(&hub, "j").await;
    let mut seen = Vec::new();
    for partition in 0..2 {
        let mut reader = hub.reader(Partition(partition), Position::Earliest).await.unwrap();
        for event in reader.try_read(100).await.unwrap() {
            assert_eq!(event.source, EventSource::JobLifecycle);
            let properties = event.properties.application();
            assert!(properties.contains(&("opType", Some("deviceJobCompleted"))));
            let body: Value = serde_json::from_slice(&event.body).unwrap();
            assert_eq!((&body["jobId"], &body["status"]), (&json!("j"), &json!("completed")));
            assert_eq!(body["deviceId"], event.sender.as_str());
            seen.push(event.sender.to_string());
        }
    }
    seen.sort();
    assert_eq!(seen, ["d0", "d1"]);
}

#[tokio::test]
async fn a_job_that_has_ended_is_kept_and_then_forgotten() {
    let world = World::with(|limits| limits.jobs_retention = Duration::from_secs(3600));
    let hub = world.start();
    fleet(&hub, 2).await;
    hub.jobs().create(update("j", "*")).await.unwrap();
    over(&hub, "j").await;
    let again = hub.jobs().create(update("j", "*")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::JobAlreadyExists);
    world.pass(Duration::from_secs(3600));
    let gone = async {
        while hub.jobs().get(&id("j")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert_eq!(rows(&hub, "deviceId = 'd0'").await, [] as [Value; 0]);
    hub.jobs().create(update("j", "*")).await.unwrap();
    let state = until(&hub, "j", completed).await;
    assert_eq!(state.statistics, counts(2, 2, 0, 0, 0));
}
