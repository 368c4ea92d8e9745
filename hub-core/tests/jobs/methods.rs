//! Jobs that call direct methods.

use std::time::Duration;

use hub_core::engine::{DeviceClient, DeviceEvent, Hub};
use hub_core::frame::Interest;
use hub_core::job::{JobSpec, JobStatus, Work};
use hub_core::method::MethodCall;
use serde_json::json;

use crate::world::{World, address, completed, counts, fleet, id, over, rows, until};

fn call(job: &str) -> JobSpec {
    let method = MethodCall::new("reboot").with_payload(r#"{"in":5}"#);
    JobSpec::new(id(job), Work::CallMethod(method), "*").lasting(Duration::from_secs(600))
}

async fn device(hub: &Hub, name: &str) -> DeviceClient {
    let mut device = hub.device(&address(name)).await.unwrap();
    device.subscribe(Interest::Methods).await.unwrap();
    device
}

/// Answers the next call.
async fn answer(device: &mut DeviceClient, status: i32) {
    let event = tokio::time::timeout(Duration::from_secs(60), device.next()).await.unwrap();
    let DeviceEvent::Method(call, name, payload) = event else { panic!("{event:?}") };
    assert_eq!((name.as_str(), &payload[..]), ("reboot", &br#"{"in":5}"#[..]));
    device.reply(call, status, r#"{"ok":true}"#).await;
}

#[tokio::test]
async fn devices_answer_now_or_when_they_come_online() {
    let world = World::new();
    let hub = world.start();
    fleet(&hub, 2).await;
    let mut here = device(&hub, "d0").await;
    hub.jobs().create(call("j")).await.unwrap();
    answer(&mut here, 200).await;
    let state = until(&hub, "j", |state| state.statistics.succeeded == 1).await;
    assert_eq!((state.job.status(), state.statistics.devices), (JobStatus::Running, 2));
    let waiting = async {
        while rows(&hub, "deviceId = 'd1' AND status = 'scheduled'").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    let mut late = device(&hub, "d1").await;
    world.pass(world.limits.job_retry_every);
    answer(&mut late, 500).await;
    let state = over(&hub, "j").await;
    assert!(completed(&state));
    assert_eq!(state.statistics, counts(2, 2, 0, 0, 0));
    let response = json!({"deviceMethodResponse": {"status": 500, "payload": {"ok": true}}});
    assert_eq!(rows(&hub, "deviceId = 'd1'").await[0]["outcome"], response);
}

#[tokio::test]
async fn whoever_is_not_online_in_time_has_failed() {
    let world = World::new();
    let hub = world.start();
    fleet(&hub, 2).await;
    hub.jobs().create(call("j")).await.unwrap();
    until(&hub, "j", |state| state.statistics.pending == 2).await;
    world.pass(Duration::from_secs(600));
    let state = over(&hub, "j").await;
    assert!(completed(&state));
    assert_eq!(state.statistics, counts(2, 0, 2, 0, 0));
    for row in rows(&hub, "jobId = 'j'").await {
        assert_eq!(row["status"], "failed");
        let code = row["error"]["code"].as_str().unwrap();
        assert!(["DeviceNotOnline", "JobTimedOut"].contains(&code), "{code}");
    }
}

#[tokio::test]
async fn what_is_cancelled_begins_no_further_device() {
    let world = World::with(|limits| limits.job_devices_in_flight_max = 1);
    let hub = world.start();
    fleet(&hub, 3).await;
    let mut first = device(&hub, "d0").await;
    let mut others = [device(&hub, "d1").await, device(&hub, "d2").await];
    hub.jobs().create(call("j")).await.unwrap();
    until(&hub, "j", |state| state.statistics.running == 1).await;
    let state = hub.jobs().cancel(&id("j")).await.unwrap();
    assert_eq!(state.job.status(), JobStatus::Cancelled);
    assert_eq!((state.statistics.devices, state.statistics.pending), (3, 0));
    // The one that was begun ends as ever.
    answer(&mut first, 200).await;
    let state = until(&hub, "j", |state| state.statistics.succeeded == 1).await;
    assert_eq!(state.statistics, counts(3, 1, 0, 0, 0));
    assert_eq!(rows(&hub, "status = 'canceled'").await.len(), 2);
    // Another job does: so the first had the chance.
    hub.jobs().create(call("k")).await.unwrap();
    answer(&mut first, 201).await;
    for other in &mut others {
        answer(other, 201).await;
    }
    assert_eq!(over(&hub, "k").await.statistics, counts(3, 3, 0, 0, 0));
}

#[tokio::test]
async fn a_call_whose_end_nobody_knows_is_not_made_again() {
    let world = World::new();
    let hub = world.start();
    fleet(&hub, 1).await;
    let mut before = device(&hub, "d0").await;
    hub.jobs().create(call("j")).await.unwrap();
    let event = tokio::time::timeout(Duration::from_secs(60), before.next()).await.unwrap();
    assert!(matches!(event, DeviceEvent::Method(..)), "{event:?}");
    // The node is gone before the answer comes.
    // Its connection is not: else the old node might still have the time to see it end.
    drop(hub);
    let hub = world.start();
    hub.joined().await.unwrap();
    let mut after = device(&hub, "d0").await;
    world.pass(Duration::from_secs(300));
    let state = over(&hub, "j").await;
    assert_eq!(state.statistics, counts(1, 0, 1, 0, 0));
    assert_eq!(rows(&hub, "jobId = 'j'").await[0]["error"]["code"], "OutcomeUnknown");
    // The next thing that the device hears is of the next job.
    let mut spec = call("k");
    spec.work = Work::CallMethod(MethodCall::new("other"));
    hub.jobs().create(spec).await.unwrap();
    let event = tokio::time::timeout(Duration::from_secs(60), after.next()).await.unwrap();
    let DeviceEvent::Method(_, name, _) = event else { panic!("{event:?}") };
    assert_eq!(name, "other");
}
