//! Changes and batches: all or nothing, one after another, no trace of a refusal.

use super::Fixture;
use super::probe::{
    NEVER, Probe, at, committed, entries, is_committed, item, mailbox, pushed, queue, texts, twin,
    within,
};
use crate::id::{Partition, SequenceNumber};
use crate::store::{Change, DocumentRef, ItemRef, Marks, Outcome, QueueKind};

const LOG: Partition = Partition(0);

/// One change over documents, queues and the log does all of it.
pub async fn s2_a_change_of_all_shapes_happens_whole<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let (old, gone) =
        (probe.create(&twin("old"), "a").await, probe.create(&twin("gone"), "a").await);
    let settled = pushed(&probe, &mailbox("d"), "settled").await;
    let retimed = pushed(&probe, &mailbox("d"), "retimed").await;
    pushed(&probe, &mailbox("cleared"), "x").await;
    let marks = Marks::new(b"m").unwrap();
    let change = Change::new()
        .require(&old)
        .push(item(&mailbox("d"), "pushed"))
        .replace(&old, "b".into())
        .append(LOG, at(5), entries(&["1", "2"]))
        .remove(&gone)
        .settle(&settled.at)
        .create(twin("new"), "n".into())
        .retime(&retimed.at, at(9), marks)
        .append(Partition(1), at(6), entries(&["3"]))
        .clear(mailbox("cleared"))
        .push(item(&mailbox("e"), "also pushed"));
    let issued = probe.done(change).await;
    let [first, one, three, second] = issued.sequences[..] else {
        panic!("a number for each push and each append: {issued:?}")
    };
    assert_eq!((one, three), (SequenceNumber(1), SequenceNumber(1)));
    assert_eq!(probe.item(&mailbox("d"), first).await.unwrap().body, "pushed");
    assert_eq!(probe.item(&mailbox("e"), second).await.unwrap().body, "also pushed");
    assert_eq!(
        (probe.body(&twin("old")).await, probe.body(&twin("new")).await),
        ("b".into(), "n".into())
    );
    assert_eq!(probe.document(&twin("gone")).await, None);
    assert_eq!(probe.item(&mailbox("d"), settled.at.sequence()).await, None);
    let retimed = probe.item(&mailbox("d"), retimed.at.sequence()).await.unwrap();
    assert_eq!((retimed.visible, retimed.marks), (at(9), marks));
    assert_eq!((probe.depth(&mailbox("d")).await, probe.depth(&mailbox("cleared")).await), (2, 0));
    assert_eq!(
        (probe.texts(LOG).await, probe.texts(Partition(1)).await),
        (vec!["1".into(), "2".into()], vec!["3".into()])
    );
}

/// A guard that fails refuses the steps before it and behind it alike, whatever they are.
pub async fn s2_nothing_happens_wherever_the_guard_fails<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let (old, gone) =
        (probe.create(&twin("old"), "a").await, probe.create(&twin("gone"), "a").await);
    let settled = pushed(&probe, &mailbox("d"), "settled").await;
    let retimed = pushed(&probe, &mailbox("d"), "retimed").await;
    pushed(&probe, &mailbox("c"), "kept").await;
    let steps = [
        Change::new().replace(&old, "b".into()),
        Change::new().remove(&gone),
        Change::new().create(twin("new"), "n".into()),
        Change::new().push(item(&mailbox("e"), "x")),
        Change::new().settle(&settled.at),
        Change::new().retime(&retimed.at, at(9), Marks::new(b"m").unwrap()),
        Change::new().clear(mailbox("c")),
        Change::new().append(LOG, at(5), entries(&["1", "2"])),
    ];
    let failing = [
        Change::new().require(&DocumentRef::new(twin("x"), NEVER)),
        Change::new().create(twin("old2"), "x".into()).require_absent(twin("old")),
        Change::new().settle(&ItemRef::new(mailbox("e"), SequenceNumber(1), NEVER)),
        Change::new().push(within(0, item(&mailbox("full"), "x"))),
    ];
    for (position, guard) in (0..=steps.len()).zip(failing.iter().cycle()) {
        let (before, behind) = steps.split_at(position);
        let all = before.iter().chain([guard]).chain(behind).cloned();
        let outcome = probe.one(all.fold(Change::new(), Change::and)).await;
        assert!(!is_committed(&outcome), "with {guard:?} at {position}");
        assert_eq!(probe.document(&twin("old")).await.unwrap().at, old, "at {position}");
        assert_eq!(probe.document(&twin("gone")).await.unwrap().at, gone, "at {position}");
        for absent in ["new", "old2"] {
            assert_eq!(probe.document(&twin(absent)).await, None, "at {position}");
        }
        for kept in [&settled, &retimed] {
            let read = probe.item(&mailbox("d"), kept.at.sequence()).await;
            assert_eq!(read.as_ref(), Some(kept), "at {position}");
        }
        assert_eq!(probe.depth(&mailbox("c")).await, 1, "at {position}");
        assert_eq!(probe.depth(&mailbox("e")).await, 0, "at {position}");
        assert_eq!(probe.texts(LOG).await, [""; 0], "at {position}");
    }
}

/// A change is judged by what the changes before it in its batch have left.
pub async fn s3_changes_see_those_before_them<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let old = probe.create(&twin("old"), "a").await;
    let only = |body: &str| Change::new().push(within(1, item(&mailbox("d"), body)));
    let outcomes = probe
        .commit(vec![
            Change::new().create(twin("d"), "1".into()),
            Change::new().create(twin("d"), "2".into()),
            Change::new().require_absent(twin("d")),
            Change::new().remove(&old),
            Change::new().replace(&old, "b".into()),
            Change::new().create(twin("old"), "anew".into()),
            only("first"),
            only("second"),
            Change::new().clear(mailbox("d")),
            only("third"),
            Change::new().append(LOG, at(1), entries(&["1"])),
            Change::new().append(LOG, at(1), entries(&["2"])),
        ])
        .await;
    let committed: Vec<_> = outcomes.iter().map(is_committed).collect();
    let (y, n) = (true, false);
    assert_eq!(committed, [y, n, n, y, n, y, y, n, y, y, y, y], "{outcomes:?}");
    assert_eq!(outcomes[7], Outcome::Full(mailbox("d")));
    assert_eq!(
        (probe.body(&twin("d")).await, probe.body(&twin("old")).await),
        ("1".into(), "anew".into())
    );
    assert_eq!(texts(&probe.claim_all(1, &mailbox("d"), 2).await), ["third"]);
    assert_eq!(probe.texts(LOG).await, ["1", "2"]);
}

/// Refused changes between others leave these as they would be without them.
pub async fn s3_a_refusal_does_not_touch_the_others<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let push =
        |capacity, body: &str| Change::new().push(within(capacity, item(&mailbox("d"), body)));
    let stale = DocumentRef::new(twin("x"), NEVER);
    let outcomes = probe
        .commit(vec![
            Change::new().remove(&stale),
            push(9, "a").create(twin("1"), "x".into()),
            push(1, "b").create(twin("2"), "x".into()),
            push(9, "c").append(LOG, at(1), entries(&["c"])),
            push(9, "d").require(&stale).append(LOG, at(1), entries(&["d"])),
            push(9, "e").append(LOG, at(1), entries(&["e"])),
        ])
        .await;
    assert_eq!(outcomes[0], Outcome::Conflict);
    assert_eq!(outcomes[2], Outcome::Full(mailbox("d")));
    assert_eq!(outcomes[4], Outcome::Conflict);
    let numbers: Vec<_> =
        [1, 3, 5].map(|index| committed(outcomes[index].clone()).sequences).concat();
    let items = probe.claim_all(1, &mailbox("d"), 2).await;
    assert_eq!(texts(&items), ["a", "c", "e"]);
    let found: Vec<_> = items.iter().map(|item| item.at.sequence()).collect();
    assert_eq!(numbers, [found[0], found[1], SequenceNumber(1), found[2], SequenceNumber(2)]);
    assert_eq!(probe.texts(LOG).await, ["c", "e"]);
    assert_eq!(probe.document(&twin("2")).await, None);
    assert_eq!(probe.body(&twin("1")).await, "x");
}

/// A batch without changes has no outcomes; a change without steps is committed.
pub async fn s3_nothing_is_committed_as_nothing<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    assert_eq!(probe.commit(vec![]).await, []);
    let outcomes = probe
        .commit(vec![Change::new(), Change::new().create(twin("d"), "x".into()), Change::new()])
        .await;
    assert_eq!(committed(outcomes[0].clone()).sequences, []);
    assert_eq!(committed(outcomes[2].clone()).sequences, []);
    assert_eq!(probe.body(&twin("d")).await, "x");
    // Only guards: nothing is written, but the answer counts.
    assert!(is_committed(&probe.one(Change::new().require_absent(twin("e"))).await));
    assert_eq!(probe.one(Change::new().require_absent(twin("d"))).await, Outcome::Conflict);
}

/// A thousand changes of one batch each get their own outcome, in their order.
pub async fn s3_a_large_batch_answers_for_every_change<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let change = |n: usize| {
        let id = (n % 700).to_string();
        let partition = Partition((n % 3) as u16);
        Change::new()
            .create(twin(&id), n.to_string().into())
            .push(within(60, item(&mailbox(&(n % 10).to_string()), &id)))
            .append(partition, at(n as u64), entries(&[&id, "x"]))
    };
    let outcomes = probe.commit((0..1000).map(change).collect()).await;
    let mut next = [1; 3];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        // Each of ten mailboxes takes 60 of the 70 items it is sent by the first 700 changes.
        let expected = match n {
            0..600 => {
                let next = &mut next[n % 3];
                *next += 2;
                assert_eq!(committed(outcome).sequences[1].0, *next - 2, "change {n}");
                continue;
            }
            600..700 => Outcome::Full(mailbox(&(n % 10).to_string())),
            // Its document is there since the change 700 before.
            _ => Outcome::Conflict,
        };
        assert_eq!(outcome, expected, "change {n}");
    }
    for (partition, next) in next.iter().enumerate() {
        let entries = probe.tail(Partition(partition as u16), 1, u32::MAX).await;
        assert_eq!(entries.len() as u64, next - 1);
    }
}

/// A change whose guard fails leaves no edit, no item and no entry; the others of its batch happen.
pub async fn s4_failed_guard_leaves_no_trace<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let read = probe.create(&twin("d"), "v1").await;
    let outcomes = probe
        .commit(vec![
            Change::new().replace(&read, "a".into()).append(LOG, at(1), entries(&["a"])),
            Change::new()
                .append(LOG, at(1), entries(&["b"]))
                .push(item(&mailbox("d"), "b"))
                .replace(&read, "b".into()),
            Change::new().create(twin("e"), "c".into()),
        ])
        .await;
    assert!(is_committed(&outcomes[0]) && is_committed(&outcomes[2]), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Conflict);
    assert_eq!(
        (probe.body(&twin("d")).await, probe.body(&twin("e")).await),
        ("a".into(), "c".into())
    );
    assert_eq!(probe.texts(LOG).await, ["a"]);
    assert_eq!(probe.depth(&mailbox("d")).await, 0);
    assert_eq!(probe.claim_all(9, &mailbox("d"), 10).await, []);
}

/// A change whose push has no room leaves no edit, no other item and no entry.
pub async fn s4_a_full_queue_leaves_no_trace<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let read = probe.create(&twin("d"), "v1").await;
    let kept = pushed(&probe, &mailbox("d"), "kept").await;
    let other = queue(QueueKind::FeedbackPending, "d");
    let change = Change::new()
        .append(LOG, at(1), entries(&["b"]))
        .replace(&read, "b".into())
        .push(item(&other, "b"))
        .push(within(1, item(&mailbox("d"), "b")))
        .retime(&kept.at, at(77), Marks::new(b"m").unwrap());
    assert_eq!(probe.one(change).await, Outcome::Full(mailbox("d")));
    assert_eq!(probe.document(&twin("d")).await.unwrap().at, read);
    assert_eq!(probe.texts(LOG).await, [""; 0]);
    assert_eq!((probe.depth(&other).await, probe.depth(&mailbox("d")).await), (0, 1));
    assert_eq!(probe.claim_all(9, &other, 10).await, []);
    assert_eq!(probe.item(&mailbox("d"), kept.at.sequence()).await, Some(kept));
}

/// The entry after a refused append has the number that one would have had.
pub async fn s4_a_refused_append_takes_no_number<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let stale = DocumentRef::new(twin("x"), NEVER);
    for expected in [1, 3, 5] {
        let refused = Change::new().append(LOG, at(900), entries(&["no", "no", "no"]));
        let full = refused.clone().push(within(0, item(&mailbox("d"), "no")));
        let outcomes = probe.commit(vec![refused.require(&stale), full]).await;
        assert_eq!(outcomes, [Outcome::Conflict, Outcome::Full(mailbox("d"))]);
        assert_eq!(probe.append(LOG, expected, &["yes", "yes"]).await, expected);
    }
    let times: Vec<_> =
        probe.tail(LOG, 1, 9).await.iter().map(|entry| entry.at.as_millis()).collect();
    assert_eq!(times, [1, 1, 3, 3, 5, 5], "a refused append raises no later time");
}
