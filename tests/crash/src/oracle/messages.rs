//! Cloud-to-device messages of one device.

use std::collections::BTreeMap;

use super::{Findings, Kind};

/// A moment in the order in which things were noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// When a message may go by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Not while the run lasts.
    Never,
    /// From this time on, in milliseconds of the clock that [`Messages::queue`] is given.
    At(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    expiry: Expiry,
    /// Its number in the queue, once it was accepted.
    sequence: Option<u64>,
    refused: bool,
    delivered: u64,
    /// How often it was given back.
    abandoned: u32,
    /// It may be gone: the device has begun to settle it.
    settling: bool,
    /// It is gone: the settlement was acknowledged.
    settled: Option<Mark>,
    /// It was found in the queue, or delivered, when this was last looked for.
    kept: bool,
}

/// Settled by the hub when given back this often (`c2d_delivery_count_max`).
const ABANDONED_MAX: u32 = 10;

/// What senders and the device were told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Messages {
    all: BTreeMap<u64, Message>,
    last_sequence: u64,
    clock: u64,
}

impl Messages {
    /// This moment.
    pub fn mark(&mut self) -> Mark {
        self.clock += 1;
        Mark(self.clock)
    }

    /// The number to send next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.all.last_key_value().map_or(1, |(number, _)| number + 1)
    }

    /// How many may still be in the queue.
    #[must_use]
    pub fn open(&self) -> usize {
        self.all.values().filter(|m| !m.refused && m.settled.is_none() && !m.settling).count()
    }

    /// A message is about to be sent.
    pub fn sending(&mut self, number: u64, expiry: Expiry) {
        let message = Message {
            expiry,
            sequence: None,
            refused: false,
            delivered: 0,
            abandoned: 0,
            settling: false,
            settled: None,
            kept: false,
        };
        self.all.insert(number, message);
    }

    /// A message was refused: it is not there.
    pub fn refused(&mut self, number: u64) {
        if let Some(message) = self.all.get_mut(&number) {
            message.refused = true;
        }
    }

    /// A message was accepted.
    pub fn accepted(&mut self, device: &str, number: u64, sequence: u64, findings: &mut Findings) {
        if sequence <= self.last_sequence {
            let last = self.last_sequence;
            findings.add(Kind::Order, 1, || {
                format!("{device}: C2D {number} has sequence number {sequence} after {last}")
            });
        }
        self.last_sequence = self.last_sequence.max(sequence);
        if let Some(message) = self.all.get_mut(&number) {
            message.sequence = Some(sequence);
        }
    }

    /// The device received a message; with its number in the queue, where the protocol says it.
    pub fn delivered(
        &mut self,
        device: &str,
        number: u64,
        sequence: Option<u64>,
        findings: &mut Findings,
    ) {
        let Some(message) = self.all.get_mut(&number).filter(|message| !message.refused) else {
            findings
                .add(Kind::Invented, 1, || format!("{device}: C2D {number} was never accepted"));
            return;
        };
        if message.settled.is_some() {
            findings.add(Kind::Returned, 1, || format!("{device}: C2D {number} was settled"));
        }
        if let (Some(said), Some(accepted)) = (sequence, message.sequence)
            && said != accepted
        {
            findings.add(Kind::Order, 1, || {
                format!("{device}: C2D {number} was accepted as {accepted}, and comes as {said}")
            });
        }
        message.delivered += 1;
        message.kept = true;
    }

    /// The device is about to complete or reject a message.
    pub fn settling(&mut self, number: u64) {
        if let Some(message) = self.all.get_mut(&number) {
            message.settling = true;
        }
    }

    /// The device is about to give a message back.
    pub fn abandoning(&mut self, number: u64) {
        if let Some(message) = self.all.get_mut(&number) {
            message.abandoned += 1;
            message.settling |= message.abandoned >= ABANDONED_MAX;
        }
    }

    /// A settlement was acknowledged.
    pub fn settle(&mut self, number: u64) {
        let mark = self.mark();
        if let Some(message) = self.all.get_mut(&number) {
            message.settled = Some(mark);
        }
    }

    /// The queue was looked at: asked for at `asked`, answered now, at a time in milliseconds.
    pub fn queue(
        &mut self,
        device: &str,
        asked: Mark,
        now: u64,
        found: &BTreeMap<u64, u64>,
        findings: &mut Findings,
    ) {
        for (number, sequence) in found {
            let Some(message) = self.all.get(number).filter(|message| !message.refused) else {
                findings.add(Kind::Invented, 1, || {
                    format!("{device}: C2D {number} is in the queue, and was never accepted")
                });
                continue;
            };
            if message.settled.is_some_and(|settled| settled < asked) {
                findings.add(Kind::Returned, 1, || {
                    format!("{device}: C2D {number} was settled, and is in the queue")
                });
            }
            if message.sequence.is_some_and(|accepted| accepted != *sequence) {
                findings.add(Kind::Order, 1, || {
                    format!("{device}: C2D {number} has sequence number {sequence} in the queue")
                });
            }
        }
        for (number, message) in &mut self.all {
            message.kept = found.contains_key(number);
            let gone = match message.expiry {
                Expiry::Never => false,
                Expiry::At(at) => now >= at,
            };
            let promised = message.sequence.is_some() && !message.settling && !gone;
            if promised && !message.kept {
                // Said once: it is not promised any more.
                message.settling = true;
                findings.add(Kind::Lost, 1, || {
                    format!("{device}: C2D {number} is neither in the queue nor settled")
                });
            }
        }
    }

    /// Judges it after the last look at the queue.
    pub(super) fn close(&self, device: &str, findings: &mut Findings) {
        let promised = self.all.iter().filter(|(_, m)| m.sequence.is_some() && !m.settling);
        let unseen = promised.filter(|(_, m)| m.expiry == Expiry::Never && !m.kept);
        for (number, _) in unseen {
            findings.add(Kind::Lost, 1, || format!("{device}: C2D {number} was not looked for"));
        }
    }

    /// How many were accepted.
    #[must_use]
    pub fn accepted_count(&self) -> u64 {
        self.count(|message| message.sequence.is_some())
    }

    /// How many settlements were acknowledged.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.count(|message| message.settled.is_some())
    }

    /// How many deliveries there were beyond the first of each message.
    #[must_use]
    pub fn redelivered(&self) -> u64 {
        self.all.values().map(|message| message.delivered.saturating_sub(1)).sum()
    }

    /// Accepted messages that nobody has received or settled, and that do not expire.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        self.count(|m| {
            m.sequence.is_some() && m.delivered == 0 && !m.settling && m.expiry == Expiry::Never
        })
    }

    fn count(&self, of: impl Fn(&Message) -> bool) -> u64 {
        self.all.values().map(|message| u64::from(of(message))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> (Messages, Findings) {
        let (mut messages, mut findings) = (Messages::default(), Findings::default());
        for number in 1..=3 {
            messages.sending(number, Expiry::Never);
            messages.accepted("d", number, number * 2, &mut findings);
        }
        assert!(findings.is_empty());
        (messages, findings)
    }

    fn look(messages: &mut Messages, found: &[u64], findings: &mut Findings) {
        let asked = messages.mark();
        let found = found.iter().map(|number| (*number, number * 2)).collect();
        messages.queue("d", asked, 1000, &found, findings);
        messages.close("d", findings);
    }

    #[test]
    fn a_message_that_vanished_is_caught() {
        let (mut messages, mut findings) = sent();
        look(&mut messages, &[1, 2, 3], &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
        look(&mut messages, &[1, 3], &mut findings);
        assert_eq!(findings.count(Kind::Lost), 1);
    }

    #[test]
    fn a_message_may_go_once_it_is_settled_or_expired() {
        let (mut messages, mut findings) = sent();
        messages.delivered("d", 1, None, &mut findings);
        messages.settling(1);
        messages.sending(4, Expiry::At(1000));
        messages.accepted("d", 4, 8, &mut findings);
        look(&mut messages, &[2, 3], &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn a_message_that_expired_too_early_is_caught() {
        let (mut messages, mut findings) = sent();
        messages.sending(4, Expiry::At(1001));
        messages.accepted("d", 4, 8, &mut findings);
        look(&mut messages, &[1, 2, 3], &mut findings);
        assert_eq!(findings.count(Kind::Lost), 1);
    }

    #[test]
    fn a_settled_message_that_comes_back_is_caught() {
        let (mut messages, mut findings) = sent();
        messages.delivered("d", 1, Some(2), &mut findings);
        messages.settling(1);
        messages.settle(1);
        look(&mut messages, &[2, 3], &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
        look(&mut messages, &[1, 2, 3], &mut findings);
        assert_eq!(findings.count(Kind::Returned), 1);
        messages.delivered("d", 1, Some(2), &mut findings);
        assert_eq!(findings.count(Kind::Returned), 2);
    }

    #[test]
    fn a_look_that_began_before_the_settlement_may_show_it() {
        let (mut messages, mut findings) = sent();
        let asked = messages.mark();
        messages.settling(1);
        messages.settle(1);
        let found = [(1, 2), (2, 4), (3, 6)].into();
        messages.queue("d", asked, 0, &found, &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn a_message_that_nobody_sent_is_caught() {
        let (mut messages, mut findings) = sent();
        messages.sending(4, Expiry::Never);
        messages.refused(4);
        messages.delivered("d", 4, None, &mut findings);
        messages.delivered("d", 5, None, &mut findings);
        look(&mut messages, &[1, 2, 3, 4], &mut findings);
        assert_eq!(findings.count(Kind::Invented), 3);
    }

    #[test]
    fn a_sequence_number_used_twice_is_caught() {
        let (mut messages, mut findings) = sent();
        messages.sending(4, Expiry::Never);
        messages.accepted("d", 4, 6, &mut findings);
        assert_eq!(findings.count(Kind::Order), 1);
    }
}
