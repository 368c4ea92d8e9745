//! Claims: what they take, for how long, and in which order.

use super::Fixture;
use super::probe::{Probe, at, item, mailbox, queue, texts};
use crate::store::{Change, Claim, Item, Marks, Outcome, Push, QueueKind, Scope, Store, Version};
use crate::time::Timestamp;

fn scope(id: &str) -> Scope {
    Scope::Queue(mailbox(id))
}

const OVERDUE: Scope = Scope::Overdue(QueueKind::Mailbox);
const ANY: Scope = Scope::Any(QueueKind::Mailbox);

/// Pushes an item with both its times.
async fn push<S: Store>(probe: &Probe<S>, id: &str, visible: u64, deadline: u64, body: &str) {
    let push = item(&mailbox(id), body);
    probe.push(Push { visible: at(visible), deadline: at(deadline), ..push }).await;
}

/// Takes all of a scope, and gives the bodies sorted: the order of queues is the store's.
async fn taken<S: Store>(probe: &Probe<S>, now: u64, scope: Scope, until: u64) -> Vec<String> {
    let mut bodies = texts(&probe.claim(now, scope, u32::MAX, until).await);
    bodies.sort_unstable();
    bodies
}

/// From a claim until its `hide_until` no claim of any scope gets the item; from then on one does.
pub async fn s9_a_claimed_item_is_hidden_until_its_time<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    push(&probe, "d", 0, 5, "a").await;
    let none = [""; 0];
    let mut now = 10;
    for scope in [scope("d"), ANY, OVERDUE] {
        let until = now + 60;
        assert_eq!(taken(&probe, now, scope, until).await, ["a"]);
        for later in [now, now + 1, until - 1] {
            for scope in [self::scope("d"), ANY, OVERDUE] {
                assert_eq!(taken(&probe, later, scope, 5000).await, none, "at {later}");
            }
        }
        now = until;
    }
    assert_eq!(taken(&probe, now, scope("d"), now + 1).await, ["a"]);
}

/// A claimed item has the time it is hidden until, a new version, and one claim more; so does what
/// `read` shows from then on.
pub async fn s9_a_claim_raises_version_and_claims<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    push(&probe, "d", 0, 5, "a").await;
    let mut versions: Vec<Version> = Vec::new();
    for (round, scope) in [scope("d"), ANY, OVERDUE, scope("d")].into_iter().enumerate() {
        let now = 10 + 10 * round as u64;
        let claimed = probe.claim(now, scope, 9, now + 7).await.remove(0);
        assert_eq!((claimed.claims, claimed.visible), (round as u32 + 1, at(now + 7)));
        assert!(!versions.contains(&claimed.at.version()), "{claimed:?} after {versions:?}");
        versions.push(claimed.at.version());
        let read = probe.item(&mailbox("d"), claimed.at.sequence()).await;
        assert_eq!(read, Some(claimed));
    }
}

/// An item becomes visible exactly at its time.
pub async fn s9_only_visible_items_are_taken<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for (visible, body) in [(100, "100"), (0, "0"), (101, "101"), (99, "99")] {
        push(&probe, "d", visible, 1000, body).await;
    }
    assert_eq!(texts(&probe.claim_all(99, &mailbox("d"), 500).await), ["0", "99"]);
    assert_eq!(texts(&probe.claim_all(100, &mailbox("d"), 500).await), ["100"]);
    assert_eq!(taken(&probe, 100, ANY, 500).await, [""; 0]);
    assert_eq!(taken(&probe, 101, ANY, 500).await, ["101"]);
}

/// A sweep takes an item once both its times have come, and not before.
pub async fn s9_a_sweep_takes_what_is_overdue_and_visible<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    push(&probe, "1", 0, 100, "deadline 100").await;
    push(&probe, "2", 0, 101, "deadline 101").await;
    push(&probe, "3", 150, 100, "visible 150").await;
    push(&probe, "4", 0, 90, "claimed until 160").await;
    assert_eq!(probe.claim_all(1, &mailbox("4"), 160).await.len(), 1);
    let other = queue(QueueKind::Inbox, "1");
    probe.push(Push { deadline: at(1), ..item(&other, "another kind") }).await;
    for (now, expected) in [
        (99, vec![]),
        (100, vec!["deadline 100"]),
        (101, vec!["deadline 101"]),
        (149, vec![]),
        (150, vec!["visible 150"]),
        (159, vec![]),
        (160, vec!["claimed until 160"]),
    ] {
        assert_eq!(taken(&probe, now, OVERDUE, 9000).await, expected, "at {now}");
    }
    // A retime to the future hides from a sweep, one to the past shows.
    let swept = probe.claim(9000, OVERDUE, 9, 9001).await.remove(0);
    probe.done(Change::new().retime(&swept.at, at(9500), Marks::default())).await;
    let rest = probe.claim(9499, OVERDUE, 9, 9900).await;
    assert_eq!(rest.len(), 3, "{rest:?}");
    assert_eq!(probe.claim(9500, OVERDUE, 9, 9900).await.len(), 1);
}

/// [`Timestamp::MAX`] as a deadline never comes, not even at the end of time.
pub async fn s9_no_deadline_is_never_overdue<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    probe.push(item(&mailbox("d"), "never")).await;
    push(&probe, "d", 0, 1 << 60, "last").await;
    assert_eq!(probe.claim(1 << 50, OVERDUE, 9, 1 << 51).await, []);
    let claim = Claim { scope: OVERDUE, limit: 9, hide_until: Timestamp::MAX };
    let swept = probe.claims(Timestamp::MAX, &[claim]).await.remove(0);
    assert_eq!(texts(&swept), ["last"]);
}

/// A claim of any queue takes visible items of all queues of its kind, and of no other kind.
pub async fn s9_any_takes_from_all_queues_of_its_kind<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for id in ["a", "b", "c", ""] {
        push(&probe, id, 0, 900, &format!("{id}1")).await;
        push(&probe, id, 50, 900, &format!("{id}2")).await;
    }
    probe.push(item(&queue(QueueKind::FeedbackPending, "a"), "another kind")).await;
    assert_eq!(taken(&probe, 10, ANY, 60).await, ["1", "a1", "b1", "c1"]);
    assert_eq!(taken(&probe, 50, ANY, 60).await, ["2", "a2", "b2", "c2"]);
    assert_eq!(taken(&probe, 60, ANY, 61).await.len(), 8);
}

/// Claims of one call that could take the same items take each once.
pub async fn s9_claims_of_one_call_never_share<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for body in ["1", "2", "3", "4", "5", "6"] {
        push(&probe, "d", 0, 1, body).await;
    }
    let claim = |scope: &Scope, limit| Claim { scope: scope.clone(), limit, hide_until: at(99) };
    let (own, other) = (scope("d"), scope("e"));
    let claims =
        [claim(&own, 2), claim(&other, 9), claim(&own, 2), claim(&ANY, 1), claim(&OVERDUE, 9)];
    let lists = probe.claims(at(10), &claims).await;
    assert_eq!(lists[1], []);
    assert!(lists.iter().zip(&claims).all(|(list, claim)| list.len() <= claim.limit as usize));
    let mut bodies: Vec<_> = lists.iter().flat_map(|list| texts(list)).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["1", "2", "3", "4", "5", "6"], "{lists:?}");
    assert!(lists.iter().flatten().all(|item| item.claims == 1));
}

/// A claim takes as many as it may and no more; zero is none.
pub async fn s9_limits_hold<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for body in ["1", "2", "3", "4", "5", "6"] {
        push(&probe, "d", 0, 1, body).await;
    }
    for scope in [scope("d"), ANY, OVERDUE] {
        assert_eq!(probe.claim(5, scope.clone(), 0, 99).await, []);
        assert_eq!(probe.claim(5, scope, 2, 99).await.len(), 2);
    }
    assert_eq!(probe.claims(at(5), &[]).await, [[]; 0]);
    assert_eq!(taken(&probe, 5, ANY, 99).await, [""; 0]);
    assert_eq!(taken(&probe, 99, ANY, 100).await.len(), 6);
}

/// Once an item was claimed anew, the claim before can do nothing to it.
pub async fn s9_a_former_holder_can_neither_settle_nor_retime<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    push(&probe, "d", 0, 900, "a").await;
    let former = probe.claim_all(10, &mailbox("d"), 20).await.remove(0);
    let holder = probe.claim_all(20, &mailbox("d"), 30).await.remove(0);
    let retime = Change::new().retime(&former.at, at(0), Marks::default());
    for change in [Change::new().settle(&former.at), retime] {
        assert_eq!(probe.one(change).await, Outcome::Conflict);
    }
    assert_eq!(probe.claim_all(29, &mailbox("d"), 99).await, []);
    probe.done(Change::new().settle(&holder.at)).await;
    // A lock that has run out still settles as long as nobody else has claimed.
    push(&probe, "d", 0, 900, "b").await;
    let late = probe.claim_all(30, &mailbox("d"), 40).await.remove(0);
    assert_eq!(probe.claim(5000, scope("other"), 9, 6000).await, []);
    probe.done(Change::new().settle(&late.at)).await;
}

/// What a claim does not set, it does not touch.
pub async fn s9_claims_leave_depth_deadline_marks_and_body<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    push(&probe, "d", 0, 5, "a").await;
    let claimed = probe.claim_all(10, &mailbox("d"), 20).await.remove(0);
    let marks = Marks::new(b"marks").unwrap();
    probe.done(Change::new().retime(&claimed.at, at(11), marks)).await;
    for scope in [ANY, OVERDUE, scope("d")] {
        let before = probe.item(&mailbox("d"), claimed.at.sequence()).await.unwrap();
        let now = before.visible.as_millis();
        let claimed = probe.claim(now, scope, 9, now + 5).await.remove(0);
        let expected = Item {
            at: claimed.at.clone(),
            visible: at(now + 5),
            claims: before.claims + 1,
            ..before
        };
        assert_eq!(claimed, expected);
        assert_eq!((claimed.marks, claimed.deadline), (marks, at(5)));
        assert_eq!(probe.depth(&mailbox("d")).await, 1);
    }
}

/// A claim on a queue takes the oldest visible items, in the order of their pushes.
pub async fn s10_items_come_in_sequence_order<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    // Times that fall while numbers rise: an order by time would be another.
    for n in 0..12_u64 {
        push(&probe, "d", 50 - n, 500 - n, &n.to_string()).await;
        push(&probe, "e", n, 500, "other").await;
    }
    let first = probe.claim(100, scope("d"), 5, 200).await;
    assert_eq!(texts(&first), ["0", "1", "2", "3", "4"]);
    let second = probe.claim(100, scope("d"), 4, 150).await;
    assert_eq!(texts(&second), ["5", "6", "7", "8"]);
    let numbers: Vec<_> = first.iter().chain(&second).map(|item| item.at.sequence()).collect();
    assert!(numbers.is_sorted_by(|one, two| one < two), "{numbers:?}");
    // The second lot becomes visible first and comes before what was never taken.
    let third = probe.claim(150, scope("d"), 5, 300).await;
    assert_eq!(texts(&third), ["5", "6", "7", "8", "9"]);
    assert_eq!(
        texts(&probe.claim(250, scope("d"), 9, 300).await),
        ["0", "1", "2", "3", "4", "10", "11"]
    );
}

/// An abandoned item stands where it stood before.
pub async fn s10_a_retimed_item_keeps_its_place<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for body in ["1", "2", "3", "4"] {
        push(&probe, "d", 0, 900, body).await;
    }
    let claimed = probe.claim(10, scope("d"), 3, 99).await;
    for item in [&claimed[2], &claimed[0]] {
        probe.done(Change::new().retime(&item.at, at(10), item.marks)).await;
    }
    assert_eq!(texts(&probe.claim_all(10, &mailbox("d"), 99).await), ["1", "3", "4"]);
}

/// Whatever a claim over many queues takes, each queue's items stand in their order.
pub async fn s10_sweeps_are_in_order_within_each_queue<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for n in 0..30_u64 {
        let id = ["a", "b", "c"][(n % 3) as usize];
        push(&probe, id, n * 7 % 30, n * 11 % 30, &format!("{n:02}")).await;
    }
    let mut now = 30;
    for scope in [ANY, OVERDUE] {
        for limit in [30, 10, 10, 10] {
            let items = probe.claim(now, scope.clone(), limit, now + 10).await;
            assert_eq!(items.len(), limit as usize);
            for id in ["a", "b", "c"] {
                let of_queue = items.iter().filter(|item| *item.at.queue().id == *id);
                let numbers: Vec<_> = of_queue.map(|item| item.at.sequence()).collect();
                assert!(numbers.is_sorted_by(|one, two| one < two), "{id}: {numbers:?}");
            }
            // All of them at once, and then all of them in three parts.
            now += if limit == 30 { 10 } else { 0 };
        }
        now += 10;
    }
}
