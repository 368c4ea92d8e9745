//! Many tasks at once. Each case is a race that a store must not lose.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;

use super::Fixture;
use super::probe::{
    Probe, at, committed, entries, is_committed, item, mailbox, queue, text, together, twin,
};
use crate::id::Partition;
use crate::store::{
    Ask, Change, Claim, DocumentRef, Item, Outcome, Push, QueueKind, Record, Scope,
};

const LOG: Partition = Partition(0);

fn number(body: &[u8]) -> u64 {
    text(body).parse().unwrap()
}

/// Writes that happen in one change are seen together or not at all, documents and queues alike.
pub async fn s1_read_shows_one_instant<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let (a, z, d) = (twin("a"), twin("z"), mailbox("d"));
    let change = Change::new().create(a.clone(), "0".into()).create(z.clone(), "0".into());
    let mut version = probe.done(change).await.version;
    let (done, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let asks = [Ask::Document(z.clone()), Ask::Depth(d.clone()), Ask::Document(a.clone())];
    let reader = |_| {
        let (probe, done, reads) = (probe.clone(), Arc::clone(&done), Arc::clone(&reads));
        let asks = asks.clone();
        async move {
            while !done.load(Ordering::Relaxed) {
                let records = probe.read(&asks).await;
                let [
                    Some(Record::Document(one)),
                    Some(Record::Depth(depth)),
                    Some(Record::Document(two)),
                ] = &records[..]
                else {
                    panic!("{records:?}")
                };
                let depth = u64::from(*depth);
                assert_eq!((number(&one.body), number(&two.body)), (depth, depth));
                reads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    };
    let writer = {
        let (probe, done, reads) = (probe.clone(), Arc::clone(&done), Arc::clone(&reads));
        async move {
            let mut count = 0;
            // Until there were enough reads between enough writes, however fast either is here.
            while count < 100 || reads.load(Ordering::Relaxed) < 200 {
                count += 1;
                let body = Bytes::from(count.to_string());
                let change = Change::new()
                    .replace(&DocumentRef::new(a.clone(), version), body.clone())
                    .push(Push { capacity: u32::MAX, ..item(&d, "x") })
                    .replace(&DocumentRef::new(z.clone(), version), body);
                version = probe.done(change).await.version;
                tokio::task::yield_now().await;
            }
            done.store(true, Ordering::Relaxed);
        }
    };
    let readers = (0..5).map(reader).map(FutureExt::boxed);
    together(readers.chain([writer.boxed()])).await;
}

/// Batches that touch the same records in opposite orders do not wait for each other for ever.
pub async fn s3_batches_in_opposite_orders_both_end<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let ids: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    for id in &ids {
        probe.create(&twin(id), "0").await;
    }
    let workers = (0..6).map(|worker| {
        let (probe, mut ids) = (probe.clone(), ids.clone());
        async move {
            if worker % 2 == 1 {
                ids.reverse();
            }
            let mut won = 0;
            for _ in 0..10 {
                let mut changes = Vec::new();
                for id in &ids {
                    let read = probe.document(&twin(id)).await.unwrap();
                    let next = (number(&read.body) + 1).to_string();
                    let partition = Partition((number(id.as_bytes()) % 4) as u16);
                    changes.push(
                        Change::new()
                            .replace(&read.at, next.into())
                            .push(item(&mailbox(id), "x"))
                            .append(partition, at(1), entries(&[id])),
                    );
                }
                won += probe.commit(changes).await.iter().filter(|o| is_committed(o)).count();
            }
            won as u64
        }
    });
    let won: u64 = together(workers).await.into_iter().sum();
    let mut counted = 0;
    for id in &ids {
        let writes = number(&probe.body(&twin(id)).await);
        assert_eq!(u64::from(probe.depth(&mailbox(id)).await), writes);
        counted += writes;
    }
    assert_eq!(counted, won, "each committed change is one write");
}

/// Of many writers that read the same version, exactly one commits.
pub async fn s5_one_of_many_writers_wins<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let sequence = probe.push(item(&mailbox("d"), "x")).await;
    for round in 0..10 {
        let id = round.to_string();
        let document = probe.create(&twin(&id), "0").await;
        let held = probe.item(&mailbox("d"), sequence).await.unwrap();
        for change in [
            Change::new().replace(&document, "1".into()),
            Change::new().retime(&held.at, at(round), held.marks),
            Change::new().create(twin(&format!("{id}/new")), "x".into()),
        ] {
            let writers = (0..8).map(|writer| {
                let entry = writer.to_string();
                let change = change.clone().append(LOG, at(1), entries(&[&entry]));
                let probe = probe.clone();
                async move { probe.one(change).await }
            });
            let outcomes = together(writers).await;
            assert_eq!(outcomes.iter().filter(|o| is_committed(o)).count(), 1, "{outcomes:?}");
            assert_eq!(outcomes.iter().filter(|o| **o == Outcome::Conflict).count(), 7);
        }
        assert_eq!(probe.texts(LOG).await.len() as u64, 3 * (round + 1), "losers left an entry");
    }
}

/// Writers that read again after a conflict lose no increment.
pub async fn s5_no_write_is_lost<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    probe.create(&twin("d"), "0").await;
    let start = Arc::new(tokio::sync::Barrier::new(6));
    let writers = (0..6).map(|_| {
        let (probe, start) = (probe.clone(), Arc::clone(&start));
        async move {
            for _ in 0..10 {
                let mut read = probe.document(&twin("d")).await.unwrap();
                // All have read the same before the first of them writes.
                start.wait().await;
                loop {
                    let next = (number(&read.body) + 1).to_string();
                    let change = Change::new().replace(&read.at, next.into());
                    if is_committed(&probe.one(change).await) {
                        break;
                    }
                    read = probe.document(&twin("d")).await.unwrap();
                    tokio::task::yield_now().await;
                }
                start.wait().await;
            }
        }
    });
    together(writers).await;
    assert_eq!(probe.body(&twin("d")).await, "60");
}

/// Claims of all scopes at once take every item once.
pub async fn s9_claims_at_once_never_share<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let push = |n: u64| {
        let to = mailbox(&(n % 3).to_string());
        Change::new().push(Push { deadline: at(1), ..item(&to, &n.to_string()) })
    };
    probe.commit((0..240).map(push).collect()).await;
    let workers = (0..8_u64).map(|worker| {
        let probe = probe.clone();
        async move {
            let mut taken: Vec<Item> = Vec::new();
            let mut idle = 0;
            while idle < 3 {
                let round = taken.len() as u64 + worker;
                let scope = match worker % 4 {
                    0 => Scope::Any(QueueKind::Mailbox),
                    1 => Scope::Overdue(QueueKind::Mailbox),
                    _ => Scope::Queue(mailbox(&(round % 3).to_string())),
                };
                let claim = |limit| Claim { scope: scope.clone(), limit, hide_until: at(100) };
                let lists = probe.claims(at(10), &[claim(2), claim(1)]).await;
                idle = if lists.iter().all(Vec::is_empty) { idle + 1 } else { 0 };
                taken.extend(lists.into_iter().flatten());
                tokio::task::yield_now().await;
            }
            taken
        }
    });
    let taken = together(workers).await.concat();
    let mut bodies: Vec<_> = taken.iter().map(|item| number(&item.body)).collect();
    bodies.sort_unstable();
    let shared: Vec<_> = bodies.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(shared.is_empty(), "taken twice: {shared:?}");
    assert_eq!(bodies, (0..240).collect::<Vec<_>>(), "some were taken by nobody");
    // Every holder can settle what it took.
    let settle = taken.iter().map(|item| Change::new().settle(&item.at)).collect();
    assert!(probe.commit(settle).await.iter().all(is_committed));
}

/// As long as there are as many visible items as claims under way, none comes back empty.
pub async fn s9_a_claim_hides_only_what_it_took<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for (round, scope) in [
        Scope::Queue(mailbox("d")),
        Scope::Any(QueueKind::Mailbox),
        Scope::Overdue(QueueKind::Mailbox),
    ]
    .into_iter()
    .enumerate()
    {
        let push = Push { deadline: at(1), ..item(&mailbox("d"), "x") };
        probe.commit(vec![Change::new().push(push); 64]).await;
        let workers = (0..8).map(|_| {
            let (probe, scope) = (probe.clone(), scope.clone());
            async move {
                for _ in 0..8 {
                    let taken = probe.claim(10, scope.clone(), 1, 100).await;
                    assert_eq!(taken.len(), 1, "round {round}: there was one for each claim");
                }
            }
        });
        together(workers).await;
        probe.done(Change::new().clear(mailbox("d"))).await;
    }
}

/// However many push at once, a queue holds no more than it may, and no less than it could.
pub async fn s11_pushes_at_once_never_exceed_capacity<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for round in 0..5 {
        let d = queue(QueueKind::Inbox, &round.to_string());
        let pushers = (0..8).map(|_| {
            let (probe, d) = (probe.clone(), d.clone());
            async move {
                let push = Change::new().push(Push { capacity: 10, ..item(&d, "x") });
                let mut outcomes = probe.commit(vec![push.clone(), push.clone()]).await;
                outcomes.push(probe.one(push).await);
                outcomes
            }
        });
        let outcomes = together(pushers).await.concat();
        assert_eq!(outcomes.iter().filter(|o| is_committed(o)).count(), 10);
        assert_eq!(outcomes.iter().filter(|o| **o == Outcome::Full(d.clone())).count(), 14);
        assert_eq!((probe.depth(&d).await, probe.claim_all(1, &d, 2).await.len()), (10, 10));
    }
}

/// Writers at once leave no gap and no number twice, also when some of their changes are refused.
pub async fn s12_appends_at_once_are_contiguous<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let stale = probe.create(&twin("d"), "x").await;
    let removed = Change::new().remove(&stale);
    probe.done(removed).await;
    let writers = (0..8).map(|writer| {
        let (probe, stale) = (probe.clone(), stale.clone());
        async move {
            let mut issued = Vec::new();
            for round in 0..25 {
                let body = format!("{writer}-{round}");
                let append = Change::new().append(LOG, at(round), entries(&[&body, &body]));
                let refused = append.clone().require(&stale);
                let mut outcomes = probe.commit(vec![refused.clone(), append, refused]).await;
                let numbers = committed(outcomes.remove(1)).sequences;
                issued.push((numbers[0].0, body));
            }
            issued
        }
    });
    let issued = together(writers).await.concat();
    let all = probe.tail(LOG, 1, u32::MAX).await;
    let numbers: Vec<_> = all.iter().map(|entry| entry.sequence.0).collect();
    assert_eq!(numbers, (1..=400).collect::<Vec<_>>());
    assert!(all.is_sorted_by_key(|entry| entry.at), "times fall");
    for (first, body) in issued {
        let entry = &all[first as usize - 1];
        assert_eq!(text(&entry.body), body, "as its writer was told");
    }
}

/// A reader that follows the writers sees every number, each once, in order.
pub async fn s12_tail_never_skips<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let reader = |limit: u32| {
        let probe = probe.clone();
        async move {
            let mut next = 1;
            while next <= 300 {
                for entry in probe.tail(LOG, next, limit * 7).await {
                    assert_eq!(entry.sequence.0, next, "skipped, or came back");
                    next += 1;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    let writer = |writer: usize| {
        let probe = probe.clone();
        async move {
            for round in 0..25 {
                let append = Change::new().append(LOG, at(1), entries(&["a", "b"]));
                // Batches of different length take differently long.
                let other = Change::new().append(Partition(1), at(1), entries(&["x"]));
                let mut changes = vec![other; (writer + round) % 4];
                changes.push(append);
                probe.commit(changes).await;
                tokio::task::yield_now().await;
            }
        }
    };
    let readers = (1..=3).map(reader).map(FutureExt::boxed);
    together(readers.chain((0..6).map(writer).map(FutureExt::boxed))).await;
}

/// Entries of changes that are committed at once do not come between each other.
pub async fn s13_appends_at_once_do_not_mix<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let writers = (0..6).map(|writer| {
        let probe = probe.clone();
        async move {
            for round in 0..10 {
                let name = |n| format!("{writer}-{round}-{n}");
                let change = Change::new()
                    .append(LOG, at(1), entries(&[&name(0), &name(1)]))
                    .append(LOG, at(1), entries(&[&name(2), &name(3)]));
                probe.commit(vec![change]).await;
            }
        }
    });
    together(writers).await;
    let texts = probe.texts(LOG).await;
    assert_eq!(texts.len(), 240);
    let mut seen = BTreeSet::new();
    for change in texts.chunks(4) {
        let (name, _) = change[0].rsplit_once('-').unwrap();
        let expected: Vec<_> = (0..4).map(|n| format!("{name}-{n}")).collect();
        assert_eq!(change, expected);
        assert!(seen.insert(name.to_owned()), "{name} twice");
    }
}
