//! Room in queues whose oldest items give way: dead letters, and the history of twins.
//!
//! A change that finds such a queue full is decided again, with steps before it that remove the oldest
//! items. So what is new is kept in the very change that makes it, and the bound holds all the same.

use super::effect::Effects;
use super::job::Job;
use super::{Busy, Device};
use crate::error::ErrorKind;
use crate::id::SequenceNumber;
use crate::limits::Limits;
use crate::store::{Ask, Change, ItemRef, Op, QueueId, QueueKind, Record};

/// How many items a queue may hold whose oldest give way, and how many stay when they do. `None` for
/// other queues.
///
/// Of a history an eighth more is held than was asked for, so that room is not made for every write.
fn bounds(kind: QueueKind, limits: &Limits) -> Option<(u32, u32)> {
    match kind {
        QueueKind::DeadLetter => Some((limits.dead_letters_max, limits.dead_letters_max)),
        QueueKind::TwinHistory => {
            let stay = limits.twin_history_max;
            Some((stay.saturating_add(stay / 8).saturating_add(1), stay))
        }
        _ => None,
    }
}

/// The most items of a queue of this kind; zero where there is no such bound.
pub(super) fn most(kind: QueueKind, limits: &Limits) -> u32 {
    bounds(kind, limits).map_or(0, |(most, _)| most)
}

/// What a queue had when room was to be made in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Room {
    queue: QueueId,
    depth: u32,
    oldest: Vec<ItemRef>,
}

impl Room {
    /// What has to be read, with so many of the oldest items. `None` if nothing gives way here.
    pub(super) fn asks(queue: &QueueId, items: Option<u32>, limits: &Limits) -> Option<[Ask; 2]> {
        let (most, stay) = bounds(queue.kind, limits)?;
        // What a lone write needs; more is asked for by name.
        let items = items.unwrap_or_else(|| most.saturating_sub(stay).saturating_add(1));
        let oldest = Ask::Items(queue.clone(), SequenceNumber::default(), items);
        Some([Ask::Depth(queue.clone()), oldest])
    }

    pub(super) fn of(queue: QueueId, read: &[Option<Record>]) -> Self {
        let mut room = Self { queue, depth: 0, oldest: Vec::new() };
        for record in read.iter().flatten() {
            match record {
                Record::Depth(depth) => room.depth = *depth,
                Record::Items(items) => {
                    room.oldest = items.iter().map(|item| item.at.clone()).collect();
                }
                Record::Document(_) | Record::Item(_) => {}
            }
        }
        room
    }

    pub(super) fn queue(&self) -> &QueueId {
        &self.queue
    }

    /// The change with room made for it; or how many of the oldest items have to be known for that.
    pub(super) fn make(&self, change: Change, limits: &Limits) -> Result<Change, u32> {
        let Some((most, stay)) = bounds(self.queue.kind, limits) else { return Ok(change) };
        let is_new = |op: &&Op| matches!(op, Op::Push(push) if push.queue == self.queue);
        let new = change.ops().iter().filter(is_new).count();
        let after = self.depth.saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
        if new == 0 || after <= most {
            return Ok(change);
        }
        let gone = after.saturating_sub(stay).min(self.depth);
        let doomed = usize::try_from(gone).ok().and_then(|gone| self.oldest.get(..gone));
        let doomed = doomed.ok_or(gone)?;
        // Before the pushes: a settled item has made room for the steps after it.
        Ok(doomed.iter().fold(Change::new(), |steps, item| steps.settle(item)).and(change))
    }
}

impl Device {
    /// The job in hand has met a full queue whose oldest items give way. If they do not, it is handed
    /// back.
    pub(super) fn make_room(
        &mut self,
        job: Job,
        queue: &QueueId,
        items: Option<u32>,
        fx: &mut Effects,
    ) -> Option<Job> {
        let limits = &self.setup.limits;
        let Some(asks) = Room::asks(queue, items, limits) else { return Some(job) };
        self.rounds = self.rounds.saturating_add(1);
        let tired = self.rounds > limits.conflict_rounds_max;
        self.jobs.push_front(job);
        // A twin was changed in place.
        self.documents.forget();
        if tired {
            self.give_up("others filled the same queue too often", ErrorKind::Busy, fx);
            return None;
        }
        self.again = true;
        self.busy = Busy::MakingRoom(queue.clone(), items);
        fx.reads.extend(asks);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Address;
    use crate::store::{Item, Push, Version};
    use crate::time::Timestamp;

    fn push(queue: &QueueId) -> Push {
        let (visible, deadline) = (Timestamp::ZERO, Timestamp::MAX);
        Push { queue: queue.clone(), capacity: 9, visible, deadline, body: bytes::Bytes::new() }
    }

    fn room(queue: &QueueId, depth: u32, known: u64) -> Room {
        let item = |n| push(queue).item(SequenceNumber(n), Version(n));
        let items: Vec<Item> = (1..=known).map(item).collect();
        let read = [Some(Record::Depth(depth)), Some(Record::Items(items))];
        Room::of(queue.clone(), &read)
    }

    fn settled(change: &Change) -> usize {
        change.ops().iter().take_while(|op| matches!(op, Op::Settle(_))).count()
    }

    #[test]
    fn the_oldest_give_way_to_as_many_as_come() {
        let limits = Limits { dead_letters_max: 5, twin_history_max: 16, ..Limits::default() };
        let of = Address::parse("d").unwrap();
        let letters = QueueId::dead_letters(&of);
        let new =
            |queue: &QueueId, n| (0..n).fold(Change::new(), |change, _| change.push(push(queue)));
        let made = |depth, known, n| {
            room(&letters, depth, known).make(new(&letters, n), &limits).map(|it| settled(&it))
        };
        assert_eq!(made(4, 2, 1), Ok(0));
        assert_eq!(made(5, 2, 1), Ok(1));
        assert_eq!(made(5, 2, 3), Err(3));
        assert_eq!(made(5, 3, 3), Ok(3));
        // A bound that was lowered.
        assert_eq!(made(9, 5, 1), Ok(5));
        // Nothing goes for what does not come.
        assert_eq!(made(5, 2, 0), Ok(0));
        // Of a history more than one goes at a time.
        let history = QueueId::twin_history(&of);
        assert_eq!(most(QueueKind::TwinHistory, &limits), 19);
        let change = room(&history, 19, 4).make(new(&history, 1), &limits).unwrap();
        assert_eq!((settled(&change), change.ops().len()), (4, 5));
    }
}
