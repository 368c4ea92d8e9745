//! Telemetry of one device.
//!
//! A device numbers its messages from 1, sends again what was not acknowledged when its connection
//! broke, oldest first, and leaves none out. So the first occurrences in the log must be 1, 2, 3, …
//! without a gap, at least up to the last number that was acknowledged.

use super::{Findings, Kind};

/// What a device was told, and what of it is in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// All numbers up to this one have been sent.
    sent: u64,
    /// How often a number was sent again.
    sent_again: u64,
    /// All numbers up to this one were acknowledged.
    acknowledged: u64,
    /// All numbers up to this one are in the log.
    logged: u64,
    duplicates: u64,
}

impl Telemetry {
    /// A message is about to be sent.
    pub fn sending(&mut self, number: u64) {
        if number > self.sent {
            self.sent = number;
        } else {
            self.sent_again += 1;
        }
    }

    /// A message was acknowledged, as all before it were.
    pub fn acknowledge(&mut self, device: &str, number: u64, findings: &mut Findings) {
        if number != self.acknowledged + 1 {
            let last = self.acknowledged;
            findings.add(Kind::Order, 1, || {
                format!("{device}: message {number} acknowledged after {last}")
            });
        }
        self.acknowledged = self.acknowledged.max(number);
    }

    /// A message was read from the log.
    pub fn logged(&mut self, device: &str, number: u64, findings: &mut Findings) {
        if number > self.sent {
            findings.add(Kind::Invented, 1, || {
                format!("{device}: message {number} in the log was never sent")
            });
        } else if number > self.logged {
            let missing = number - self.logged - 1;
            if missing > 0 {
                let last = self.logged;
                findings.add(Kind::Lost, missing, || {
                    format!("{device}: message {number} stands in the log behind {last}")
                });
            }
            self.logged = number;
        } else {
            self.duplicates += 1;
            if self.duplicates > self.sent_again {
                findings.add(Kind::Invented, 1, || {
                    format!("{device}: message {number} is in the log more often than it was sent")
                });
            }
        }
    }

    /// Judges it when the whole log has been read.
    pub(super) fn close(&self, device: &str, findings: &mut Findings) {
        let missing = self.acknowledged.saturating_sub(self.logged);
        if missing > 0 {
            findings.add(Kind::Lost, missing, || {
                let Self { acknowledged, logged, .. } = self;
                format!("{device}: acknowledged up to {acknowledged}, the log ends at {logged}")
            });
        }
    }

    /// How many were sent and not acknowledged.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.sent.saturating_sub(self.acknowledged)
    }

    /// How many were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// How many stand in the log twice.
    #[must_use]
    pub fn duplicated(&self) -> u64 {
        self.duplicates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(acknowledged: u64, sent: u64, logged: &[u64]) -> Findings {
        let (mut telemetry, mut findings) = (Telemetry::default(), Findings::default());
        (1..=sent).for_each(|number| telemetry.sending(number));
        (1..=acknowledged).for_each(|number| telemetry.acknowledge("d", number, &mut findings));
        logged.iter().for_each(|number| telemetry.logged("d", *number, &mut findings));
        telemetry.close("d", &mut findings);
        findings
    }

    #[test]
    fn what_was_acknowledged_and_more_may_be_there() {
        assert!(after(2, 4, &[1, 2]).is_empty());
        assert!(after(2, 4, &[1, 2, 3, 4]).is_empty());
    }

    #[test]
    fn a_loss_at_the_end_is_caught() {
        assert_eq!(after(3, 4, &[1, 2]).count(Kind::Lost), 1);
        assert_eq!(after(3, 4, &[]).count(Kind::Lost), 3);
    }

    #[test]
    fn a_loss_in_the_middle_is_caught() {
        assert_eq!(after(3, 3, &[1, 3]).count(Kind::Lost), 1);
    }

    #[test]
    fn a_message_that_nobody_sent_is_caught() {
        assert_eq!(after(1, 1, &[1, 2]).count(Kind::Invented), 1);
    }

    #[test]
    fn only_what_was_sent_again_may_be_there_twice() {
        assert_eq!(after(2, 2, &[1, 1, 2]).count(Kind::Invented), 1);
        let (mut telemetry, mut findings) = (Telemetry::default(), Findings::default());
        [1, 2, 1].iter().for_each(|number| telemetry.sending(*number));
        [1, 2, 1].iter().for_each(|number| telemetry.logged("d", *number, &mut findings));
        assert!(findings.is_empty());
        assert_eq!(telemetry.duplicated(), 1);
    }

    #[test]
    fn an_acknowledgement_out_of_turn_is_caught() {
        let (mut telemetry, mut findings) = (Telemetry::default(), Findings::default());
        telemetry.acknowledge("d", 2, &mut findings);
        assert_eq!(findings.count(Kind::Order), 1);
    }
}
