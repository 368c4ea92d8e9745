//! What becomes of twins when configurations come, change and go; and when twins do.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hub_core::Clock as _;
use hub_core::configuration::{
    Configuration, ConfigurationSpec, Index, Progress, Round, Sweep, put,
};
use hub_core::engine::{DeviceClient, DeviceEvent, QueryRows};
use hub_core::frame::Interest;
use hub_core::id::SequenceNumber;
use hub_core::registry::IfMatch;
use hub_core::store::{Ask, Batch, BatchId, Change, Kind, Outcome, Push, QueueId, Record, Store};
use hub_core::time::Timestamp;
use hub_core::twin::ServicePatch;
use serde_json::{Value, json};

use crate::world::{
    World, address, becomes, counts, create, desired, eventually, id, make, spec, statuses, tag,
    write,
};

#[tokio::test]
async fn a_configuration_comes_changes_and_goes() {
    let world = World::new();
    let hub = world.start();
    for (name, site) in [("d0", "a"), ("d1", "b"), ("d2", "a")] {
        create(&hub, name).await;
        tag(&hub, name, json!({"site": site})).await;
    }
    let all = spec("all", "*", json!({"rate": 1, "fan": {"speed": 1}}))
        .metric("slow", "SELECT deviceId FROM devices WHERE properties.desired.rate = 1");
    make(&hub, all).await;
    for name in ["d0", "d1", "d2"] {
        becomes(&hub, name, json!({"rate": 1, "fan": {"speed": 1}})).await;
    }
    let made = make(&hub, spec("a", "tags.site = 'a'", json!({"rate": 5})).priority(1)).await;
    for name in ["d0", "d2"] {
        becomes(&hub, name, json!({"rate": 5, "fan": {"speed": 1}})).await;
    }
    let want = json!({"all": {"status": "Applied"}, "a": {"status": "Applied"}});
    assert_eq!(statuses(&hub, "d0").await, want);
    assert_eq!(counts(&hub, "a").await, json!({"targetedCount": 2, "appliedCount": 2}));
    let want = json!({"targetedCount": 3, "appliedCount": 3, "slow": 1});
    assert_eq!(counts(&hub, "all").await, want);
    // The condition changes: who is not selected any more gets the next in rank.
    let update = ConfigurationSpec::new(id("a")).target("tags.site = 'b'");
    let etag = IfMatch::parse(&made.etag());
    hub.configurations().put(&update, Some(&etag)).await.unwrap();
    becomes(&hub, "d1", json!({"rate": 5, "fan": {"speed": 1}})).await;
    becomes(&hub, "d0", json!({"rate": 1, "fan": {"speed": 1}})).await;
    hub.configurations().delete(&id("all"), None).await.unwrap();
    becomes(&hub, "d0", json!({})).await;
    becomes(&hub, "d1", json!({"rate": 5})).await;
    hub.configurations().delete(&id("a"), Some(&IfMatch::Any)).await.unwrap();
    becomes(&hub, "d1", json!({})).await;
    assert_eq!(statuses(&hub, "d1").await, json!({}));
    assert_eq!(hub.configurations().list(None).await.unwrap(), []);
}

#[tokio::test]
async fn twins_that_come_to_be_selected_are_targeted_at_once() {
    let world = World::new();
    let hub = world.start();
    make(&hub, spec("all", "*", json!({"a": 1}))).await;
    make(&hub, spec("low", "properties.reported.battery < 20", json!({"saving": true}))).await;
    create(&hub, "d0").await;
    // In the very change that made it.
    assert!(statuses(&hub, "d0").await["all"].is_object());
    becomes(&hub, "d0", json!({"a": 1})).await;
    let mut device = hub.device(&address("d0")).await.unwrap();
    device.report(json!({"battery": 10}).to_string()).await.unwrap();
    assert!(statuses(&hub, "d0").await["low"].is_object());
    becomes(&hub, "d0", json!({"a": 1, "saving": true})).await;
    device.report(json!({"battery": 90}).to_string()).await.unwrap();
    assert!(statuses(&hub, "d0").await["low"].is_null());
    becomes(&hub, "d0", json!({"a": 1})).await;
}

async fn heard(device: &mut DeviceClient) -> (u64, Value) {
    match device.next().await {
        DeviceEvent::Desired(version, patch) => (version, serde_json::from_slice(&patch).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_device_is_told_and_versions_count() {
    let world = World::new();
    let hub = world.start();
    create(&hub, "d0").await;
    let mut device = hub.device(&address("d0")).await.unwrap();
    device.subscribe(Interest::DesiredProperties).await.unwrap();
    make(&hub, spec("c1", "*", json!({"a": {"b": 1}}))).await;
    let (version, patch) = heard(&mut device).await;
    assert_eq!((version, patch), (2, json!({"a": {"b": 1}, "$version": 2})));
    hub.configurations().delete(&id("c1"), None).await.unwrap();
    let (version, patch) = heard(&mut device).await;
    assert_eq!((version, patch), (3, json!({"a": null, "$version": 3})));
    // Nothing is written that is there already: a change of rank alone is none.
    write(&hub, "d0", json!({"properties": {"desired": {"x": 1}}})).await;
    heard(&mut device).await;
    make(&hub, spec("c2", "*", json!({"x": 1}))).await;
    eventually(|| async { statuses(&hub, "d0").await["c2"]["status"] == "Applied" }).await;
    let twin = hub.registry().twin(&address("d0")).await.unwrap().twin;
    assert_eq!(twin.desired_version(), 4);
}

#[tokio::test]
async fn queries_see_configurations_and_modules_have_their_own() {
    let world = World::new();
    let hub = world.start();
    for name in ["d0", "d0/m1", "d0/m2", "d1"] {
        create(&hub, name).await;
    }
    let content = json!({"moduleContent": {"properties.desired.a.b": 1}});
    let target = "from devices.modules where moduleId = 'm1'";
    let modules = ConfigurationSpec::new(id("mods")).content(content).target(target);
    make(&hub, modules).await;
    make(&hub, spec("devs-1", "deviceId = 'd1'", json!({"c": 1}))).await;
    becomes(&hub, "d0/m1", json!({"a": {"b": 1}})).await;
    becomes(&hub, "d1", json!({"c": 1})).await;
    assert_eq!(desired(&hub, "d0/m2").await, json!({}));
    assert_eq!(counts(&hub, "mods").await, json!({"targetedCount": 1, "appliedCount": 1}));
    for (text, want) in [
        ("SELECT deviceId FROM devices WHERE configurations.[[devs-1]].status = 'Applied'", 1),
        ("SELECT deviceId FROM devices WHERE configurations.devs-1.status = 'Targeted'", 0),
        ("SELECT deviceId FROM devices WHERE IS_DEFINED(configurations.[[mods]])", 0),
        ("SELECT deviceId FROM devices WHERE NOT IS_DEFINED(configurations)", 1),
        (
            "SELECT moduleId FROM devices.modules WHERE configurations.[[mods]].status = 'Applied'",
            1,
        ),
    ] {
        let page = hub.query(text, None, None).await.unwrap();
        assert_eq!(page.rows.len(), want, "{text}");
    }
    let text = "SELECT configurations.[[devs-1]] AS c FROM devices WHERE deviceId = 'd1'";
    let QueryRows::Values(rows) = hub.query(text, None, None).await.unwrap().rows else { panic!() };
    assert_eq!(rows[0]["c"], json!({"status": "Applied"}));
}

#[tokio::test]
async fn another_node_goes_on_where_one_stopped() {
    let world = World::with(|limits| limits.configuration_page_max = 2);
    let hub = world.start();
    for n in 0..9 {
        create(&hub, &format!("d{n}")).await;
    }
    hub.shutdown(Duration::from_secs(10)).await;
    // A node has made a configuration, looked at half of the twins, and stopped.
    let asked = spec("c1", "*", json!({"a": 1}));
    let made = put(None, &asked, None, 1, world.clock.now(), &world.limits).unwrap();
    let half = Progress::After(Some("d4".to_owned()), Round::Change);
    let half = Sweep { revision: 1, progress: half };
    let change = Change::new()
        .create(Index::key(), Index::default().with(&id("c1")).encode())
        .create(Configuration::key(&id("c1")), made.encode())
        .create(Sweep::key(), half.encode());
    commit(&world, change).await;
    let hub = world.start();
    for n in 5..9 {
        becomes(&hub, &format!("d{n}"), json!({"a": 1})).await;
    }
    let round_is_over = || async {
        let read = world.store.read(&[Ask::Document(Sweep::key())]).await.unwrap();
        let Some(Record::Document(document)) = &read[0] else { panic!("{read:?}") };
        Sweep::decode(&document.body).unwrap().next().is_some()
    };
    eventually(round_is_over).await;
    assert_eq!(desired(&hub, "d0").await, json!({}));
    // Soon after all are looked through once more.
    world.clock.advance(world.limits.configuration_settle);
    for n in 0..5 {
        becomes(&hub, &format!("d{n}"), json!({"a": 1})).await;
    }
    assert_eq!(counts(&hub, "c1").await, json!({"targetedCount": 9, "appliedCount": 9}));
}

#[tokio::test]
async fn a_node_works_on_so_many_twins_and_no_more() {
    let world = World::with(|limits| limits.configuration_twins_in_flight_max = 3);
    let hub = world.start();
    for n in 0..60 {
        create(&hub, &format!("d{n}")).await;
    }
    make(&hub, spec("c1", "*", json!({"a": 1}))).await;
    eventually(|| async {
        let asks = [Ask::Items(QueueId::configure(), SequenceNumber(0), 100)];
        let read = world.store.read(&asks).await.unwrap();
        let Some(Record::Items(items)) = &read[0] else { panic!("{read:?}") };
        let taken = items.iter().filter(|item| item.visible > world.clock.now()).count();
        assert!(taken <= 3, "{taken} twins are taken");
        counts(&hub, "c1").await["appliedCount"] == 60
    })
    .await;
}

#[tokio::test]
async fn a_sweep_finds_what_no_sign_told_of() {
    let world = World::new();
    let hub = world.start();
    create(&hub, "d0").await;
    make(&hub, spec("c1", "tags.on = true", json!({"a": 1}))).await;
    // Whoever wrote this twin knew nothing of configurations.
    let mut twin = hub.registry().twin(&address("d0")).await.unwrap().twin;
    let patch = ServicePatch::from_value(&json!({"tags": {"on": true}}), hub.limits()).unwrap();
    twin.patch(&patch, None, hub.now(), hub.limits()).unwrap();
    let one = NonZeroU32::MIN;
    let at = world.store.scan(Kind::Twin, None, one).await.unwrap().remove(0).at;
    commit(&world, Change::new().replace(&at, twin.encode())).await;
    eventually(|| async {
        world.clock.advance(Duration::from_secs(30));
        desired(&hub, "d0").await == json!({"a": 1})
    })
    .await;
}

async fn commit(world: &World, change: Change) {
    static BATCHES: AtomicU64 = AtomicU64::new(1);
    let id = BatchId(BATCHES.fetch_add(1, Ordering::Relaxed).into());
    let batch = Batch { id, changes: vec![change], nudges: Vec::new() };
    let outcomes = world.store.commit(&batch).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
}

#[tokio::test]
async fn a_full_backlog_holds_up_nobody() {
    let world = World::with(|limits| {
        limits.configuration_backlog_max = 1;
        limits.configuration_page_max = 1;
    });
    let hub = world.start();
    make(&hub, spec("all", "*", json!({"a": 1}))).await;
    make(&hub, spec("some", "IS_DEFINED(tags.n) OR properties.reported.n = 1", json!({"b": 1})))
        .await;
    // The one place is taken, by something that nobody takes away.
    let queue = QueueId::configure();
    let (visible, deadline, body) = (Timestamp::MAX, Timestamp::MAX, "".into());
    let block = Push { queue: queue.clone(), capacity: 1, visible, deadline, body };
    commit(&world, Change::new().push(block)).await;
    for name in ["d0", "d1", "d2"] {
        create(&hub, name).await;
    }
    tag(&hub, "d0", json!({"n": 1})).await;
    let mut device = hub.device(&address("d1")).await.unwrap();
    device.report(r#"{"n":1}"#).await.unwrap();
    for (name, count) in [("d0", 2), ("d1", 2), ("d2", 1)] {
        assert_eq!(statuses(&hub, name).await.as_object().unwrap().len(), count, "{name}");
        assert_eq!(desired(&hub, name).await, json!({}));
    }
    commit(&world, Change::new().clear(queue)).await;
    for (name, want) in
        [("d0", json!({"a": 1, "b": 1})), ("d1", json!({"a": 1, "b": 1})), ("d2", json!({"a": 1}))]
    {
        eventually(|| async {
            world.clock.advance(Duration::from_secs(1));
            desired(&hub, name).await == want
        })
        .await;
    }
}
