//! What was answered to the batches of late, so that a repeated one has no second effect (S8).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use hub_core::id::SequenceNumber;
use hub_core::store::{BatchId, Issued, Outcome, Version};

use crate::codec::{Fields, varint};
use crate::journal::op::{encode_queue, queue};

/// How many later batches a batch is remembered for.
pub(crate) const LATER_BATCHES: u64 = 10_000;

/// The last batches and their outcomes, packed as they are in the journal.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    answers: HashMap<BatchId, Bytes>,
    /// In the order they came. The first has the number `first`.
    order: VecDeque<BatchId>,
    first: u64,
    /// Batches of the group that is not durable yet.
    pending: Vec<BatchId>,
    /// From here on, no checkpoint has written them.
    unsaved: u64,
}

/// What a checkpoint writes of the recall.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    /// New batches, by number.
    pub(crate) new: Vec<(u64, Bytes)>,
    /// Those below are forgotten.
    pub(crate) forgotten: u64,
    /// Those the tree has, from the first to the one after the last.
    pub(crate) saved: (u64, u64),
    pub(crate) next: u64,
}

impl Recall {
    /// The outcomes of a batch that was committed before, or is part of this group.
    pub(crate) fn get(&self, id: BatchId) -> Option<Vec<Outcome>> {
        unpack(self.answers.get(&id)?).map(|(_, outcomes)| outcomes)
    }

    pub(crate) fn next(&self) -> u64 {
        self.first + crate::codec::long(self.order.len())
    }

    /// Adds a batch of the group that is being judged.
    pub(crate) fn add(&mut self, id: BatchId, packed: Bytes) {
        self.pending.push(id);
        self.answers.insert(id, packed);
    }

    pub(crate) fn publish(&mut self) {
        self.order.extend(self.pending.drain(..));
        while crate::codec::long(self.order.len()) > LATER_BATCHES + 1 {
            if let Some(oldest) = self.order.pop_front() {
                self.answers.remove(&oldest);
                self.first += 1;
            }
        }
    }

    pub(crate) fn roll_back(&mut self) {
        for id in self.pending.drain(..) {
            self.answers.remove(&id);
        }
    }

    /// Takes a batch from a file. Nothing if the bytes are no batch.
    pub(crate) fn restore(&mut self, packed: Bytes) -> Option<()> {
        let (id, _) = unpack(&packed)?;
        // A batch that is there already would be counted twice.
        if !self.answers.contains_key(&id) {
            self.add(id, packed);
            self.publish();
        }
        Some(())
    }

    /// Begins with the number of the first batch in the tree.
    pub(crate) fn begin_at(&mut self, first: u64) {
        self.first = first;
        self.unsaved = first;
    }

    /// All that is here now is in the tree.
    pub(crate) fn all_saved(&mut self) {
        self.unsaved = self.next();
    }

    /// What a checkpoint has to write.
    pub(crate) fn freeze(&self, saved: (u64, u64)) -> Frozen {
        let from = self.unsaved.max(self.first);
        let skip = crate::codec::index(from - self.first);
        let new = self.order.iter().skip(skip).zip(from..);
        let new = new.filter_map(|(id, number)| Some((number, self.answers.get(id)?.clone())));
        Frozen { new: new.collect(), forgotten: self.first, saved, next: self.next() }
    }

    /// A checkpoint is in the tree.
    pub(crate) fn thaw(&mut self, frozen: &Frozen) {
        self.unsaved = frozen.next;
    }
}

/// The id, the version before the batch's first change, and for each outcome: 0 for a conflict, 1
/// and the queue for a full one, 2 + n for a change that issued n numbers, and then these, each as
/// its distance from the one before.
pub(crate) fn pack(id: BatchId, base: u64, outcomes: &[Outcome]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + 10 + outcomes.len() * 3);
    bytes.extend_from_slice(&id.0.to_le_bytes());
    varint(&mut bytes, base);
    let mut last = 0_u64;
    for outcome in outcomes {
        match outcome {
            Outcome::Conflict => varint(&mut bytes, 0),
            Outcome::Full(queue) => {
                varint(&mut bytes, 1);
                encode_queue(&mut bytes, queue);
            }
            Outcome::Committed(issued) => {
                varint(&mut bytes, 2 + crate::codec::long(issued.sequences.len()));
                for sequence in &issued.sequences {
                    varint(&mut bytes, zigzag(sequence.0.wrapping_sub(last)));
                    last = sequence.0;
                }
            }
        }
    }
    bytes
}

pub(crate) fn unpack(bytes: &[u8]) -> Option<(BatchId, Vec<Outcome>)> {
    let mut fields = Fields(bytes);
    let id = BatchId(fields.u128()?);
    let mut version = fields.varint()?;
    let (mut outcomes, mut last) = (Vec::new(), 0_u64);
    while !fields.is_empty() {
        version += 1;
        outcomes.push(match fields.varint()? {
            0 => Outcome::Conflict,
            1 => Outcome::Full(queue(&mut fields)?),
            n => {
                let mut sequences = Vec::new();
                for _ in 2..n {
                    last = last.wrapping_add(unzigzag(fields.varint()?));
                    sequences.push(SequenceNumber(last));
                }
                Outcome::Committed(Issued { version: Version(version), sequences })
            }
        });
    }
    Some((id, outcomes))
}

/// Small distances in either direction become small numbers.
fn zigzag(distance: u64) -> u64 {
    (distance << 1) ^ ((distance as i64) >> 63) as u64
}

fn unzigzag(code: u64) -> u64 {
    (code >> 1) ^ (code & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use hub_core::store::{QueueId, QueueKind};

    use super::*;

    fn committed(version: u64, sequences: &[u64]) -> Outcome {
        let sequences = sequences.iter().copied().map(SequenceNumber).collect();
        Outcome::Committed(Issued { version: Version(version), sequences })
    }

    #[test]
    fn outcomes_come_back_as_they_were() {
        let queue = QueueId { kind: QueueKind::Inbox, id: "n".into() };
        let outcomes = [
            committed(41, &[]),
            Outcome::Full(queue.clone()),
            committed(43, &[1, u64::MAX, 0, 1 << 40, 7]),
            Outcome::Conflict,
            Outcome::Full(QueueId { id: "".into(), ..queue }),
            committed(46, &[8; 300]),
        ];
        for outcomes in [&outcomes[..], &[]] {
            let packed = pack(BatchId(7), 40, outcomes);
            assert_eq!(unpack(&packed), Some((BatchId(7), outcomes.to_vec())));
        }
        assert_eq!(unpack(&[0; 3]), None);
    }

    #[test]
    fn the_oldest_is_forgotten_after_ten_thousand_later_ones() {
        let mut recall = Recall::default();
        let add = |recall: &mut Recall, n: u64| {
            let id = BatchId(n.into());
            recall.add(id, pack(id, n, &[Outcome::Conflict]).into());
            recall.publish();
        };
        (0..=LATER_BATCHES).for_each(|n| add(&mut recall, n));
        assert!(recall.get(BatchId(0)).is_some(), "ten thousand later ones have come, no more");
        add(&mut recall, LATER_BATCHES + 1);
        assert_eq!(recall.get(BatchId(0)), None);
        assert!(recall.get(BatchId(1)).is_some());
        assert_eq!((recall.first, recall.next(), recall.answers.len()), (1, 10_002, 10_001));
    }

    #[test]
    fn what_is_rolled_back_is_forgotten() {
        let mut recall = Recall::default();
        recall.add(BatchId(1), pack(BatchId(1), 0, &[]).into());
        assert!(recall.get(BatchId(1)).is_some());
        recall.roll_back();
        assert_eq!((recall.get(BatchId(1)), recall.next()), (None, 0));
    }
}
