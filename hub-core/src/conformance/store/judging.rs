//! How a change judges its own steps (S20).

use super::Fixture;
use super::probe::{NEVER, Probe, at, item, mailbox, pushed, queue, texts, twin, within};
use crate::id::SequenceNumber;
use crate::store::{Change, DocumentRef, ItemRef, Marks, Outcome, Push, QueueKind};
use crate::time::Timestamp;

/// Guards look at the state before their change: its own writes neither break nor mend them.
pub async fn s20_guards_see_the_state_before_the_change<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let read = probe.create(&twin("d"), "a").await;
    let change = Change::new()
        .replace(&read, "b".into())
        .require(&read)
        .require(&read)
        .create(twin("e"), "x".into())
        .require_absent(twin("e"));
    let issued = probe.done(change).await;
    let read = probe.document(&twin("d")).await.unwrap().at;
    assert_eq!(read.version(), issued.version);
    let change = Change::new().remove(&read).require_absent(twin("d"));
    assert_eq!(probe.one(change).await, Outcome::Conflict);
    let change = Change::new().create(twin("f"), "x".into()).require(&read).remove(&read);
    probe.done(change).await;
    assert_eq!(probe.document(&twin("d")).await, None);
}

/// A change that writes one document or one item twice is a conflict.
pub async fn s20_no_record_is_written_twice<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let read = probe.create(&twin("d"), "a").await;
    let kept = pushed(&probe, &mailbox("d"), "kept").await;
    let retime = |millis| Change::new().retime(&kept.at, at(millis), Marks::default());
    let other = ItemRef::new(mailbox("d"), kept.at.sequence(), NEVER);
    for change in [
        Change::new().replace(&read, "b".into()).replace(&read, "c".into()),
        Change::new().replace(&read, "b".into()).remove(&read),
        Change::new().remove(&read).create(twin("d"), "c".into()),
        Change::new().remove(&read).push(item(&mailbox("e"), "x")).remove(&read),
        Change::new().create(twin("e"), "b".into()).create(twin("e"), "c".into()),
        Change::new().settle(&kept.at).settle(&kept.at),
        Change::new().settle(&kept.at).settle(&other),
        retime(5).settle(&kept.at),
        retime(5).and(retime(6)),
        Change::new().settle(&kept.at).and(retime(6)),
    ] {
        assert_eq!(probe.one(change.clone()).await, Outcome::Conflict, "{change:?}");
    }
    assert_eq!(probe.document(&twin("d")).await.unwrap().at, read);
    assert_eq!(probe.document(&twin("e")).await, None);
    assert_eq!(probe.depth(&mailbox("e")).await, 0);
    assert_eq!(probe.item(&mailbox("d"), kept.at.sequence()).await, Some(kept));
}

/// A change that clears a queue does nothing else in it; in others it may.
pub async fn s20_a_cleared_queue_takes_no_other_step<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let kept = pushed(&probe, &mailbox("d"), "kept").await;
    let other = pushed(&probe, &mailbox("e"), "other").await;
    let clear = || Change::new().clear(mailbox("d"));
    for change in [
        clear().push(item(&mailbox("d"), "x")),
        Change::new().push(item(&mailbox("d"), "x")).and(clear()),
        clear().settle(&kept.at),
        Change::new().retime(&kept.at, at(5), Marks::default()).and(clear()),
        clear().and(clear()),
    ] {
        assert_eq!(probe.one(change.clone()).await, Outcome::Conflict, "{change:?}");
    }
    assert_eq!(probe.item(&mailbox("d"), kept.at.sequence()).await, Some(kept));
    let inbox = queue(QueueKind::Inbox, "d");
    probe.done(clear().settle(&other.at).push(item(&inbox, "x"))).await;
    assert_eq!((probe.depth(&mailbox("d")).await, probe.depth(&inbox).await), (0, 1));
}

/// In a full queue a settled item makes room for a push behind it, not before it; a push takes
/// room from the next.
pub async fn s20_room_counts_the_steps_before<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let (one, two) = (pushed(&probe, &d, "1").await, pushed(&probe, &d, "2").await);
    let push = |body: &str| Change::new().push(within(2, item(&d, body)));
    let full = Outcome::Full(d.clone());
    assert_eq!(probe.one(push("3").settle(&one.at)).await, full);
    assert_eq!(probe.one(Change::new().settle(&one.at).and(push("3")).and(push("4"))).await, full);
    let retimed = Change::new().retime(&one.at, at(1), Marks::default());
    assert_eq!(probe.one(retimed.and(push("3"))).await, full);
    assert_eq!(probe.depth(&d).await, 2);
    probe.done(Change::new().settle(&one.at).and(push("3"))).await;
    probe.done(Change::new().settle(&two.at).and(push("4"))).await;
    assert_eq!(texts(&probe.claim_all(1, &d, 2).await), ["3", "4"]);
    let e = |body: &str| Change::new().push(within(2, item(&mailbox("e"), body)));
    let outcome = probe.one(e("1").and(e("2")).and(e("3"))).await;
    assert_eq!(outcome, Outcome::Full(mailbox("e")));
    assert_eq!(probe.depth(&mailbox("e")).await, 0);
    probe.done(e("1").and(e("2"))).await;
    assert_eq!(texts(&probe.claim_all(1, &mailbox("e"), 2).await), ["1", "2"]);
}

/// When both happen, the answer is `Conflict`, wherever the steps stand.
pub async fn s20_a_failed_guard_goes_before_a_full_queue<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let full = Change::new().push(within(0, item(&mailbox("d"), "x")));
    let stale = DocumentRef::new(twin("x"), NEVER);
    let read = probe.create(&twin("d"), "a").await;
    for conflict in [
        Change::new().require(&stale),
        Change::new().settle(&ItemRef::new(mailbox("d"), SequenceNumber(1), NEVER)),
        Change::new().remove(&read).remove(&read),
    ] {
        let (one, two) = (conflict.clone().and(full.clone()), full.clone().and(conflict));
        let outcomes = probe.commit(vec![one, two]).await;
        assert_eq!(outcomes, [Outcome::Conflict, Outcome::Conflict]);
    }
    assert_eq!(probe.one(full).await, Outcome::Full(mailbox("d")));
}

/// Of several full queues the one named is that of the first push, in the order of the steps.
pub async fn s20_the_first_push_without_room_names_its_queue<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let push = |capacity, id| {
        let visible = Timestamp::ZERO;
        Change::new().push(Push { visible, ..within(capacity, item(&mailbox(id), "x")) })
    };
    let outcomes = probe
        .commit(vec![
            push(1, "b").and(push(0, "z")).and(push(0, "a")),
            push(1, "b").and(push(0, "a")).and(push(0, "z")),
            push(1, "b").and(push(1, "c")).and(push(1, "b")).and(push(0, "a")),
        ])
        .await;
    assert_eq!(outcomes, ["z", "a", "b"].map(|id| Outcome::Full(mailbox(id))));
}
