//! Dead letters: how messages become some, and what may be done with them.

use std::time::Duration;

use hub_core::ErrorKind;
use hub_core::delivery::{DeadLetter, MessageOutcome};
use hub_core::engine::Hub;
use hub_core::envelope::{Ack, Message};
use hub_core::frame::Disposition;
use hub_core::id::{Address, SequenceNumber};

use super::{World, address, kind, soon};

const LOCK: Duration = Duration::from_secs(60);

fn world() -> World {
    World::with(|limits| {
        limits.dead_letters_max = 10;
        limits.c2d_depth_max = 5;
        limits.c2d_delivery_count_max = 2;
    })
}

async fn send(hub: &Hub, to: &Address, body: &str) {
    hub.send(to, Message::new(body.to_owned())).await.unwrap();
}

/// Makes a message end so.
async fn settle(hub: &Hub, of: &Address, disposition: Disposition) {
    let delivery = hub.receive(of, LOCK).await.unwrap().expect("a message");
    hub.settle(of, delivery.token, disposition).await.unwrap();
}

async fn reject(hub: &Hub, of: &Address, body: &str) {
    send(hub, of, body).await;
    settle(hub, of, Disposition::Reject).await;
}

fn bodies(letters: &[DeadLetter]) -> Vec<String> {
    letters.iter().map(|letter| String::from_utf8(letter.message.body.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn every_end_but_completion_leaves_a_letter_with_its_cause() {
    let world = world();
    let (hub, d1) = (&world.hub, world.register("d1").await);
    reject(hub, &d1, "rejected").await;
    send(hub, &d1, "given back").await;
    settle(hub, &d1, Disposition::Abandon).await;
    settle(hub, &d1, Disposition::Abandon).await;
    send(hub, &d1, "completed").await;
    settle(hub, &d1, Disposition::Complete).await;
    let message = Message::new("expired")
        .with_property("k", "v")
        .with_message_id("m1")
        .with_ack(Ack::Negative)
        .with_expiry(hub.now().after(Duration::from_secs(5)));
    let sent = hub.send(&d1, message).await.unwrap();
    world.until(|| async { hub.queue_depth(&d1).await.unwrap() == 0 }).await;
    send(hub, &d1, "purged").await;
    assert_eq!(hub.purge(&d1).await.unwrap(), 1);

    let letters = hub.dead_letters().of(&d1, None, 100).await.unwrap();
    assert_eq!(bodies(&letters), ["rejected", "given back", "expired", "purged"]);
    let found: Vec<_> =
        letters.iter().map(|letter| (letter.cause, letter.delivery_count)).collect();
    let expected = [
        (MessageOutcome::Rejected, 0),
        (MessageOutcome::DeliveryCountExceeded, 2),
        (MessageOutcome::Expired, 0),
        (MessageOutcome::Purged, 0),
    ];
    assert_eq!(found, expected);
    let expired = &letters[2];
    assert_eq!((expired.expiry, expired.sequence), (sent.expiry, sent.sequence));
    assert!(expired.at >= sent.expiry && expired.at <= hub.now());
    assert_eq!(expired.message.properties.application(), [("k", Some("v"))]);
    assert_eq!(hub.dead_letters().get(&d1, expired.number).await.as_ref(), Ok(expired));
    assert_eq!(hub.dead_letters().count(&d1).await.unwrap(), 4);
}

#[tokio::test]
async fn none_are_kept_unless_that_is_wanted() {
    let world = World::with(|_| {});
    let (hub, d1) = (&world.hub, world.register("d1").await);
    reject(hub, &d1, "x").await;
    assert_eq!(hub.dead_letters().all(None, 100).await.unwrap(), []);
}

#[tokio::test]
async fn letters_of_all_are_read_page_by_page() {
    let world = world();
    let hub = &world.hub;
    let mut expected = Vec::new();
    for name in ["d1", "d1/m1", "D", "zz"] {
        let of = world.register(name).await;
        for n in 0..3 {
            reject(hub, &of, &format!("{name} {n}")).await;
            expected.push((of.clone(), format!("{name} {n}")));
        }
    }
    expected.sort();
    for size in [1, 2, 5, 12, 100] {
        let (mut found, mut after) = (Vec::new(), None::<(Address, SequenceNumber)>);
        loop {
            let place = after.as_ref().map(|(of, number)| (of, *number));
            let page = hub.dead_letters().all(place, size).await.unwrap();
            let full = page.len() == size as usize;
            after = page.last().map(|letter| (letter.of.clone(), letter.number));
            let bodies = bodies(&page);
            found.extend(page.into_iter().map(|letter| letter.of).zip(bodies));
            if !full {
                break;
            }
        }
        assert_eq!(found, expected, "by {size}");
    }
    let d1 = address("d1");
    let first = hub.dead_letters().of(&d1, None, 1).await.unwrap();
    let rest = hub.dead_letters().of(&d1, Some(first[0].number), 9).await.unwrap();
    assert_eq!(
        (bodies(&first), bodies(&rest)),
        (vec!["d1 0".into()], vec!["d1 1".into(), "d1 2".into()])
    );
}

#[tokio::test]
async fn the_oldest_give_way_and_age_takes_the_rest() {
    let world = world();
    let (hub, d1) = (&world.hub, world.register("d1").await);
    for n in 0..13 {
        reject(hub, &d1, &n.to_string()).await;
    }
    // A purge ends several at once.
    for n in 13..17 {
        send(hub, &d1, &n.to_string()).await;
    }
    assert_eq!(hub.purge(&d1).await.unwrap(), 4);
    let letters = hub.dead_letters().of(&d1, None, 100).await.unwrap();
    let expected: Vec<String> = (7..17).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&letters), expected);
    world.clock.advance(world.limits.dead_letter_retention);
    world.until(|| async { hub.dead_letters().count(&d1).await.unwrap() == 0 }).await;
}

#[tokio::test]
async fn a_letter_is_sent_again_once_and_whole_or_stays() {
    let world = world();
    let (hub, d1) = (&world.hub, world.register("d1").await);
    let message = Message::new("x").with_property("k", "v").with_message_id("m1");
    hub.send(&d1, message.with_ack(Ack::Full)).await.unwrap();
    settle(hub, &d1, Disposition::Reject).await;
    let letter = hub.dead_letters().of(&d1, None, 1).await.unwrap().remove(0);
    let letters = hub.dead_letters();
    // The queue is full: nothing happens.
    for n in 0..5 {
        send(hub, &d1, &n.to_string()).await;
    }
    let full = kind(letters.replay(&d1, letter.number, None).await.map(drop));
    assert_eq!(full, Err(ErrorKind::QueueFull));
    assert_eq!(letters.get(&d1, letter.number).await.as_ref(), Ok(&letter));
    assert_eq!(hub.queue_depth(&d1).await.unwrap(), 5);
    let late = kind(letters.replay(&d1, letter.number, Some(hub.now())).await.map(drop));
    assert_eq!(late, Err(ErrorKind::InvalidExpiry));
    // Of several at once one does it.
    hub.purge(&d1).await.unwrap();
    let kept = letters.count(&d1).await.unwrap();
    let expiry = hub.now().after(Duration::from_secs(7));
    let replay = || letters.replay(&d1, letter.number, Some(expiry));
    let (a, b, c) = tokio::join!(replay(), replay(), replay());
    let mut found: Vec<_> =
        [a, b, c].map(|sent| kind(sent.map(|sent| sent.expiry))).into_iter().collect();
    found.sort_by_key(Result::is_err);
    let gone = Err(ErrorKind::DeadLetterNotFound);
    assert_eq!(found, [Ok(expiry), gone, gone]);
    assert_eq!(letters.count(&d1).await.unwrap(), kept - 1);
    let again = hub.peek(&d1, None, 9).await.unwrap();
    assert_eq!(again.len(), 1);
    let message = &again[0].message;
    assert_eq!((message.ack, &message.body[..]), (Ack::Full, &b"x"[..]));
    assert_eq!(message.properties, letter.message.properties);
    assert_eq!((again[0].delivery_count, message.enqueued), (0, hub.now()));
    assert_eq!(
        kind(letters.replay(&d1, SequenceNumber(999), None).await.map(drop)),
        gone.map(drop)
    );
}

/// A listening device hears of it at once, at whichever node.
#[tokio::test]
async fn a_listening_device_gets_what_is_sent_again() {
    let world = world();
    let d1 = world.register("d1").await;
    reject(&world.hub, &d1, "again").await;
    let other = world.node("other").await;
    let mut device = soon(other.device(&d1)).await.unwrap();
    soon(device.subscribe(hub_core::frame::Interest::Messages)).await.unwrap();
    let letter = world.hub.dead_letters().of(&d1, None, 1).await.unwrap().remove(0);
    world.hub.dead_letters().replay(&d1, letter.number, None).await.unwrap();
    match soon(device.next()).await {
        hub_core::engine::DeviceEvent::Message(delivery) => {
            assert_eq!(&delivery.message.body[..], b"again");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn letters_go_one_by_one_by_device_and_all_together() {
    let world = world();
    let hub = &world.hub;
    let (d1, d2) = (world.register("d1").await, world.register("d2").await);
    for of in [&d1, &d2] {
        for n in 0..4 {
            reject(hub, of, &n.to_string()).await;
        }
    }
    let letters = hub.dead_letters();
    let first = letters.of(&d1, None, 1).await.unwrap().remove(0);
    letters.remove(&d1, first.number).await.unwrap();
    let gone = Err(ErrorKind::DeadLetterNotFound);
    assert_eq!(kind(letters.remove(&d1, first.number).await), gone);
    assert_eq!(kind(letters.get(&d1, first.number).await.map(drop)), gone);
    assert_eq!(letters.purge(&d1).await.unwrap(), 3);
    assert_eq!(letters.count(&d2).await.unwrap(), 4);
    reject(hub, &d1, "x").await;
    assert_eq!(letters.purge_all().await.unwrap(), 5);
    assert_eq!(letters.all(None, 100).await.unwrap(), []);
}

#[tokio::test]
async fn letters_go_with_their_device() {
    let world = world();
    let (hub, d1) = (&world.hub, world.register("d1").await);
    let module = world.register("d1/m1").await;
    for of in [&d1, &module] {
        reject(hub, of, "x").await;
    }
    hub.registry().delete(&d1, None).await.unwrap();
    assert_eq!(hub.dead_letters().all(None, 100).await.unwrap(), []);
    let d1 = world.register("d1").await;
    assert_eq!(hub.dead_letters().count(&d1).await.unwrap(), 0);
}

/// Several nodes end messages of one device at once, whose letters are as many as may be: all of them
/// end, and no letter is lost but to younger ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_ends_at_once_all_find_room() {
    let world = World::with(|limits| {
        limits.dead_letters_max = 4;
        limits.conflict_rounds_max = 50;
    });
    let d1 = world.register("d1").await;
    let nodes = [world.hub.clone(), world.node("b").await];
    for n in 0..40 {
        send(&world.hub, &d1, &n.to_string()).await;
    }
    let work = nodes.into_iter().map(|hub| {
        let d1 = d1.clone();
        tokio::spawn(async move {
            let mut ended = 0;
            while let Some(delivery) = hub.receive(&d1, LOCK).await.unwrap() {
                hub.settle(&d1, delivery.token, Disposition::Reject).await.unwrap();
                ended += 1;
            }
            ended
        })
    });
    let ended = soon(futures::future::join_all(work)).await;
    let ended: u32 = ended.into_iter().map(Result::unwrap).sum();
    assert_eq!((ended, world.hub.queue_depth(&d1).await.unwrap()), (40, 0));
    assert_eq!(world.hub.dead_letters().count(&d1).await.unwrap(), 4);
}
