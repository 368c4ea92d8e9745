//! A batch on its way to the writer.
//!
//! Telemetry is written into its record here, in the caller's task, so that the one writer has only
//! to number it.

use std::ops::Range;

use hub_core::id::{NodeId, Partition};
use hub_core::store::{Batch, BatchId, Change, Entries, Key, Op};
use hub_core::time::Timestamp;

use crate::codec::long;
use crate::journal::op::APPEND;

/// A batch, owned and prepared.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) id: BatchId,
    pub(crate) nudges: Vec<NodeId>,
    pub(crate) steps: Vec<Step>,
    /// The payloads of all appends, with room for their numbers and times.
    pub(crate) payloads: Vec<u8>,
    /// About how many bytes it takes in the journal.
    pub(crate) bytes: usize,
}

/// A change.
#[derive(Debug)]
pub(crate) enum Step {
    /// One that only appends, once.
    Append(Payload),
    /// Any other, and the payloads of its appends in order.
    Change(Change, Vec<Payload>),
}

/// The payload of an append.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) partition: Partition,
    pub(crate) at: Timestamp,
    pub(crate) count: u32,
    pub(crate) bytes: Range<usize>,
}

impl Work {
    pub(crate) fn new(batch: &Batch) -> Self {
        let mut payloads = Vec::with_capacity(appended(batch));
        let mut bytes = 64;
        let mut steps = Vec::with_capacity(batch.changes.len());
        for change in &batch.changes {
            bytes += change.bytes();
            if let [Op::Append(partition, at, entries)] = change.ops() {
                steps.push(Step::Append(write(&mut payloads, *partition, *at, entries)));
                continue;
            }
            let mut own = Vec::new();
            for op in change.ops() {
                if let Op::Append(partition, at, entries) = op {
                    own.push(write(&mut payloads, *partition, *at, entries));
                }
            }
            steps.push(Step::Change(change.clone(), own));
        }
        Self { id: batch.id, nudges: batch.nudges.clone(), steps, payloads, bytes }
    }

    /// The documents its guards look at.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        let changes = self.steps.iter().filter_map(|step| match step {
            Step::Append(_) => None,
            Step::Change(change, _) => Some(change),
        });
        changes.flat_map(|change| change.ops()).filter_map(|op| match op {
            Op::Require(key, _) | Op::Put(key, ..) | Op::Remove(key, _) => Some(key),
            _ => None,
        })
    }
}

fn appended(batch: &Batch) -> usize {
    let ops = batch.changes.iter().flat_map(|change| change.ops());
    ops.map(|op| match op {
        Op::Append(_, _, entries) => APPEND + 4 * entries.len() + entries.bytes(),
        _ => 0,
    })
    .sum()
}

fn write(
    payloads: &mut Vec<u8>,
    partition: Partition,
    at: Timestamp,
    entries: &Entries,
) -> Payload {
    let start = payloads.len();
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    payloads.extend_from_slice(&partition.0.to_le_bytes());
    payloads.extend_from_slice(&[0; 2]);
    payloads.extend_from_slice(&count.to_le_bytes());
    payloads.extend_from_slice(&[0; 16]);
    let mut end = 0_u64;
    for body in entries.iter() {
        end += long(body.len());
        payloads.extend_from_slice(&u32::try_from(end).unwrap_or(u32::MAX).to_le_bytes());
    }
    for body in entries.iter() {
        payloads.extend_from_slice(&body);
    }
    Payload { partition, at, count, bytes: start..payloads.len() }
}

impl Payload {
    /// Its bytes among those of its work.
    pub(crate) fn of<'a>(&self, payloads: &'a [u8]) -> &'a [u8] {
        payloads.get(self.bytes.clone()).unwrap_or_default()
    }
}
