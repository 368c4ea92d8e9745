//! The history of twins, and old values in their events.

use std::time::Duration;

use hub_core::ErrorKind;
use hub_core::engine::{Hub, Position};
use hub_core::envelope::EventSource;
use hub_core::frame::Interest;
use hub_core::id::{Address, Partition};
use hub_core::time::Timestamp;
use hub_core::twin::{SectionName, ServicePatch, Twin, Writer};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{START, World, kind, soon};

async fn patch(hub: &Hub, of: &Address, patch: Value) -> Twin {
    let patch = ServicePatch::from_value(&patch, hub.limits()).unwrap();
    hub.patch_twin(of, patch, None).await.unwrap()
}

#[tokio::test]
async fn each_version_tells_who_wrote_what_and_the_twin_is_there_as_it_was() {
    let world = World::with(|limits| limits.twin_history_max = 10);
    let (hub, d1) = (&world.hub, world.register("d1").await);
    let mut device = soon(hub.device(&d1)).await.unwrap();
    let born = hub.registry().twin(&d1).await.unwrap().twin;
    world.clock.advance(Duration::from_secs(10));
    let third =
        patch(hub, &d1, json!({"tags": {"floor": 1}, "properties": {"desired": {"a": 1}}})).await;
    world.clock.advance(Duration::from_secs(10));
    soon(device.report(r#"{"a":1}"#)).await.unwrap();
    let fourth = hub.registry().twin(&d1).await.unwrap().twin;
    world.clock.advance(Duration::from_secs(10));
    patch(hub, &d1, json!({"tags": {"floor": null}})).await;

    let history = hub.twin_history();
    let versions = history.versions(&d1, None, 100).await.unwrap();
    let found: Vec<_> =
        versions.iter().map(|v| (v.version(), v.by(), v.sections().to_vec())).collect();
    let expected = [
        (3, Writer::BackEnd, vec![SectionName::Tags, SectionName::Desired]),
        (4, Writer::Device, vec![SectionName::Reported]),
        (5, Writer::BackEnd, vec![SectionName::Tags]),
    ];
    assert_eq!(found, expected);
    assert_eq!(versions[2].patch(SectionName::Tags), Some(json!({"floor": null})));
    assert_eq!(versions[2].previous(SectionName::Tags), Some(json!({"floor": 1})));
    assert_eq!(history.versions(&d1, Some(3), 1).await.unwrap(), versions[1..2]);
    for (version, was) in [(2, &born), (3, &third), (4, &fourth)] {
        assert_eq!(history.at_version(&d1, version).await.as_ref(), Ok(was));
    }
    let seconds = |n| START.after(Duration::from_secs(n));
    for (time, was) in [(0, &born), (9, &born), (10, &third), (29, &fourth)] {
        assert_eq!(history.at(&d1, seconds(time)).await.as_ref(), Ok(was), "{time}");
    }
    let absent = Err(ErrorKind::TwinVersionNotFound);
    for version in [0, 1, 6] {
        assert_eq!(kind(history.at_version(&d1, version).await.map(drop)), absent);
    }
    assert_eq!(kind(history.at(&d1, Timestamp::ZERO).await.map(drop)), absent);
    let nobody = "d9".parse().unwrap();
    let unknown = Err(ErrorKind::DeviceNotFound);
    assert_eq!(kind(history.versions(&nobody, None, 9).await.map(drop)), unknown);
    assert_eq!(kind(history.at_version(&nobody, 2).await.map(drop)), unknown);
}

#[tokio::test]
async fn history_is_bounded_in_number_and_age_and_goes_with_its_device() {
    let world = World::with(|limits| limits.twin_history_max = 8);
    let (hub, d1) = (&world.hub, world.register("d1").await);
    let mut was = Vec::new();
    for n in 0..50 {
        was.push(patch(hub, &d1, json!({"tags": {"n": n}})).await);
        let kept = hub.twin_history().versions(&d1, None, 100).await.unwrap().len();
        // At least so many, and at most an eighth and one more.
        assert!(kept >= 8.min(n + 1) && kept <= 10, "{kept} of {n}");
    }
    for twin in was.iter().rev().take(8) {
        assert_eq!(hub.twin_history().at_version(&d1, twin.version()).await.as_ref(), Ok(twin));
    }
    world.clock.advance(world.limits.twin_history_retention);
    let count = || async { hub.twin_history().versions(&d1, None, 100).await.unwrap().len() };
    world.until(|| async { count().await == 0 }).await;
    let last = was.last().unwrap();
    assert_eq!(hub.twin_history().at_version(&d1, last.version()).await.as_ref(), Ok(last));
    patch(hub, &d1, json!({"tags": {"n": 50}})).await;
    hub.registry().delete(&d1, None).await.unwrap();
    let d1 = world.register("d1").await;
    assert_eq!(hub.twin_history().versions(&d1, None, 100).await.unwrap(), []);
}

#[tokio::test]
async fn none_is_kept_unless_that_is_wanted() {
    let world = World::with(|_| {});
    let (hub, d1) = (&world.hub, world.register("d1").await);
    patch(hub, &d1, json!({"tags": {"n": 1}})).await;
    assert_eq!(hub.twin_history().versions(&d1, None, 9).await.unwrap(), []);
    let absent = kind(hub.twin_history().at_version(&d1, 2).await.map(drop));
    assert_eq!(absent, Err(ErrorKind::TwinVersionNotFound));
}

/// Many writers at once, at two nodes, and a history that is full all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_leave_no_gap() {
    let world = World::with(|limits| {
        limits.twin_history_max = 16;
        limits.conflict_rounds_max = 200;
    });
    let d1 = world.register("d1").await;
    let nodes = [world.hub.clone(), world.node("b").await];
    let work = nodes.into_iter().enumerate().map(|(node, hub)| {
        let d1 = d1.clone();
        tokio::spawn(async move {
            for n in 0..40 {
                patch(&hub, &d1, json!({"tags": {format!("n{node}"): n}})).await;
            }
        })
    });
    soon(futures::future::join_all(work)).await.into_iter().for_each(Result::unwrap);
    let versions = world.hub.twin_history().versions(&d1, None, 100).await.unwrap();
    let numbers: Vec<u64> = versions.iter().map(|version| version.version()).collect();
    let expected: Vec<u64> = (83 - numbers.len() as u64..83).collect();
    assert_eq!(numbers, expected);
    assert!(numbers.len() >= 16 && numbers.len() <= 19, "{numbers:?}");
}

#[tokio::test]
async fn the_event_of_a_change_has_old_values_beside_new_ones_if_that_is_wanted() {
    let world = World::built(
        |limits| limits.twin_events_with_previous = true,
        |builder| builder.event_source(EventSource::TwinChange).partitions(1),
    );
    let (hub, d1) = (&world.hub, world.register("d1").await);
    patch(hub, &d1, json!({"properties": {"desired": {"a": {"x": 1}}}})).await;
    patch(hub, &d1, json!({"properties": {"desired": {"a": {"x": 2, "y": 3}}}})).await;
    let content = ServicePatch::from_value(&json!({"tags": {"t": 1}}), hub.limits()).unwrap();
    hub.replace_twin(&d1, content, None).await.unwrap();
    let mut reader = hub.reader(Partition(0), Position::Earliest).await.unwrap();
    let events = reader.try_read(10).await.unwrap();
    let bodies: Vec<Value> =
        events.iter().map(|event| serde_json::from_slice(&event.body).unwrap()).collect();
    let desired = &bodies[1]["properties"]["desired"];
    assert_eq!((&desired["a"], &desired["$version"]), (&json!({"x": 2, "y": 3}), &json!(3)));
    let previous = json!({"properties": {"desired": {"a": {"x": 1, "y": null}}}});
    assert_eq!(bodies[1]["previous"], previous);
    assert_eq!(bodies[2]["previous"], json!({"tags": {"t": null}}));
    assert_eq!(bodies[2]["tags"], json!({"t": 1}));
}

/// A write, by whom and what.
fn write() -> impl Strategy<Value = (u8, Value)> {
    let value = prop_oneof![
        Just(Value::Null),
        (0..9_i64).prop_map(Value::from),
        Just(json!({"x": 1})),
        Just(json!({"x": null, "y": "z"})),
    ];
    let object = prop::collection::btree_map("[abc]", value, 0..3)
        .prop_map(|map| Value::Object(map.into_iter().collect()));
    (0..4_u8, object)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is written, each version that is kept is the twin as it was then; and at least so many
    /// are kept as were wanted.
    #[test]
    fn every_version_that_is_kept_is_the_twin_of_then(
        writes in prop::collection::vec(write(), 1..40),
        wanted in 1..12_u32,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::with(|limits| limits.twin_history_max = wanted);
            let (hub, d1) = (&world.hub, world.register("d1").await);
            let mut device = soon(hub.device(&d1)).await.unwrap();
            soon(device.subscribe(Interest::TwinResponses)).await.unwrap();
            let read = || async { hub.registry().twin(&d1).await.unwrap().twin };
            let mut was = vec![(hub.now(), read().await)];
            for (who, content) in writes {
                world.clock.advance(Duration::from_secs(1));
                let write = match who {
                    0 => {
                        soon(device.report(content.to_string())).await.unwrap();
                        None
                    }
                    1 => Some((json!({"tags": content}), false)),
                    2 => Some((json!({"properties": {"desired": content}}), false)),
                    _ => Some((json!({"properties": {"desired": content}}), true)),
                };
                if let Some((write, replaces)) = write {
                    let write = ServicePatch::from_value(&write, hub.limits()).unwrap();
                    match replaces {
                        true => hub.replace_twin(&d1, write, None).await.unwrap(),
                        false => hub.patch_twin(&d1, write, None).await.unwrap(),
                    };
                }
                let now = read().await;
                if was.last().is_none_or(|(_, last)| last.version() != now.version()) {
                    was.push((hub.now(), now));
                }
            }
            let history = hub.twin_history();
            let kept = history.versions(&d1, None, 1000).await.unwrap().len();
            let wanted = usize::try_from(wanted).unwrap();
            assert!(kept >= wanted.min(was.len() - 1) && kept <= wanted + wanted / 8 + 1, "{kept}");
            let first = was.len() - 1 - kept;
            for (n, (since, twin)) in was.iter().enumerate() {
                let expected = if n >= first { Ok(twin) } else { Err(ErrorKind::TwinVersionNotFound) };
                let found = kind(history.at_version(&d1, twin.version()).await);
                assert_eq!(found.as_ref(), expected.as_ref().map(|it| *it));
                let found = kind(history.at(&d1, *since).await);
                assert_eq!(found.as_ref(), expected.as_ref().map(|it| *it));
            }
        });
    }
}
