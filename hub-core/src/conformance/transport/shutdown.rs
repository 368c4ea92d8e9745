//! The hub stops.

use super::world::{CLOSE_TIME_MAX, SOON, World, must_be_refused, soon};
use super::{Fixture, Lasting, Probe};

/// At the signal connections are closed, and `serve` returns when the last has ended.
pub async fn t8_connections_end_and_serve_returns<F: Fixture<Probe: Lasting>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut one, _) = world.device(fixture, "d1").await;
    let (mut two, _) = world.device(fixture, "d2").await;
    soon("an acknowledgement", one.publish(b"x", &[])).await.expect("telemetry is taken");
    let report = soon("the end", world.hub.shutdown(CLOSE_TIME_MAX)).await;
    assert!(report.transports_ended, "serve has not returned: {report:?}");
    assert_eq!(report.connections_closed, 2);
    assert!(report.drained);
    soon("the end of a connection", one.closed()).await;
    soon("the end of a connection", two.closed()).await;
    world.connections_become(0).await;
}

/// After the signal nobody new is served.
pub async fn t8_nobody_new_is_served<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let login = world.register("d1").await;
    let report = soon("the end", world.hub.shutdown(CLOSE_TIME_MAX)).await;
    assert!(report.transports_ended, "serve has not returned: {report:?}");
    must_be_refused(fixture, &login, "the hub has shut down").await;
}

/// A transport without a peer returns at once.
pub async fn t8_serve_returns_when_there_is_nobody<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (probe, _) = world.device(fixture, "d1").await;
    probe.vanish().await;
    world.connections_become(0).await;
    let report = soon("the end", world.hub.shutdown(SOON)).await;
    assert!(report.transports_ended, "serve has not returned: {report:?}");
}

/// A hub that is dropped takes its connections along.
pub async fn t8_a_dropped_hub_closes_its_connections<F: Fixture<Probe: Lasting>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, _) = world.device(fixture, "d1").await;
    drop(world);
    soon("the end of a connection", probe.closed()).await;
}
