//! Time is what the caller says it is.

use super::Fixture;
use super::probe::{Probe, at, entries, item, mailbox, texts};
use crate::id::Partition;
use crate::store::{Change, Claim, Marks, Push, QueueKind, Scope, Seek};
use crate::time::Timestamp;

/// A day in 1970 and a day in the year 2500 are as good as today.
pub async fn s14_only_the_times_given_count<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for (partition, start) in [(Partition(0), 0), (Partition(1), 16_725_225_600_000_u64)] {
        let d = mailbox(&start.to_string());
        let times = [(start + 5, start + 9), (start + 6, start + 7)];
        for (visible, deadline) in times {
            let push = item(&d, &visible.to_string());
            probe.push(Push { visible: at(visible), deadline: at(deadline), ..push }).await;
        }
        assert_eq!(probe.claim_all(start + 4, &d, start + 99).await, []);
        assert_eq!(probe.claim_all(start + 5, &d, start + 8).await.len(), 1);
        let overdue = Scope::Overdue(QueueKind::Mailbox);
        let swept = probe.claim(start + 8, overdue, 9, start + 99).await;
        assert_eq!(texts(&swept), [(start + 6).to_string()]);
        assert_eq!(probe.claim_all(start + 8, &d, start + 99).await.len(), 1);
        probe.done(Change::new().clear(d)).await;
        probe.append(partition, start + 3, &["a"]).await;
        let entry = probe.tail(partition, 1, 1).await.remove(0);
        assert_eq!(entry.at, at(start + 3));
        assert_eq!(probe.seek(partition, Seek::Time(at(start + 4))).await, 2);
    }
}

/// Nodes' clocks differ: a call with an earlier `now` is judged by that.
pub async fn s14_time_may_go_back_between_calls<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    for (visible, body) in [(100, "1"), (200, "2")] {
        probe.push(Push { visible: at(visible), ..item(&d, body) }).await;
    }
    assert_eq!(probe.claim(1000, Scope::Queue(d.clone()), 1, 150).await.len(), 1);
    assert_eq!(probe.claim_all(149, &d, 900).await, []);
    assert_eq!(texts(&probe.claim_all(150, &d, 160).await), ["1"]);
    assert_eq!(texts(&probe.claim_all(200, &d, 300).await), ["1", "2"]);
    // A lock that ends before it begins locks nothing.
    assert_eq!(probe.claim_all(400, &d, 10).await.len(), 2);
    assert_eq!(texts(&probe.claim_all(10, &d, 20).await), ["1", "2"]);
    assert_eq!(probe.claim_all(9, &d, 20).await, []);
}

/// The largest time is later than all others, in every place where a time may stand.
pub async fn s14_the_end_of_time_is_a_time<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let d = mailbox("d");
    let end = Timestamp::MAX;
    let claim = |hide_until| [Claim { scope: Scope::Queue(mailbox("d")), limit: 9, hide_until }];
    probe.push(Push { visible: end, ..item(&d, "hidden for ever") }).await;
    let number = probe.push(item(&d, "visible")).await;
    assert_eq!(texts(&probe.claims(at(1 << 60), &claim(end)).await[0]), ["visible"]);
    assert_eq!(probe.claims(at(1 << 60), &claim(end)).await, [[]]);
    let read = probe.item(&d, number).await.unwrap();
    assert_eq!((read.visible, read.deadline), (end, end));
    // A purge claims at the end of time: everything is visible then.
    let purged = probe.claims(end, &claim(end)).await.remove(0);
    assert_eq!(texts(&purged), ["hidden for ever", "visible"]);
    probe.done(Change::new().retime(&purged[0].at, at(0), Marks::default())).await;
    assert_eq!(probe.claim_all(0, &d, 1).await.len(), 1);
    let log = Partition(0);
    probe.done(Change::new().append(log, end, entries(&["last"]))).await;
    assert_eq!(probe.append(log, 5, &["after the last"]).await, 2);
    assert!(probe.tail(log, 1, 9).await.iter().all(|entry| entry.at == end));
    assert_eq!(probe.seek(log, Seek::Time(end)).await, 1);
}
