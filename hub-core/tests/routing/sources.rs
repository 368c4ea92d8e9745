//! The event sources: what each says, and that none lacks the change of which it tells.

use hub_core::engine::{DeviceClient, Hub, ManualClock};
use hub_core::envelope::EventSource;
use hub_core::limits::Limits;
use hub_core::registry::IfMatch;
use hub_core::twin::ServicePatch;
use serde_json::{Value, json};

use crate::world::{
    START, address, assert_made_by_hub, hub, json as body, log, log_of, property, register, soon,
};

fn patch(value: &Value) -> ServicePatch {
    ServicePatch::parse(value.to_string().as_bytes(), &Limits::default()).unwrap()
}

async fn with(source: EventSource) -> Hub {
    let (hub, _) = hub(|builder| builder.event_source(source));
    register(&hub, "d1").await;
    hub
}

async fn device(hub: &Hub, name: &str) -> DeviceClient {
    hub.device(&address(name)).await.unwrap()
}

#[tokio::test]
async fn by_default_there_are_no_events_but_telemetry() {
    let (hub, _) = hub(|builder| builder);
    let d1 = register(&hub, "d1").await;
    let mut device = device(&hub, "d1").await;
    device.report(json!({"a": 1}).to_string()).await.unwrap();
    hub.patch_twin(&d1, patch(&json!({"tags": {"a": 1}})), None).await.unwrap();
    drop(device);
    hub.registry().delete(&d1, None).await.unwrap();
    assert_eq!(log(&hub).await, []);
}

#[tokio::test]
async fn an_event_source_leaves_telemetry_where_it_was() {
    let hub = with(EventSource::TwinChange).await;
    let mut device = device(&hub, "d1").await;
    device.send(b"hello", &[]).await.unwrap();
    let events = log(&hub).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].source, &events[0].body[..]), (EventSource::Telemetry, &b"hello"[..]));
}

#[tokio::test]
async fn a_patch_of_a_twin_says_what_changed_with_metadata() {
    let hub = with(EventSource::TwinChange).await;
    let d1 = address("d1");
    let write =
        json!({"tags": {"tag1": "new"}, "properties": {"desired": {"p": "new", "q": null}}});
    hub.patch_twin(&d1, patch(&write), None).await.unwrap();
    let events = log(&hub).await;
    assert_eq!(events.len(), 1);
    assert_made_by_hub(&events[0], "updateTwin", "twinChangeNotification");
    assert_eq!(events[0].source.name(), "twinChangeEvents");
    let at = "2027-01-15T08:00:00.0000000Z";
    assert_eq!(
        body(&events[0]),
        json!({
            "version": 3,
            "tags": {"tag1": "new"},
            "properties": {"desired": {
                "p": "new",
                "q": null,
                "$metadata": {
                    "$lastUpdated": at,
                    "$lastUpdatedVersion": 2,
                    "p": {"$lastUpdated": at, "$lastUpdatedVersion": 2},
                },
                "$version": 2,
            }},
        })
    );
}

#[tokio::test]
async fn a_report_says_what_the_device_reported() {
    let hub = with(EventSource::TwinChange).await;
    let mut device = device(&hub, "d1").await;
    device.report(json!({"max": 10.96}).to_string()).await.unwrap();
    let events = log(&hub).await;
    assert_eq!(events.len(), 1);
    assert_made_by_hub(&events[0], "updateTwin", "twinChangeNotification");
    let body = body(&events[0]);
    assert_eq!(body["version"], 3);
    assert_eq!(body["properties"]["reported"]["max"], 10.96);
    assert_eq!(body["properties"]["reported"]["$version"], 2);
    assert_eq!(body["properties"].get("desired"), None);
    assert_eq!(body.get("tags"), None);
}

#[tokio::test]
async fn a_replacement_says_the_whole_twin() {
    let hub = with(EventSource::TwinChange).await;
    let write = json!({"tags": {"a": 1}, "properties": {"desired": {"p": 1}}});
    let twin = hub.replace_twin(&address("d1"), patch(&write), None).await.unwrap();
    let events = log(&hub).await;
    assert_made_by_hub(&events[0], "replaceTwin", "twinChangeNotification");
    let body = body(&events[0]);
    assert_eq!((&body["deviceId"], &body["version"]), (&json!("d1"), &json!(3)));
    assert_eq!(body["etag"], twin.etag());
    assert_eq!(body["tags"], json!({"a": 1}));
    assert_eq!(body["properties"]["desired"]["p"], 1);
    assert_eq!(body["properties"]["reported"]["$version"], 1);
}

#[tokio::test]
async fn a_write_that_changes_no_value_has_its_event_and_one_that_is_refused_has_none() {
    let hub = with(EventSource::TwinChange).await;
    let d1 = address("d1");
    let write = json!({"tags": {"a": 1}});
    hub.patch_twin(&d1, patch(&write), None).await.unwrap();
    hub.patch_twin(&d1, patch(&write), None).await.unwrap();
    assert_eq!(log(&hub).await.len(), 2);
    hub.patch_twin(&d1, patch(&write), Some("AAAAAAAAAAE=")).await.unwrap_err();
    hub.patch_twin(&d1, patch(&json!({})), None).await.unwrap();
    assert_eq!(log(&hub).await.len(), 2);
}

#[tokio::test]
async fn events_of_one_twin_have_rising_versions_and_names_of_their_own() {
    let hub = with(EventSource::TwinChange).await;
    for number in 0..20 {
        let write = patch(&json!({"tags": {"n": number}}));
        hub.patch_twin(&address("d1"), write, None).await.unwrap();
    }
    let events = log(&hub).await;
    let versions: Vec<u64> = events.iter().map(|e| body(e)["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (3..23).collect::<Vec<_>>());
    let id = hub_core::envelope::SystemProperty::CorrelationId;
    let mut ids: Vec<&str> = events.iter().map(|event| event.system(id).unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

#[tokio::test]
async fn identities_that_are_created_and_deleted_say_so_with_their_modules() {
    let hub = with(EventSource::DeviceLifecycle).await;
    register(&hub, "d1/m1").await;
    let d1 = address("d1");
    // An update is neither.
    let registration = hub.registry().get(&d1).await.unwrap();
    let spec = hub_core::registry::IdentitySpec::new(d1.clone());
    let if_match = IfMatch::Etag(registration.identity.etag());
    hub.registry().put(&spec, Some(&if_match)).await.unwrap();
    hub.registry().delete(&d1, None).await.unwrap();
    let events = log(&hub).await;
    let told: Vec<(&str, &str)> = events
        .iter()
        .map(|event| (event.sender.as_str(), property(event, "opType").unwrap()))
        .collect();
    let (create, delete) = ("createDeviceIdentity", "deleteDeviceIdentity");
    assert_eq!(told, [("d1", create), ("d1/m1", create), ("d1", delete), ("d1/m1", delete)]);
    for (event, (_, op)) in events.iter().zip(&told) {
        assert_made_by_hub(event, op, "deviceLifecycleNotification");
    }
    let created = body(&events[1]);
    assert_eq!((&created["deviceId"], &created["moduleId"]), (&json!("d1"), &json!("m1")));
    assert_eq!((&created["etag"], &created["version"]), (&json!("AAAAAAAAAAE="), &json!(2)));
    assert_eq!(created["properties"]["desired"]["$version"], 1);
    assert!(created["properties"]["reported"]["$metadata"]["$lastUpdated"].is_string());
}

#[tokio::test]
async fn a_registration_that_fails_says_nothing() {
    let hub = with(EventSource::DeviceLifecycle).await;
    let spec = hub_core::registry::IdentitySpec::new(address("d1"));
    hub.registry().put(&spec, None).await.unwrap_err();
    hub.registry().delete(&address("gone"), None).await.unwrap_err();
    let other = IfMatch::Etag("b3RoZXI=".into());
    hub.registry().delete(&address("d1"), Some(&other)).await.unwrap_err();
    assert_eq!(log(&hub).await.len(), 1);
}

#[tokio::test]
async fn b17_connections_say_how_they_stand_in_an_order_that_text_has() {
    let hub = with(EventSource::ConnectionState).await;
    let first = device(&hub, "d1").await;
    let second = device(&hub, "d1").await;
    drop(first);
    drop(second);
    hub.registry().delete(&address("d1"), None).await.unwrap();
    let events = log(&hub).await;
    let told: Vec<&str> = events.iter().map(|e| property(e, "opType").unwrap()).collect();
    // The second connection took over from the first: the device was connected all the while, and
    // that something happened in between shows in the number.
    assert_eq!(told, ["deviceConnected", "deviceConnected", "deviceDisconnected"]);
    for (event, op) in events.iter().zip(&told) {
        assert_made_by_hub(event, op, "deviceConnectionStateNotification");
    }
    let numbers: Vec<String> = events
        .iter()
        .map(|event| body(event)["sequenceNumber"].as_str().unwrap().to_owned())
        .collect();
    assert!(numbers.iter().all(|number| number.len() == 64), "{numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

#[tokio::test]
async fn b17_a_device_that_is_registered_anew_goes_on_in_that_order() {
    let (hub, clock) = hub(|builder| builder.event_source(EventSource::ConnectionState));
    let mut numbers: Vec<String> = Vec::new();
    for _ in 0..3 {
        let d1 = register(&hub, "d1").await;
        for _ in 0..3 {
            drop(device(&hub, "d1").await);
        }
        hub.registry().delete(&d1, None).await.unwrap();
        clock.advance(std::time::Duration::from_millis(1));
    }
    for event in log_of(&hub, EventSource::ConnectionState).await {
        numbers.push(body(&event)["sequenceNumber"].as_str().unwrap().to_owned());
    }
    assert_eq!(numbers.len(), 18);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

#[tokio::test]
async fn b17_a_connection_that_died_with_its_node_is_told_of() {
    let store = std::sync::Arc::new(hub_store_memory::MemoryStore::new());
    let clock = std::sync::Arc::new(ManualClock::new(START));
    let node = |name: &str| {
        Hub::builder_on(store.clone())
            .host_name("my-hub.example.net")
            .clock(clock.clone())
            .partitions(1)
            .node(hub_core::id::NodeId::new(name).unwrap())
            .event_source(EventSource::ConnectionState)
            .start()
            .unwrap()
    };
    let (a, b) = (node("a"), node("b"));
    register(&a, "d1").await;
    let device = device(&a, "d1").await;
    assert_eq!(log(&b).await.len(), 1);
    // It ends without a word. The connection is kept as it was, so that it says nothing either.
    drop(a);
    soon(async {
        while log(&b).await.len() < 2 {
            clock.advance(std::time::Duration::from_secs(1));
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    let events = log(&b).await;
    assert_made_by_hub(&events[1], "deviceDisconnected", "deviceConnectionStateNotification");
    let number = |at: usize| body(&events[at])["sequenceNumber"].as_str().unwrap().to_owned();
    assert!(number(0) < number(1));
    drop(device);
}
