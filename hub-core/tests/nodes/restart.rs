//! Nodes that are stopped in good order, one after another, while everything goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hub_core::Hub;
use hub_core::engine::{DeviceEvent, Position};
use hub_core::envelope::Message;
use hub_core::error::ErrorKind;
use hub_core::frame::{Disposition, Interest};
use hub_core::id::Partition;
use hub_core::method::MethodCall;
use tokio::sync::RwLock;

use crate::world::{World, address, connect, heard, register, soon, until};

const GRACE: Duration = Duration::from_secs(10);

/// A node that stops leaves nothing behind: no session, no document, no lock.
#[tokio::test]
async fn a_node_that_stops_leaves_nothing_behind() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    a.hub.send(&address("d1"), Message::new("held")).await.unwrap();
    assert!(matches!(heard(&mut device).await, DeviceEvent::Message(_)));
    let report = soon(b.hub.shutdown(GRACE)).await;
    assert!(report.drained);
    assert_eq!(world.holder("d1").await, None);
    assert!(!world.has_document("b").await && world.posts("b").await == 0);
    // The lock was given back: the message is there at once.
    let mut again = connect(&a, "d1").await;
    assert!(matches!(heard(&mut again).await, DeviceEvent::Message(_)));
    drop(device);
}

/// A node that could not finish in time says so, and others repair at once what it left.
#[tokio::test]
async fn what_a_node_could_not_finish_is_repaired_by_others() {
    let world = World::with(|limits| limits.node_expiry = Duration::from_secs(3600));
    let (a, b) = world.pair().await;
    let device = connect(&b, "d1").await;
    b.control.stall();
    let report = soon(b.hub.shutdown(Duration::from_millis(100))).await;
    assert!(!report.drained);
    b.control.resume();
    until(|| async { !world.has_document("b").await }).await;
    assert_eq!(world.holder("d1").await, None);
    drop((a, device));
}

/// Calls of devices at a node that stops end, each in its own way.
#[tokio::test]
async fn calls_end_when_the_node_at_the_device_stops() {
    let world = World::new();
    let (a, b) = world.pair().await;
    let mut device = connect(&b, "d1").await;
    let hub = a.hub.clone();
    let call = async move { hub.invoke(&address("d1"), MethodCall::new("x")).await };
    let end = tokio::spawn(call);
    assert!(matches!(heard(&mut device).await, DeviceEvent::Method(..)));
    assert!(soon(b.hub.shutdown(GRACE)).await.drained);
    let lost = soon(end).await.unwrap().unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::DeviceDisconnected);
    drop(device);
}

/// A node, or the one that takes its place.
type Place = Arc<RwLock<Hub>>;

/// Two of three nodes are always there. Devices come back to another one; back ends ask another one
/// when theirs is gone. Whatever was accepted is there in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_nothing_that_was_acknowledged() {
    let world = Arc::new(World::polling());
    let mut places: Vec<Place> = Vec::new();
    for name in ["a", "b", "c"] {
        places.push(Arc::new(RwLock::new(world.start(name).await.hub)));
    }
    let places = Arc::new(places);
    for name in ["d0", "d1", "d2"] {
        register(&*places[0].read().await, name).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (events, completed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let devices: Vec<_> = (0..3_usize)
        .map(|n| {
            let (places, stop) = (places.clone(), stop.clone());
            let (events, completed) = (events.clone(), completed.clone());
            tokio::spawn(async move { live(n, &places, &stop, &events, &completed).await })
        })
        .collect();
    let sender = tokio::spawn({
        let (places, stop) = (places.clone(), stop.clone());
        async move {
            let mut accepted = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                let hub = places[(accepted % 3) as usize].read().await.clone();
                let to = address(&format!("d{}", accepted % 3));
                // A refusal is no promise: the sender tries again, elsewhere.
                match hub.send(&to, Message::new(accepted.to_string())).await {
                    Ok(_) => accepted += 1,
                    Err(error) => assert!(
                        matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::QueueFull),
                        "{error:?}"
                    ),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            accepted
        }
    });
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (place, name) = (&places[round % 3], ["a", "b", "c"][round % 3]);
        let old = place.read().await.clone();
        assert!(soon(old.shutdown(GRACE)).await.drained);
        drop(old);
        *place.write().await = world.start(name).await.hub;
    }
    stop.store(true, Ordering::SeqCst);
    let accepted = soon(sender).await.unwrap();
    // Devices go on until all that was accepted has reached them.
    until(|| async { completed.load(Ordering::SeqCst) >= accepted }).await;
    for device in devices {
        device.abort();
    }
    let hub = places[0].read().await.clone();
    let mut kept = 0;
    for partition in 0..2 {
        let mut reader = hub.reader(Partition(partition), Position::Earliest).await.unwrap();
        loop {
            let events = reader.try_read(1000).await.unwrap();
            if events.is_empty() {
                break;
            }
            kept += events.len() as u64;
        }
    }
    let acknowledged = events.load(Ordering::SeqCst);
    assert!(acknowledged > 0 && kept >= acknowledged, "{kept} of {acknowledged} events are there");
    for name in ["d0", "d1", "d2"] {
        assert_eq!(hub.queue_depth(&address(name)).await.unwrap(), 0);
    }
}

/// A device: it publishes, completes its messages, and connects elsewhere when it is closed.
async fn live(
    n: usize,
    places: &[Place],
    stop: &AtomicBool,
    events: &AtomicU64,
    completed: &AtomicU64,
) {
    let name = address(&format!("d{n}"));
    for turn in n.. {
        let hub = places[turn % 3].read().await.clone();
        let Ok(mut device) = hub.device(&name).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        drop(hub);
        if device.subscribe(Interest::Messages).await.is_err() {
            continue;
        }
        loop {
            if !stop.load(Ordering::SeqCst) {
                match device.send(b"event", &[]).await {
                    Ok(()) => events.fetch_add(1, Ordering::SeqCst),
                    Err(_) => break,
                };
            }
            let next = tokio::time::timeout(Duration::from_millis(3), device.next()).await;
            match next {
                Ok(DeviceEvent::Message(delivery)) => {
                    match device.settle(delivery.token, Disposition::Complete).await {
                        Ok(()) => completed.fetch_add(1, Ordering::SeqCst),
                        Err(error) if error.kind() == ErrorKind::MessageLockLost => 0,
                        Err(_) => break,
                    };
                }
                Ok(DeviceEvent::Closed(_)) => break,
                _ => {}
            }
        }
    }
}
