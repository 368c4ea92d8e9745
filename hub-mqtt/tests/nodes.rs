//! A device that moves between two nodes of one hub, each with a listener of its own.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::time::Duration;

use hub_core::envelope::Message;
use hub_core::id::NodeId;
use hub_core::method::MethodCall;
use hub_core::twin::ServicePatch;
use hub_core::{Hub, Limits};
use hub_mqtt::codec::{ConnectCode, Qos};
use hub_store_memory::MemoryStore;
use tokio::net::TcpStream;

use common::{Client, Running, address, events, start_on};

mod common;

const TELEMETRY: &str = "devices/d1/messages/events/";

/// Two nodes that hear of each other by nudges only.
async fn pair() -> (Running, Running) {
    let store = Arc::new(MemoryStore::new());
    let mut limits = Limits::default();
    limits.inbox_poll_every = Duration::from_secs(3600);
    let node = |name: &str| {
        let node = NodeId::new(name).unwrap();
        Hub::builder_on(store.clone()).node(node).limits(limits.clone())
    };
    (start_on(node("a")).await, start_on(node("b")).await)
}

async fn listen(client: &mut Client<TcpStream>) {
    let filters = [
        ("devices/d1/messages/devicebound/#", Qos::One),
        ("$iothub/methods/POST/#", Qos::Zero),
        ("$iothub/twin/PATCH/properties/desired/#", Qos::Zero),
    ];
    assert_eq!(client.subscribe(&filters).await, [1, 0, 0]);
}

/// A message, a method and a desired property of this back end's node reach the device.
async fn all_reach(from: &Running, client: &mut Client<TcpStream>, body: &'static str) {
    from.hub.send(&address("d1"), Message::new(body)).await.unwrap();
    let message = client.next_message().await;
    assert_eq!(message.payload, body);
    client.puback(message.id).await;

    let hub = from.hub.clone();
    let calling = tokio::spawn(async move {
        let call = MethodCall::new("reboot").with_payload("{\"in\":5}");
        hub.invoke(&address("d1"), call).await
    });
    let call = client.next_message().await;
    let id = call.topic.strip_prefix("$iothub/methods/POST/reboot/?$rid=").unwrap().to_owned();
    assert_eq!(call.payload, "{\"in\":5}");
    client.publish_acked(&format!("$iothub/methods/res/200/?$rid={id}"), "{\"ok\":true}").await;
    let reply = calling.await.unwrap().unwrap();
    assert_eq!((reply.status, &reply.payload[..]), (200, &b"{\"ok\":true}"[..]));

    let text = format!("{{\"properties\":{{\"desired\":{{\"said\":\"{body}\"}}}}}}");
    let patch = ServicePatch::parse(text.as_bytes(), from.hub.limits()).unwrap();
    let twin = from.hub.patch_twin(&address("d1"), patch, None).await.unwrap();
    let version = twin.desired_version();
    let notice = client.next_message().await;
    let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
    assert_eq!(notice.topic, topic);
    assert_eq!(notice.payload, format!("{{\"said\":\"{body}\",\"$version\":{version}}}"));
}

#[tokio::test]
async fn a_device_moves_between_nodes_and_is_served_by_both() {
    let (a, b) = pair().await;
    let mut at_a = a.connect("d1").await;
    listen(&mut at_a).await;
    all_reach(&b, &mut at_a, "one").await;
    all_reach(&a, &mut at_a, "two").await;

    // It connects to the other node without leaving the first, which lets it go. Its session, and
    // what it is subscribed to, come along.
    let mut at_b = b.dial().await;
    at_b.introduce("d1").await;
    assert!(at_b.expect_connack(ConnectCode::Accepted).await, "its session is there");
    at_a.expect_closed().await;
    all_reach(&a, &mut at_b, "three").await;
    all_reach(&b, &mut at_b, "four").await;

    // Telemetry of both nodes is one log.
    at_b.publish_acked(TELEMETRY, "at b").await;
    let mut back = a.dial().await;
    back.introduce("d1").await;
    assert!(back.expect_connack(ConnectCode::Accepted).await);
    at_b.expect_closed().await;
    back.publish_acked(TELEMETRY, "back at a").await;
    let mut reader = b.reader().await;
    let bodies: Vec<_> = events(&mut reader, 2).await.into_iter().map(|event| event.body).collect();
    assert_eq!(bodies, ["at b", "back at a"]);
}

/// A node is stopped; its device comes back to the other, and misses nothing.
#[tokio::test]
async fn a_device_goes_on_at_another_node_when_its_own_stops() {
    let (a, b) = pair().await;
    let mut at_a = a.connect("d1").await;
    listen(&mut at_a).await;
    b.hub.send(&address("d1"), Message::new("held")).await.unwrap();
    assert_eq!(at_a.next_message().await.payload, "held");
    let report = a.hub.shutdown(Duration::from_secs(10)).await;
    assert!(report.drained && report.transports_ended);
    at_a.expect_closed().await;
    let mut at_b = b.dial().await;
    at_b.introduce("d1").await;
    assert!(at_b.expect_connack(ConnectCode::Accepted).await);
    let again = at_b.next_message().await;
    assert_eq!((again.payload.as_str(), again.dup), ("held", true));
    at_b.puback(again.id).await;
    all_reach(&b, &mut at_b, "after").await;
}
