//! Digital twins: patches are guarded, and what becomes of one is told.

use hub_core::ErrorKind;
use hub_core::engine::{Hub, Position};
use hub_core::envelope::{Event, EventSource, SystemProperty};
use hub_core::frame::{Guarantee, Inbound, Interest, Outbound};
use hub_core::hello::{Credentials, Hello, SessionMode};
use hub_core::id::{Partition, Tag};
use hub_core::twin::DigitalPatch;
use serde_json::{Value, json};

use crate::world::{World, address, create, desired};

const MODEL: &str = "dtmi:com:example:Thermostat;1";

async fn patch(hub: &Hub, operations: Value, if_match: Option<&str>) -> Result<String, ErrorKind> {
    let patch = DigitalPatch::parse(operations.to_string().as_bytes()).unwrap();
    let written = hub.patch_digital_twin(&address("d0"), patch, if_match).await;
    written.map(|twin| twin.etag()).map_err(|error| error.kind())
}

async fn events(hub: &Hub) -> Vec<Event> {
    let mut all = Vec::new();
    for number in 0..hub.partitions() {
        let mut reader = hub.reader(Partition(number), Position::Earliest).await.unwrap();
        all.extend(reader.try_read(100).await.unwrap());
    }
    all
}

#[tokio::test]
async fn a_patch_writes_once_and_under_its_condition() {
    let hub = World::new().start();
    create(&hub, "d0").await;
    let add = |value: i32| json!([{"op": "add", "path": "/targetTemperature", "value": value}]);
    let etag = patch(&hub, add(20), None).await.unwrap();
    assert_eq!(desired(&hub, "d0").await, json!({"targetTemperature": 20}));
    assert_eq!(patch(&hub, add(21), Some("bm9uZQ==")).await, Err(ErrorKind::PreconditionFailed));
    assert!(patch(&hub, add(22), Some(&etag)).await.is_ok());
    let gone = json!([{"op": "remove", "path": "/gone"}]);
    assert_eq!(patch(&hub, gone, None).await, Err(ErrorKind::DigitalTwinPathInvalid));
    assert_eq!(desired(&hub, "d0").await, json!({"targetTemperature": 22}));
    let missing = DigitalPatch::parse(b"[]").unwrap();
    let missing = hub.patch_digital_twin(&address("d9"), missing, None).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::DeviceNotFound);
}

#[tokio::test]
async fn changes_are_told_of_devices_that_have_announced_a_model() {
    let world = World::new();
    let hub = world.set_up(|builder| builder.event_source(EventSource::DigitalTwinChange));
    create(&hub, "d0").await;
    let add = |value: i32| json!([{"op": "add", "path": "/target", "value": value}]);
    patch(&hub, add(1), None).await.unwrap();
    assert_eq!(events(&hub).await.len(), 0);
    let hello = Hello {
        address: address("d0"),
        credentials: Credentials::InProcess,
        host: None,
        session: SessionMode::Clean,
        model: Some(MODEL.to_owned()),
        client: None,
        protocol: "test",
        peer: None,
    };
    let mut link = hub.connect(hello).await.unwrap();
    let listen = vec![(Interest::TwinResponses, Guarantee::AtLeastOnce)];
    link.up.ready().await.send(Inbound::Subscribe(Tag(1), listen));
    assert!(matches!(link.down.next().await, Some(Outbound::Receipt(Tag(1)))));
    patch(&hub, add(2), None).await.unwrap();
    let report = json!({"target": {"value": 2, "ac": 200, "av": 3}}).to_string();
    link.up.ready().await.send(Inbound::Report(Tag(2), report.into(), None));
    assert!(matches!(link.down.next().await, Some(Outbound::Reported(Tag(2), _))));
    let events = events(&hub).await;
    let told: Vec<Value> =
        events.iter().map(|event| serde_json::from_slice(&event.body).unwrap()).collect();
    let paths = |patch: &Value| -> Vec<String> {
        let operations = patch.as_array().unwrap().iter();
        operations
            .map(|o| format!("{} {}", o["op"].as_str().unwrap(), o["path"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(paths(&told[0]), ["replace /$metadata/target"]);
    assert_eq!(told[0][0]["value"]["desiredValue"], 2);
    assert_eq!(paths(&told[1]), ["replace /$metadata/target", "add /target"]);
    assert_eq!(told.len(), 2);
    let event = &events[0];
    assert_eq!(event.source, EventSource::DigitalTwinChange);
    let kind = event.properties.system(SystemProperty::ContentType);
    assert_eq!(kind, Some("application/json-patch+json"));
    let application = event.properties.application();
    for (name, value) in
        [("iothub-message-schema", "digitalTwinChangeNotification"), ("opType", "updateTwin")]
    {
        assert!(application.contains(&(name, Some(value))), "{application:?}");
    }
}
