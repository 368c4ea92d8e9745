//! No sequence number of the log is skipped or repeated, no event is there twice, and the events of
//! one link stand in the order they were sent.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Invariant, ensure};
use crate::fact::{Fact, Moment, Step};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Log {
    next: BTreeMap<u16, u64>,
    seen: BTreeSet<Bytes>,
    /// The last number of each link.
    last: BTreeMap<(u64, u64), u64>,
    /// What readers saw.
    read: BTreeMap<u16, u64>,
}

impl Log {
    fn event(&mut self, body: &Bytes) -> Result<(), String> {
        ensure(self.seen.insert(body.clone()), || format!("{body:?} is in the log twice"))?;
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        let numbers: Vec<u64> = text.split('/').filter_map(|part| part.parse().ok()).collect();
        let [client, conn, number] = numbers.as_slice() else { return Err(text.to_owned()) };
        let last = self.last.insert((*client, *conn), *number).unwrap_or(0);
        ensure(last < *number, || format!("{body:?} stands after event {last}"))
    }
}

impl Invariant for Log {
    fn name(&self) -> &'static str {
        "the log skips, repeats and disorders nothing"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Committed { steps, .. } => {
                for step in steps {
                    let Step::Appended { partition, first, bodies } = step else { continue };
                    let next = self.next.entry(*partition).or_insert(1);
                    let right = *first == *next;
                    ensure(right, || format!("{first} was issued where {next} was next"))?;
                    *next += bodies.len() as u64;
                    for body in bodies {
                        self.event(body)?;
                    }
                }
            }
            Fact::Tailed { partition, entries } => {
                for (number, body) in entries {
                    let last = self.read.insert(*partition, *number).unwrap_or(0);
                    let right = *number == last + 1 && self.seen.contains(body);
                    ensure(right, || format!("a reader saw {number} after {last}"))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, _: &World) -> Result<(), String> {
        let read = |partition: &u16| self.read.get(partition).copied().unwrap_or(0) + 1;
        let behind = self.next.iter().find(|(partition, next)| read(partition) != **next);
        ensure(behind.is_none(), || format!("readers did not see all of {behind:?}"))
    }
}
