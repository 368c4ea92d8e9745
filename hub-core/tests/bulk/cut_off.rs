//! Nodes that stop in the middle, that come late, and jobs that are cancelled.

use std::sync::Arc;
use std::time::Duration;

use hub_core::bulk::RegistryEnd;
use hub_core::conformance::store::{Faults, Faulty};
use hub_core::engine::Hub;
use hub_core::store::Kind;
use hub_store_memory::MemoryStore;
use serde_json::{Value, json};

use crate::world::{World, address, import, over, until};

/// Lines that are refused when they are carried out twice.
fn once_only(count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| json!({"id": format!("d{n}"), "importMode": "create", "tags": {"n": n}}))
        .collect()
}

async fn devices(world: &World) -> usize {
    let most = 1000.try_into().unwrap();
    let (mut count, mut after) = (0, None);
    loop {
        let found = world.store.scan(Kind::Identity, after.as_deref(), most).await.unwrap();
        let Some(last) = found.last() else { return count };
        after = Some(last.at.key().id.to_string());
        count += found.len();
    }
}

/// A store on which every call takes a few turns, so that much is under way whenever a node stops.
fn slow() -> World {
    let faults = Faults { delayed: 60, ..Faults::NONE };
    World::on(Arc::new(Faulty::new(MemoryStore::new(), 3).with_faults(faults)), small)
}

fn small(limits: &mut hub_core::limits::Limits) {
    limits.import_batch_max = 40;
    limits.import_at_once_max = 8;
}

#[tokio::test]
async fn every_line_is_done_once_whenever_nodes_stop() {
    let world = slow();
    world.put("devices.txt", &once_only(1500));
    let mut hub = world.start();
    let job = import(&hub).await;
    let mut midway = 0;
    for stop in [110, 500, 930] {
        let is_there = |n: usize| {
            let (hub, device) = (hub.clone(), address(&format!("d{n}")));
            async move { hub.registry().get(&device).await.is_ok() }
        };
        let reached = async {
            while !is_there(stop).await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), reached).await.unwrap();
        // Without a farewell, in the middle of a batch: nobody else takes the job before its time.
        drop(hub);
        hub = world.start();
        let left = hub.registry_jobs().get(&job.id).await.unwrap();
        assert_eq!(left.status(), "running");
        let marks = hub_core::bulk::JobQueue::Marks.of(&job.id);
        let marks = world.store.read(&[hub_core::store::Ask::Depth(marks)]).await.unwrap();
        midway += usize::from(marks != [Some(hub_core::store::Record::Depth(0))]);
        world.clock.advance(world.limits.registry_job_tenure);
    }
    let done = over(&hub, &job.id).await;
    let progress = done.progress();
    assert_eq!((progress.succeeded, progress.failed), (1500, 0), "{:?}", done.failure());
    assert_eq!(devices(&world).await, 1500);
    assert!(midway > 0, "no node stopped in the middle of a batch");
    assert_eq!(world.lines("importErrors.log"), None);
}

/// Updating an identity and writing its twin are two changes: a node may stop between the two.
#[tokio::test]
async fn what_takes_two_changes_is_finished_by_the_next_node() {
    let world = slow();
    let hub = world.start();
    let mut lines = Vec::new();
    for n in 0..300 {
        let device = address(&format!("d{n}"));
        let spec = hub_core::registry::IdentitySpec::new(device.clone());
        let etag = hub.registry().put(&spec, None).await.unwrap().etag();
        lines.push(json!({
            "id": device.as_str(), "importMode": "updateIfMatchETag", "eTag": etag,
            "statusReason": "new", "tags": {"n": n},
        }));
    }
    world.put("devices.txt", &lines);
    let mut hub = hub;
    let job = import(&hub).await;
    let mut between = 0;
    for stop in [21, 100, 190] {
        let reached = async {
            loop {
                let found = hub.registry().get(&address(&format!("d{stop}"))).await.unwrap();
                if found.identity.status_reason() == Some("new") {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), reached).await.unwrap();
        drop(hub);
        hub = world.start();
        for n in 0..300 {
            let state = hub.registry().twin(&address(&format!("d{n}"))).await.unwrap();
            let updated = state.registration.identity.status_reason() == Some("new");
            between += usize::from(updated && state.twin.tags().is_empty());
        }
        world.clock.advance(world.limits.registry_job_tenure);
    }
    let done = over(&hub, &job.id).await;
    assert_eq!((done.progress().succeeded, done.progress().failed), (300, 0));
    assert!(between > 0, "no node stopped between the two changes");
    for n in 0..300 {
        let state = hub.registry().twin(&address(&format!("d{n}"))).await.unwrap();
        assert_eq!(state.twin.tags().to_value(), json!({"n": n}));
    }
}

#[tokio::test]
async fn a_node_that_leaves_in_good_order_lets_go_at_once() {
    let world = slow();
    world.put("devices.txt", &once_only(600));
    let hub = world.start();
    let job = import(&hub).await;
    until(&hub, &job.id, |job| job.progress().succeeded >= 100).await;
    hub.shutdown(Duration::from_secs(60)).await;
    // The clock stands still: only what was let go of can be taken.
    let next = world.start();
    let done = over(&next, &job.id).await;
    assert_eq!((done.progress().succeeded, done.progress().failed), (600, 0));
}

#[tokio::test]
async fn two_nodes_do_a_job_once() {
    let world = slow();
    world.put("devices.txt", &once_only(600));
    let hubs: Vec<Hub> = (0..3).map(|_| world.start()).collect();
    let job = import(&hubs[0]).await;
    // Time runs out for whoever has it, again and again: the others take it, and it goes on without
    // knowing.
    let done = async {
        loop {
            let job = hubs[1].registry_jobs().get(&job.id).await.unwrap();
            if job.ended().is_some() {
                return job;
            }
            world.clock.advance(world.limits.registry_job_tenure / 3);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(120), done).await.unwrap();
    assert_eq!((done.progress().succeeded, done.progress().failed), (600, 0));
    assert_eq!(devices(&world).await, 600);
}

#[tokio::test]
async fn a_store_that_fails_costs_time_and_no_line() {
    let faults = Faults {
        unavailable: 10,
        unknown_without_effect: 10,
        unknown_with_effect: 10,
        ..Faults::NONE
    };
    let faulty = Faulty::new(MemoryStore::new(), 7).with_faults(faults);
    let world = World::on(Arc::new(faulty), small);
    world.put("devices.txt", &once_only(200));
    let hub = world.start();
    let job = loop {
        // The question may meet a fault, too.
        let folder = crate::world::folder(&hub).await;
        let spec = hub_core::engine::ImportJobSpec::new(folder.clone(), folder);
        match hub.registry_jobs().import(spec).await {
            Ok(job) => break job.id,
            Err(_) => {
                let asked = hub.registry_jobs().list().await.unwrap_or_default();
                if let Some(job) = asked.into_iter().next() {
                    break job.id;
                }
            }
        }
    };
    let done = async {
        loop {
            match hub.registry_jobs().get(&job).await {
                Ok(job) if job.ended().is_some() => return job,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(120), done).await.unwrap();
    assert_eq!((done.progress().succeeded, done.progress().failed), (200, 0));
}

#[tokio::test]
async fn after_a_job_is_cancelled_nothing_more_is_done() {
    let world = slow();
    world.put("devices.txt", &once_only(5000));
    let hub = world.start();
    let job = import(&hub).await;
    until(&hub, &job.id, |job| job.progress().succeeded >= 40).await;
    let cancelled = hub.registry_jobs().cancel(&job.id).await.unwrap();
    assert_eq!(cancelled.status(), "cancelled");
    let there = devices(&world).await;
    assert!(there < 5000, "all of it was done before");
    // Another job has room, and runs to its end meanwhile.
    let other = crate::world::export(&hub).await;
    assert_eq!(over(&hub, &other.id).await.status(), "completed");
    assert_eq!(devices(&world).await, there);
    assert_eq!(world.lines("importErrors.log"), None);
    let still = hub.registry_jobs().cancel(&job.id).await.unwrap();
    assert_eq!((still.status(), still.ended()), ("cancelled", cancelled.ended()));
}

#[tokio::test]
async fn a_file_that_changes_under_an_import_ends_it() {
    let world = slow();
    world.put("devices.txt", &once_only(600));
    let hub = world.start();
    let job = import(&hub).await;
    until(&hub, &job.id, |job| job.progress().succeeded >= 40).await;
    drop(hub);
    world.put("devices.txt", &once_only(10));
    world.clock.advance(world.limits.registry_job_tenure);
    let hub = world.start();
    let done = over(&hub, &job.id).await;
    let RegistryEnd::Failed(why) = end(&done) else { panic!("{done:?}") };
    assert!(why.contains("changed"), "{why}");
}

fn end(job: &hub_core::bulk::RegistryJob) -> RegistryEnd {
    match &job.phase {
        hub_core::bulk::RegistryPhase::Ended { end, .. } => end.clone(),
        other => panic!("{other:?}"),
    }
}
