//! Many clients, on stores of several processes as it were: each its own connections, one schema.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use hub_core::id::{NodeId, Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, BatchId, Change, Claim, Document, DocumentRef, Entries, Key, Kind, Outcome, Push,
    QueueId, QueueKind, Record, Scope, Store,
};
use hub_core::time::Timestamp;
use hub_store_postgres::PostgresStore;
use server::Schema;

const LOG: Partition = Partition(0);
const ALL: NonZeroU32 = NonZeroU32::MAX;

/// Several nodes on one schema.
async fn nodes(schema: &Schema, count: usize) -> Vec<Arc<PostgresStore>> {
    let stores = join_all((0..count).map(|_| schema.open())).await;
    stores.into_iter().map(Arc::new).collect()
}

fn batch(changes: Vec<Change>) -> Batch {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = BatchId(u128::from(NEXT.fetch_add(1, Ordering::Relaxed)));
    Batch { id, changes, nudges: Vec::new() }
}

fn twin(id: usize) -> Key {
    Key::new(Kind::Twin, &format!("d{id}"))
}

fn mailbox(id: usize) -> QueueId {
    QueueId { kind: QueueKind::Mailbox, id: format!("d{id}").into() }
}

fn push(id: usize, body: String) -> Change {
    Change::new().push(Push {
        queue: mailbox(id),
        capacity: 1_000_000,
        visible: Timestamp::ZERO,
        deadline: Timestamp::MAX,
        body: body.into(),
    })
}

fn append(body: String) -> Change {
    Change::new().append(LOG, Timestamp::from_millis(1), Entries::one(body.into()))
}

fn committed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Committed(_))
}

async fn document(store: &PostgresStore, key: &Key) -> Option<Document> {
    match store.read(&[Ask::Document(key.clone())]).await.unwrap().remove(0) {
        Some(Record::Document(document)) => Some(document),
        _ => None,
    }
}

fn number(body: &[u8]) -> u64 {
    std::str::from_utf8(body).unwrap().parse().unwrap()
}

/// Forty clients on four nodes count up the same ten twins, ten at a time and in any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_is_lost_among_forty_clients() {
    let schema = Schema::new();
    let nodes = nodes(&schema, 4).await;
    let create = |id| Change::new().create(twin(id), Bytes::from_static(b"0"));
    nodes[0].commit(&batch((0..10).map(create).collect())).await.unwrap();
    let clients = (0..40_usize).map(|client| {
        let store = Arc::clone(&nodes[client % 4]);
        tokio::spawn(async move {
            let mut won = 0;
            for round in 0..6 {
                let ids: Vec<_> = (0..10).map(|n| (n * 7 + client + round) % 10).collect();
                let asks: Vec<_> = ids.iter().map(|id| Ask::Document(twin(*id))).collect();
                let found = store.read(&asks).await.unwrap();
                let changes = found.into_iter().map(|record| match record {
                    Some(Record::Document(document)) => {
                        let next = (number(&document.body) + 1).to_string();
                        Change::new().replace(&document.at, next.into())
                    }
                    other => panic!("{other:?}"),
                });
                let outcomes = store.commit(&batch(changes.collect())).await.unwrap();
                won += outcomes.iter().filter(|outcome| committed(outcome)).count() as u64;
            }
            won
        })
    });
    let won: u64 = join_all(clients).await.into_iter().map(Result::unwrap).sum();
    let mut counted = 0;
    for id in 0..10 {
        counted += number(&document(&nodes[0], &twin(id)).await.unwrap().body);
    }
    assert_eq!(counted, won);
    assert!(won >= 60, "of every ten first writers one wins");
}

/// Of all who create a document, one does; what must stay absent does, whoever wants both.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn absence_is_guarded_too() {
    let schema = Schema::new();
    let nodes = nodes(&schema, 3).await;
    for round in 0..12 {
        let (one, two) = (twin(2 * round), twin(2 * round + 1));
        // Each needs that the other has not happened.
        let crossed = [
            Change::new().create(one.clone(), "1".into()).require_absent(two.clone()),
            Change::new().create(two.clone(), "2".into()).require_absent(one.clone()),
        ];
        let clients = (0..6_usize).map(|client| {
            let (store, change) = (Arc::clone(&nodes[client % 3]), crossed[client % 2].clone());
            tokio::spawn(async move { store.commit(&batch(vec![change])).await.unwrap().remove(0) })
        });
        let outcomes: Vec<_> = join_all(clients).await.into_iter().map(Result::unwrap).collect();
        let won = outcomes.iter().filter(|outcome| committed(outcome)).count();
        assert_eq!(won, 1, "round {round}: {outcomes:?}");
        let found = [document(&nodes[0], &one).await, document(&nodes[1], &two).await];
        assert_eq!(found.iter().flatten().count(), 1);
    }
}

/// Senders, receivers and back ends at once: every message is taken, settled and counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_are_neither_lost_nor_doubled() {
    const MESSAGES: usize = 240;
    let schema = Schema::new();
    let nodes = nodes(&schema, 3).await;
    let senders = (0..6_usize).map(|sender| {
        let store = Arc::clone(&nodes[sender % 3]);
        tokio::spawn(async move {
            for n in 0..MESSAGES / 6 {
                let change = push((sender + n) % 5, format!("{}", sender * 1000 + n));
                assert!(committed(&store.commit(&batch(vec![change])).await.unwrap()[0]));
            }
        })
    });
    let settled = Arc::new(AtomicU64::new(0));
    let receivers = (0..6_usize).map(|receiver| {
        let (store, settled) = (Arc::clone(&nodes[receiver % 3]), Arc::clone(&settled));
        tokio::spawn(async move {
            let mut bodies = Vec::new();
            while settled.load(Ordering::Relaxed) < MESSAGES as u64 {
                let claims: Vec<_> = (0..5)
                    .map(|id| Claim {
                        scope: Scope::Queue(mailbox((id + receiver) % 5)),
                        limit: 3,
                        hide_until: Timestamp::from_millis(1000),
                    })
                    .collect();
                let lists = store.claim(Timestamp::from_millis(1), &claims).await.unwrap();
                let items: Vec<_> = lists.into_iter().flatten().collect();
                let settle = items.iter().map(|item| {
                    Change::new()
                        .settle(&item.at)
                        .and(append(String::from_utf8_lossy(&item.body).into_owned()))
                });
                let outcomes = store.commit(&batch(settle.collect())).await.unwrap();
                assert!(outcomes.iter().all(committed), "{outcomes:?}");
                settled.fetch_add(outcomes.len() as u64, Ordering::Relaxed);
                bodies.extend(items.iter().map(|item| number(&item.body)));
                tokio::task::yield_now().await;
            }
            bodies
        })
    });
    let (receivers, senders) = (join_all(receivers), join_all(senders));
    let (received, sent) = futures::future::join(receivers, senders).await;
    sent.into_iter().for_each(|sender| sender.unwrap());
    let mut bodies: Vec<_> = received.into_iter().flat_map(Result::unwrap).collect();
    bodies.sort_unstable();
    let before = bodies.len();
    bodies.dedup();
    assert_eq!((before, bodies.len()), (MESSAGES, MESSAGES));
    // The log has each once as well, and nothing is left.
    let entries = nodes[1].tail(LOG, SequenceNumber(1), ALL).await.unwrap();
    let mut logged: Vec<_> = entries.iter().map(|entry| number(&entry.body)).collect();
    logged.sort_unstable();
    assert_eq!(logged, bodies);
    let depths: Vec<_> = (0..5).map(|id| Ask::Depth(mailbox(id))).collect();
    let depths = nodes[2].read(&depths).await.unwrap();
    assert!(depths.iter().all(|depth| *depth == Some(Record::Depth(0))), "{depths:?}");
}

/// The log grows from all nodes while segments turn and old ones are dropped; readers miss nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn segments_turn_under_writers_and_readers() {
    const ENTRIES: u64 = 400;
    let schema = Schema::new();
    let turning = || async {
        let config = schema.config().segment_bytes(1).segment_age(Duration::ZERO);
        Arc::new(PostgresStore::open(config).await.unwrap())
    };
    let nodes = [turning().await, turning().await, turning().await];
    let writers = (0..4_usize).map(|writer| {
        let store = Arc::clone(&nodes[writer % 3]);
        tokio::spawn(async move {
            for n in 0..ENTRIES / 4 {
                // A refused change leaves no gap.
                let stale = DocumentRef::new(twin(0), hub_core::store::Version(1));
                let refused = append("never".to_owned()).require(&stale);
                let changes = match n % 5 {
                    0 => vec![refused, append(format!("{writer}-{n}"))],
                    _ => vec![append(format!("{writer}-{n}"))],
                };
                assert!(committed(store.commit(&batch(changes)).await.unwrap().last().unwrap()));
            }
        })
    });
    let reader = {
        let store = Arc::clone(&nodes[1]);
        tokio::spawn(async move {
            let (mut next, mut seen) = (SequenceNumber(1), BTreeSet::new());
            while next.0 <= ENTRIES {
                let page = store.tail(LOG, next, NonZeroU32::new(37).unwrap()).await.unwrap();
                for entry in page {
                    assert_eq!(entry.sequence, next);
                    next = next.next();
                    assert!(seen.insert(entry.body));
                }
                // What is read is forgotten, so that segments can go.
                store.trim(LOG, next).await.unwrap();
            }
            seen
        })
    };
    let done = Arc::new(AtomicU64::new(0));
    let turner = {
        let (stores, done) = (nodes.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            while done.load(Ordering::Relaxed) == 0 {
                let turns = stores.iter().map(|store| store.maintain());
                for turned in join_all(turns).await {
                    turned.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    let seen = reader.await.unwrap();
    done.store(1, Ordering::Relaxed);
    turner.await.unwrap();
    assert_eq!(seen.len() as u64, ENTRIES);
    assert!(!seen.contains(&Bytes::from_static(b"never")));
    nodes[0].commit(&batch(vec![append("last".to_owned())])).await.unwrap();
    nodes[0].maintain().await.unwrap();
    nodes[0].maintain().await.unwrap();
    let client = server::client().await;
    let count = format!(
        "SELECT (SELECT max(id) FROM \"{0}\".segment), (SELECT count(*) FROM \"{0}\".segment), \
         (SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = '{0}' AND c.relkind = 'r' AND c.relname LIKE 'log\\_%')",
        schema.name
    );
    let row = client.query_one(&count, &[]).await.unwrap();
    let (newest, rows, tables): (i32, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert!(newest > 3, "segments turned: {newest}");
    assert!(rows <= 3, "old ones are dropped: {rows}");
    assert_eq!(rows, tables);
}

/// The same batch from several nodes at once happens once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_on_several_nodes_happens_once() {
    let schema = Schema::new();
    let nodes = nodes(&schema, 3).await;
    for round in 0..10 {
        let batch = batch(vec![append("a".to_owned()), push(round, "b".to_owned())]);
        let tries = (0..9_usize).map(|n| {
            let (store, batch) = (Arc::clone(&nodes[n % 3]), batch.clone());
            tokio::spawn(async move { store.commit(&batch).await.unwrap() })
        });
        let answers: Vec<_> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        let entries = nodes[0].tail(LOG, SequenceNumber(1), ALL).await.unwrap();
        assert_eq!(entries.len(), round + 1);
    }
}

/// A commit whose caller has gone may come late and lock what it names; a claim lets it end first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_lets_a_forsaken_commit_end() {
    let schema = Schema::new();
    let store = Arc::new(schema.open().await);
    store.commit(&batch(vec![push(1, "a".to_owned())])).await.unwrap();
    let claim = |now: u64, until: u64| Claim {
        scope: Scope::Queue(mailbox(1)),
        limit: 9,
        hide_until: Timestamp::from_millis(now + until),
    };
    let item = store.claim(Timestamp::ZERO, &[claim(0, 10)]).await.unwrap().remove(0).remove(0);
    let retime = Change::new().retime(&item.at, Timestamp::from_millis(1), item.marks);
    let retime = batch(vec![retime]);
    // Somebody else is about to answer this batch: it waits for that with its item locked.
    let (other, name) = (server::client().await, &schema.name);
    let id = format!("{:032x}", retime.id.0);
    let answer = format!("INSERT INTO \"{name}\".batch VALUES ('{id}', now(), '', '{{}}')");
    other.batch_execute(&format!("BEGIN; {answer}")).await.unwrap();
    let forsaken = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(&retime).await })
    };
    schema.waits_for_a_lock().await;
    forsaken.abort();
    assert!(forsaken.await.unwrap_err().is_cancelled());
    let mut claimed = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.claim(Timestamp::from_millis(20), &[claim(20, 9)]).await })
    };
    let early = tokio::time::timeout(Duration::from_millis(200), &mut claimed).await;
    assert!(early.is_err(), "the item was passed over: {early:?}");
    other.batch_execute("ROLLBACK").await.unwrap();
    let found = claimed.await.unwrap().unwrap().remove(0);
    assert_eq!(found.iter().map(|item| item.claims).collect::<Vec<_>>(), [2]);
}

/// A nudge reaches a node of another process, and so soon that no polling explains it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nudges_cross_processes() {
    let schema = Schema::new();
    let nodes = nodes(&schema, 2).await;
    let names = ["one", "two"].map(|name| NodeId::new(name).unwrap());
    let mut heard = BTreeMap::new();
    for round in 0..20 {
        let (from, to) = (round % 2, (round + 1) % 2);
        let wait = {
            let (store, name) = (Arc::clone(&nodes[to]), names[to].clone());
            tokio::spawn(async move { store.nudged(&name).await })
        };
        let nudges = async {
            loop {
                let batch = Batch { nudges: vec![names[to].clone()], ..batch(vec![]) };
                nodes[from].commit(&batch).await.unwrap();
                tokio::time::sleep(Duration::from_millis(200)).await;
                *heard.entry(to).or_insert(0_u32) += 1;
            }
        };
        tokio::select! {
            done = wait => done.unwrap(),
            () = nudges => {}
        }
    }
    // Some may be missed while a listener connects; most may not.
    let missed: u32 = heard.values().sum();
    assert!(missed < 10, "{missed} nudges were not heard");
}
