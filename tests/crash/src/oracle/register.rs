//! A section of a twin: a value that one writer raises, and its version.
//!
//! The writer writes ever larger numbers, each once, one at a time. Every accepted write raises the
//! version by one. So the version tells how many writes were accepted, and the number which was the
//! last.

use std::collections::BTreeSet;

use super::{Findings, Kind};

/// Which section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Written by the device.
    Reported,
    /// Written by the back end.
    Desired,
}

/// Whether a write can be carried out after its writer has looked and not found it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lateness {
    /// Not when whoever carried it out is dead.
    #[default]
    Never,
    /// When it was on its way to another process, as to a database.
    Possible,
}

/// The version of a section that was never written.
const NEW: u64 = 1;

/// What the writer and readers were told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The last write that is known to be there.
    number: u64,
    version: u64,
    /// A write whose answer has not come.
    attempt: Option<u64>,
    lateness: Lateness,
    /// Writes that were looked for and not found, and may come late.
    late: BTreeSet<u64>,
    /// The latest version that was shown to anybody.
    shown: u64,
    acknowledged: u64,
}

impl Default for Register {
    fn default() -> Self {
        Self::new(Lateness::Never)
    }
}

impl Register {
    /// A section that was never written.
    #[must_use]
    pub fn new(lateness: Lateness) -> Self {
        let late = BTreeSet::new();
        Self { number: 0, version: NEW, attempt: None, lateness, late, shown: NEW, acknowledged: 0 }
    }

    /// The number to write next.
    #[must_use]
    pub fn next(&self) -> u64 {
        let last = self.late.last().copied().unwrap_or(0);
        self.number.max(self.attempt.unwrap_or(0)).max(last) + 1
    }

    /// The latest version that must be there.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.shown.max(self.version)
    }

    /// A write is about to be sent. The one before must have been answered or looked for.
    pub fn writing(&mut self, number: u64) {
        self.attempt = Some(number);
    }

    /// A write was refused: it is not there.
    pub fn refused(&mut self) {
        self.attempt = None;
    }

    /// A write was acknowledged.
    pub fn acknowledge(&mut self, whose: &str, number: u64, version: u64, findings: &mut Findings) {
        self.attempt = None;
        let (last, at) = (self.number, self.version);
        if version <= at || version > at + 1 + self.late() {
            findings.add(Kind::Order, 1, || {
                format!("{whose}: write {number} has version {version}; {last} had {at}")
            });
        }
        self.settle(number, version);
        self.acknowledged += 1;
    }

    /// The writer looks, with nothing under way. Zero is the number of a section never written.
    pub fn look(&mut self, whose: &str, number: u64, version: u64, findings: &mut Findings) {
        let attempt = self.attempt.take();
        let before = self.late();
        if self.lateness == Lateness::Possible {
            self.late.extend(attempt);
        }
        let fits = if number == self.number {
            version == self.version
        } else if self.late.remove(&number) {
            version > self.version && version <= self.version + before + 1
        } else {
            attempt == Some(number) && version == self.version + 1
        };
        if !fits || version < self.floor() {
            let kind = if version < self.floor() { Kind::Lost } else { Kind::Order };
            let (last, at) = (self.number, self.version);
            findings.add(kind, 1, || {
                format!(
                    "{whose}: holds {number} at version {version}; {last} was acknowledged at {at}, \
                     under way was {attempt:?}"
                )
            });
        }
        self.settle(number, version);
    }

    /// How many writes may come late.
    fn late(&self) -> u64 {
        u64::try_from(self.late.len()).unwrap_or(u64::MAX)
    }

    fn settle(&mut self, number: u64, version: u64) {
        (self.number, self.version) = (number, version);
        self.shown = self.shown.max(version);
    }

    /// Anybody else was shown a version; `floor` is that of [`Register::floor`] before it was asked
    /// for.
    pub fn shown(&mut self, whose: &str, floor: u64, version: u64, findings: &mut Findings) {
        if version < floor {
            findings.add(Kind::Lost, 1, || {
                format!("{whose}: version {version} is shown after {floor}")
            });
        }
        self.shown = self.shown.max(version);
    }

    /// Whether the answer to a write is still to come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.attempt.is_some()
    }

    /// How many writes were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (Register, Findings) {
        let (mut register, mut findings) = (Register::default(), Findings::default());
        for number in 1..=3 {
            register.writing(number);
            register.acknowledge("d", number, number + 1, &mut findings);
        }
        assert!(findings.is_empty());
        (register, findings)
    }

    #[test]
    fn a_write_under_way_may_be_there_or_not() {
        for (number, version) in [(3, 4), (4, 5)] {
            let (mut register, mut findings) = written();
            register.writing(4);
            register.look("d", number, version, &mut findings);
            register.writing(5);
            register.acknowledge("d", 5, version + 1, &mut findings);
            assert!(findings.is_empty(), "{findings:?}");
        }
    }

    #[test]
    fn a_write_may_come_late_only_where_that_is_possible() {
        for (lateness, wrong) in [(Lateness::Possible, 0), (Lateness::Never, 1)] {
            let (mut register, mut findings) = (Register::new(lateness), Findings::default());
            register.writing(1);
            register.look("d", 0, 1, &mut findings);
            assert!(findings.is_empty());
            let number = register.next();
            register.writing(number);
            register.acknowledge("d", number, 3, &mut findings);
            assert_eq!(findings.count(Kind::Order), wrong, "{lateness:?}");
        }
    }

    #[test]
    fn a_lost_write_is_caught() {
        let (mut register, mut findings) = written();
        register.look("d", 2, 3, &mut findings);
        assert_eq!(findings.count(Kind::Lost), 1);
    }

    #[test]
    fn a_version_used_twice_or_skipped_is_caught() {
        for version in [4, 6] {
            let (mut register, mut findings) = written();
            register.writing(4);
            register.acknowledge("d", 4, version, &mut findings);
            assert_eq!(findings.count(Kind::Order), 1);
        }
    }

    #[test]
    fn a_write_that_was_refused_and_is_there_is_caught() {
        let (mut register, mut findings) = written();
        register.writing(4);
        register.refused();
        register.look("d", 4, 5, &mut findings);
        assert_eq!(findings.count(Kind::Order), 1);
    }

    #[test]
    fn a_version_that_was_shown_and_is_gone_is_caught() {
        let (mut register, mut findings) = written();
        register.writing(4);
        // A reader has it before the writer hears of it.
        let floor = register.floor();
        register.shown("d", floor, 5, &mut findings);
        assert!(findings.is_empty());
        let floor = register.floor();
        assert_eq!(floor, 5);
        register.shown("d", floor, 4, &mut findings);
        assert_eq!(findings.count(Kind::Lost), 1);
        register.look("d", 3, 4, &mut findings);
        assert_eq!(findings.count(Kind::Lost), 2);
    }
}
