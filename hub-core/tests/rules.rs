//! The rules that are most often implemented wrong, each by its number; `docs/rules.md` says where
//! those stand that are not here.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use hub_core::delivery::{FeedbackStatus, MessageOutcome};
use hub_core::engine::{DeviceEvent, FeedbackBatch, FeedbackReceiver, Hub, ManualClock};
use hub_core::envelope::{Ack, Message};
use hub_core::error::ErrorKind;
use hub_core::frame::{Disposition, Interest};
use hub_core::id::Address;
use hub_core::limits::Limits;
use hub_core::method::MethodCall;
use hub_core::registry::IdentitySpec;
use hub_core::time::Timestamp;
use hub_core::twin::{Patch, ServicePatch, Twin, TwinError};
use hub_store_memory::MemoryStore;
use serde_json::{Value, json};

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_800_000_007_000);

async fn hub() -> (Hub, Address, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(START));
    let hub = Hub::builder(MemoryStore::new()).clock(clock.clone()).start().unwrap();
    let address = Address::parse("d1").unwrap();
    hub.registry().put(&IdentitySpec::new(address.clone()), None).await.unwrap();
    (hub, address, clock)
}

/// Lets time pass, and the hub's own work be done in it.
async fn pass(clock: &ManualClock, time: Duration) {
    let steps = time.as_millis() / 500;
    for _ in 0..steps {
        clock.advance(Duration::from_millis(500));
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
}

/// Sends a message that asks for feedback, and ends it at once.
async fn rejected(hub: &Hub, address: &Address, id: &str) {
    let message = Message::new("x").with_message_id(id).with_ack(Ack::Full);
    let sent = hub.send(address, message).await.unwrap();
    let delivery = hub.receive(address, Duration::from_secs(60)).await.unwrap().unwrap();
    hub.settle(address, delivery.token, Disposition::Reject).await.unwrap();
    assert_eq!(sent.await, Some(MessageOutcome::Rejected));
}

async fn receive(feedback: &FeedbackReceiver) -> Option<FeedbackBatch> {
    feedback.try_receive().await.unwrap()
}

#[tokio::test]
async fn b07_a_dead_letter_is_a_state_and_not_a_queue() {
    let (hub, address, clock) = hub().await;
    rejected(&hub, &address, "m1").await;
    assert_eq!(hub.peek(&address, None, 10).await.unwrap(), []);
    assert_eq!(hub.registry().get(&address).await.unwrap().messages, 0);
    pass(&clock, Duration::from_secs(17)).await;
    let batch = receive(&hub.feedback()).await.unwrap();
    let ends: Vec<_> = batch.records.iter().map(|r| (r.message_id.as_str(), r.status)).collect();
    assert_eq!(ends, [("m1", FeedbackStatus::Rejected)]);
}

#[tokio::test]
async fn b07_feedback_has_its_own_lock_and_its_own_maximum() {
    let (hub, address, clock) = hub().await;
    rejected(&hub, &address, "m1").await;
    pass(&clock, Duration::from_secs(17)).await;
    let feedback = hub.feedback();
    let first = receive(&feedback).await.unwrap();
    assert_eq!(receive(&feedback).await, None);
    clock.advance(hub.limits().feedback_lock);
    let lost = feedback.settle(first.token, Disposition::Complete).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::MessageLockLost);
    for _ in 0..hub.limits().feedback_delivery_count_max {
        let again = receive(&feedback).await.unwrap();
        assert_eq!(again.records, first.records);
        feedback.settle(again.token, Disposition::Abandon).await.unwrap();
    }
    assert_eq!(receive(&feedback).await, None);
}

#[tokio::test]
async fn b07_feedback_that_nobody_receives_expires() {
    let (hub, address, clock) = hub().await;
    rejected(&hub, &address, "m1").await;
    pass(&clock, Duration::from_secs(17)).await;
    clock.advance(hub.limits().feedback_ttl);
    assert_eq!(receive(&hub.feedback()).await, None);
}

#[tokio::test]
async fn b07_pending_feedback_dies_with_the_device() {
    let (hub, address, clock) = hub().await;
    rejected(&hub, &address, "m1").await;
    hub.registry().delete(&address, None).await.unwrap();
    pass(&clock, Duration::from_secs(40)).await;
    assert_eq!(receive(&hub.feedback()).await, None);
}

fn service(text: &Value, limits: &Limits) -> ServicePatch {
    ServicePatch::parse(text.to_string().as_bytes(), limits).unwrap()
}

fn desired(content: &Value) -> ServicePatch {
    service(&json!({"properties": {"desired": content}}), &Limits::default())
}

/// A twin with these desired properties, written at [`START`] as version 2.
fn twin(content: &Value) -> Twin {
    let mut twin = Twin::new(START);
    twin.replace(&desired(content), None, START, &Limits::default()).unwrap();
    twin
}

/// Each patch is reported on its own, and leads from the one to the other.
#[track_caller]
fn merges(old: Value, patch: Value, new: Value) {
    let limits = Limits::default();
    let mut twin = twin(&old);
    twin.patch(&desired(&patch), None, LATER, &limits).unwrap();
    assert_eq!(twin.desired().to_value(), new, "desired");
    let mut reporting = Twin::new(START);
    for step in [&old, &patch] {
        let patch = Patch::parse(step.to_string().as_bytes(), &limits).unwrap();
        reporting.report(&patch, None, LATER, &limits).unwrap();
    }
    assert_eq!(reporting.reported().to_value(), new, "reported");
}

#[test]
fn b09_a_null_below_nothing_makes_the_object_around_it() {
    merges(json!({}), json!({"a": {"b": null}}), json!({"a": {}}));
    merges(json!({"a": 5}), json!({"a": {"b": null}}), json!({"a": {}}));
}

#[test]
fn b09_an_object_that_loses_its_last_member_stays() {
    merges(json!({"a": {"b": 1}}), json!({"a": {"b": null}}), json!({"a": {}}));
}

#[test]
fn b09_an_empty_object_in_a_patch_clears_nothing() {
    merges(json!({"a": {"b": 1}}), json!({"a": {}}), json!({"a": {"b": 1}}));
    merges(json!({}), json!({"a": {}}), json!({"a": {}}));
}

#[test]
fn b09_nulls_inside_arrays_are_errors_and_arrays_replace() {
    let limits = Limits::default();
    for bad in [json!({"a": [1, null]}), json!({"a": [{"b": null}]}), json!({"a": [[null]]})] {
        let parsed = Patch::parse(bad.to_string().as_bytes(), &limits);
        let kind = parsed.map(|_| ()).map_err(|error: TwinError| error.kind());
        assert_eq!(kind, Err(ErrorKind::ArgumentInvalid), "{bad}");
    }
    merges(json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]}));
    merges(json!({"a": [{"b": 1}]}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}}));
}

fn metadata(twin: &Twin, section: &str) -> Value {
    let view = serde_json::to_value(twin.service_properties()).unwrap();
    view[section]["$metadata"].clone()
}

fn stamp(at: Timestamp, version: u64) -> Value {
    json!({"$lastUpdated": at.to_string(), "$lastUpdatedVersion": version})
}

#[test]
fn b10_stamps_go_on_ancestors_also_for_deletes() {
    let mut twin = twin(&json!({"a": {"b": {"c": 1}, "d": 2}, "e": 3}));
    let patch = desired(&json!({"a": {"b": {"c": null}}}));
    twin.patch(&patch, None, LATER, &Limits::default()).unwrap();
    let mut want = stamp(LATER, 3);
    want["a"] = stamp(LATER, 3);
    want["a"]["b"] = stamp(LATER, 3);
    want["a"]["d"] = stamp(START, 2);
    want["e"] = stamp(START, 2);
    assert_eq!(metadata(&twin, "desired"), want);
}

#[test]
fn b10_the_version_of_a_stamp_stands_only_under_desired() {
    let mut twin = twin(&json!({"a": 1}));
    let limits = Limits::default();
    let patch = Patch::parse(br#"{"a":{"b":1}}"#, &limits).unwrap();
    twin.report(&patch, None, LATER, &limits).unwrap();
    let only_time = json!({"$lastUpdated": LATER.to_string()});
    let mut want = only_time.clone();
    want["a"] = only_time.clone();
    want["a"]["b"] = only_time;
    assert_eq!(metadata(&twin, "reported"), want);
    assert_eq!(metadata(&twin, "desired")["a"]["$lastUpdatedVersion"], 2);
}

#[test]
fn b10_an_array_has_one_stamp() {
    let twin = twin(&json!({"a": [{"b": 1}, {"c": [2]}]}));
    assert_eq!(metadata(&twin, "desired")["a"], stamp(START, 2));
}

async fn notices(hub: &Hub, address: &Address) -> hub_core::engine::DeviceClient {
    let mut device = hub.device(address).await.unwrap();
    device.subscribe(Interest::DesiredProperties).await.unwrap();
    device
}

async fn notice(device: &mut hub_core::engine::DeviceClient) -> Value {
    match device.next().await {
        DeviceEvent::Desired(_, text) => serde_json::from_slice(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn b11_a_replacement_notifies_with_nulls_for_what_vanished() {
    let (hub, address, _) = hub().await;
    hub.patch_twin(&address, desired(&json!({"a": 1, "b": {"x": 1, "y": 2}})), None).await.unwrap();
    let mut device = notices(&hub, &address).await;
    let new = desired(&json!({"b": {"y": 2}, "c": 100}));
    hub.replace_twin(&address, new, None).await.unwrap();
    let want = json!({"a": null, "b": {"x": null, "y": 2}, "c": 100, "$version": 3});
    assert_eq!(notice(&mut device).await, want);
}

#[tokio::test]
async fn b11_a_patch_notifies_as_it_is_also_when_nothing_changed() {
    let (hub, address, _) = hub().await;
    let patch = desired(&json!({"a": 1, "gone": null}));
    hub.patch_twin(&address, patch.clone(), None).await.unwrap();
    let mut device = notices(&hub, &address).await;
    hub.patch_twin(&address, patch, None).await.unwrap();
    let want = json!({"a": 1, "gone": null, "$version": 3});
    assert_eq!(notice(&mut device).await, want);
    // One that says nothing is told to nobody.
    hub.patch_twin(&address, desired(&json!({})), None).await.unwrap();
    hub.patch_twin(&address, desired(&json!({"z": 1})), None).await.unwrap();
    assert_eq!(notice(&mut device).await, json!({"z": 1, "$version": 4}));
}

#[test]
fn b12_versions_are_per_section() {
    let limits = Limits::default();
    let mut twin = Twin::new(START);
    let versions = |twin: &Twin| (twin.desired_version(), twin.reported_version(), twin.version());
    assert_eq!(versions(&twin), (1, 1, 2));
    twin.patch(&desired(&json!({"a": 1})), None, LATER, &limits).unwrap();
    assert_eq!(versions(&twin), (2, 1, 3));
    let patch = Patch::parse(br#"{"a":1}"#, &limits).unwrap();
    twin.report(&patch, None, LATER, &limits).unwrap();
    assert_eq!(versions(&twin), (2, 2, 4));
    let tags = service(&json!({"tags": {"a": 1}}), &limits);
    twin.patch(&tags, None, LATER, &limits).unwrap();
    assert_eq!(versions(&twin), (2, 2, 5));
}

#[test]
fn b12_the_etag_covers_what_back_ends_write_and_not_what_devices_report() {
    let limits = Limits::default();
    let mut twin = Twin::new(START);
    let first = twin.etag();
    let patch = Patch::parse(br#"{"a":1}"#, &limits).unwrap();
    twin.report(&patch, None, LATER, &limits).unwrap();
    assert_eq!(twin.etag(), first);
    for text in [json!({"tags": {"a": 1}}), json!({"properties": {"desired": {"a": 1}}})] {
        let before = twin.etag();
        twin.patch(&service(&text, &limits), Some(&before), LATER, &limits).unwrap();
        assert_ne!(twin.etag(), before, "{text}");
        let stale = twin.patch(&service(&text, &limits), Some(&before), LATER, &limits);
        assert_eq!(stale.map(|_| ()).map_err(|e| e.kind()), Err(ErrorKind::PreconditionFailed));
    }
}

#[test]
fn b13_a_number_costs_8_and_a_boolean_4() {
    let sizes = [
        (json!({"n": 1}), 1 + 8),
        (json!({"n": 123_456_789.5}), 1 + 8),
        (json!({"flag": true}), 4 + 4),
        (json!({"s": "five."}), 1 + 5),
        (json!({"o": {"p": 1}}), 1 + 1 + 8),
    ];
    for (content, size) in sizes {
        assert_eq!(twin(&content).desired().size(), size, "{content}");
    }
}

#[test]
fn b13_the_limit_is_on_what_results_and_only_on_growth() {
    let mut limits = Limits::default();
    let mut twin = twin(&json!({"a": 1, "b": 2, "c": 3}));
    limits.desired_bytes_max = 20;
    let mut patch = |content: Value| {
        let done = twin.patch(&desired(&content), None, LATER, &limits);
        done.map(|_| ()).map_err(|error| error.kind())
    };
    // 27 bytes, beyond the limit of now: it may stay so and shrink, and not grow.
    assert_eq!(patch(json!({"a": 5})), Ok(()));
    assert_eq!(patch(json!({"d": true})), Err(ErrorKind::TwinTooLarge));
    assert_eq!(patch(json!({"a": null, "d": true})), Ok(()));
    // A long patch with a small result is well.
    assert_eq!(patch(json!({"b": null, "c": null, "d": null, "e": null, "s": "x"})), Ok(()));
    assert_eq!(twin.desired().to_value(), json!({"s": "x"}));
}

#[tokio::test]
async fn b14_a_connected_device_that_does_not_listen_is_not_online() {
    let (hub, address, _) = hub().await;
    let _device = notices(&hub, &address).await;
    let deaf = hub.invoke(&address, MethodCall::new("m")).await.unwrap_err();
    assert_eq!(deaf.kind(), ErrorKind::DeviceNotOnline);
}
