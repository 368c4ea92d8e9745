//! What was answered to the batches of late, so that a repeated one has no second effect (S8).

use std::collections::{HashMap, VecDeque};

use super::change::{BatchId, Issued, Outcome};
use super::record::{QueueId, Version};
use crate::id::SequenceNumber;

/// How many later batches a batch is remembered for.
pub(super) const LATER_BATCHES: usize = 10_000;
/// Bits of a batch's number within its series.
const NUMBER_BITS: u32 = 40;

/// The last batches and their outcomes, packed: a hub at full load commits ten million changes in
/// ten thousand batches, so an outcome is kept in two to four bytes rather than in a vector.
///
/// Every commit asks, and nearly all of them for a batch that is new. Who commits counts its batches
/// up, so that a number above the last one of its series is new without a look; the others are
/// looked for one by one. What a commit touches thus lies together, where a table of ten thousand
/// would be read at a place that no cache has.
#[derive(Debug, Default)]
pub(super) struct Recall {
    order: VecDeque<(BatchId, Answer)>,
    series: HashMap<u128, Series>,
}

/// Batches whose ids differ in their number only.
#[derive(Debug)]
struct Series {
    /// The highest of all.
    last: u128,
    /// How many are remembered.
    count: usize,
}

impl Recall {
    /// The outcomes of a batch that was committed before.
    pub(super) fn get(&self, id: BatchId) -> Option<Vec<Outcome>> {
        let series = self.series.get(&(id.0 >> NUMBER_BITS))?;
        if id.0 > series.last {
            return None;
        }
        let mut latest_first = self.order.iter().rev();
        latest_first.find(|(of, _)| *of == id).map(|(_, answer)| answer.unpack())
    }

    /// Remembers a batch that was not, and forgets the oldest beyond the bound.
    ///
    /// `base` is the version before the batch's first change; each change has the next one.
    pub(super) fn insert(&mut self, id: BatchId, base: u64, outcomes: &[Outcome]) {
        // One more than the later ones: itself.
        if self.order.len() > LATER_BATCHES
            && let Some((oldest, _)) = self.order.pop_front()
        {
            self.forget(oldest);
        }
        self.order.push_back((id, Answer::pack(base, outcomes)));
        let series = self.series.entry(id.0 >> NUMBER_BITS);
        let series = series.or_insert(Series { last: id.0, count: 0 });
        series.last = series.last.max(id.0);
        series.count += 1;
    }

    fn forget(&mut self, id: BatchId) {
        let key = id.0 >> NUMBER_BITS;
        if let Some(series) = self.series.get_mut(&key) {
            series.count -= 1;
            if series.count == 0 {
                self.series.remove(&key);
            }
        }
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
        assert_eq!((recall.order.len(), recall.series.len()), (10_001, 1));
    }

    #[test]
    fn ids_in_any_order_and_of_any_series_are_found_until_they_are_forgotten() {
        let mut recall = Recall::default();
        let mut model = VecDeque::new();
        let id = |n: u128| BatchId(((n % 7) << NUMBER_BITS) | ((n * 7919) % 30_011));
        for n in 0..30_000 {
            assert_eq!(recall.get(id(n)), None, "{n}");
            recall.insert(id(n), n as u64, &[committed(n as u64 + 1, &[5])]);
            model.push_front(n);
            model.truncate(LATER_BATCHES + 1);
            for back in [0, 1, 5_000, LATER_BATCHES] {
                if let Some(n) = model.get(back).filter(|_| n % 97 == 0) {
                    assert_eq!(recall.get(id(*n)), Some(vec![committed(*n as u64 + 1, &[5])]));
                }
            }
        }
        assert_eq!(recall.series.values().map(|series| series.count).sum::<usize>(), 10_001);
        (0..=LATER_BATCHES as u128).for_each(|n| recall.insert(BatchId(n << 64), 0, &[]));
        assert_eq!(recall.series.len(), 10_001, "a series is forgotten with its last batch");
    }

    #[test]
    fn a_thousand_appends_of_one_batch_take_two_thousand_bytes() {
        let outcomes: Vec<_> = (0..1000).map(|n| committed(n + 1, &[1_000_000 + n * 10])).collect();
        let Answer::Many(packed) = Answer::pack(0, &outcomes) else { unreachable!() };
        assert!(packed.bytes.len() < 2_010, "{}", packed.bytes.len());
    }
}
