//! Shows every fact to every invariant, and keeps the end of the story for whoever reads a failure.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Write as _};

use hub_core::limits::Limits;
use hub_core::time::Timestamp;

use crate::fact::{Fact, Moment};
use crate::invariants::{self, Invariant};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Oracle {
    invariants: Vec<Box<dyn Invariant>>,
    /// The first invariant that did not hold, and how.
    pub(crate) violation: Option<(&'static str, String)>,
    pub(crate) facts: u64,
    trace: Option<Trace>,
}

struct Trace {
    keep: usize,
    last: VecDeque<String>,
    hash: u64,
}

impl Trace {
    fn note(&mut self, line: String) {
        // FNV-1a over everything that happened.
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.last.len() == self.keep {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }
}

impl Oracle {
    /// Hashes everything and keeps the last `keep` events and facts, if `trace`.
    pub(crate) fn new(trace: bool, keep: usize) -> Self {
        Self {
            invariants: invariants::all(),
            violation: None,
            facts: 0,
            trace: trace.then(|| Trace {
                keep,
                last: VecDeque::new(),
                hash: 0xcbf2_9ce4_8422_2325,
            }),
        }
    }

    pub(crate) fn note(&mut self, at: u64, event: &impl Debug) {
        if let Some(trace) = &mut self.trace {
            trace.note(format!("{at:>6} · {event:?}"));
        }
    }

    pub(crate) fn see(&mut self, now: u64, limits: &Limits, fact: Fact) {
        self.facts += 1;
        if let Some(trace) = &mut self.trace {
            trace.note(format!("       → {fact:?}"));
        }
        let moment = Moment { now: Timestamp::from_millis(now), limits };
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.see(&moment, &fact)
                && self.violation.is_none()
            {
                self.violation = Some((invariant.name(), what));
            }
        }
    }

    pub(crate) fn violate(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert((invariant, what));
    }

    /// After every event.
    pub(crate) fn step(&mut self, world: &World) {
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.step(world)
                && self.violation.is_none()
            {
                self.violation = Some((invariant.name(), what));
            }
        }
    }

    /// At the end of the second phase.
    pub(crate) fn finish(&mut self, world: &World) {
        for invariant in &mut self.invariants {
            if self.violation.is_none()
                && let Err(what) = invariant.finish(world)
            {
                self.violation = Some((invariant.name(), what));
            }
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.trace.as_ref().map_or(0, |trace| trace.hash)
    }

    pub(crate) fn last(&mut self) -> Vec<String> {
        self.trace.take().map(|trace| trace.last.into()).unwrap_or_default()
    }
}

/// How a run failed. The seed is all that is needed to see it again.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    /// Milliseconds since the beginning.
    pub(crate) at: u64,
    pub(crate) steps: u64,
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
    pub(crate) last: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.last {
            writeln!(f, "{}", shorten(line))?;
        }
        let Self { seed, at, steps, invariant, what, .. } = self;
        write!(f, "seed {seed}, step {steps}, {at} ms: broken: {invariant}\n  {what}")
    }
}

fn shorten(line: &str) -> String {
    const MOST: usize = 400;
    let mut out: String = line.chars().take(MOST).collect();
    if line.chars().count() > MOST {
        let _ = write!(out, "…");
    }
    out
}
