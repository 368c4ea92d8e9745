//! The end of a run: totals and what was found wrong.

use std::collections::BTreeMap;
use std::fmt;

/// Findings that are kept word for word; all are counted.
const KEPT: usize = 50;

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Something acknowledged is not there.
    Lost,
    /// Something is there that nobody sent, or more often than it was sent.
    Invented,
    /// Something is not where it belongs, or a number was skipped or used twice.
    Order,
    /// Something that was over came back.
    Returned,
    /// The hub did not do what it should have: start, stop, answer, settle.
    Stuck,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Invented => "invented",
            Self::Order => "out of order",
            Self::Returned => "came back",
            Self::Stuck => "stuck",
        })
    }
}

/// What was found wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    counts: BTreeMap<Kind, u64>,
    kept: Vec<String>,
}

impl Findings {
    /// Notes that something is wrong, `count` times.
    pub fn add(&mut self, kind: Kind, count: u64, what: impl FnOnce() -> String) {
        *self.counts.entry(kind).or_default() += count;
        if self.kept.len() < KEPT {
            self.kept.push(format!("{kind}: {}", what()));
        }
    }

    /// How often it was this.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The first findings, in words.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.kept
    }
}

/// What was acknowledged, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Telemetry messages.
    pub telemetry: u64,
    /// Events in the log beyond the first of each message: messages that were sent again.
    pub duplicated: u64,
    /// Cloud-to-device messages accepted.
    pub messages: u64,
    /// Cloud-to-device messages whose settlement was acknowledged.
    pub settled: u64,
    /// Deliveries beyond the first of each message.
    pub redelivered: u64,
    /// Reported patches.
    pub reported: u64,
    /// Desired patches.
    pub desired: u64,
    /// Method calls that were answered.
    pub calls: u64,
    /// Devices registered.
    pub identities: u64,
    /// Persistent sessions.
    pub sessions: u64,
}

impl Totals {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.telemetry += other.telemetry;
        self.duplicated += other.duplicated;
        self.messages += other.messages;
        self.settled += other.settled;
        self.redelivered += other.redelivered;
        self.reported += other.reported;
        self.desired += other.desired;
        self.calls += other.calls;
        self.identities += other.identities;
        self.sessions += other.sessions;
    }

    /// All operations that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        let Self { telemetry, messages, settled, reported, desired, .. } = *self;
        telemetry
            + messages
            + settled
            + reported
            + desired
            + self.calls
            + self.identities
            + self.sessions
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "acknowledged: {}", self.acknowledged())?;
        writeln!(f, "  telemetry {}, C2D messages {}", self.telemetry, self.messages)?;
        writeln!(f, "  C2D settled {}, reported {}", self.settled, self.reported)?;
        writeln!(f, "  desired {}, methods {}", self.desired, self.calls)?;
        writeln!(f, "  devices {}, sessions {}", self.identities, self.sessions)?;
        write!(
            f,
            "duplicated: {} in the log (sent again), {} delivered again",
            self.duplicated, self.redelivered
        )
    }
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What was acknowledged.
    pub totals: Totals,
    /// What was found wrong.
    pub findings: Findings,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.totals)?;
        write!(f, "lost: {}", self.findings.count(Kind::Lost))?;
        for kind in [Kind::Invented, Kind::Order, Kind::Returned, Kind::Stuck] {
            write!(f, ", {kind}: {}", self.findings.count(kind))?;
        }
        for line in self.findings.lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}
