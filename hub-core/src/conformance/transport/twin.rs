//! Device twins.

use std::pin::pin;

use serde_json::{Value, json};

use super::world::{World, must_wait, soon};
use super::{Captured, Desired, Fixture, Heard, Hearing, Twins};
use crate::frame::Interest;
use crate::id::Address;
use crate::twin::ServicePatch;

async fn desire(world: &World, address: &Address, desired: Value) -> u64 {
    let text = json!({ "properties": { "desired": desired } }).to_string();
    let patch = ServicePatch::parse(text.as_bytes(), world.hub.limits()).expect("a good patch");
    let twin = world.hub.patch_twin(address, patch, None).await.expect("it is patched");
    twin.desired_version()
}

async fn reported(world: &World, address: &Address) -> u64 {
    let state = world.hub.registry().twin(address).await.expect("it exists");
    state.twin.reported_version()
}

fn read(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("JSON text")
}

/// Reported properties are answered for when the store has them, and not before.
pub async fn t1_no_reported_version_before_the_store_has_it<F: Fixture<Probe: Twins>>(
    fixture: &mut F,
) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    let first = soon("a version", probe.report(b"{\"a\":1}")).await.expect("a good patch");
    assert_eq!(first, reported(&world, &address).await);
    world.gate.hold();
    {
        let mut reporting = pin!(probe.report(b"{\"a\":2}"));
        tokio::select! {
            _ = &mut reporting => panic!("answered before it reached the store"),
            () = soon("a commit", world.gate.reached()) => {}
        }
        must_wait("answered before the store has it", &mut reporting).await;
        world.gate.release();
        let second = soon("a version", reporting).await.expect("a good patch");
        assert_eq!(second, first + 1);
    }
    assert_eq!(reported(&world, &address).await, first + 1);
}

/// A twin arrives whole: both sections with their versions, and any text in them.
pub async fn t10_a_twin_arrives_as_it_is<F: Fixture<Probe: Twins>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    let version = desire(&world, &address, json!({"text": "ä \"b\" \\ \n", "n": {"x": 1.5}})).await;
    let patch = json!({"list": [1, "two", {"x": false}], "on": true}).to_string();
    let reported = soon("a version", probe.report(patch.as_bytes())).await.expect("a good patch");
    let twin = read(&soon("a twin", probe.twin()).await.expect("it has a twin"));
    assert_eq!(
        twin,
        json!({
            "desired": {"text": "ä \"b\" \\ \n", "n": {"x": 1.5}, "$version": version},
            "reported": {"list": [1, "two", {"x": false}], "on": true, "$version": reported},
        })
    );
}

/// A patch that is not taken is refused, and the connection goes on.
pub async fn t12_a_bad_patch_is_refused_and_the_link_lives<F: Fixture<Probe: Twins>>(
    fixture: &mut F,
) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    let before = reported(&world, &address).await;
    for bad in [&b"{\"a.b\":1}"[..], b"[1]", b"{\"a\":"] {
        let answer = soon("an answer", probe.report(bad)).await;
        assert!(answer.is_err(), "{} was taken", String::from_utf8_lossy(bad));
    }
    assert_eq!(reported(&world, &address).await, before);
    let version = soon("a version", probe.report(b"{\"a\":1}")).await.expect("a good patch");
    assert_eq!(version, before + 1);
}

/// Changes of desired properties come in the order of their versions, each once.
pub async fn t2_notices_come_in_order<F: Fixture<Probe: Desired>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    probe.listen(Interest::DesiredProperties).await;
    let mut wanted = Vec::new();
    for rate in 0..10 {
        wanted.push((desire(&world, &address, json!({ "rate": rate })).await, rate));
    }
    for (number, rate) in wanted {
        match soon("a notice", probe.next()).await {
            Ok(Heard::Desired { version, patch }) => {
                assert_eq!(version, number);
                assert_eq!(read(&patch), json!({"rate": rate, "$version": number}));
            }
            other => panic!("not a notice: {other:?}"),
        }
    }
}

/// Twins are not logged, at any level.
pub async fn t7_twins_never_reach_a_log<F: Fixture<Probe: Twins>>(fixture: &mut F) {
    let (log, _listening) = Captured::begin();
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    desire(&world, &address, json!({"plantedName": "planted value"})).await;
    let patch = b"{\"plantedName\":\"planted report\"}";
    soon("a version", probe.report(patch)).await.expect("a good patch");
    let refused = b"{\"planted.name\":\"planted mistake\"}";
    assert!(soon("an answer", probe.report(refused)).await.is_err());
    soon("a twin", probe.twin()).await.expect("it has a twin");
    log.must_not_hold(&["plantedName", "planted value", "planted report", "planted mistake"]);
}
