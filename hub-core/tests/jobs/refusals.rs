//! What bad requests get.

use std::time::Duration;

use hub_core::error::ErrorKind;
use hub_core::job::{JobSpec, Work};
use hub_core::method::MethodCall;
use serde_json::json;

use crate::world::{START, World, counts, fleet, id, over, update};

#[tokio::test]
async fn bad_requests_are_refused_and_leave_nothing() {
    let world = World::new();
    let hub = world.start();
    fleet(&hub, 1).await;
    let method = |name: &str| Work::CallMethod(MethodCall::new(name));
    let large = json!({"tags": {"a": "x".repeat(5000)}});
    for (spec, kind) in [
        (update("j", ""), ErrorKind::ArgumentInvalid),
        (update("j", "tags.a ="), ErrorKind::ArgumentInvalid),
        (update("j", "SELECT * FROM devices"), ErrorKind::ArgumentInvalid),
        (update("j", &"x".repeat(9000)), ErrorKind::ArgumentInvalid),
        (update("j", "*").lasting(Duration::ZERO), ErrorKind::ArgumentInvalid),
        (update("j", "*").lasting(Duration::MAX), ErrorKind::ArgumentInvalid),
        (JobSpec::new(id("j"), method(""), "*"), ErrorKind::ArgumentInvalid),
        (JobSpec::new(id("j"), method("a b"), "*"), ErrorKind::ArgumentInvalid),
        (
            JobSpec::new(id("j"), Work::UpdateTwin(json!({"etag": 5})), "*"),
            ErrorKind::ArgumentInvalid,
        ),
        (JobSpec::new(id("j"), Work::UpdateTwin(json!([])), "*"), ErrorKind::ArgumentInvalid),
        (JobSpec::new(id("j"), Work::UpdateTwin(large), "*"), ErrorKind::ArgumentInvalid),
    ] {
        let error = hub.jobs().create(spec.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{spec:?} {error}");
    }
    let position = hub.jobs().create(update("j", "tags.a =")).await.unwrap_err();
    assert!(position.message().contains("line 1, column 9"), "{position}");
    assert_eq!(hub.jobs().get(&id("j")).await.unwrap_err().kind(), ErrorKind::JobNotFound);
    assert_eq!(hub.jobs().cancel(&id("j")).await.unwrap_err().kind(), ErrorKind::JobNotFound);
    hub.jobs().create(update("j", "*")).await.unwrap();
    assert_eq!(over(&hub, "j").await.statistics, counts(1, 1, 0, 0, 0));
}

#[tokio::test]
async fn there_are_only_so_many_jobs_at_once() {
    let world = World::with(|limits| limits.jobs_active_max = 2);
    let hub = world.start();
    fleet(&hub, 1).await;
    let start = START.after(Duration::from_secs(60));
    hub.jobs().create(update("a", "*").starting(start)).await.unwrap();
    hub.jobs().create(update("b", "*").starting(start)).await.unwrap();
    let full = hub.jobs().create(update("c", "*")).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::TooManyJobs);
    let reused = hub.jobs().create(update("a", "*")).await.unwrap_err();
    assert_eq!(reused.kind(), ErrorKind::JobAlreadyExists);
    hub.jobs().cancel(&id("a")).await.unwrap();
    hub.jobs().create(update("c", "*")).await.unwrap();
    assert_eq!(over(&hub, "c").await.statistics, counts(1, 1, 0, 0, 0));
    // One that is done has made room.
    hub.jobs().create(update("d", "*")).await.unwrap();
    over(&hub, "d").await;
}

#[tokio::test]
async fn a_list_of_devices_is_a_condition() {
    let world = World::new();
    let hub = world.start();
    fleet(&hub, 4).await;
    let devices = ["d1", "d3", "it's"].map(|name| hub_core::id::DeviceId::new(name).unwrap());
    let condition = JobSpec::of_devices(&devices);
    hub.jobs().create(update("j", &condition)).await.unwrap();
    assert_eq!(over(&hub, "j").await.statistics, counts(2, 2, 0, 0, 0));
}
