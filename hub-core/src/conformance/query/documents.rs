//! When documents are seen, and as of when.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::Fixture;
use super::probe::{Asked, Probe, filter, key, twin};
use crate::store::{Change, Kind, Parts, Push, QueueId, QueueKind};
use crate::time::Timestamp;

/// What was written, changed or removed before the question is seen.
pub async fn q3_what_was_committed_is_seen<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture, []).await;
    let (one, two, all) = (filter("tags.x = 1"), filter("tags.x = 2"), filter("*"));
    let found = async |filter| probe.found(filter, Asked::default()).await;
    let at = key(Kind::Twin, "d");
    for _ in 0..5 {
        let body = twin(&json!({"x": 1})).encode();
        probe.done(Change::new().create(at.clone(), body)).await;
        assert_eq!(found(&one).await, ["d"], "Q3: it was made");
        let body = twin(&json!({"x": 2})).encode();
        probe.done(probe.replaced(Change::new(), at.clone(), body).await).await;
        assert_eq!(found(&two).await, ["d"], "Q3: it was changed");
        probe.done(probe.removed(Change::new(), at.clone()).await).await;
        assert!(found(&all).await.is_empty(), "Q3: it was removed");
    }
}

/// Each part that is wanted comes byte for byte, whatever the others are; what is not there does not.
pub async fn q4_wanted_parts_come_as_they_stand<F: Fixture>(fixture: &mut F) {
    let tags = json!({"x": 1});
    let probe =
        Probe::open(fixture, [("d".into(), tags.clone()), ("e".into(), tags.clone())]).await;
    let queue = QueueId { kind: QueueKind::Mailbox, id: "d".into() };
    let mut change = Change::new()
        .create(key(Kind::Identity, "d"), "the identity".into())
        .create(key(Kind::Session, "d"), "the session".into())
        .create(key(Kind::Identity, "e"), "another".into());
    for _ in 0..3 {
        let (now, end) = (Timestamp::ZERO, Timestamp::MAX);
        change = change.push(Push {
            queue: queue.clone(),
            visible: now,
            deadline: end,
            capacity: 10,
            body: "a message".into(),
        });
    }
    probe.done(change).await;
    for bits in 0..16_u8 {
        let wants = |bit: u8| bits & (1 << bit) != 0;
        let parts =
            Parts { twin: wants(0), identity: wants(1), session: wants(2), messages: wants(3) };
        let page = probe.page(&filter("tags.x = 1"), Asked { parts, ..Asked::default() }).await;
        let [d, e] = &page.rows[..] else { panic!("Q1: {:?}", page.rows) };
        let what = format!("Q4: {parts:?}: {:?}", page.rows);
        if parts.twin {
            assert_eq!(d.twin.as_ref(), Some(&twin(&tags).encode()), "{what}");
        }
        if parts.identity {
            assert_eq!(d.identity.as_deref(), Some(&b"the identity"[..]), "{what}");
            assert_eq!(e.identity.as_deref(), Some(&b"another"[..]), "{what}");
        }
        if parts.session {
            assert_eq!(d.session.as_deref(), Some(&b"the session"[..]), "{what}");
            assert_eq!(e.session, None, "{what}");
        }
        if parts.messages {
            assert_eq!((d.messages, e.messages), (3, 0), "{what}");
        }
    }
}

/// What one change writes into twin, identity and session is seen together or not at all.
pub async fn q4_the_documents_of_a_row_are_of_one_instant<F: Fixture>(fixture: &mut F) {
    const ROUNDS: u32 = 60;
    let probe = Probe::open(fixture, [("d".into(), json!({"x": 0}))]).await;
    let kinds = [Kind::Identity, Kind::Session];
    let zero = twin(&json!({"x": 0})).encode();
    let same = kinds
        .into_iter()
        .fold(Change::new(), |change, kind| change.create(key(kind, "d"), zero.clone()));
    probe.done(same).await;
    let written = AtomicBool::new(false);
    let writing = async {
        for round in 1..=ROUNDS {
            let body = twin(&json!({"x": round})).encode();
            let mut change = Change::new();
            for kind in [Kind::Twin, Kind::Identity, Kind::Session] {
                change = probe.replaced(change, key(kind, "d"), body.clone()).await;
            }
            probe.done(change).await;
            tokio::task::yield_now().await;
        }
        written.store(true, Ordering::Relaxed);
    };
    let reading = async {
        let parts = Parts::ALL;
        while !written.load(Ordering::Relaxed) {
            let page = probe.page(&filter("*"), Asked { parts, ..Asked::default() }).await;
            let [row] = &page.rows[..] else { panic!("Q1: {:?}", page.rows) };
            assert_eq!(row.twin, row.identity, "Q4: the identity is of another instant");
            assert_eq!(row.twin, row.session, "Q4: the session is of another instant");
            tokio::task::yield_now().await;
        }
    };
    futures::join!(writing, reading);
}
