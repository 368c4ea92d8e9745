//! What was answered to the batches of late, so that a repeated one has no second effect (S8).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::change::{BatchId, Issued, Outcome};
use super::record::{QueueId, Version};
use crate::id::SequenceNumber;

/// How many later batches a batch is remembered for.
pub(super) const LATER_BATCHES: usize = 10_000;

/// The last batches and their outcomes, packed: a hub at full load commits ten million changes in
/// ten thousand batches, so an outcome is kept in two to four bytes rather than in a vector.
#[derive(Debug, Default)]
pub(super) struct Recall {
    answers: HashMap<BatchId, Answer, BuildHasherDefault<IdHasher>>,
    order: VecDeque<BatchId>,
}

impl Recall {
    /// The outcomes of a batch that was committed before.
    pub(super) fn get(&self, id: BatchId) -> Option<Vec<Outcome>> {
        self.answers.get(&id).map(Answer::unpack)
    }

    /// Remembers a batch that was not, and forgets the oldest beyond the bound.
    ///
    /// `base` is the version before the batch's first change; each change has the next one.
    pub(super) fn insert(&mut self, id: BatchId, base: u64, outcomes: &[Outcome]) {
        // One more than the later ones: itself.
        if self.order.len() > LATER_BATCHES
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.order.push_back(id);
        self.answers.insert(id, Answer::pack(base, outcomes));
    }
}

#[derive(Debug)]
enum Answer {
    /// One change that issued one number: the telemetry of one device. Needs no memory of its own.
    One(u64, SequenceNumber),
    Many(Box<Packed>),
}

/// For each outcome: 0 for a conflict, 1 for a full queue, 2 + n for a change that issued n numbers,
/// and then these, each as its distance from the one before. All in groups of seven bits.
#[derive(Debug)]
struct Packed {
    base: u64,
    bytes: Box<[u8]>,
    full: Vec<QueueId>,
}

impl Answer {
    fn pack(base: u64, outcomes: &[Outcome]) -> Self {
        if let [Outcome::Committed(Issued { sequences, .. })] = outcomes
            && let [sequence] = sequences.as_slice()
        {
            return Self::One(base, *sequence);
        }
        let mut bytes = Vec::with_capacity(outcomes.len() * 3);
        let (mut full, mut last) = (Vec::new(), 0_u64);
        for outcome in outcomes {
            match outcome {
                Outcome::Conflict => write(&mut bytes, 0),
                Outcome::Full(queue) => {
                    write(&mut bytes, 1);
                    full.push(queue.clone());
                }
                Outcome::Committed(issued) => {
                    write(&mut bytes, 2 + issued.sequences.len() as u64);
                    for sequence in &issued.sequences {
                        write(&mut bytes, zigzag(sequence.0.wrapping_sub(last)));
                        last = sequence.0;
                    }
                }
            }
        }
        Self::Many(Box::new(Packed { base, bytes: bytes.into_boxed_slice(), full }))
    }

    fn unpack(&self) -> Vec<Outcome> {
        match self {
            Self::One(base, sequence) => {
                let version = Version(base + 1);
                vec![Outcome::Committed(Issued { version, sequences: vec![*sequence] })]
            }
            Self::Many(packed) => packed.unpack(),
        }
    }
}

impl Packed {
    fn unpack(&self) -> Vec<Outcome> {
        let (mut bytes, mut full) = (self.bytes.iter().copied(), self.full.iter().cloned());
        let (mut outcomes, mut last, mut version) = (Vec::new(), 0_u64, self.base);
        while let Some(code) = read(&mut bytes) {
            version += 1;
            outcomes.push(match code {
                0 => Outcome::Conflict,
                1 => full.next().map_or(Outcome::Conflict, Outcome::Full),
                n => {
                    let sequences = (2..n).map_while(|_| {
                        last = last.wrapping_add(unzigzag(read(&mut bytes)?));
                        Some(SequenceNumber(last))
                    });
                    let sequences = sequences.collect();
                    Outcome::Committed(Issued { version: Version(version), sequences })
                }
            });
        }
        outcomes
    }
}

fn write(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes.next()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
        shift += 7;
    }
}

/// Small distances in either direction become small numbers.
fn zigzag(distance: u64) -> u64 {
    (distance << 1) ^ ((distance as i64) >> 63) as u64
}

fn unzigzag(code: u64) -> u64 {
    (code >> 1) ^ (code & 1).wrapping_neg()
}

/// Batch ids are made by hubs, never by their users, and are unique: two multiplications spread them
/// well enough, at a fraction of what the standard hasher costs.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, id: u128) {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let (low, high) = (id as u64, (id >> 64) as u64);
        let mixed = (self.0 ^ low).wrapping_mul(SPREAD) ^ high.rotate_left(32);
        // The table takes a bucket from the low bits and a tag from the high ones.
        self.0 = mixed.wrapping_mul(SPREAD);
        self.0 ^= self.0 >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::QueueKind;

    fn committed(version: u64, sequences: &[u64]) -> Outcome {
        let sequences = sequences.iter().copied().map(SequenceNumber).collect();
        Outcome::Committed(Issued { version: Version(version), sequences })
    }

    fn round_trip(base: u64, outcomes: &[Outcome]) {
        assert_eq!(Answer::pack(base, outcomes).unpack(), outcomes);
    }

    #[test]
    fn outcomes_come_back_as_they_were() {
        let queue = QueueId { kind: QueueKind::Inbox, id: "n".into() };
        round_trip(0, &[]);
        round_trip(6, &[committed(7, &[3])]);
        round_trip(6, &[Outcome::Conflict]);
        round_trip(
            40,
            &[
                committed(41, &[]),
                Outcome::Full(queue.clone()),
                committed(43, &[1, u64::MAX, 0, 1 << 40, 7]),
                Outcome::Conflict,
                Outcome::Full(QueueId { id: "".into(), ..queue }),
                committed(46, &[8; 300]),
            ],
        );
    }

    #[test]
    fn the_oldest_is_forgotten_after_ten_thousand_later_ones() {
        let mut recall = Recall::default();
        let id = |n: usize| BatchId(n as u128);
        for n in 0..=LATER_BATCHES {
            recall.insert(id(n), n as u64, &[Outcome::Conflict]);
        }
        assert!(recall.get(id(0)).is_some(), "ten thousand later ones have come, no more");
        recall.insert(id(LATER_BATCHES + 1), 0, &[]);
        assert_eq!(recall.get(id(0)), None);
        assert!(recall.get(id(1)).is_some());
        assert_eq!((recall.order.len(), recall.answers.len()), (10_001, 10_001));
    }

    #[test]
    fn a_thousand_appends_of_one_batch_take_two_thousand_bytes() {
        let outcomes: Vec<_> = (0..1000).map(|n| committed(n + 1, &[1_000_000 + n * 10])).collect();
        let Answer::Many(packed) = Answer::pack(0, &outcomes) else { unreachable!() };
        assert!(packed.bytes.len() < 2_010, "{}", packed.bytes.len());
    }
}
