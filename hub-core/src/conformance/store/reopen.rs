//! Crashes: what a store that keeps anything still has afterwards. Nothing to see for others.

use super::Fixture;
use super::probe::{Probe, at, entries, item, mailbox, texts, twin};
use crate::id::Partition;
use crate::store::{
    Change, DocumentRef, Durability, Kind, Marks, Outcome, Push, QueueKind, Scope, Seek, Store,
};

const LOG: Partition = Partition(0);

/// A store that calls itself `Synced` has after a crash what it has committed before.
pub async fn s7_a_synced_store_opens_again<F: Fixture>(fixture: &mut F) {
    let mut probe = Probe::open(fixture).await;
    let durability = probe.store().durability();
    for round in 0..5 {
        let id = round.to_string();
        let change = Change::new()
            .create(twin(&id), "x".into())
            .push(item(&mailbox("d"), &id))
            .append(LOG, at(1), entries(&[&id]));
        probe.done(change).await;
        probe = match probe.reopen(fixture).await {
            Some(probe) => probe,
            None => {
                assert_eq!(durability, Durability::Volatile, "a synced store opens again");
                return;
            }
        };
        assert_eq!(probe.store().durability(), durability);
        assert_eq!(probe.scan(Kind::Twin, None, 99).await.len(), round + 1);
        assert_eq!(probe.depth(&mailbox("d")).await as usize, round + 1);
        assert_eq!(probe.texts(LOG).await.len(), round + 1);
    }
}

/// Documents, their versions, and the absence of removed ones.
pub async fn s17_documents_are_there_again<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let (one, gone) = (probe.create(&twin("1"), "a").await, probe.create(&twin("2"), "b").await);
    probe.done(Change::new().replace(&one, "c".into()).remove(&gone)).await;
    let before = probe.scan(Kind::Twin, None, 99).await;
    let Some(probe) = probe.reopen(fixture).await else { return };
    assert_eq!(probe.scan(Kind::Twin, None, 99).await, before);
    assert_eq!(probe.document(&twin("2")).await, None);
    assert_eq!(probe.one(Change::new().replace(&one, "d".into())).await, Outcome::Conflict);
    probe.done(Change::new().replace(&before[0].at, "d".into())).await;
    probe.done(Change::new().create(twin("2"), "e".into())).await;
}

/// Items with all they had: hidden ones stay hidden, holders can settle, numbers rise.
pub async fn s17_queues_go_on<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let (d, e) = (mailbox("d"), mailbox("e"));
    for body in ["1", "2", "3"] {
        probe.push(Push { deadline: at(50), ..item(&d, body) }).await;
    }
    let emptied = probe.push(item(&e, "x")).await;
    probe.done(Change::new().clear(e.clone())).await;
    let claimed = probe.claim(10, Scope::Queue(d.clone()), 2, 100).await;
    let marks = Marks::new(b"m").unwrap();
    probe.done(Change::new().retime(&claimed[1].at, at(200), marks)).await;
    let retimed = probe.item(&d, claimed[1].at.sequence()).await;
    let Some(probe) = probe.reopen(fixture).await else { return };
    assert_eq!(probe.item(&d, claimed[0].at.sequence()).await.as_ref(), Some(&claimed[0]));
    assert_eq!(probe.item(&d, claimed[1].at.sequence()).await, retimed);
    assert_eq!(probe.depth(&d).await, 3);
    let sweep = probe.claim(99, Scope::Overdue(QueueKind::Mailbox), 9, 300).await;
    assert_eq!(texts(&sweep), ["3"]);
    let full = Change::new().push(Push { capacity: 3, ..item(&d, "no") });
    assert_eq!(probe.one(full).await, Outcome::Full(d.clone()));
    probe.done(Change::new().settle(&claimed[0].at)).await;
    assert!(probe.push(item(&d, "4")).await > sweep[0].at.sequence());
    assert!(probe.push(item(&e, "y")).await > emptied);
    assert_eq!(texts(&probe.claim_all(300, &d, 400).await), ["2", "3", "4"]);
}

/// Entries, their times, what was forgotten, and the next number.
pub async fn s17_logs_go_on<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    probe.append(LOG, 10, &["1", "2", "3"]).await;
    probe.append(LOG, 20, &["4"]).await;
    probe.trim(LOG, 3).await;
    probe.append(Partition(1), 30, &["x"]).await;
    probe.trim(Partition(1), 2).await;
    let before = probe.tail(LOG, 1, 99).await;
    let Some(probe) = probe.reopen(fixture).await else { return };
    assert_eq!(probe.tail(LOG, 1, 99).await, before);
    assert_eq!((probe.seek(LOG, Seek::Oldest).await, probe.seek(LOG, Seek::Next).await), (3, 5));
    assert_eq!(probe.append(LOG, 5, &["5"]).await, 5);
    assert_eq!(probe.tail(LOG, 5, 1).await[0].at, at(20));
    assert_eq!(probe.append(Partition(1), 5, &["y"]).await, 2);
    assert_eq!(probe.tail(Partition(1), 1, 9).await[0].at, at(30));
}

/// A batch sent again after a crash has no second effect.
pub async fn s17_batches_are_remembered<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let push = |body: &str| Change::new().push(Push { capacity: 1, ..item(&mailbox("d"), body) });
    let batch = probe.batch(vec![
        Change::new().create(twin("d"), "x".into()).append(LOG, at(1), entries(&["a"])),
        Change::new().create(twin("d"), "y".into()),
        push("1"),
        push("2"),
    ]);
    let first = probe.send(&batch).await;
    let read = probe.document(&twin("d")).await.unwrap();
    probe.done(Change::new().remove(&read.at)).await;
    let Some(probe) = probe.reopen(fixture).await else { return };
    assert_eq!(probe.send(&batch).await, first);
    assert_eq!((probe.depth(&mailbox("d")).await, probe.texts(LOG).await.len()), (1, 1));
    assert_eq!(probe.document(&twin("d")).await, None);
}

/// What was read before a crash does not hold for a record made after it.
pub async fn s17_versions_are_not_issued_again<F: Fixture>(fixture: &mut F) {
    let mut probe = Probe::open(fixture).await;
    let mut old: Vec<DocumentRef> = Vec::new();
    for _ in 0..4 {
        let document = probe.create(&twin("d"), "x").await;
        for before in &old {
            assert_ne!(before.version(), document.version());
            assert_eq!(probe.one(Change::new().require(before)).await, Outcome::Conflict);
        }
        probe.done(Change::new().remove(&document)).await;
        old.push(document);
        let Some(reopened) = probe.reopen(fixture).await else { return };
        probe = reopened;
    }
}
