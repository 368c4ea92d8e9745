use std::collections::BTreeMap;

use super::*;
use crate::store::QueueKind;

const ANY: Scope = Scope::Any(QueueKind::Mailbox);
const OVERDUE: Scope = Scope::Overdue(QueueKind::Mailbox);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn queue(id: &str) -> QueueId {
    QueueId { kind: QueueKind::Mailbox, id: id.into() }
}

fn of(id: &str) -> Scope {
    Scope::Queue(queue(id))
}

/// An index beside what a store would have of the items. Every step is followed by a look at all of
/// it.
#[derive(Default)]
struct Rig {
    index: QueueIndex,
    items: BTreeMap<u64, (QueueId, ItemTimes)>,
    last: u64,
}

impl Rig {
    fn push(&mut self, id: &str, visible: u64, deadline: Timestamp) -> u64 {
        self.last += 1;
        let times = ItemTimes { visible: at(visible), deadline };
        self.items.insert(self.last, (queue(id), times));
        self.index.add(&queue(id), self.last, times);
        self.check();
        self.last
    }

    fn retime(&mut self, sequence: u64, visible: u64) {
        let (queue, times) = self.items.get_mut(&sequence).unwrap();
        let before = *times;
        times.visible = at(visible);
        self.index.retime(queue, sequence, before, *times);
        self.check();
    }

    fn remove(&mut self, sequence: u64) {
        let (queue, times) = self.items.remove(&sequence).unwrap();
        self.index.remove(&queue, sequence, times);
        self.check();
    }

    fn claim(&mut self, from: &Scope, now: u64, limit: u32, until: u64) -> Vec<u64> {
        let items = &self.items;
        let visible = |sequence| items.get(&sequence).map(|(_, times)| times.visible);
        let taken = self.index.choose(from, at(now), limit, visible);
        self.check();
        for sequence in &taken {
            self.retime(*sequence, until);
        }
        taken
    }

    /// Every index against the items.
    fn check(&self) {
        let all = || self.items.iter().map(|(n, (_, times))| (*n, *times));
        let visible: BTreeSet<_> = all().map(|(n, times)| (times.visible, n)).collect();
        assert_eq!(self.index.visible, visible);
        let due: BTreeSet<_> = all().filter_map(|(n, times)| Some((times.due()?, n))).collect();
        assert_eq!(self.index.due, due);
        let mut members = 0;
        for (id, queue) in &self.index.queues {
            assert!(queue.depth() > 0, "an empty queue is forgotten");
            members += queue.depth();
            for (visible, n) in &queue.waiting {
                assert_eq!(self.items[n].1.visible, *visible);
            }
            for n in queue.numbers() {
                assert_eq!(self.items[&n].0.id, *id);
            }
        }
        assert_eq!(members, self.items.len());
    }
}

#[test]
fn indices_follow_every_step() {
    let mut rig = Rig::default();
    for (id, visible, deadline) in [("a", 0, 50), ("b", 5, 60), ("a", 9, 7), ("a", 0, 90)] {
        rig.push(id, visible, at(deadline));
    }
    assert_eq!(rig.claim(&of("a"), 8, 9, 40), [1, 4]);
    rig.retime(1, 3);
    rig.remove(4);
    assert_eq!(rig.claim(&ANY, 9, 9, 30), [1, 2, 3]);
    rig.remove(1);
    rig.remove(3);
    assert_eq!((rig.index.depth(&queue("a")), rig.index.depth(&queue("b"))), (0, 1));
}

#[test]
fn a_claim_in_the_past_puts_back_what_is_not_visible_yet() {
    let mut rig = Rig::default();
    rig.push("a", 10, Timestamp::MAX);
    rig.push("a", 90, Timestamp::MAX);
    assert!(rig.claim(&of("a"), u64::MAX, 0, 0).is_empty());
    assert_eq!(rig.index.queues["a"].ready.len(), 2);
    assert_eq!(rig.claim(&of("a"), 10, 9, 40), [1]);
    assert_eq!(rig.index.queues["a"].ready.len(), 0);
}

#[test]
fn a_sweep_does_not_look_at_locked_items() {
    let mut rig = Rig::default();
    for _ in 0..8 {
        rig.push("a", 0, at(20));
    }
    assert_eq!(rig.claim(&of("a"), 10, 7, 500).len(), 7);
    assert_eq!(rig.index.due.range(..=(at(30), u64::MAX)).count(), 1);
    assert_eq!(rig.claim(&OVERDUE, 30, 9, 500), [8]);
}
