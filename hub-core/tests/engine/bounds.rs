//! What the engine holds at most, and how a connection begins.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hub_core::delivery::MessageOutcome;
use hub_core::engine::{Authenticator, Hub, RegistryAuthenticator};
use hub_core::envelope::Message;
use hub_core::error::ErrorKind;
use hub_core::frame::{Disposition, Inbound, Interest, Outbound};
use hub_core::hello::{Grant, Hello, Refusal, SessionMode};
use hub_core::id::{Epoch, Tag};
use hub_core::method::MethodCall;
use hub_core::security::Principal;
use tokio::sync::Semaphore;

use crate::world::{
    address, bounded, connect, depth, hello, hub, limits, next, plain, publish, register, soon,
    subscribe, until, waits,
};

/// The registry's answer, when there is a permit for it.
pub(crate) struct Slow(pub(crate) Arc<Semaphore>);

#[async_trait]
impl Authenticator for Slow {
    async fn device(&self, hub: &Hub, hello: &Hello) -> Result<Grant, Refusal> {
        self.0.acquire().await.unwrap().forget();
        RegistryAuthenticator.device(hub, hello).await
    }

    async fn service(&self, hub: &Hub, token: &str) -> Result<Principal, Refusal> {
        RegistryAuthenticator.service(hub, token).await
    }
}

#[tokio::test]
async fn there_are_no_more_connections_than_may_be() {
    let (hub, _) = bounded(limits(|limits| limits.connections_max = 2)).await;
    for name in ["d2", "d3"] {
        register(&hub, name).await;
    }
    let one = connect(&hub, "d1").await;
    let _two = connect(&hub, "d2").await;
    let refused = hub.connect(hello("d3")).await.unwrap_err();
    assert!(matches!(refused, Refusal::Unavailable(_)), "{refused:?}");
    drop(one);
    assert_eq!(hub.connections(), 1);
    let _three = connect(&hub, "d3").await;
    let connections = hub.resources().into_iter().find(|r| r.name == "connections").unwrap();
    let seen = (connections.depth, connections.capacity, connections.refusals);
    assert_eq!(seen, (2, Some(2), Some(1)));
}

/// Those on their way in count too.
#[tokio::test]
async fn many_at_once_are_no_more_than_may_be() {
    let few = limits(|limits| limits.connections_max = 3);
    let slow = Arc::new(Semaphore::new(0));
    let (hub, _) = hub(|builder| builder.limits(few).authenticator(Slow(slow.clone()))).await;
    let mut coming = tokio::task::JoinSet::new();
    for number in 0..10 {
        let name = format!("e{number}");
        register(&hub, &name).await;
        let hub = hub.clone();
        coming.spawn(async move { hub.connect(hello(&name)).await });
    }
    until(|| hub.connections() == 3).await;
    slow.add_permits(100);
    let links: Vec<_> = coming.join_all().await.into_iter().filter_map(Result::ok).collect();
    assert_eq!((links.len(), hub.connections()), (3, 3));
    drop(links);
    assert_eq!(hub.connections(), 0);
    // One that is refused, or gives up on its way, takes no place.
    let given_up = tokio::time::timeout(Duration::from_millis(1), async {
        let nobody = hub.connect(hello("nobody")).await;
        assert!(nobody.is_err());
        std::future::pending::<()>().await;
    });
    assert!(given_up.await.is_err());
    assert_eq!(hub.connections(), 0);
}

#[tokio::test]
async fn a_welcome_tells_what_there_was() {
    let (hub, _) = plain().await;
    let mut first = connect(&hub, "d1").await;
    assert_eq!((first.welcome.epoch, first.welcome.session_present), (Epoch(1), false));
    assert!(first.welcome.subscriptions.is_empty());
    subscribe(&mut first, 1, Interest::Methods);
    assert_eq!(next(&mut first).await, Outbound::Receipt(Tag(1)));
    drop(first);
    let second = connect(&hub, "d1").await;
    assert_eq!((second.welcome.epoch, second.welcome.session_present), (Epoch(2), true));
    assert!(second.welcome.subscriptions.has(Interest::Methods));
    drop(second);
    let clean = Hello { session: SessionMode::Clean, ..hello("d1") };
    let third = hub.connect(clean).await.unwrap();
    assert_eq!((third.welcome.epoch, third.welcome.session_present), (Epoch(3), false));
    assert!(third.welcome.subscriptions.is_empty());
    let foreign = Hello { host: Some("elsewhere".into()), ..hello("d1") };
    assert!(matches!(hub.connect(foreign).await, Err(Refusal::Unauthorized(_))));
    assert_eq!(hub.connections(), 1, "who is refused takes nobody's place");
}

/// As much as one turn may bring does not make a peer look stuck, however small its window.
#[tokio::test]
async fn a_small_window_does_not_cut_off_who_has_much_waiting() {
    let (hub, _) = bounded(limits(|limits| limits.link_window = 2)).await;
    let d1 = address("d1");
    for number in 0..50 {
        hub.send(&d1, Message::new(format!("{number}"))).await.unwrap();
    }
    let mut link = connect(&hub, "d1").await;
    subscribe(&mut link, 1, Interest::Messages);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    for number in 0..50 {
        let Outbound::Offer(delivery) = next(&mut link).await else { panic!("cut off") };
        assert_eq!(delivery.message.body, number.to_string());
    }
}

/// A peer that takes nothing is cut off.
#[tokio::test]
async fn a_peer_that_takes_nothing_is_cut_off() {
    let few = limits(|limits| {
        limits.link_window = 1;
        limits.offer_window = 1;
        limits.methods_in_flight_max = 2;
    });
    let (hub, _) = bounded(few).await;
    let d1 = address("d1");
    let mut link = connect(&hub, "d1").await;
    subscribe(&mut link, 1, Interest::DesiredProperties);
    for rate in 0..20 {
        let text = format!("{{\"properties\":{{\"desired\":{{\"rate\":{rate}}}}}}}");
        let patch = hub_core::twin::ServicePatch::parse(text.as_bytes(), hub.limits()).unwrap();
        hub.patch_twin(&d1, patch, None).await.unwrap();
    }
    let said = next(&mut link).await;
    assert_eq!(said, Outbound::Close(hub_core::error::CloseReason::PeerStuck));
}

#[tokio::test]
async fn a_window_full_of_frames_pauses_its_link() {
    let (hub, store) = bounded(limits(|limits| limits.link_window = 2)).await;
    let mut link = connect(&hub, "d1").await;
    store.hold();
    publish(&mut link, 1, b"x");
    assert!(link.up.has_room());
    publish(&mut link, 2, b"y");
    assert!(!link.up.has_room());
    assert!(waits(link.up.ready()).await);
    store.release();
    soon(link.up.ready()).await;
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
}

/// What waits for the store is bounded over all links; a caller that cannot wait is told.
#[tokio::test]
async fn what_waits_for_the_store_pauses_every_link() {
    let (hub, store) = bounded(limits(|limits| limits.waiting_changes_max = 2)).await;
    let mut one = connect(&hub, "d1").await;
    register(&hub, "d2").await;
    let mut two = connect(&hub, "d2").await;
    store.hold();
    for tag in 1..=3 {
        publish(&mut one, tag, b"x");
        tokio::task::yield_now().await;
    }
    assert_eq!(depth(&hub, "waiting_changes"), 2);
    assert!(!two.up.has_room());
    let mut batch = hub_core::envelope::EventBatch::new();
    batch.push(two.up.stamp(), [], b"y", 100).unwrap();
    let throttled = hub.publish(&address("d2"), &mut batch).await.unwrap_err();
    assert_eq!(throttled.kind(), ErrorKind::Throttled);
    store.release();
    soon(two.up.ready()).await;
    let waiting = hub.resources().into_iter().find(|r| r.name == "waiting_changes").unwrap();
    assert_eq!((waiting.capacity, waiting.refusals), (Some(2), Some(1)));
}

/// While a device's change is being written, only so many inputs wait for it.
#[tokio::test]
async fn a_device_has_a_bounded_inbox() {
    let (hub, store) = bounded(limits(|limits| limits.device_inbox_max = 4)).await;
    let mut link = connect(&hub, "d1").await;
    store.hold();
    for tag in 1..=8 {
        link.up.send(Inbound::Report(Tag(tag), format!("{{\"a\":{tag}}}").into(), None));
    }
    let mut refused = Vec::new();
    for _ in 0..4 {
        match next(&mut link).await {
            Outbound::Refused(Tag(tag), error) if error.kind() == ErrorKind::Throttled => {
                refused.push(tag);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, [5, 6, 7, 8]);
    let inbox = hub.resources().into_iter().find(|r| r.name == "device_inbox").unwrap();
    assert_eq!((inbox.depth, inbox.capacity, inbox.refusals), (4, Some(4), Some(4)));
    assert_eq!(depth(&hub, "inputs"), 4);
    store.release();
    for tag in 1..=4 {
        assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(tag)));
    }
    assert_eq!(depth(&hub, "inputs"), 0);
}

/// A caller that stops waiting is not remembered.
#[tokio::test]
async fn who_gives_up_is_forgotten() {
    let (hub, store) = plain().await;
    let d1 = address("d1");
    store.hold();
    let mut coming = Vec::new();
    for _ in 0..5 {
        let hub = hub.clone();
        coming.push(tokio::spawn(async move { hub.connect(hello("d1")).await.map(drop) }));
    }
    let asking = {
        let (hub, d1) = (hub.clone(), d1.clone());
        tokio::spawn(async move {
            let patient = MethodCall::new("x").when_online_within(Duration::from_secs(300));
            hub.invoke(&d1, patient).await
        })
    };
    until(|| depth(&hub, "calls") == 6).await;
    for coming in coming {
        coming.abort();
        let _ = coming.await;
    }
    asking.abort();
    let _ = asking.await;
    store.release();
    until(|| depth(&hub, "calls") == 0).await;
    assert_eq!(hub.connections(), 0);
    let link = connect(&hub, "d1").await;
    assert!(link.welcome.epoch >= Epoch(1));
}

#[tokio::test]
async fn idle_machines_are_bounded() {
    let (hub, _) = bounded(limits(|limits| limits.idle_devices_max = 3)).await;
    for number in 0..10 {
        let address = register(&hub, &format!("e{number}")).await;
        hub.send(&address, Message::new("x")).await.unwrap();
    }
    assert!(depth(&hub, "devices") <= 4, "{} machines are loaded", depth(&hub, "devices"));
    let idle = hub.resources().into_iter().find(|r| r.name == "idle_devices").unwrap();
    assert_eq!((idle.depth, idle.capacity), (3, Some(3)));
    assert!(idle.refusals.unwrap() >= 7);
}

/// A sender that gets its turn late finds the outcome all the same.
#[tokio::test]
async fn an_outcome_waits_for_a_sender_that_looks_late() {
    let (hub, store) = plain().await;
    let d1 = register(&hub, "late").await;
    let mut link = connect(&hub, "late").await;
    subscribe(&mut link, 1, Interest::Messages);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    store.hold();
    let mut send = Box::pin(hub.send(&d1, Message::new("x")));
    assert!(futures::poll!(&mut send).is_pending());
    store.release();
    let Outbound::Offer(delivery) = next(&mut link).await else { panic!("no offer") };
    link.up.send(Inbound::Settle(Some(Tag(2)), delivery.token, Disposition::Complete));
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(2)));
    let sent = soon(send).await.unwrap();
    assert_eq!(soon(sent).await, Some(MessageOutcome::Completed));
}
