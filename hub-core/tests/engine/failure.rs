//! When the store fails, and when a machine does.

use std::time::Duration;

use bytes::Bytes;
use hub_core::engine::Health;
use hub_core::envelope::Message;
use hub_core::error::{CloseReason, ErrorKind};
use hub_core::frame::{Inbound, Interest, Outbound};
use hub_core::hello::Refusal;
use hub_core::id::Tag;
use hub_core::method::MethodCall;
use hub_core::store::{Document, Kind, Record, StoreErrorKind};

use crate::world::{
    address, bodies, bounded, connect, depth, hello, hub, limits, next, plain, publish, register,
    soon, subscribe, told, until, waits,
};

#[tokio::test]
async fn a_store_that_is_away_is_waited_for() {
    let (hub, store) = plain().await;
    let mut link = connect(&hub, "d1").await;
    assert_eq!(hub.health(), Health::Ok);
    store.fail_commits(Some(StoreErrorKind::Unavailable));
    publish(&mut link, 1, b"x");
    until(|| hub.health() == Health::Degraded).await;
    publish(&mut link, 2, b"y");
    assert!(waits(link.down.next()).await, "nothing is acknowledged");
    store.fail_commits(Some(StoreErrorKind::Unknown));
    assert!(waits(link.down.next()).await, "nor when it is not known");
    store.fail_commits(None);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(2)));
    until(|| hub.health() == Health::Ok).await;
    assert_eq!(bodies(&hub).await, [b"x", b"y"]);
    assert!(hub.gauges().retries > 0);
}

/// One shard that has lost the store has lost it for all.
#[tokio::test]
async fn a_store_that_is_lost_ends_every_connection() {
    let (hub, store) = hub(|builder| builder.partitions(8)).await;
    let mut links = Vec::new();
    for number in 0..16 {
        let name = format!("e{number}");
        register(&hub, &name).await;
        links.push(connect(&hub, &name).await);
    }
    let failed = tokio::spawn({
        let hub = hub.clone();
        async move { hub.failed().await }
    });
    let waiting = tokio::spawn({
        let hub = hub.clone();
        let patient = MethodCall::new("x").when_online_within(Duration::from_secs(300));
        async move { hub.invoke(&address("d1"), patient).await }
    });
    until(|| depth(&hub, "calls") == 1).await;
    store.fail_commits(Some(StoreErrorKind::Fatal));
    publish(&mut links[0], 1, b"x");
    for link in &mut links {
        assert_eq!(next(link).await, Outbound::Close(CloseReason::Internal));
    }
    soon(failed).await.unwrap();
    assert_eq!(soon(waiting).await.unwrap().unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(hub.health(), Health::Failed);
    assert!(matches!(hub.connect(hello("d1")).await, Err(Refusal::Unavailable(_))));
    let send = hub.send(&address("d1"), Message::new("x")).await.unwrap_err();
    assert_eq!(send.kind(), ErrorKind::Internal);
}

/// Damages every document of a kind.
fn damage(kind: Kind) -> impl Fn(Option<Record>) -> Option<Record> {
    move |record| match record {
        Some(Record::Document(Document { at, body })) => {
            let damaged = at.key().kind == kind;
            let body = if damaged { Bytes::from_static(b"\xff{") } else { body };
            Some(Record::Document(Document { at, body }))
        }
        other => other,
    }
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_nobody_elses_trouble() {
    // Nothing stays in memory that is not in use, so everything is read.
    let (hub, store) = bounded(limits(|limits| limits.idle_devices_max = 0)).await;
    let d2 = register(&hub, "d2").await;
    drop(connect(&hub, "d2").await);
    store.lie(damage(Kind::Twin));
    let mut link = connect(&hub, "d1").await;
    subscribe(&mut link, 1, Interest::TwinResponses);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    link.up.send(Inbound::GetTwin(Tag(2)));
    link.up.send(Inbound::Report(Tag(3), "{\"a\":1}".into(), None));
    for tag in 2..=3 {
        match next(&mut link).await {
            Outbound::Refused(t, error) => {
                assert_eq!((t, error.kind()), (Tag(tag), ErrorKind::Internal));
            }
            other => panic!("{other:?}"),
        }
    }
    publish(&mut link, 4, b"x");
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(4)));
    hub.send(&d2, Message::new("x")).await.unwrap();
    for kind in [Kind::Session, Kind::Identity] {
        store.lie(damage(kind));
        let refused = soon(hub.connect(hello("d2"))).await.unwrap_err();
        assert!(matches!(refused, Refusal::Unavailable(_) | Refusal::Unknown(_)), "{refused:?}");
    }
    store.be_honest();
    connect(&hub, "d2").await;
    link.up.send(Inbound::GetTwin(Tag(5)));
    assert!(matches!(next(&mut link).await, Outbound::Twin(Tag(5), _)), "read again, and good");
}

/// A payload whose memory panics when it is let go: the only way to make a machine panic, which
/// lets go of the call when nobody listens for it.
struct Bomb;

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        b"1"
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("as told");
        }
    }
}

fn bomb() -> MethodCall {
    MethodCall::new("x").with_payload(Bytes::from_owner(Bomb))
}

#[tokio::test]
async fn a_machine_that_panics_costs_its_device_a_reconnect() {
    let (hub, _) = plain().await;
    let mut events = hub.lifecycle();
    let (d1, d2) = (address("d1"), register(&hub, "d2").await);
    let mut other = connect(&hub, "d2").await;
    let mut link = connect(&hub, "d1").await;
    let patient = MethodCall::new("wait").when_online_within(Duration::from_secs(300));
    let waiting = tokio::spawn({
        let (hub, d1) = (hub.clone(), d1.clone());
        async move { hub.invoke(&d1, patient).await }
    });
    until(|| depth(&hub, "calls") == 1).await;

    let failed = soon(hub.invoke(&d1, bomb())).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Internal);
    assert_eq!(soon(waiting).await.unwrap().unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(next(&mut link).await, Outbound::Close(CloseReason::Internal));
    assert!(told(&mut events).await.starts_with("d2 Connected"));
    assert!(told(&mut events).await.starts_with("d1 Connected"));
    assert!(told(&mut events).await.starts_with("d1 Disconnected"));
    drop(link);
    assert_eq!((hub.connections(), depth(&hub, "calls")), (1, 0));

    // The other device, and the same one anew, go on.
    publish(&mut other, 1, b"x");
    assert_eq!(next(&mut other).await, Outbound::Receipt(Tag(1)));
    hub.send(&d2, Message::new("x")).await.unwrap();
    let mut again = connect(&hub, "d1").await;
    assert_eq!(again.welcome.epoch.0, 2);
    publish(&mut again, 1, b"y");
    assert_eq!(next(&mut again).await, Outbound::Receipt(Tag(1)));
    assert_eq!(bodies(&hub).await, [b"x", b"y"]);
}

/// The answer to a change of the machine that panicked is none for the one made after it.
#[tokio::test]
async fn what_the_former_machine_asked_for_does_not_answer_the_next() {
    let (hub, store) = plain().await;
    let d1 = address("d1");
    hub.send(&d1, Message::new("loads the identity")).await.unwrap();
    // A call of a connected device waits for no change.
    let lost = connect(&hub, "d1").await;
    store.hold();
    let sending = tokio::spawn({
        let (hub, d1) = (hub.clone(), d1.clone());
        async move { hub.send(&d1, Message::new("in flight")).await.map(drop) }
    });
    until(|| depth(&hub, "calls") == 1).await;
    assert!(soon(hub.invoke(&d1, bomb())).await.is_err());
    drop(lost);
    assert!(soon(sending).await.unwrap().is_err());
    let mut connecting = std::pin::pin!(hub.connect(hello("d1")));
    assert!(waits(&mut connecting).await);
    store.pass_one();
    assert!(waits(&mut connecting).await, "let in by the outcome of something else");
    store.release();
    let link = soon(connecting).await.unwrap();
    assert_eq!(link.welcome.epoch.0, 2);
    assert_eq!(hub.registry().get(&d1).await.unwrap().messages, 2);
}
