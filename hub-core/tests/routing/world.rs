//! A hub to try things on, and what the tests do with it.

use std::sync::Arc;
use std::time::Duration;

use hub_core::engine::{Hub, HubBuilder, ManualClock, Position};
use hub_core::envelope::{Event, EventSource, SystemProperty};
use hub_core::id::{Address, Partition};
use hub_core::registry::IdentitySpec;
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;
use serde_json::Value;

pub(crate) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A hub of one partition, whose time stands still until it is moved.
pub(crate) fn hub(set_up: impl FnOnce(HubBuilder) -> HubBuilder) -> (Hub, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(START));
    let builder = Hub::builder(MemoryStore::new())
        .host_name("my-hub.example.net")
        .clock(clock.clone())
        .partitions(1);
    (set_up(builder).start().unwrap(), clock)
}

pub(crate) async fn register(hub: &Hub, name: &str) -> Address {
    let address = address(name);
    hub.registry().put(&IdentitySpec::new(address.clone()), None).await.unwrap();
    address
}

/// All events of the built-in log.
pub(crate) async fn log(hub: &Hub) -> Vec<Event> {
    let mut reader = hub.reader(Partition(0), Position::Earliest).await.unwrap();
    reader.try_read(1000).await.unwrap()
}

/// The events of a source in the built-in log.
pub(crate) async fn log_of(hub: &Hub, source: EventSource) -> Vec<Event> {
    log(hub).await.into_iter().filter(|event| event.source == source).collect()
}

pub(crate) fn json(event: &Event) -> Value {
    serde_json::from_slice(&event.body).unwrap()
}

/// An application property.
pub(crate) fn property<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    let found = event.properties.application().into_iter().find(|(key, _)| *key == name);
    found.and_then(|(_, value)| value)
}

/// That an event is as all events of the hub are, and of this schema.
pub(crate) fn assert_made_by_hub(event: &Event, op: &str, schema: &str) {
    assert_eq!(event.system(SystemProperty::UserId), Some("my-hub"));
    assert_eq!(event.system(SystemProperty::ContentEncoding), Some("utf-8"));
    assert!(event.system(SystemProperty::CorrelationId).is_some_and(|id| !id.is_empty()));
    assert_eq!(property(event, "hubName"), Some("my-hub"));
    assert_eq!(property(event, "deviceId"), Some(event.sender.device_str()));
    assert_eq!(property(event, "moduleId"), event.sender.module_str());
    assert_eq!(property(event, "opType"), Some(op));
    assert_eq!(property(event, "iothub-message-schema"), Some(schema));
    let at = property(event, "operationTimestamp").unwrap();
    assert_eq!(Timestamp::parse(at), Some(event.enqueued), "{at}");
    assert_eq!((event.auth, event.generation.as_str()), (None, ""));
}

/// What must come.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}
