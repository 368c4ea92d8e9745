//! Receiving file notifications: locks, life, deliveries.

use std::time::Duration;

use hub_core::error::ErrorKind;
use hub_core::frame::Disposition;

use crate::World;

const LOCK: Duration = Duration::from_secs(60);

async fn uploaded(world: &World, name: &str) {
    let ticket = world.begin(name).await.unwrap();
    world.shelf.upload(ticket.blob.as_str(), "text");
    assert_eq!(world.finish(&ticket.correlation.to_string(), true).await, Ok(true));
}

#[tokio::test]
async fn a_notification_is_locked_for_whoever_received_it() {
    let world = World::new().await;
    uploaded(&world, "a").await;
    uploaded(&world, "b").await;
    let (one, two) = (world.hub.file_notifications(), world.hub.file_notifications());
    let a = one.try_receive().await.unwrap().unwrap();
    let b = two.try_receive().await.unwrap().unwrap();
    assert_eq!(a.notification.blob.as_str(), "d1/a");
    assert_eq!(b.notification.blob.as_str(), "d1/b");
    assert_eq!((a.deliveries, a.locked_until()), (1, crate::START.after(LOCK)));
    assert_eq!(one.try_receive().await.unwrap(), None);
    two.settle(b.token, Disposition::Complete).await.unwrap();
    let twice = two.settle(b.token, Disposition::Complete).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::MessageLockLost);
    world.clock.advance(LOCK);
    let late = one.settle(a.token, Disposition::Complete).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::MessageLockLost);
    let again = two.try_receive().await.unwrap().unwrap();
    assert_eq!((again.notification, again.deliveries), (a.notification, 2));
    two.settle(again.token, Disposition::Reject).await.unwrap();
    world.clock.advance(LOCK);
    assert_eq!(two.try_receive().await.unwrap(), None);
}

#[tokio::test]
async fn a_notification_given_back_too_often_is_dropped() {
    let world = World::with(|limits| limits.file_notification_delivery_count_max = 3).await;
    uploaded(&world, "a").await;
    let receiver = world.hub.file_notifications();
    for deliveries in 1..=3 {
        let received = receiver.try_receive().await.unwrap().unwrap();
        assert_eq!(received.deliveries, deliveries);
        receiver.settle(received.token, Disposition::Abandon).await.unwrap();
    }
    assert_eq!(receiver.try_receive().await.unwrap(), None);
}

#[tokio::test]
async fn a_notification_expires() {
    let world = World::new().await;
    uploaded(&world, "a").await;
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(world.hub.file_notifications().try_receive().await.unwrap(), None);
}

#[tokio::test]
async fn a_receiver_that_waits_hears_of_an_upload() {
    let world = World::new().await;
    let receiver = world.hub.file_notifications();
    let waiting = tokio::spawn(async move { receiver.receive().await });
    tokio::task::yield_now().await;
    uploaded(&world, "a").await;
    let received = waiting.await.unwrap().unwrap();
    assert_eq!(received.notification.blob.as_str(), "d1/a");

    let receiver = world.hub.file_notifications();
    let waiting = tokio::spawn(async move { receiver.receive().await });
    tokio::task::yield_now().await;
    world.hub.shutdown(Duration::from_secs(1)).await;
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
}
