//! Too much: of the device, and for the device.

use std::pin::pin;
use std::time::Duration;

use super::world::{CLOSE_TIME_MAX, World, soon};
use super::{Fixture, Hearing, Methods, Pipelined, Probe};
use crate::error::ErrorKind;
use crate::frame::Interest;
use crate::limits::Limits;
use crate::method::MethodCall;

/// How much one read may bring beyond the bound: it is handed on all the same.
const READ_MAX: usize = 256 * 1024;
const BODY: usize = 4096;
const WINDOW: usize = 16;
/// Many times what the window takes.
const COUNT: usize = 512;

fn narrow() -> Limits {
    Limits { link_window: WINDOW, link_bytes_max: 64 * 1024, ..Limits::default() }
}

/// What the hub has taken and not written: waiting, and before the gate.
fn taken(world: &World) -> (usize, usize) {
    let (gauges, held) = (world.hub.gauges(), world.gate.held());
    (gauges.waiting_changes + held.changes, gauges.waiting_bytes + held.bytes)
}

async fn flood(probe: &mut impl Pipelined, count: usize) {
    for number in 0..count {
        let mut body = format!("{number:08}").into_bytes();
        body.resize(BODY, b'.');
        probe.write(&body).await.expect("the connection stays");
    }
}

/// While nothing can be written, the hub takes no more than its window; when it can, it takes and
/// acknowledges everything, in order.
pub async fn t5_without_room_nothing_is_read<F: Fixture<Probe: Pipelined>>(fixture: &mut F) {
    let world = World::with(fixture, narrow()).await;
    let (mut probe, _) = world.device(fixture, "d1").await;
    world.gate.hold();
    {
        let mut flooding = pin!(flood(&mut probe, COUNT));
        let mut done = false;
        for _ in 0..20 {
            tokio::select! {
                () = &mut flooding, if !done => done = true,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            let (changes, bytes) = taken(&world);
            assert!(changes <= WINDOW, "{changes} frames were taken, {WINDOW} fit");
            let most = world.hub.limits().link_bytes_max + READ_MAX;
            assert!(bytes <= most, "{bytes} bytes were taken, {most} are too many");
        }
        assert!(taken(&world).0 > 0, "nothing arrived, so nothing was tried");
        world.gate.release();
        if !done {
            soon("the rest", flooding).await;
        }
    }
    soon("all acknowledgements", probe.acknowledged(COUNT)).await.expect("the connection stays");
    let bodies = world.bodies().await;
    let numbers: Vec<_> =
        bodies.iter().map(|body| String::from_utf8_lossy(&body[..8]).into_owned()).collect();
    let wanted: Vec<_> = (0..COUNT).map(|number| format!("{number:08}")).collect();
    assert_eq!(numbers, wanted, "everything, once, in order");
}

/// What one device may not do does not hold up another.
pub async fn t5_a_link_without_room_holds_up_no_other<F: Fixture<Probe: Pipelined>>(
    fixture: &mut F,
) {
    let world = World::with(fixture, narrow()).await;
    let (mut busy, _) = world.device(fixture, "d1").await;
    let (mut other, _) = world.device(fixture, "d2").await;
    world.gate.hold();
    let flooding = tokio::spawn(async move {
        flood(&mut busy, COUNT).await;
        busy
    });
    soon("a commit", world.gate.reached()).await;
    tokio::time::sleep(super::world::QUIET).await;
    {
        let mut publishing = pin!(other.publish(b"other", &[]));
        super::world::must_wait("acknowledged too early", &mut publishing).await;
        // It stands in line with the window of the first, not behind all it wants to say.
        world.gate.release();
        soon("an acknowledgement", publishing).await.expect("the other is served");
    }
    let mut busy = soon("the rest", flooding).await.expect("the task lives");
    soon("all acknowledgements", busy.acknowledged(COUNT)).await.expect("the connection stays");
}

/// A peer that reads nothing is closed, although nothing more can be written to it, and keeps
/// nobody waiting.
pub async fn t4_a_peer_that_reads_nothing_is_closed<F>(fixture: &mut F)
where
    F: Fixture<Probe: Pipelined + Methods>,
{
    let limits = Limits { link_window: 8, peer_write_bytes_max: 256 * 1024, ..Limits::default() };
    let world = World::with(fixture, limits).await;
    let (mut stuck, address) = world.device(fixture, "d1").await;
    let (mut other, _) = world.device(fixture, "d2").await;
    stuck.listen(Interest::Methods).await;
    stuck.stall();
    let large = format!("\"{}\"", "x".repeat(120 * 1024));
    let mut calling = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let call = MethodCall::new("take").with_payload(large.clone());
        let (hub, address) = (world.hub.clone(), address.clone());
        calling.spawn(async move { hub.invoke(&address, call).await });
        // One after another, so that the transport has filled the connection before it is told.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    soon("an acknowledgement", other.publish(b"x", &[])).await.expect("the other is served");
    let closed = async {
        while world.hub.connections() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let closed = tokio::time::timeout(CLOSE_TIME_MAX * 2, closed).await;
    assert!(closed.is_ok(), "a peer that reads nothing is still connected");
    while let Some(ended) = soon("the end of a call", calling.join_next()).await {
        let error = ended.expect("the task lives").expect_err("nobody answered");
        let known = [ErrorKind::DeviceDisconnected, ErrorKind::DeviceNotOnline];
        assert!(known.contains(&error.kind()), "{error:?}");
    }
    soon("an acknowledgement", other.publish(b"y", &[])).await.expect("the other is served");
    stuck.vanish().await;
}
