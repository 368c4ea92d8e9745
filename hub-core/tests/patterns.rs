//! Every pattern of messaging, in process, on the memory store.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::time::Duration;

use hub_core::delivery::{FeedbackStatus, MessageOutcome};
use hub_core::engine::{DeviceEvent, Hub, Lifecycle, ManualClock, Position};
use hub_core::envelope::{Ack, Message, Property, SystemProperty};
use hub_core::error::{CloseReason, ErrorKind};
use hub_core::frame::{Disposition, Interest};
use hub_core::id::{Address, SequenceNumber};
use hub_core::method::MethodCall;
use hub_core::registry::{IdentitySpec, IfMatch, Status};
use hub_core::time::Timestamp;
use hub_core::twin::ServicePatch;
use hub_store_memory::MemoryStore;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

async fn hub_at(clock: Arc<ManualClock>) -> (Hub, Address) {
    let hub = Hub::builder(MemoryStore::new()).clock(clock).start().unwrap();
    let d1 = address("d1");
    hub.registry().put(&IdentitySpec::new(d1.clone()), None).await.unwrap();
    (hub, d1)
}

async fn hub() -> (Hub, Address, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(START));
    let (hub, d1) = hub_at(clock.clone()).await;
    (hub, d1, clock)
}

#[tokio::test]
async fn telemetry_is_read_back_with_its_stamps() {
    let (hub, d1, _) = hub().await;
    let mut device = hub.device(&d1).await.unwrap();
    let properties =
        [Property::System(SystemProperty::MessageId, "m1"), Property::Application("k", Some("v"))];
    device.send(b"hello", &properties).await.unwrap();
    let partition = d1.partition(hub.partitions());
    let mut reader = hub.reader(partition, Position::Earliest).await.unwrap();
    let events = reader.read(10).await.unwrap();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((&event.body[..], event.sequence), (&b"hello"[..], SequenceNumber(1)));
    assert_eq!(event.enqueued, START);
    assert_eq!(event.system(SystemProperty::MessageId), Some("m1"));
    assert_eq!(event.sender, d1);
    let info = hub.partition_info(partition).await.unwrap();
    assert_eq!((info.first.0, info.next.0, info.last_enqueued), (1, 2, Some(START)));
}

#[tokio::test]
async fn a_message_is_delivered_completed_and_reported() {
    let (hub, d1, clock) = hub().await;
    let message = Message::new("hi").with_message_id("m1").with_ack(Ack::Full);
    let sent = hub.send(&d1, message).await.unwrap();
    assert_eq!(sent.expiry, START.after(Duration::from_secs(3600)));
    let mut device = hub.device(&d1).await.unwrap();
    device.subscribe(Interest::Messages).await.unwrap();
    let DeviceEvent::Message(delivery) = device.next().await else { panic!("no message") };
    assert_eq!((&delivery.message.body[..], delivery.delivery_count), (&b"hi"[..], 0));
    assert_eq!(hub.registry().get(&d1).await.unwrap().messages, 1);
    device.settle(delivery.token, Disposition::Complete).await.unwrap();
    assert_eq!(sent.await, Some(MessageOutcome::Completed));
    assert_eq!(hub.registry().get(&d1).await.unwrap().messages, 0);
    let again = device.settle(delivery.token, Disposition::Complete).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::MessageLockLost);

    let feedback = hub.feedback();
    assert_eq!(feedback.try_receive().await.unwrap(), None);
    let waiting = tokio::spawn(async move { (feedback.receive().await, feedback) });
    // The emitter looks once a second and emits fifteen seconds after its last batch.
    for _ in 0..40 {
        clock.advance(Duration::from_millis(500));
        tokio::task::yield_now().await;
    }
    let (batch, feedback) = waiting.await.unwrap();
    let batch = batch.unwrap();
    assert_eq!(batch.records.len(), 1);
    assert_eq!(batch.records[0].status, FeedbackStatus::Success);
    assert_eq!(batch.records[0].message_id, "m1");
    feedback.settle(batch.token, Disposition::Complete).await.unwrap();
}

#[tokio::test]
async fn b06_locked_messages_count_towards_the_depth_and_a_lost_lock_is_no_delivery() {
    let (hub, d1, clock) = hub().await;
    for _ in 0..50 {
        hub.send(&d1, Message::new("x")).await.unwrap();
    }
    let first = hub.receive(&d1, Duration::from_secs(60)).await.unwrap().unwrap();
    let full = hub.send(&d1, Message::new("x")).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::QueueFull);
    assert_eq!(hub.peek(&d1, None, 100).await.unwrap().len(), 50);
    clock.advance(Duration::from_secs(60));
    let again = hub.receive(&d1, Duration::from_secs(60)).await.unwrap().unwrap();
    assert_eq!(again.token.sequence, first.token.sequence);
    assert_eq!((again.delivery_count, again.redelivered), (0, true));
    let lost = hub.settle(&d1, first.token, Disposition::Complete).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::MessageLockLost);
    hub.settle(&d1, again.token, Disposition::Abandon).await.unwrap();
    let third = hub.receive(&d1, Duration::from_secs(60)).await.unwrap().unwrap();
    assert_eq!(third.delivery_count, 1);
    assert_eq!(hub.purge(&d1).await.unwrap(), 50);
    assert_eq!(hub.receive(&d1, Duration::from_secs(60)).await.unwrap(), None);
}

#[tokio::test]
async fn an_abandoned_message_dies_at_the_maximum() {
    let (hub, d1, _) = hub().await;
    let sent = hub.send(&d1, Message::new("x")).await.unwrap();
    for count in 0..10 {
        let delivery = hub.receive(&d1, Duration::from_secs(60)).await.unwrap().unwrap();
        assert_eq!(delivery.delivery_count, count);
        hub.settle(&d1, delivery.token, Disposition::Abandon).await.unwrap();
    }
    assert_eq!(sent.await, Some(MessageOutcome::DeliveryCountExceeded));
}

#[tokio::test]
async fn a_message_for_a_device_nobody_holds_expires_in_a_sweep() {
    let (hub, d1, clock) = hub().await;
    let expiry = START.after(Duration::from_secs(5));
    let sent = hub.send(&d1, Message::new("x").with_expiry(expiry)).await.unwrap();
    let outcome = tokio::spawn(sent);
    for _ in 0..20 {
        clock.advance(Duration::from_millis(500));
        tokio::task::yield_now().await;
    }
    assert_eq!(outcome.await.unwrap(), Some(MessageOutcome::Expired));
    let late = Message::new("x").with_expiry(expiry);
    assert_eq!(hub.send(&d1, late).await.unwrap_err().kind(), ErrorKind::InvalidExpiry);
}

#[tokio::test]
async fn unsettled_messages_come_again_on_the_next_connection() {
    let (hub, d1, _) = hub().await;
    let mut device = hub.device(&d1).await.unwrap();
    device.subscribe(Interest::Messages).await.unwrap();
    hub.send(&d1, Message::new("x")).await.unwrap();
    let DeviceEvent::Message(first) = device.next().await else { panic!("no message") };
    drop(device);
    // The session kept its subscription, so the message comes without another subscribe.
    let mut device = hub.device(&d1).await.unwrap();
    let DeviceEvent::Message(second) = device.next().await else { panic!("no message") };
    assert_eq!(first.token.sequence, second.token.sequence);
    assert!(second.redelivered);
}

#[tokio::test]
async fn a_method_is_answered() {
    let (hub, d1, _) = hub().await;
    let offline = hub.invoke(&d1, MethodCall::new("reboot")).await.unwrap_err();
    assert_eq!(offline.kind(), ErrorKind::DeviceNotOnline);
    let mut device = hub.device(&d1).await.unwrap();
    let deaf = hub.invoke(&d1, MethodCall::new("reboot")).await.unwrap_err();
    assert_eq!(deaf.kind(), ErrorKind::DeviceNotOnline);
    device.subscribe(Interest::Methods).await.unwrap();
    let task = tokio::spawn(async move {
        let DeviceEvent::Method(call, name, payload) = device.next().await else {
            panic!("no call")
        };
        assert_eq!((name.as_str(), &payload[..]), ("reboot", &b"{\"in\":3}"[..]));
        device.reply(call, 299, "true").await;
        device
    });
    let call = MethodCall::new("reboot").with_payload("{\"in\":3}");
    let reply = hub.invoke(&d1, call).await.unwrap();
    assert_eq!((reply.status, &reply.payload[..]), (299, &b"true"[..]));
    drop(task.await.unwrap());
    let nobody = hub.invoke(&address("d2"), MethodCall::new("x")).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::DeviceNotFound);
}

#[tokio::test]
async fn twins_go_both_ways() {
    let (hub, d1, _) = hub().await;
    let mut device = hub.device(&d1).await.unwrap();
    device.subscribe(Interest::DesiredProperties).await.unwrap();
    assert_eq!(device.report("{\"fw\":\"1.0\"}").await.unwrap(), 2);
    let limits = hub.limits().clone();
    let patch = ServicePatch::parse(
        b"{\"tags\":{\"site\":\"a\"},\"properties\":{\"desired\":{\"rate\":5}}}",
        &limits,
    )
    .unwrap();
    let twin = hub.patch_twin(&d1, patch.clone(), None).await.unwrap();
    assert_eq!((twin.desired_version(), twin.reported_version()), (2, 2));
    let DeviceEvent::Desired(version, text) = device.next().await else { panic!("no notice") };
    let notice: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((version, notice), (2, serde_json::json!({"rate": 5, "$version": 2})));
    let seen: serde_json::Value = serde_json::from_slice(&device.twin().await.unwrap()).unwrap();
    assert_eq!(
        seen,
        serde_json::json!({"desired":{"rate":5,"$version":2},"reported":{"fw":"1.0","$version":2}})
    );
    let stale = hub.patch_twin(&d1, patch, Some("AAAAAAAAAAE=")).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::PreconditionFailed);
    let bad = device.report("{\"a.b\":1}").await.unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::ArgumentInvalid);
    assert_eq!(hub.registry().twin(&d1).await.unwrap().twin.reported_version(), 2);
}

#[tokio::test]
async fn b16_the_newest_connection_wins_and_disabling_closes() {
    let (hub, d1, _) = hub().await;
    let mut events = hub.lifecycle();
    let mut old = hub.device(&d1).await.unwrap();
    let mut new = hub.device(&d1).await.unwrap();
    assert_eq!(old.next().await, DeviceEvent::Closed(CloseReason::TakenOver));
    let mut spec = IdentitySpec::new(d1.clone());
    spec.status = Some(Status::Disabled);
    hub.registry().put(&spec, Some(&IfMatch::Any)).await.unwrap();
    assert_eq!(new.next().await, DeviceEvent::Closed(CloseReason::IdentityDisabled));
    assert!(hub.device(&d1).await.is_err());
    let mut kinds = Vec::new();
    for _ in 0..4 {
        match events.next().await {
            Some(Lifecycle::Event(event)) => kinds.push(format!("{:?}", event.kind)),
            other => panic!("{other:?}"),
        }
    }
    assert!(kinds[0].starts_with("Connected(Epoch(1))"), "{kinds:?}");
    assert!(kinds[1].starts_with("Disconnected(Epoch(1), Closed(TakenOver"), "{kinds:?}");
    assert!(kinds[2].starts_with("Connected(Epoch(2))"), "{kinds:?}");
    assert!(kinds[3].starts_with("Disconnected(Epoch(2), Closed(IdentityDisabled"), "{kinds:?}");
}

#[tokio::test]
async fn a_deleted_device_takes_its_modules_queue_and_connections_along() {
    let (hub, d1, _) = hub().await;
    let m1 = address("d1/m1");
    hub.registry().put(&IdentitySpec::new(m1.clone()), None).await.unwrap();
    hub.send(&m1, Message::new("modules too")).await.unwrap();
    let mut module = hub.device(&m1).await.unwrap();
    hub.registry().delete(&d1, None).await.unwrap();
    assert_eq!(module.next().await, DeviceEvent::Closed(CloseReason::IdentityDeleted));
    assert!(hub.registry().get(&m1).await.is_err());
    assert!(hub.send(&d1, Message::new("x")).await.is_err());
    hub.registry().put(&IdentitySpec::new(d1.clone()), None).await.unwrap();
    hub.registry().put(&IdentitySpec::new(m1.clone()), None).await.unwrap();
    assert_eq!(hub.registry().get(&m1).await.unwrap().messages, 0);
}

#[tokio::test]
async fn a_cursor_moves_from_where_it_was_read() {
    let (hub, d1, _) = hub().await;
    let partition = d1.partition(hub.partitions());
    let mut one = hub.cursor("$Default", partition).await.unwrap();
    let mut other = hub.cursor("$default", partition).await.unwrap();
    assert_eq!(one.position(), None);
    one.advance(SequenceNumber(5)).await.unwrap();
    let lost = other.advance(SequenceNumber(3)).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(other.position(), Some(SequenceNumber(5)));
    assert!(hub.cursor("no/slash", partition).await.is_err());
}

#[tokio::test]
async fn hubs_live_side_by_side_and_end_with_their_handle() {
    let (one, d1, _) = hub().await;
    let (two, _, _) = hub().await;
    let mut device = one.device(&d1).await.unwrap();
    assert_eq!((one.connections(), two.connections()), (1, 0));
    drop(one);
    assert_eq!(device.next().await, DeviceEvent::Closed(CloseReason::Shutdown));
    let report = two.shutdown(Duration::from_secs(1)).await;
    assert!(report.drained && report.transports_ended);
    assert!(two.device(&d1).await.is_err());
}

#[tokio::test]
async fn an_edge_device_begins_with_its_runtime() {
    let (hub, _, _) = hub().await;
    let edge = address("edge");
    let mut spec = IdentitySpec::new(edge.clone());
    spec.iot_edge = Some(true);
    hub.registry().put(&spec, None).await.unwrap();
    let modules = hub.registry().modules(&edge).await.unwrap();
    let names: Vec<_> = modules.iter().map(|module| module.address().to_string()).collect();
    assert_eq!(names, ["edge/$edgeAgent", "edge/$edgeHub"]);
    assert!(hub.registry().twin(&address("edge/$edgeHub")).await.is_ok());
}
