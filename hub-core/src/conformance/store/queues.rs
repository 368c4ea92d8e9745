//! Queue items: guards, versions, numbers, capacity, bodies.

use super::Fixture;
use super::documents::bodies;
use super::probe::{NEVER, Probe, at, committed, item, mailbox, pushed, queue, texts};
use crate::id::SequenceNumber;
use crate::store::{
    Ask, Change, Item, ItemRef, Marks, Outcome, Push, QueueKind, Record, Scope, Version,
};

/// Listing shows locked items too, in order, after a number, and takes nothing.
pub async fn s22_listing_shows_all_items_in_order<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let queue = mailbox("d");
    let mut numbers = Vec::new();
    for body in ["a", "b", "c", "d"] {
        numbers.push(probe.push(item(&queue, body)).await);
    }
    probe.push(item(&mailbox("e"), "other")).await;
    let locked = probe.claim(1, Scope::Queue(queue.clone()), 1, 1000).await;
    let list = async |after, limit| match probe
        .read(&[Ask::Items(queue.clone(), after, limit)])
        .await
        .remove(0)
    {
        Some(Record::Items(items)) => items,
        other => panic!("not items: {other:?}"),
    };
    let all = list(SequenceNumber(0), 10).await;
    let found: Vec<_> = all.iter().map(|item| item.at.sequence()).collect();
    assert_eq!(found, numbers);
    assert_eq!(all.first(), locked.first());
    let some = list(numbers[0], 2).await;
    let found: Vec<_> = some.iter().map(|item| item.at.sequence()).collect();
    assert_eq!(found, numbers[1..3]);
    assert_eq!(list(numbers[3], 10).await, []);
    assert_eq!(list(SequenceNumber(0), 0).await, []);
}

/// Listing a kind shows items of all its queues, locked ones too, queue by queue, after a place.
pub async fn s22_listing_a_kind_goes_through_all_queues<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let mut places = Vec::new();
    for round in ["1", "2"] {
        for id in ["d/m", "d", "é", "D", ""] {
            let number = probe.push(item(&mailbox(id), &format!("{id}{round}"))).await;
            places.push((id, number));
        }
    }
    probe.push(item(&queue(QueueKind::DeadLetter, "d"), "other")).await;
    let locked = probe.claim(1, Scope::Queue(mailbox("d")), 1, 1000).await;
    places.sort_unstable();
    let list = async |id: &str, after, limit| {
        let ask = Ask::ItemsOfKind(QueueKind::Mailbox, id.into(), after, limit);
        match probe.read(&[ask]).await.remove(0) {
            Some(Record::Items(items)) => items,
            other => panic!("not items: {other:?}"),
        }
    };
    let all = list("", SequenceNumber(0), 100).await;
    let place = |item: &Item| (item.at.queue().id.to_string(), item.at.sequence());
    let expected: Vec<_> = places.iter().map(|(id, number)| ((*id).to_owned(), *number)).collect();
    assert_eq!(all.iter().map(place).collect::<Vec<_>>(), expected);
    assert!(locked.iter().all(|locked| all.contains(locked)));
    for (index, (id, number)) in places.iter().enumerate() {
        for limit in [0, 1, 3, 100] {
            let page: Vec<_> = all.iter().skip(index + 1).take(limit as usize).cloned().collect();
            assert_eq!(list(id, *number, limit).await, page, "after {id:?} {number:?}");
        }
    }
    // A place need not be that of an item, nor of a queue.
    assert_eq!(list("d", SequenceNumber(u64::MAX), 1).await.len(), 1);
    assert_eq!(list("c", SequenceNumber(7), 1).await[0].at.queue(), &mailbox("d"));
    assert_eq!(list("zz", SequenceNumber(0), 100).await.len(), 2);
    let none = Ask::ItemsOfKind(QueueKind::Upload, "".into(), SequenceNumber(0), 100);
    assert_eq!(probe.read(&[none]).await, [Some(Record::Items(Vec::new()))]);
}

/// An item is settled only as it was read, and only once.
pub async fn s5_settle_needs_the_version_read<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let old = pushed(&probe, &d, "a").await;
    let new = probe.claim_all(1, &d, 9).await.remove(0);
    assert_eq!(probe.one(Change::new().settle(&old.at)).await, Outcome::Conflict);
    assert_eq!(probe.depth(&d).await, 1);
    probe.done(Change::new().settle(&new.at)).await;
    assert_eq!((probe.depth(&d).await, probe.item(&d, new.at.sequence()).await), (0, None));
    assert_eq!(probe.one(Change::new().settle(&new.at)).await, Outcome::Conflict);
}

/// An item is retimed only as it was read.
pub async fn s5_retime_needs_the_version_read<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let old = pushed(&probe, &d, "a").await;
    let retime = |item: &Item, millis| Change::new().retime(&item.at, at(millis), item.marks);
    probe.done(retime(&old, 5)).await;
    let new = probe.item(&d, old.at.sequence()).await.unwrap();
    assert_eq!(probe.one(retime(&old, 6)).await, Outcome::Conflict);
    assert_eq!(probe.item(&d, old.at.sequence()).await.unwrap(), new);
    probe.done(retime(&new, 7)).await;
    let newest = probe.item(&d, old.at.sequence()).await.unwrap();
    assert_eq!(newest.visible, at(7));
    probe.done(Change::new().settle(&newest.at)).await;
    assert_eq!(probe.one(retime(&newest, 8)).await, Outcome::Conflict);
    assert_eq!(probe.depth(&d).await, 0);
}

/// Numbers and versions that a client made up, and real ones of another queue, are a conflict.
pub async fn s5_an_item_never_issued_does_not_hold<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let real = pushed(&probe, &mailbox("d"), "a").await;
    let (sequence, version) = (real.at.sequence(), real.at.version());
    for made_up in [
        ItemRef::new(mailbox("d"), sequence, NEVER),
        ItemRef::new(mailbox("d"), sequence, Version(1 << 63)),
        ItemRef::new(mailbox("d"), sequence, Version(0)),
        ItemRef::new(mailbox("d"), SequenceNumber(0), version),
        ItemRef::new(mailbox("d"), sequence.next(), version),
        ItemRef::new(mailbox("d"), SequenceNumber(u64::MAX), version),
        ItemRef::new(mailbox("e"), sequence, version),
        ItemRef::new(queue(QueueKind::Inbox, "d"), sequence, version),
    ] {
        let retime = Change::new().retime(&made_up, at(5), Marks::default());
        for change in [Change::new().settle(&made_up), retime] {
            assert_eq!(probe.one(change.clone()).await, Outcome::Conflict, "{change:?}");
        }
    }
    assert_eq!(probe.item(&mailbox("d"), sequence).await, Some(real));
}

/// A clear removes visible and hidden items of its queue, and nothing of another.
pub async fn s5_clear_takes_items_of_any_version<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let (d, e) = (mailbox("d"), queue(QueueKind::DeadLetter, "d"));
    for body in ["1", "2", "3"] {
        pushed(&probe, &d, body).await;
    }
    let other = pushed(&probe, &e, "kept").await;
    let hidden = probe.claim(1, Scope::Queue(d.clone()), 2, 50).await;
    probe.done(Change::new().clear(d.clone())).await;
    assert_eq!(probe.depth(&d).await, 0);
    assert_eq!(probe.claim_all(100, &d, 200).await, []);
    for gone in &hidden {
        assert_eq!(probe.item(&d, gone.at.sequence()).await, None);
        assert_eq!(probe.one(Change::new().settle(&gone.at)).await, Outcome::Conflict);
    }
    assert_eq!(probe.item(&e, other.at.sequence()).await, Some(other));
    probe.done(Change::new().clear(d).clear(mailbox("never was"))).await;
}

/// Push, claim and retime each give a version the item never had.
pub async fn s6_every_write_of_an_item_gives_a_new_version<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let mut item = pushed(&probe, &d, "a").await;
    let mut seen = vec![item.at.version()];
    for round in 0..5 {
        let claimed = probe.claim_all(round, &d, round + 1).await.remove(0);
        assert!(!seen.contains(&claimed.at.version()), "{claimed:?} after {seen:?}");
        seen.push(claimed.at.version());
        let retime = Change::new().retime(&claimed.at, at(round), claimed.marks);
        let issued = probe.done(retime).await;
        item = probe.item(&d, claimed.at.sequence()).await.unwrap();
        assert_eq!(item.at.version(), issued.version);
        assert!(!seen.contains(&issued.version), "{item:?} after {seen:?}");
        seen.push(issued.version);
    }
    probe.done(Change::new().settle(&item.at)).await;
}

/// Retiming sets when an item becomes visible and its marks; all else stays.
pub async fn s9_retime_moves_time_and_marks_only<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    probe.push(Push { deadline: at(500), ..item(&d, "a") }).await;
    let claimed = probe.claim_all(10, &d, 60).await.remove(0);
    let marks = Marks::new(&[1, 0, 255]).unwrap();
    let issued = probe.done(Change::new().retime(&claimed.at, at(20), marks)).await;
    let expected = Item {
        at: ItemRef::new(d.clone(), claimed.at.sequence(), issued.version),
        visible: at(20),
        marks,
        ..claimed
    };
    assert_eq!(probe.item(&d, expected.at.sequence()).await, Some(expected));
    assert_eq!(probe.claim_all(19, &d, 60).await, []);
    let again = probe.claim_all(20, &d, 90).await.remove(0);
    assert_eq!((again.marks, again.claims), (marks, 2));
    // Later is possible too.
    probe.done(Change::new().retime(&again.at, at(700), Marks::default())).await;
    assert_eq!(probe.claim_all(699, &d, 800).await, []);
    assert_eq!(probe.claim_all(700, &d, 800).await.len(), 1);
}

/// A queue that was settled empty or cleared goes on with higher numbers.
pub async fn s10_numbers_rise_also_after_the_queue_was_emptied<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let mut last = SequenceNumber(0);
    for round in 0..6 {
        let push = || Change::new().push(item(&d, "x"));
        let mut numbers = probe.done(push().and(push())).await.sequences;
        for outcome in probe.commit(vec![push(), push()]).await {
            numbers.extend(committed(outcome).sequences);
        }
        for number in numbers {
            assert!(number > last, "{number} after {last} in round {round}");
            last = number;
        }
        if round % 2 == 0 {
            probe.done(Change::new().clear(d.clone())).await;
        } else {
            for item in probe.claim_all(1, &d, 9).await {
                probe.done(Change::new().settle(&item.at)).await;
            }
        }
        assert_eq!(probe.depth(&d).await, 0);
    }
}

/// The push that would exceed the capacity is refused, and so is every later one.
pub async fn s11_a_push_beyond_capacity_names_its_queue<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let push = |capacity, body: &str| Change::new().push(Push { capacity, ..item(&d, body) });
    for n in 0..3 {
        probe.done(push(3, &n.to_string())).await;
    }
    for capacity in [3, 2, 0] {
        assert_eq!(probe.one(push(capacity, "no")).await, Outcome::Full(d.clone()));
    }
    assert_eq!(probe.depth(&d).await, 3);
    // The capacity is a matter of the push, not of the queue.
    probe.done(push(4, "3")).await;
    assert_eq!(texts(&probe.claim_all(1, &d, 2).await), ["0", "1", "2", "3"]);
    let huge = mailbox("huge");
    probe.done(Change::new().push(Push { capacity: u32::MAX, ..item(&huge, "x") })).await;
}

/// Items that are claimed, or not visible yet, count as much as others.
pub async fn s11_hidden_items_take_room<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let push = |millis| Push { capacity: 2, visible: at(millis), ..item(&d, "x") };
    probe.push(push(0)).await;
    assert_eq!(probe.claim_all(1, &d, 1000).await.len(), 1);
    probe.push(push(500)).await;
    let refused = Change::new().push(push(0));
    assert_eq!(probe.one(refused).await, Outcome::Full(d.clone()));
    assert_eq!(probe.depth(&d).await, 2);
}

/// Settling and clearing make room.
pub async fn s11_room_comes_back<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let push = || Change::new().push(Push { capacity: 2, ..item(&d, "x") });
    probe.done(push().and(push())).await;
    let full = Outcome::Full(d.clone());
    assert_eq!(probe.one(push()).await, full);
    let first = probe.claim_all(1, &d, 9).await.remove(0);
    probe.done(Change::new().settle(&first.at)).await;
    probe.done(push()).await;
    assert_eq!(probe.one(push()).await, full);
    probe.done(Change::new().clear(d.clone())).await;
    probe.done(push().and(push())).await;
    assert_eq!(probe.one(push()).await, full);
}

/// A full queue says nothing about one with another id, or the same id in another kind.
pub async fn s11_queues_fill_apart<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let mut queues: Vec<_> = QueueKind::ALL.into_iter().map(|kind| queue(kind, "d")).collect();
    queues.extend([mailbox("d/m"), mailbox("D"), mailbox(""), mailbox(&"é".repeat(150))]);
    for queue in &queues {
        probe.push(Push { capacity: 1, ..item(queue, &queue.id) }).await;
    }
    for queue in &queues {
        let again = Change::new().push(Push { capacity: 1, ..item(queue, "x") });
        assert_eq!(probe.one(again).await, Outcome::Full(queue.clone()));
        let items = probe.claim_all(1, queue, 9).await;
        assert_eq!((items.len(), items[0].at.queue()), (1, queue));
        assert_eq!(items[0].body, queue.id.as_bytes());
    }
}

/// Bodies of every size up to 1 MiB and of every byte come back, read and claimed.
pub async fn s16_items_come_back_byte_for_byte<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    for body in bodies(1024 * 1024) {
        let sequence = probe.push(Push { body: body.clone(), ..item(&d, "") }).await;
        let read = probe.item(&d, sequence).await.unwrap();
        assert!(read.body == body, "{} bytes have changed", body.len());
        let claimed = probe.claim_all(1, &d, 9).await.remove(0);
        assert!(claimed.body == body, "{} bytes have changed in a claim", body.len());
        probe.done(Change::new().retime(&claimed.at, at(0), claimed.marks)).await;
        let retimed = probe.item(&d, sequence).await.unwrap();
        assert!(retimed.body == body, "{} bytes have changed by a retime", body.len());
        probe.done(Change::new().settle(&retimed.at)).await;
    }
}

/// Marks of every length come back; a new item has none.
pub async fn s16_marks_come_back_byte_for_byte<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let mut item = pushed(&probe, &d, "a").await;
    assert_eq!(item.marks.as_bytes(), b"");
    for bytes in [&b"\0"[..], &[0; Marks::MAX], &[255; Marks::MAX], b"", &[7, 0]] {
        let marks = Marks::new(bytes).unwrap();
        probe.done(Change::new().retime(&item.at, item.visible, marks)).await;
        item = probe.item(&d, item.at.sequence()).await.unwrap();
        assert_eq!(item.marks.as_bytes(), bytes);
    }
}
