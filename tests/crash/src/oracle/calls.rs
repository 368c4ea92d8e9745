//! Direct methods: kept nowhere, so nothing can be lost; but none may run twice.

use std::collections::BTreeMap;

use super::{Findings, Kind};

/// What callers and devices saw. Calls are numbered over all devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    last: u64,
    /// Calls that were dispatched, with what the device answered.
    dispatched: BTreeMap<u64, u64>,
    answered: u64,
}

impl Calls {
    /// The number of a new call.
    pub fn calling(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A device was called, and will answer with this number.
    pub fn dispatched(&mut self, number: u64, answer: u64, findings: &mut Findings) {
        if number > self.last {
            findings.add(Kind::Invented, 1, || format!("call {number} was never made"));
        }
        if self.dispatched.insert(number, answer).is_some() {
            findings.add(Kind::Returned, 1, || format!("call {number} was dispatched twice"));
        }
    }

    /// A caller was answered.
    pub fn answer(&mut self, number: u64, answer: u64, findings: &mut Findings) {
        self.answered += 1;
        if self.dispatched.get(&number) != Some(&answer) {
            let said = self.dispatched.get(&number).copied();
            findings.add(Kind::Invented, 1, || {
                format!("call {number} was answered with {answer}, the device said {said:?}")
            });
        }
    }

    /// How many were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_run_twice_and_wrong_answers_are_caught() {
        let (mut calls, mut findings) = (Calls::default(), Findings::default());
        let number = calls.calling();
        calls.dispatched(number, 5, &mut findings);
        calls.answer(number, 5, &mut findings);
        assert!(findings.is_empty());
        calls.dispatched(number, 5, &mut findings);
        assert_eq!(findings.count(Kind::Returned), 1);
        calls.answer(number, 6, &mut findings);
        calls.answer(number + 1, 6, &mut findings);
        calls.dispatched(number + 1, 6, &mut findings);
        assert_eq!(findings.count(Kind::Invented), 3);
    }
}
