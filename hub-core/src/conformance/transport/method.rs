//! Direct methods.

use serde_json::json;

use super::world::{World, soon};
use super::{Captured, Desired, Fixture, Heard, Hearing, Lasting, Methods, Probe};
use crate::engine::Hub;
use crate::error::{ErrorKind, HubError};
use crate::frame::Interest;
use crate::id::Address;
use crate::method::{MethodCall, MethodReply};
use crate::twin::ServicePatch;

struct Called {
    handle: String,
    name: String,
    payload: Vec<u8>,
}

async fn next_call(probe: &mut impl Hearing) -> Called {
    match soon("a call", probe.next()).await {
        Ok(Heard::Method { handle, name, payload }) => {
            Called { handle, name, payload: payload.to_vec() }
        }
        other => panic!("not a call: {other:?}"),
    }
}

type Calling = tokio::task::JoinHandle<Result<MethodReply, HubError>>;

fn invoke(hub: &Hub, address: &Address, name: &str, payload: &str) -> Calling {
    let call = MethodCall::new(name).with_payload(payload.to_owned());
    let (hub, address) = (hub.clone(), address.clone());
    tokio::spawn(async move { hub.invoke(&address, call).await })
}

async fn answer(calling: Calling) -> Result<MethodReply, HubError> {
    soon("an answer", calling).await.expect("the task lives")
}

/// A call arrives with its name and payload, its answer with status and payload.
pub async fn t10_a_call_and_its_answer_arrive_as_sent<F: Fixture<Probe: Methods>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    probe.listen(Interest::Methods).await;
    let cases = [
        ("reboot", "{\"in\":[1,\"ä\\n\"]}", 200, "{\"out\":\"ö\"}"),
        ("a-b_c.d!", "null", -7, "null"),
        ("x", "\"text\"", 599, "[]"),
    ];
    for (name, payload, status, reply) in cases {
        let calling = invoke(&world.hub, &address, name, payload);
        let called = next_call(&mut probe).await;
        assert_eq!(called.name, name);
        assert_eq!(String::from_utf8_lossy(&called.payload), payload);
        probe.reply(&called.handle, status, reply.as_bytes()).await;
        let answered = answer(calling).await.expect("it was answered");
        assert_eq!(answered.status, status);
        assert_eq!(String::from_utf8_lossy(&answered.payload), reply);
    }
}

/// Calls come in the order in which they were made, and every answer finds its own.
pub async fn t2_calls_come_in_order_and_answers_find_them<F: Fixture<Probe: Methods>>(
    fixture: &mut F,
) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    probe.listen(Interest::Methods).await;
    // One runtime thread: the tasks begin in the order in which they were spawned.
    let calling: Vec<_> =
        (0..8).map(|n| invoke(&world.hub, &address, "count", &n.to_string())).collect();
    let mut called = Vec::new();
    for number in 0..calling.len() {
        let call = next_call(&mut probe).await;
        assert_eq!(call.payload, number.to_string().as_bytes());
        called.push(call);
    }
    for call in called.iter().rev() {
        probe.reply(&call.handle, 200, &call.payload).await;
    }
    for (number, calling) in calling.into_iter().enumerate() {
        let answered = answer(calling).await.expect("it was answered");
        assert_eq!(answered.payload, number.to_string());
    }
}

/// A call made after a change of desired properties comes after its notice.
pub async fn t2_a_call_does_not_overtake_a_notice<F>(fixture: &mut F)
where
    F: Fixture<Probe: Methods + Desired>,
{
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    probe.listen(Interest::DesiredProperties).await;
    probe.listen(Interest::Methods).await;
    for rate in 0..10 {
        let text = json!({"properties": {"desired": {"rate": rate}}}).to_string();
        let patch = ServicePatch::parse(text.as_bytes(), world.hub.limits()).expect("it is good");
        world.hub.patch_twin(&address, patch, None).await.expect("it is patched");
        let calling = invoke(&world.hub, &address, "apply", "null");
        let first = soon("a notice", probe.next()).await;
        assert!(matches!(first, Ok(Heard::Desired { .. })), "not a notice: {first:?}");
        let called = next_call(&mut probe).await;
        probe.reply(&called.handle, 200, b"null").await;
        answer(calling).await.expect("it was answered");
    }
}

/// Who waits for an answer learns at once that the connection is gone.
pub async fn t11_a_connection_lost_during_a_call_is_told<F>(fixture: &mut F)
where
    F: Fixture<Probe: Methods + Lasting>,
{
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    probe.listen(Interest::Methods).await;
    let calling = invoke(&world.hub, &address, "reboot", "null");
    next_call(&mut probe).await;
    probe.vanish().await;
    let lost = answer(calling).await.expect_err("nobody answered");
    assert_eq!(lost.kind(), ErrorKind::DeviceDisconnected);
}

/// An answer that is not JSON ends its call, and nothing else.
pub async fn t6_an_answer_of_no_use_ends_its_call_only<F: Fixture<Probe: Methods>>(
    fixture: &mut F,
) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    probe.listen(Interest::Methods).await;
    let calling = invoke(&world.hub, &address, "reboot", "null");
    let called = next_call(&mut probe).await;
    probe.reply(&called.handle, 200, b"{not json").await;
    let bad = answer(calling).await.expect_err("it is of no use");
    assert_eq!(bad.kind(), ErrorKind::BadDeviceResponse);
    let calling = invoke(&world.hub, &address, "reboot", "null");
    let called = next_call(&mut probe).await;
    probe.reply(&called.handle, 200, b"1").await;
    answer(calling).await.expect("it was answered");
}

/// Calls and their answers are not logged, at any level.
pub async fn t7_calls_never_reach_a_log<F: Fixture<Probe: Methods>>(fixture: &mut F) {
    let (log, _listening) = Captured::begin();
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    probe.listen(Interest::Methods).await;
    for reply in ["\"planted answer\"", "planted mistake"] {
        let calling = invoke(&world.hub, &address, "reboot", "\"planted question\"");
        let called = next_call(&mut probe).await;
        probe.reply(&called.handle, 200, reply.as_bytes()).await;
        // The second one is of no use, which is nothing to quote it for.
        let _ = answer(calling).await;
    }
    log.must_not_hold(&["planted question", "planted answer", "planted mistake"]);
}
