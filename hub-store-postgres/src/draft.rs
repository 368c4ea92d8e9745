//! The answers to a batch before its numbers are known, and how they are remembered.
//!
//! A repeated batch must be answered as it was the first time (S8). What is kept of an answer is
//! written by the statement that also issues the numbers, so it names each number by a *base* and a
//! distance; the bases stand beside it.

use hub_core::id::SequenceNumber;
use hub_core::store::{Issued, Outcome, QueueId, Version};

use crate::values::{known_queue, stored};

/// A number to be: so many after one of the batch's bases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base: usize,
    pub(crate) after: i64,
}

/// What becomes of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Draft {
    Committed(Vec<Place>),
    Conflict,
    Full(QueueId),
}

/// What becomes of a batch. The n-th change has the version `version + n`, if it is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drafts {
    pub(crate) version: i64,
    pub(crate) changes: Vec<Draft>,
}

impl Drafts {
    /// The outcomes, with the bases that were issued. Nothing if there are fewer than were drafted.
    pub(crate) fn outcomes(&self, bases: &[i64]) -> Option<Vec<Outcome>> {
        let changes = self.changes.iter().zip(self.version..);
        let outcomes = changes.map(|(draft, version)| {
            Some(match draft {
                Draft::Conflict => Outcome::Conflict,
                Draft::Full(queue) => Outcome::Full(queue.clone()),
                Draft::Committed(places) => {
                    let numbers = places.iter().map(|place| {
                        let base = bases.get(place.base)?;
                        Some(SequenceNumber(stored(base.saturating_add(place.after))))
                    });
                    let sequences = numbers.collect::<Option<_>>()?;
                    Outcome::Committed(Issued { version: Version(stored(version)), sequences })
                }
            })
        });
        outcomes.collect()
    }

    /// As bytes: the version; then for each change 0 for a conflict, 1 and the queue for a full one,
    /// 2 + n and n places for what is committed.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(10 + self.changes.len() * 3);
        varint(&mut bytes, stored(self.version));
        for draft in &self.changes {
            match draft {
                Draft::Conflict => varint(&mut bytes, 0),
                Draft::Full(queue) => {
                    varint(&mut bytes, 1);
                    bytes.push(queue.kind as u8);
                    varint(&mut bytes, long(queue.id.len()));
                    bytes.extend_from_slice(queue.id.as_bytes());
                }
                Draft::Committed(places) => {
                    varint(&mut bytes, 2 + long(places.len()));
                    for place in places {
                        varint(&mut bytes, long(place.base));
                        varint(&mut bytes, stored(place.after));
                    }
                }
            }
        }
        bytes
    }

    /// Reads what [`Drafts::pack`] wrote.
    pub(crate) fn unpack(mut bytes: &[u8]) -> Option<Self> {
        let version = i64::try_from(take_varint(&mut bytes)?).ok()?;
        let mut changes = Vec::new();
        while !bytes.is_empty() {
            changes.push(match take_varint(&mut bytes)? {
                0 => Draft::Conflict,
                1 => {
                    let (kind, rest) = bytes.split_first()?;
                    bytes = rest;
                    let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                    let (id, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    let id = std::str::from_utf8(id).ok()?.into();
                    Draft::Full(QueueId { kind: known_queue(i16::from(*kind))?, id })
                }
                n => {
                    let mut places = Vec::new();
                    for _ in 2..n {
                        let base = usize::try_from(take_varint(&mut bytes)?).ok()?;
                        let after = i64::try_from(take_varint(&mut bytes)?).ok()?;
                        places.push(Place { base, after });
                    }
                    Draft::Committed(places)
                }
            });
        }
        Some(Self { version, changes })
    }
}

fn long(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
mod tests {
    use hub_core::store::QueueKind;

    use super::*;

    fn drafts() -> Drafts {
        let place = |base, after| Place { base, after };
        let queue = QueueId { kind: QueueKind::Inbox, id: "é".into() };
        Drafts {
            version: 1 << 40,
            changes: vec![
                Draft::Committed(vec![]),
                Draft::Conflict,
                Draft::Full(queue),
                Draft::Committed(vec![place(1, 300), place(0, 0)]),
            ],
        }
    }

    #[test]
    fn drafts_come_back_as_they_were() {
        assert_eq!(Drafts::unpack(&drafts().pack()), Some(drafts()));
        let none = Drafts { version: 0, changes: vec![] };
        assert_eq!(Drafts::unpack(&none.pack()), Some(none));
        let packed = drafts().pack();
        for cut in 1..packed.len() {
            assert_ne!(Drafts::unpack(&packed[..cut]), Some(drafts()));
        }
    }

    #[test]
    fn bases_give_the_numbers() {
        let outcomes = drafts().outcomes(&[7, 1000]).unwrap();
        let Outcome::Committed(issued) = &outcomes[3] else { unreachable!() };
        assert_eq!(issued.version, Version((1 << 40) + 3));
        assert_eq!(issued.sequences, [1300, 7].map(SequenceNumber));
        assert_eq!(drafts().outcomes(&[7]), None);
    }
}
