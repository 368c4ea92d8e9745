//! Asking for an address, and finishing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hub_core::blob::BlobName;
use hub_core::engine::{Hub, UploadReport};
use hub_core::error::ErrorKind;
use hub_core::id::Address;
use hub_core::registry::{IdentitySpec, IfMatch, Status};
use hub_core::store::{Ask, QueueId, Record};
use hub_store_memory::MemoryStore;

use crate::{START, World, device};

const HOUR: Duration = Duration::from_secs(3600);

async fn open_uploads(world: &World) -> u32 {
    let asks = [Ask::Depth(QueueId::uploads(&device("d1")))];
    match world.store.read(&asks).await.unwrap()[0] {
        Some(Record::Depth(depth)) => depth,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_device_gets_an_address_uploads_and_the_back_end_finds_the_file() {
    let world = World::new().await;
    let ticket = world.begin("a b/c.txt").await.unwrap();
    assert_eq!(ticket.blob.as_str(), "d1/a b/c.txt");
    assert_eq!((ticket.address.host(), ticket.address.container()), ("files.test", "box"));
    assert_eq!(ticket.expiry, START.after(HOUR));
    let until = START.after(HOUR).as_millis();
    assert_eq!(ticket.address.query(), format!("?Upload&until={until}"));
    world.shelf.upload("d1/a b/c.txt", "hello");
    assert_eq!(world.finish(&ticket.correlation.to_string(), true).await, Ok(true));

    let received = world.hub.file_notifications().receive().await.unwrap();
    let told = received.notification;
    assert_eq!((told.device_str(), told.size), ("d1", 5));
    assert_eq!((told.enqueued, told.modified), (START, crate::shelf::WRITTEN));
    assert_eq!(told.url, "https://files.test/box/d1/a b/c.txt");
    let mut reader = world.hub.blobs().unwrap().read(&told.blob, Some(1..4)).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "ell");
    assert_eq!(reader.next().await.unwrap(), None);
    let (address, expiry) = world.hub.file_address(&told.blob).await.unwrap();
    assert!(address.query().starts_with("?Download"), "{}", address.query());
    assert_eq!(expiry, START.after(HOUR));
    let other = BlobName::parse("d1/other").unwrap();
    assert_eq!(world.hub.file_address(&other).await.unwrap_err().kind(), ErrorKind::BlobNotFound);
}

#[tokio::test]
async fn an_upload_is_finished_once_by_its_device_and_in_time() {
    let world = World::new().await;
    world.register("d2").await;
    world.shelf.upload("d1/a", "a");
    let id = world.begin("a").await.unwrap().correlation.to_string();
    let other = world.hub.finish_upload(&device("d2"), &id, UploadReport::success()).await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::UploadNotFound);
    for wrong in ["", "x", &id[1..], &format!("{id}0"), &id.replace(&id[32..], &"0".repeat(32))] {
        assert_eq!(world.finish(wrong, true).await, Err(ErrorKind::UploadNotFound), "{wrong}");
    }
    assert_eq!(world.finish(&id, true).await, Ok(true));
    assert_eq!(world.finish(&id, true).await, Err(ErrorKind::UploadNotFound));
    assert_eq!(world.finish(&id, false).await, Err(ErrorKind::UploadNotFound));

    let late = world.begin("a").await.unwrap().correlation.to_string();
    world.clock.advance(HOUR);
    assert_eq!(world.finish(&late, true).await, Err(ErrorKind::UploadExpired));
    // Also when nothing is left of it, and for one that was finished.
    assert_eq!(world.finish(&id, true).await, Err(ErrorKind::UploadExpired));
}

#[tokio::test]
async fn a_failed_upload_tells_nobody_and_makes_room() {
    let world = World::with(|limits| limits.uploads_per_device_max = 1).await;
    let id = world.begin("a").await.unwrap().correlation.to_string();
    assert_eq!(world.begin("b").await.unwrap_err().kind(), ErrorKind::TooManyUploads);
    assert_eq!(world.finish(&id, false).await, Ok(false));
    assert!(world.begin("b").await.is_ok());
    assert_eq!(world.hub.file_notifications().try_receive().await.unwrap(), None);
}

#[tokio::test]
async fn ten_uploads_may_be_open_and_expired_ones_do_not_count() {
    let world = World::new().await;
    for number in 0..10_u64 {
        world.begin(&format!("f{number}")).await.unwrap();
        world.clock.advance(Duration::from_millis(1));
    }
    let refused = world.begin("f10").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooManyUploads);
    let want = "Number of active file upload requests cannot exceed 10";
    assert_eq!(refused.message(), want);
    // The first three expire. No sweep need have been there.
    world.clock.advance(HOUR - Duration::from_millis(8));
    for number in 0..3 {
        world.begin(&format!("g{number}")).await.unwrap();
    }
    assert_eq!(world.begin("g3").await.unwrap_err().kind(), ErrorKind::TooManyUploads);
}

#[tokio::test]
async fn ten_at_once_of_eleven_that_ask_together() {
    let world = World::new().await;
    let asking = (0..30).map(|number| {
        let world = &world;
        async move { world.begin(&format!("f{number}")).await.is_ok() }
    });
    let granted = futures::future::join_all(asking).await.into_iter().filter(|ok| *ok).count();
    assert_eq!(granted, 10);
}

#[tokio::test]
async fn abandoned_uploads_are_swept() {
    let world = World::new().await;
    // The hub's own tasks begin.
    tokio::task::yield_now().await;
    world.begin("a").await.unwrap();
    world.clock.advance(HOUR);
    for _ in 0..1000 {
        if open_uploads(&world).await == 0 {
            let swept = world.shelf.swept.lock().unwrap();
            assert_eq!(swept.first(), Some(&START.before(HOUR)));
            return;
        }
        world.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    panic!("nobody sweeps");
}

#[tokio::test]
async fn an_upload_outlives_a_restart() {
    let mut world = World::new().await;
    let id = world.begin("a").await.unwrap().correlation.to_string();
    world.shelf.upload("d1/a", "a");
    world.restart();
    assert_eq!(world.finish(&id, true).await, Ok(true));
    world.restart();
    let received = world.hub.file_notifications().try_receive().await.unwrap().unwrap();
    assert_eq!(received.notification.blob.as_str(), "d1/a");
}

#[tokio::test]
async fn a_device_made_anew_has_none_of_the_old_one_s_uploads() {
    let world = World::new().await;
    let id = world.begin("a").await.unwrap().correlation.to_string();
    world.shelf.upload("d1/a", "a");
    world.hub.registry().delete(&Address::from(device("d1")), None).await.unwrap();
    assert_eq!(open_uploads(&world).await, 0);
    world.register("d1").await;
    assert_eq!(world.finish(&id, true).await, Err(ErrorKind::UploadNotFound));
    let new = world.begin("a").await.unwrap().correlation.to_string();
    assert_ne!(new, id);
    assert_eq!(world.finish(&id, true).await, Err(ErrorKind::UploadNotFound));
    assert_eq!(world.finish(&new, true).await, Ok(true));
}

#[tokio::test]
async fn who_may_not_upload_hears_why() {
    let world = World::new().await;
    let kind = |result: Result<_, hub_core::HubError>| result.map(drop).unwrap_err().kind();
    let unknown = world.hub.begin_upload(&device("d2"), "a").await;
    assert_eq!(kind(unknown), ErrorKind::DeviceNotFound);
    let mut spec = IdentitySpec::new(Address::from(device("d1")));
    spec.status = Some(Status::Disabled);
    world.hub.registry().put(&spec, Some(&IfMatch::Any)).await.unwrap();
    assert_eq!(kind(world.begin("a").await), ErrorKind::DeviceDisabled);
    spec.status = Some(Status::Enabled);
    world.hub.registry().put(&spec, Some(&IfMatch::Any)).await.unwrap();
    for name in ["", "../d2/a", "/a", "a\\b", "a\0", &"x".repeat(2000)] {
        assert_eq!(kind(world.begin(name).await), ErrorKind::ArgumentInvalid, "{name:?}");
    }
    world.shelf.refuses.store(true, Ordering::SeqCst);
    assert_eq!(kind(world.begin("a").await), ErrorKind::BlobStoreRefused);
    assert_eq!(open_uploads(&world).await, 0);
    let bare = Hub::builder(MemoryStore::new()).start().unwrap();
    let nowhere = bare.begin_upload(&device("d1"), "a").await;
    assert_eq!(kind(nowhere), ErrorKind::NoBlobStore);
}

#[tokio::test]
async fn what_could_not_be_finished_is_still_open() {
    let world = World::with(|limits| limits.file_notification_depth_max = 1).await;
    let ids = [world.begin("a").await.unwrap(), world.begin("b").await.unwrap()]
        .map(|ticket| ticket.correlation.to_string());
    assert_eq!(world.finish(&ids[0], true).await, Err(ErrorKind::BlobNotFound));
    world.shelf.upload("d1/a", "a");
    world.shelf.upload("d1/b", "b");
    world.shelf.refuses.store(true, Ordering::SeqCst);
    assert_eq!(world.finish(&ids[0], true).await, Err(ErrorKind::Unavailable));
    world.shelf.refuses.store(false, Ordering::SeqCst);
    assert_eq!(world.finish(&ids[0], true).await, Ok(true));
    assert_eq!(world.finish(&ids[1], true).await, Err(ErrorKind::QueueFull));
    let receiver = world.hub.file_notifications();
    let first = receiver.try_receive().await.unwrap().unwrap();
    receiver.settle(first.token, hub_core::frame::Disposition::Complete).await.unwrap();
    assert_eq!(world.finish(&ids[1], true).await, Ok(true));
}

#[tokio::test]
async fn without_notifications_nobody_looks_for_the_file() {
    let world = World::with(|limits| limits.file_notifications = false).await;
    let id = world.begin("a").await.unwrap().correlation.to_string();
    assert_eq!(world.finish(&id, true).await, Ok(false));
    assert_eq!(world.shelf.stats.load(Ordering::SeqCst), 0);
    assert_eq!(world.hub.file_notifications().try_receive().await.unwrap(), None);
}
