//! The log as readers saw it.

use std::collections::BTreeMap;

use super::{Findings, Kind};

/// The number of the first event of a partition.
const FIRST: u64 = 1;

/// What was read of all partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// A digest of each event, from the first on.
    partitions: BTreeMap<u16, Vec<u64>>,
}

impl Log {
    /// The number to read next.
    #[must_use]
    pub fn next(&self, partition: u16) -> u64 {
        let read = self.partitions.get(&partition).map_or(0, Vec::len);
        FIRST + u64::try_from(read).unwrap_or(u64::MAX)
    }

    /// An event was read for the first time.
    pub(super) fn read(
        &mut self,
        partition: u16,
        sequence: u64,
        digest: u64,
        findings: &mut Findings,
    ) {
        let next = self.next(partition);
        if sequence != next {
            findings.add(Kind::Order, 1, || {
                format!("partition {partition}: number {sequence} stands where {next} belongs")
            });
        }
        self.partitions.entry(partition).or_default().push(digest);
    }

    /// An event was read again.
    pub fn read_again(&self, partition: u16, sequence: u64, digest: u64, findings: &mut Findings) {
        let at = sequence.checked_sub(FIRST).and_then(|at| usize::try_from(at).ok());
        let known = self.partitions.get(&partition).zip(at).and_then(|(all, at)| all.get(at));
        if known != Some(&digest) {
            findings.add(Kind::Lost, 1, || {
                format!("partition {partition}: number {sequence} was another event before")
            });
        }
    }

    /// A partition says what number comes next.
    pub fn ends(&self, partition: u16, next: u64, findings: &mut Findings) {
        let read = self.next(partition);
        if next < read {
            findings.add(Kind::Lost, read - next, || {
                format!("partition {partition}: ends at {next}, and was read up to {read}")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (Log, Findings) {
        let (mut log, mut findings) = (Log::default(), Findings::default());
        for sequence in 1..=3 {
            log.read(0, sequence, sequence * 10, &mut findings);
        }
        assert!(findings.is_empty());
        (log, findings)
    }

    #[test]
    fn a_skipped_and_a_repeated_number_are_caught() {
        let (mut log, mut findings) = log();
        log.read(0, 5, 50, &mut findings);
        assert_eq!(findings.count(Kind::Order), 1);
        log.read(0, 3, 50, &mut findings);
        assert_eq!(findings.count(Kind::Order), 2);
    }

    #[test]
    fn an_end_that_went_back_is_caught() {
        let (log, mut findings) = log();
        log.ends(0, 4, &mut findings);
        assert!(findings.is_empty());
        log.ends(0, 2, &mut findings);
        assert_eq!(findings.count(Kind::Lost), 2);
    }

    #[test]
    fn an_event_that_changed_is_caught() {
        let (log, mut findings) = log();
        log.read_again(0, 2, 20, &mut findings);
        assert!(findings.is_empty());
        log.read_again(0, 2, 21, &mut findings);
        log.read_again(0, 4, 40, &mut findings);
        log.read_again(1, 1, 10, &mut findings);
        assert_eq!(findings.count(Kind::Lost), 3);
    }
}
