use super::super::Model;
use super::*;
use crate::store::{BatchId, Change, Entries, Push, QueueId, QueueKind, Scope, StoreErrorKind};

const LOG: Partition = Partition(0);

fn batch(id: u128) -> Batch {
    let entries = Entries::one("x".into());
    let changes = vec![Change::new().append(LOG, Timestamp::ZERO, entries)];
    Batch { id: BatchId(id), changes, nudges: vec![] }
}

async fn entries(store: &Faulty<Model>) -> usize {
    let all = store.inner().tail(LOG, SequenceNumber(1), NonZeroU32::MAX).await;
    all.unwrap().len()
}

fn always(faults: Faults) -> Faulty<Model> {
    Faulty::new(Model::new(), 1).with_faults(faults)
}

async fn kind(store: &Faulty<Model>) -> StoreErrorKind {
    store.commit(&batch(1)).await.unwrap_err().kind()
}

#[tokio::test]
async fn a_refusal_and_a_lost_request_have_no_effect() {
    let store = always(Faults { unavailable: 100, ..Faults::NONE });
    assert_eq!((kind(&store).await, entries(&store).await), (StoreErrorKind::Unavailable, 0));
    store.set_faults(Faults { unknown_without_effect: 100, ..Faults::NONE });
    assert_eq!((kind(&store).await, entries(&store).await), (StoreErrorKind::Unknown, 0));
    store.set_faults(Faults::NONE);
    assert!(store.commit(&batch(1)).await.is_ok());
    assert_eq!(entries(&store).await, 1);
}

#[tokio::test]
async fn a_lost_answer_has_its_effect() {
    let store = always(Faults { unknown_with_effect: 100, ..Faults::NONE });
    assert_eq!((kind(&store).await, entries(&store).await), (StoreErrorKind::Unknown, 1));
    assert!(store.seek(LOG, Seek::Next).await.is_ok(), "nothing to be unknown");
}

#[tokio::test]
async fn a_dropped_call_may_or_may_not_have_its_effect() {
    let store = always(Faults { dropped: 100, ..Faults::NONE });
    for id in 0..50 {
        let error = store.commit(&batch(id)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unknown);
    }
    let entries = entries(&store).await;
    assert!(entries > 0 && entries < 50, "{entries}");
}

#[tokio::test]
async fn items_of_a_lost_claim_come_back_in_their_time() {
    let store = always(Faults { claims_lost: 100, ..Faults::NONE });
    let queue = QueueId { kind: QueueKind::Mailbox, id: "d".into() };
    let push = Push {
        queue: queue.clone(),
        capacity: 1,
        visible: Timestamp::ZERO,
        deadline: Timestamp::MAX,
        body: "x".into(),
    };
    let changes = vec![Change::new().push(push)];
    store.commit(&Batch { changes, ..batch(1) }).await.unwrap();
    let [now, until] = [1, 9].map(Timestamp::from_millis);
    let claim = [Claim { scope: Scope::Queue(queue), limit: 1, hide_until: until }];
    let error = store.claim(now, &claim).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unknown);
    store.set_faults(Faults::NONE);
    assert_eq!(store.claim(now, &claim).await.unwrap(), [[]]);
    assert_eq!(store.claim(until, &claim).await.unwrap()[0][0].claims, 2);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults_and_every_kind_comes() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let store = Faulty::new(Model::new(), seed);
        let mut answers = Vec::new();
        for id in 0..200 {
            answers.push(store.commit(&batch(id)).await.map_err(|error| error.kind()));
        }
        let all = store.injected();
        for count in [
            all.unavailable,
            all.unknown_without_effect,
            all.unknown_with_effect,
            all.dropped,
            all.delayed,
        ] {
            assert!(count > 5, "{all:?}");
        }
        assert_eq!(all.claims_lost, 0);
        runs.push((answers, all));
    }
    assert!(runs[0] == runs[1] && runs[0] != runs[2]);
}
