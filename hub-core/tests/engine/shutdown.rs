//! Stopping in good order, and without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hub_core::engine::{DeviceEvent, Health, Hub, Shutdown};
use hub_core::error::{CloseReason, ErrorKind};
use hub_core::frame::{Interest, Outbound};
use hub_core::hello::Refusal;
use hub_core::id::Tag;
use hub_core::method::MethodCall;
use hub_core::store::StoreErrorKind;
use hub_core::transport::{Transport, TransportError};
use tokio::sync::Semaphore;

use crate::bounds::Slow;
use crate::world::{
    address, bodies, connect, hello, hub, next, plain, publish, soon, subscribe, told, until, waits,
};

const LONG: Duration = Duration::from_secs(10);

/// A transport that ends when it is told to, or does not.
struct Stubborn {
    ended: Arc<AtomicBool>,
    obeys: bool,
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Transport for Stubborn {
    fn name(&self) -> &'static str {
        "stubborn"
    }

    async fn serve(self: Box<Self>, _: Hub, mut shutdown: Shutdown) -> Result<(), TransportError> {
        shutdown.requested().await;
        if !self.obeys {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_was_accepted_is_written_and_reported() {
    let (hub, store) = plain().await;
    let mut link = connect(&hub, "d1").await;
    store.hold();
    publish(&mut link, 1, b"x");
    tokio::task::yield_now().await;
    publish(&mut link, 2, b"y");
    let stopping = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(LONG).await }
    });
    assert_eq!(next(&mut link).await, Outbound::Close(CloseReason::Shutdown));
    assert_eq!(hub.health(), Health::Stopping);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!stopping.is_finished(), "not all is written");
    store.release();
    let report = stopping.await.unwrap();
    assert!(report.drained && report.transports_ended);
    assert_eq!(report.connections_closed, 1);
    assert_eq!(bodies(&hub).await, [b"x", b"y"]);
}

#[tokio::test]
async fn at_the_deadline_it_says_what_is_missing() {
    let (hub, store) = plain().await;
    let mut link = connect(&hub, "d1").await;
    store.hold();
    publish(&mut link, 1, b"x");
    let ended = Arc::new(AtomicBool::new(false));
    hub.serve(Stubborn { ended: ended.clone(), obeys: false });
    let report = soon(hub.shutdown(Duration::from_millis(50))).await;
    assert!(!report.drained && !report.transports_ended);
    until(|| ended.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn transports_are_told_and_waited_for() {
    let (hub, _) = plain().await;
    let ended = Arc::new(AtomicBool::new(false));
    hub.serve(Stubborn { ended: ended.clone(), obeys: true });
    let mut signal = hub.shutdown_signal();
    assert!(!signal.is_requested());
    let report = soon(hub.shutdown(LONG)).await;
    assert!(report.transports_ended && ended.load(Ordering::SeqCst));
    assert!(signal.is_requested());
    soon(signal.requested()).await;
}

#[tokio::test]
async fn after_it_nothing_new_begins() {
    let (hub, _) = plain().await;
    let d1 = address("d1");
    soon(hub.shutdown(LONG)).await;
    assert!(matches!(hub.connect(hello("d1")).await, Err(Refusal::Unavailable(_))));
    let asked = hub.invoke(&d1, MethodCall::new("x")).await.unwrap_err();
    assert_eq!(asked.kind(), ErrorKind::Unavailable);
    assert!(hub.authenticate(&hello("d1")).await.is_err());
    // A second time changes nothing.
    assert_eq!(soon(hub.shutdown(LONG)).await.connections_closed, 0);
}

/// Whoever was on the way in when it began is not let in behind its back.
#[tokio::test]
async fn who_is_on_the_way_in_is_turned_away() {
    let slow = Arc::new(Semaphore::new(0));
    let (hub, _) = hub(|builder| builder.authenticator(Slow(slow.clone()))).await;
    let coming = tokio::spawn({
        let hub = hub.clone();
        async move { hub.connect(hello("d1")).await }
    });
    until(|| hub.connections() == 1).await;
    soon(hub.shutdown(LONG)).await;
    slow.add_permits(1);
    let refused = coming.await.unwrap().unwrap_err();
    assert!(matches!(refused, Refusal::Unavailable(_)), "{refused:?}");
    assert_eq!(hub.connections(), 0);
}

#[tokio::test]
async fn who_waits_for_a_device_is_told() {
    let (hub, _) = plain().await;
    let mut events = hub.lifecycle();
    let mut link = connect(&hub, "d1").await;
    subscribe(&mut link, 1, Interest::Methods);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    let calling = tokio::spawn({
        let hub = hub.clone();
        async move { hub.invoke(&address("d1"), MethodCall::new("x")).await }
    });
    assert!(matches!(next(&mut link).await, Outbound::Call(..)));
    soon(hub.shutdown(LONG)).await;
    drop(link);
    let lost = soon(calling).await.unwrap().unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::DeviceDisconnected);
    assert!(told(&mut events).await.contains("Connected"));
    assert!(told(&mut events).await.contains("Disconnected"));
}

/// A store that is lost for good is not waited for.
#[tokio::test]
async fn a_lost_store_is_not_waited_for() {
    let (hub, store) = plain().await;
    let mut link = connect(&hub, "d1").await;
    store.fail_commits(Some(StoreErrorKind::Fatal));
    publish(&mut link, 1, b"x");
    assert_eq!(next(&mut link).await, Outbound::Close(CloseReason::Internal));
    let began = Instant::now();
    let report = hub.shutdown(LONG).await;
    assert!(!report.drained && began.elapsed() < LONG / 2);
}

#[tokio::test]
async fn a_dropped_hub_takes_all_along() {
    let (hub, _) = plain().await;
    let ended = Arc::new(AtomicBool::new(false));
    hub.serve(Stubborn { ended: ended.clone(), obeys: false });
    tokio::task::yield_now().await;
    let mut device = hub.device(&address("d1")).await.unwrap();
    let mut signal = hub.shutdown_signal();
    let clone = hub.clone();
    drop(hub);
    assert!(waits(signal.requested()).await, "one handle is left");
    drop(clone);
    soon(signal.requested()).await;
    assert_eq!(soon(device.next()).await, DeviceEvent::Closed(CloseReason::Shutdown));
    until(|| ended.load(Ordering::SeqCst)).await;
    // What the link says now reaches nobody, and breaks nothing.
    drop(device);
}

/// A store that does not answer is not asked for ever on behalf of a hub that is gone.
#[tokio::test]
async fn a_dropped_hub_asks_its_store_no_more() {
    let (hub, store) = plain().await;
    let mut link = connect(&hub, "d1").await;
    crate::world::register(&hub, "d2").await;
    store.fail_commits(Some(StoreErrorKind::Unavailable));
    publish(&mut link, 1, b"x");
    store.fail_reads(Some(StoreErrorKind::Unavailable));
    let reading = tokio::spawn({
        let hub = hub.clone();
        async move { hub.send(&address("d2"), hub_core::envelope::Message::new("x")).await.is_ok() }
    });
    let (_, reads) = store.asked();
    until(|| store.asked().1 > reads + 1).await;
    assert_eq!(hub.health(), Health::Degraded);
    reading.abort();
    let _ = reading.await;
    drop((hub, link));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = store.asked();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(store.asked(), before);
}

/// A link may be let go anywhere, also where there is no runtime and the store needs one.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_let_go_outside_of_the_runtime() {
    let (hub, store) = plain().await;
    let mut events = hub.lifecycle();
    let link = connect(&hub, "d1").await;
    let call = hub.clone();
    store.hold();
    std::thread::spawn(move || {
        drop(link);
        drop(call);
    })
    .join()
    .expect("letting go does not panic");
    assert!(told(&mut events).await.contains("Connected"));
    assert!(told(&mut events).await.contains("Disconnected"));
    store.release();
    let report = soon(hub.shutdown(LONG)).await;
    assert!(report.drained);
}
