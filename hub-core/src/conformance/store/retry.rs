//! Asking again: repeated batches, and calls that were dropped half-way.

use std::time::Duration;

use super::Fixture;
use super::probe::{
    Probe, at, entries, is_committed, item, mailbox, poll_at_most, texts, together, twin,
};
use crate::id::{Partition, SequenceNumber};
use crate::store::{Ask, Batch, Change, Claim, Outcome, Push, Record, Scope, Store};

const LOG: Partition = Partition(0);

/// A change of every shape, guarded by nothing that a second try could trip over.
fn all_shapes(id: &str) -> Change {
    Change::new().create(twin(id), "x".into()).push(item(&mailbox(id), "x")).append(
        LOG,
        at(1),
        entries(&[id, id]),
    )
}

/// Whether the changes of [`all_shapes`] have happened, as one read shows them: all or none.
async fn happened<S: Store>(probe: &Probe<S>, ids: &[&str]) -> bool {
    let asks = ids.iter().flat_map(|id| [Ask::Document(twin(id)), Ask::Depth(mailbox(id))]);
    let records = probe.read(&asks.collect::<Vec<_>>()).await;
    let done: Vec<_> = records
        .iter()
        .map(|record| matches!(record, Some(Record::Document(_) | Record::Depth(1))))
        .collect();
    assert!(done.iter().all(|one| *one == done[0]), "half of it, or twice: {records:?}");
    done[0]
}

/// A repeated batch has the outcomes of its first time: committed, conflict and full alike.
pub async fn s8_the_same_batch_again_has_no_second_effect<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let full = Change::new().push(Push { capacity: 1, ..item(&mailbox("d"), "no") });
    let other = Change::new().push(item(&mailbox("other"), "x"));
    let batch = probe.batch(vec![
        all_shapes("d"),
        Change::new().create(twin("d"), "no".into()),
        full.clone(),
        other.clone().append(Partition(1), at(1), entries(&["a"])).and(other),
        Change::new(),
        full,
    ]);
    let first = probe.send(&batch).await;
    let refused = [Outcome::Conflict, Outcome::Full(mailbox("d"))];
    assert_eq!(first[1..3], refused);
    for between in 0..4 {
        assert_eq!(probe.send(&batch).await, first);
        assert!(happened(&probe, &["d"]).await);
        assert_eq!(probe.texts(LOG).await.len(), 2);
        assert_eq!(probe.texts(Partition(1)).await.len(), 1);
        assert_eq!(probe.depth(&mailbox("other")).await, 2);
        // The outcomes stay, whatever has become of the records since.
        if between == 1 {
            let read = probe.document(&twin("d")).await.unwrap();
            let remove = Change::new().remove(&read.at).clear(mailbox("d"));
            probe.done(remove).await;
            assert_eq!(probe.send(&batch).await, first);
            assert!(!happened(&probe, &["d"]).await);
            assert!(is_committed(&probe.one(all_shapes("d")).await));
            probe.trim(LOG, 3).await;
        }
    }
    // The same changes under another name are another batch.
    let again = probe.batch(batch.changes.clone());
    assert_eq!(probe.send(&again).await[0], Outcome::Conflict);
}

/// A change that was refused is refused again, although it could happen now.
pub async fn s8_a_refusal_stays_when_the_guard_would_hold<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let read = probe.create(&twin("d"), "a").await;
    let claimed = probe.push(item(&mailbox("d"), "a")).await;
    let create = Change::new().create(twin("d"), "b".into()).append(LOG, at(1), entries(&["b"]));
    let push = Change::new().push(Push { capacity: 1, ..item(&mailbox("d"), "b") });
    let batch = probe.batch(vec![create, push]);
    let refused = [Outcome::Conflict, Outcome::Full(mailbox("d"))];
    assert_eq!(probe.send(&batch).await, refused);
    let item = probe.item(&mailbox("d"), claimed).await.unwrap();
    probe.done(Change::new().remove(&read).settle(&item.at)).await;
    assert_eq!(probe.send(&batch).await, refused);
    assert_eq!(probe.document(&twin("d")).await, None);
    assert_eq!(probe.depth(&mailbox("d")).await, 0);
    assert_eq!(probe.texts(LOG).await, [""; 0]);
}

/// A batch is remembered over ten thousand later ones.
pub async fn s8_ten_thousand_later_batches<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let batch = probe.batch(vec![all_shapes("d"), all_shapes("d"), all_shapes("e")]);
    let first = probe.send(&batch).await;
    let later = (0..20).map(|_| {
        let probe = probe.clone();
        async move {
            for _ in 0..500 {
                assert_eq!(probe.commit(vec![]).await, []);
            }
        }
    });
    together(later).await;
    assert_eq!(probe.send(&batch).await, first);
    assert!(happened(&probe, &["d", "e"]).await);
    assert_eq!(probe.texts(LOG).await, ["d", "d", "e", "e"]);
}

/// The first try and its repetitions may run at once: it happens once, and all hear the same.
pub async fn s8_the_same_batch_from_many_tasks_happens_once<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for round in 0..10 {
        let id = round.to_string();
        let batch = probe.batch(vec![all_shapes(&id), all_shapes(&id)]);
        let answers = together((0..8).map(|_| {
            let (probe, batch) = (probe.clone(), batch.clone());
            async move { probe.send(&batch).await }
        }))
        .await;
        for answer in &answers {
            assert_eq!(answer, &answers[0]);
        }
        assert!(is_committed(&answers[0][0]) && answers[0][1] == Outcome::Conflict);
        assert!(happened(&probe, &[&id]).await);
        assert_eq!(probe.texts(LOG).await.len(), 2 * (round + 1));
    }
}

/// How a call is cut off: after so many polls, or after some time.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Polls(u32),
    Micros(u64),
}

/// From never polled to well after a store across a network has answered.
fn cuts() -> impl Iterator<Item = Cut> {
    let polls = (0..12).map(Cut::Polls);
    polls.chain([50, 100, 200, 400, 800, 1600, 3200, 6400].map(Cut::Micros))
}

/// The answer of a call, unless it was cut off before.
async fn cut_off<T>(cut: Cut, call: impl Future<Output = T>) -> Option<T> {
    match cut {
        Cut::Polls(polls) => poll_at_most(polls, call).await,
        Cut::Micros(micros) => tokio::time::timeout(Duration::from_micros(micros), call).await.ok(),
    }
}

/// Wherever a commit is dropped, its changes are there whole or not at all, and sending the batch
/// again brings it to exactly one effect.
pub async fn s15_a_dropped_commit_is_whole_or_none<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for (index, cut) in cuts().enumerate() {
        let (one, two) = (format!("{index}a"), format!("{index}b"));
        let batch: Batch = probe.batch(vec![all_shapes(&one), all_shapes(&two)]);
        let answer = cut_off(cut, probe.store().commit(&batch)).await;
        for _ in 0..5 {
            let happened = happened(&probe, &[&one, &two]).await;
            assert!(happened || !matches!(answer, Some(Ok(_))), "answered, {cut:?}");
        }
        let outcomes = probe.send(&batch).await;
        assert!(outcomes.iter().all(is_committed), "{cut:?}: {outcomes:?}");
        if let Some(Ok(before)) = answer {
            assert_eq!(before, outcomes, "{cut:?}");
        }
        assert!(happened(&probe, &[&one, &two]).await);
        // Nothing of the dropped try comes later.
        let texts = probe.texts(LOG).await;
        assert_eq!(texts.len(), 4 * (index + 1), "{cut:?}");
        assert_eq!(texts[4 * index..], [one.as_str(), &one, &two, &two]);
    }
}

/// Wherever a claim is dropped, it has taken all it would have or nothing; what it took is hidden
/// for its time and then there again.
pub async fn s15_a_dropped_claim_is_whole_or_none<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let mut now = 0;
    for body in ["1", "2", "3"] {
        probe.push(item(&d, body)).await;
    }
    for cut in cuts() {
        let before = probe.claim_all(now, &d, now).await;
        assert_eq!(texts(&before), ["1", "2", "3"], "{cut:?}");
        let until = now + 10;
        let claim = [Claim { scope: Scope::Queue(d.clone()), limit: 9, hide_until: at(until) }];
        let answer = cut_off(cut, probe.store().claim(at(now), &claim)).await;
        let asks: Vec<_> =
            before.iter().map(|item| Ask::Item(d.clone(), item.at.sequence())).collect();
        let found = probe.read(&asks).await;
        let taken = found.iter().filter(|record| match record {
            Some(Record::Item(item)) => item.visible == at(until),
            _ => panic!("a claim removes nothing"),
        });
        let taken = taken.count();
        assert!(taken == 0 || taken == 3, "{cut:?}: {found:?}");
        if let Some(Ok(lists)) = answer {
            assert_eq!((lists[0].len(), taken), (3, 3), "{cut:?}");
        }
        now = until;
    }
    // The numbers are those of the beginning: nothing was doubled.
    let mut numbers: Vec<_> =
        probe.claim_all(now, &d, now).await.iter().map(|item| item.at.sequence()).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 3);
    assert!(numbers.iter().all(|number| *number > SequenceNumber(0)));
}
