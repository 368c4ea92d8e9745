//! Who is let in, and how a connection ends.

use std::time::Duration;

use super::world::{
    CLOSE_TIME_MAX, HOST, SOON, TOKEN_LIFE, World, connect, end_of, must_be_refused, soon, token_of,
};
use super::{Captured, Fixture, Introduced, Lasting, Login, Probe};
use crate::error::{CloseReason, DisconnectCause};
use crate::id::Address;
use crate::limits::Limits;
use crate::security::SymmetricKey;

/// A device that shows its token is let in, under its own name.
pub async fn t9_a_device_with_its_token_is_let_in<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    soon("an acknowledgement", probe.publish(b"x", &[])).await.expect("telemetry is taken");
    let events = world.events().await;
    let senders: Vec<_> = events.iter().map(|event| &event.sender).collect();
    assert_eq!(senders, [&address]);
}

/// Whoever shows anything else is not, and leaves no trace.
pub async fn t9_a_wrong_token_is_refused<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let login = world.register("d1").await;
    let other = world.register("d2").await;
    let foreign = SymmetricKey::generate(&[7; 32]);
    let late = world.hub.now().after(TOKEN_LIFE);
    let with = |token: &str| Login { token: token.into(), ..login.clone() };
    must_be_refused(fixture, &with(&token_of("d1", &foreign, late)), "a foreign key").await;
    must_be_refused(fixture, &with(&other.token), "another device's token").await;
    must_be_refused(fixture, &with("SharedAccessSignature sr=x"), "half a token").await;
    must_be_refused(fixture, &with(""), "no token").await;
    assert_eq!(world.bodies().await, Vec::<Vec<u8>>::new());
    world.connections_become(0).await;
    connect(fixture, &login).await;
}

/// A token counts until it expires, by the hub's clock.
pub async fn t9_an_expired_token_is_refused<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let login = world.register("d1").await;
    world.clock.advance(TOKEN_LIFE + world.hub.limits().token_clock_skew * 2);
    must_be_refused(fixture, &login, "an expired token").await;
}

/// Nobody is let in who is not registered, or disabled.
pub async fn t9_an_unknown_or_disabled_device_is_refused<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let login = world.register("d1").await;
    let unknown = Login {
        address: Address::parse("nobody").expect("a legal name"),
        host: HOST.into(),
        ..login.clone()
    };
    must_be_refused(fixture, &unknown, "a device that is not registered").await;
    world.disable(&login.address).await;
    must_be_refused(fixture, &login, "a disabled device").await;
}

/// A module is let in under its own name.
pub async fn t9_a_module_is_somebody_of_its_own<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let device = world.register("d1").await;
    let module = world.register_module("d1", "m1").await;
    let mut probe = connect(fixture, &module).await;
    soon("an acknowledgement", probe.publish(b"x", &[])).await.expect("telemetry is taken");
    let events = world.events().await;
    assert_eq!(events[0].sender, module.address);
    let foreign = Login { token: device.token.clone(), ..module };
    must_be_refused(fixture, &foreign, "a module with its device's token").await;
}

/// Who connects and does not say who it is takes no place for long.
pub async fn t13_who_says_nothing_is_closed<F: Introduced>(fixture: &mut F) {
    let limits = Limits { handshake_timeout: Duration::from_millis(300), ..Limits::default() };
    let world = World::with(fixture, limits).await;
    let addr = fixture.addr();
    let silent = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(SOON))?;
        // What it is told, if anything, ends with the connection.
        match std::io::copy(&mut stream, &mut std::io::sink()) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(0),
            other => other,
        }
    });
    let closed = silent.await.expect("the task lives");
    assert!(closed.is_ok(), "who says nothing is still connected after {SOON:?}: {closed:?}");
    world.connections_become(0).await;
    world.device(fixture, "d1").await;
}

/// A goodbye reaches the hub as one.
pub async fn t11_a_goodbye_is_told_as_clean<F: Fixture<Probe: Lasting>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let mut events = world.hub.lifecycle();
    let (probe, address) = world.device(fixture, "d1").await;
    world.connections_become(1).await;
    probe.goodbye().await;
    assert_eq!(end_of(&mut events, &address).await, DisconnectCause::Clean);
    world.connections_become(0).await;
}

/// A lost connection is noticed at once, and told from a goodbye.
pub async fn t11_a_lost_connection_is_told_as_lost<F: Fixture<Probe: Lasting>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let mut events = world.hub.lifecycle();
    let (probe, address) = world.device(fixture, "d1").await;
    probe.vanish().await;
    assert_eq!(end_of(&mut events, &address).await, DisconnectCause::ConnectionLost);
    world.connections_become(0).await;
}

async fn must_close(probe: &mut impl Lasting, why: &str) {
    let closed = tokio::time::timeout(CLOSE_TIME_MAX, probe.closed()).await;
    assert!(closed.is_ok(), "not closed within {CLOSE_TIME_MAX:?}: {why}");
}

/// The newest connection of a device wins.
pub async fn t4_a_connection_taken_over_is_closed<F: Fixture<Probe: Lasting>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let login = world.register("d1").await;
    let mut events = world.hub.lifecycle();
    let mut old = connect(fixture, &login).await;
    let mut new = connect(fixture, &login).await;
    must_close(&mut old, "taken over").await;
    let cause = end_of(&mut events, &login.address).await;
    assert_eq!(cause, DisconnectCause::Closed(CloseReason::TakenOver));
    soon("an acknowledgement", new.publish(b"x", &[])).await.expect("the new one goes on");
    world.connections_become(1).await;
}

/// Who is disabled or deleted is out.
pub async fn t4_a_device_disabled_or_deleted_is_closed<F: Fixture<Probe: Lasting>>(
    fixture: &mut F,
) {
    let world = World::open(fixture).await;
    let (mut disabled, address) = world.device(fixture, "d1").await;
    let (mut deleted, doomed) = world.device(fixture, "d2").await;
    let (mut other, _) = world.device(fixture, "d3").await;
    world.disable(&address).await;
    must_close(&mut disabled, "disabled").await;
    world.hub.registry().delete(&doomed, None).await.expect("it is deleted");
    must_close(&mut deleted, "deleted").await;
    soon("an acknowledgement", other.publish(b"x", &[])).await.expect("others go on");
    world.connections_become(1).await;
}

/// A connection outlives its token by the grace, and no longer.
pub async fn t4_an_expired_token_closes_after_its_grace<F: Fixture<Probe: Lasting>>(
    fixture: &mut F,
) {
    // Silence must not be what ends it: the clock jumps by hours.
    let limits = Limits { silence_max: TOKEN_LIFE * 10, ..Limits::default() };
    let world = World::with(fixture, limits).await;
    let (mut probe, address) = world.device(fixture, "d1").await;
    let mut events = world.hub.lifecycle();
    world.clock.advance(TOKEN_LIFE);
    soon("an acknowledgement", probe.publish(b"x", &[])).await.expect("within the grace");
    world.clock.advance(world.hub.limits().token_grace + Duration::from_secs(1));
    must_close(&mut probe, "its token has expired").await;
    let cause = end_of(&mut events, &address).await;
    assert_eq!(cause, DisconnectCause::Closed(CloseReason::CredentialExpired));
}

/// Bytes that are not the protocol end their own connection.
pub async fn t6_a_babbler_is_closed<F: Fixture<Probe: Lasting>>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut babbler, _) = world.device(fixture, "d1").await;
    babbler.babble().await;
    must_close(&mut babbler, "it talks nonsense").await;
    world.connections_become(0).await;
}

/// They end no other connection, and not the transport.
pub async fn t6_malformed_input_ends_this_link_only<F: Fixture>(fixture: &mut F) {
    let world = World::open(fixture).await;
    let (mut babbler, _) = world.device(fixture, "d1").await;
    let (mut other, _) = world.device(fixture, "d2").await;
    babbler.babble().await;
    tokio::time::sleep(super::world::QUIET).await;
    soon("an acknowledgement", other.publish(b"other", &[])).await.expect("others go on");
    let (mut next, _) = world.device(fixture, "d3").await;
    soon("an acknowledgement", next.publish(b"next", &[])).await.expect("new ones are served");
    assert_eq!(world.bodies().await, [b"other".to_vec(), b"next".to_vec()]);
}

/// Neither tokens nor keys nor what a device says is logged, at any level.
pub async fn t7_credentials_and_telemetry_never_reach_a_log<F: Fixture>(fixture: &mut F) {
    let (log, _listening) = Captured::begin();
    let world = World::open(fixture).await;
    let login = world.register("d1").await;
    let wrong: std::sync::Arc<str> = login.token.replace("sig=", "sig=planted").into();
    let mut probe = connect(fixture, &login).await;
    let published = probe.publish(b"planted body", &[("planted-name", "planted value")]);
    soon("an acknowledgement", published).await.expect("telemetry is taken");
    must_be_refused(fixture, &Login { token: wrong.clone(), ..login.clone() }, "wrong").await;
    probe.babble().await;
    tokio::time::sleep(super::world::QUIET).await;
    let signature = |token: &str| {
        let (_, rest) = token.split_once("sig=").expect("a token has a signature");
        rest.split('&').next().expect("it ends").to_owned()
    };
    log.must_not_hold(&[
        &signature(&login.token),
        &signature(&wrong),
        "planted body",
        "planted-name",
        "planted value",
    ]);
}
