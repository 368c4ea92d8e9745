//! How a change is judged before anything of it is written.

use std::collections::BTreeMap;

use super::change::{Change, Op, Outcome};
use super::record::{ItemRef, Key, QueueId, Version};

/// What guards and capacities are judged by: the state of a store before a change.
pub trait Held {
    /// The version of a document; `None` if there is none.
    fn version_of(&self, key: &Key) -> Option<Version>;

    /// Whether this item is there and still has this version.
    fn holds(&self, item: &ItemRef) -> bool;

    /// How many items a queue has, hidden ones included.
    fn depth(&self, queue: &QueueId) -> u32;
}

impl Change {
    /// Why a store that holds this refuses the change; `None` if it commits it.
    ///
    /// S5, S11 and S20 as a function, for stores that can look at their state without waiting. It
    /// looks up what the change names and nothing else, in the order of the steps, and stops at the
    /// first reason.
    #[must_use]
    pub fn refusal(&self, held: &impl Held) -> Option<Outcome> {
        let guards = || self.ops().iter().all(|op| guard_holds(held, op));
        if self.writes_a_record_twice() || !guards() {
            return Some(Outcome::Conflict);
        }
        self.first_full(held).map(Outcome::Full)
    }

    /// The queue of the first push that has no room, if all steps before it are done.
    fn first_full(&self, held: &impl Held) -> Option<QueueId> {
        // Most changes push nothing, and need no table.
        if !self.ops().iter().any(|op| matches!(op, Op::Push(_))) {
            return None;
        }
        let mut depths = BTreeMap::new();
        for op in self.ops() {
            match op {
                Op::Push(push) => {
                    let queue = &push.queue;
                    let depth = depths.entry(queue).or_insert_with(|| held.depth(queue));
                    if *depth >= push.capacity {
                        return Some(queue.clone());
                    }
                    *depth += 1;
                }
                Op::Settle(item) => {
                    let queue = item.queue();
                    let depth = depths.entry(queue).or_insert_with(|| held.depth(queue));
                    *depth = depth.saturating_sub(1);
                }
                _ => {}
            }
        }
        None
    }
}

/// Whether the guard of a step holds.
fn guard_holds(held: &impl Held, op: &Op) -> bool {
    match op {
        Op::Require(key, version) | Op::Put(key, version, _) => held.version_of(key) == *version,
        Op::Remove(key, version) => held.version_of(key) == Some(*version),
        Op::Retime(item, ..) | Op::Settle(item) => held.holds(item),
        Op::Push(_) | Op::Clear(_) | Op::Append(..) => true,
    }
}
