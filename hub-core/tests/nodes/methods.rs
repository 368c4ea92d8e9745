//! Direct methods that are called at one node, of devices at another.

use std::time::Duration;

use hub_core::engine::{DeviceClient, DeviceEvent};
use hub_core::envelope::Message;
use hub_core::error::ErrorKind;
use hub_core::frame::{Interest, MethodRef};
use hub_core::method::{MethodCall, MethodReply};
use hub_core::{Hub, HubError};
use tokio::task::JoinHandle;

use crate::world::{World, address, connect, heard, register, soon, until, waits};

fn call(name: &str) -> MethodCall {
    MethodCall::new(name).with_payload(format!("\"{name}\""))
}

fn calling(hub: &Hub, call: MethodCall) -> JoinHandle<Result<MethodReply, HubError>> {
    let hub = hub.clone();
    tokio::spawn(async move { hub.invoke(&address("d1"), call).await })
}

/// The next call a device hears.
async fn called(device: &mut DeviceClient) -> (MethodRef, String) {
    match heard(device).await {
        DeviceEvent::Method(reference, name, payload) => {
            assert_eq!(payload, format!("\"{name}\""));
            (reference, name)
        }
        other => panic!("{other:?}"),
    }
}

async fn kind(end: JoinHandle<Result<MethodReply, HubError>>) -> ErrorKind {
    soon(end).await.unwrap().unwrap_err().kind()
}

#[tokio::test]
async fn a_call_reaches_a_device_at_another_node_and_its_answer_comes_back() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    for status in [200, 500] {
        let end = calling(&a.hub, call("reboot"));
        let (reference, _) = called(&mut device).await;
        device.reply(reference, status, "{\"x\":1}").await;
        let reply = soon(end).await.unwrap().unwrap();
        assert_eq!((reply.status, &reply.payload[..]), (status, &b"{\"x\":1}"[..]));
    }
    until(|| async { world.posts("a").await + world.posts("b").await == 0 }).await;
}

#[tokio::test]
async fn it_does_so_when_nudges_are_lost() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    a.control.lose_nudges();
    b.control.lose_nudges();
    let mut device = connect(&b, "d1").await;
    for _ in 0..3 {
        let end = calling(&a.hub, call("reboot"));
        let (reference, _) = called(&mut device).await;
        device.reply(reference, 200, "null").await;
        assert_eq!(soon(end).await.unwrap().unwrap().status, 200);
    }
}

#[tokio::test]
async fn many_calls_from_all_nodes_each_get_their_own_answer() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    let c = world.start("c").await;
    let mut device = connect(&b, "d1").await;
    let ends: Vec<_> =
        (0..60).map(|n| calling(&[&a, &b, &c][n % 3].hub, call(&format!("m{n}")))).collect();
    for _ in 0..60 {
        let (reference, name) = called(&mut device).await;
        device.reply(reference, 200, format!("\"answer to {name}\"")).await;
    }
    for (n, end) in ends.into_iter().enumerate() {
        let reply = soon(end).await.unwrap().unwrap();
        assert_eq!(reply.payload, format!("\"answer to m{n}\""));
    }
}

#[tokio::test]
async fn who_does_not_listen_is_not_online() {
    let world = World::new();
    let (a, b) = world.pair().await;
    assert_eq!(kind(calling(&a.hub, call("x"))).await, ErrorKind::DeviceNotOnline);
    let device = soon(b.hub.device(&address("d1"))).await.unwrap();
    assert_eq!(kind(calling(&a.hub, call("x"))).await, ErrorKind::DeviceNotOnline);
    device.disconnect();
    assert_eq!(kind(calling(&a.hub, call("x"))).await, ErrorKind::DeviceNotOnline);
}

/// Dispatched, and without an answer: told apart from what was never dispatched.
#[tokio::test]
async fn a_device_that_does_not_answer_times_out_or_disconnects() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    let short = call("x").with_response_timeout(Duration::from_millis(50));
    let end = calling(&a.hub, short);
    called(&mut device).await;
    assert_eq!(kind(end).await, ErrorKind::MethodTimeout);
    let end = calling(&a.hub, call("y"));
    called(&mut device).await;
    device.disconnect();
    assert_eq!(kind(end).await, ErrorKind::DeviceDisconnected);
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_told_as_such() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    let end = calling(&a.hub, call("x"));
    let (reference, _) = called(&mut device).await;
    device.reply(reference, 200, "{").await;
    assert_eq!(kind(end).await, ErrorKind::BadDeviceResponse);
}

/// A node that does not fetch its posts has not dispatched the call: it is taken back, and that is
/// certain, also when the node goes on later.
#[tokio::test]
async fn a_call_that_was_not_taken_is_taken_back() {
    let world = World::with(|limits| {
        limits.remote_dispatch_timeout = Duration::from_millis(100);
        limits.node_expiry = Duration::from_secs(3600);
    });
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    b.control.stall();
    assert_eq!(kind(calling(&a.hub, call("x"))).await, ErrorKind::DeviceNotOnline);
    assert_eq!(world.posts("b").await, 0);
    b.control.resume();
    let end = calling(&a.hub, call("y"));
    assert_eq!(called(&mut device).await.1, "y");
    drop((device, end));
}

/// The node took the call and died: perhaps the device heard it, perhaps not. That is no
/// `DeviceNotOnline`, which would invite to try again.
#[tokio::test]
async fn a_call_whose_node_died_may_have_been_dispatched() {
    let world = World::with(|limits| {
        limits.remote_dispatch_timeout = Duration::from_millis(100);
        limits.node_expiry = Duration::from_secs(3600);
    });
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    let short = call("x").with_response_timeout(Duration::from_millis(200));
    let end = calling(&a.hub, short);
    let (reference, _) = called(&mut device).await;
    b.control.stall();
    device.reply(reference, 200, "null").await;
    assert_eq!(kind(end).await, ErrorKind::MethodTimeout);
}

/// A caller waits for a device, which comes to another node, leaves, and comes to a third.
#[tokio::test]
async fn a_patient_call_finds_its_device_wherever_it_comes() {
    let world = World::polling();
    let (a, b) = world.pair().await;
    let c = world.start("c").await;
    let patient = || call("x").when_online_within(Duration::from_secs(300));
    // Offline at first.
    let end = calling(&a.hub, patient());
    assert!(
        waits(async {
            while !end.is_finished() {
                tokio::task::yield_now().await
            }
        })
        .await
    );
    // There, and deaf; then gone.
    let deaf = soon(b.hub.device(&address("d1"))).await.unwrap();
    until(|| async { world.holder("d1").await.as_deref() == Some("b") }).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    deaf.disconnect();
    let mut device = connect(&c, "d1").await;
    let (reference, _) = called(&mut device).await;
    device.reply(reference, 200, "null").await;
    assert_eq!(soon(end).await.unwrap().unwrap().status, 200);
    // There, and listening only later.
    device.disconnect();
    let mut device = soon(b.hub.device(&address("d1"))).await.unwrap();
    let end = calling(&a.hub, patient());
    until(|| async { world.posts("b").await == 0 }).await;
    soon(device.subscribe(Interest::Methods)).await.unwrap();
    // A persistent session remembers what it listened to, and may have been called already.
    let (reference, _) = called(&mut device).await;
    device.reply(reference, 200, "null").await;
    assert_eq!(soon(end).await.unwrap().unwrap().status, 200);
}

/// Nobody waits for the answer: the call is taken back from the other node's inbox.
#[tokio::test]
async fn a_dropped_call_is_taken_back() {
    let world = World::with(|limits| limits.node_expiry = Duration::from_secs(3600));
    let (a, b) = world.pair().await;
    let device = connect(&b, "d1").await;
    b.control.stall();
    let end = calling(&a.hub, call("x"));
    until(|| async { world.posts("b").await == 1 }).await;
    // Its place in the inbox is known here once the commit has been answered.
    tokio::time::sleep(Duration::from_millis(50)).await;
    end.abort();
    until(|| async { world.posts("b").await == 0 }).await;
    b.control.resume();
    drop(device);
}

#[tokio::test]
async fn calls_of_one_device_are_bounded_over_nodes() {
    let world = World::with(|limits| {
        limits.methods_in_flight_max = 2;
        limits.node_expiry = Duration::from_secs(3600);
    });
    let (a, b) = world.pair().await;
    register(&a.hub, "d2").await;
    let mut device = connect(&b, "d1").await;
    let (one, two) = (calling(&a.hub, call("one")), calling(&b.hub, call("two")));
    let mut heard = vec![called(&mut device).await, called(&mut device).await];
    assert_eq!(kind(calling(&a.hub, call("three"))).await, ErrorKind::TooManyMethods);
    for (reference, _) in heard.drain(..) {
        device.reply(reference, 200, "null").await;
    }
    assert!(soon(one).await.unwrap().is_ok() && soon(two).await.unwrap().is_ok());
}

/// A call that finds no room in the inbox of the device's node was not dispatched, and is refused.
#[tokio::test]
async fn a_full_inbox_refuses_calls() {
    let world = World::with(|limits| {
        limits.inbox_depth_max = 1;
        limits.node_expiry = Duration::from_secs(3600);
    });
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    b.control.stall();
    a.hub.send(&address("d1"), Message::new("fills it")).await.unwrap();
    assert_eq!(kind(calling(&a.hub, call("x"))).await, ErrorKind::Throttled);
    b.control.resume();
    assert!(matches!(heard(&mut device).await, DeviceEvent::Message(_)));
}

/// A node makes only so many calls for others at once; the rest is refused before it is dispatched.
#[tokio::test]
async fn calls_made_for_others_are_bounded() {
    let world = World::with(|limits| limits.remote_calls_max = 1);
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    let one = calling(&a.hub, call("one"));
    let (reference, _) = called(&mut device).await;
    assert_eq!(kind(calling(&a.hub, call("two"))).await, ErrorKind::Throttled);
    device.reply(reference, 200, "null").await;
    assert!(soon(one).await.unwrap().is_ok());
}
