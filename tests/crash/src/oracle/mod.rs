//! What clients were told, against what the hub shows.
//!
//! Each part is told of an attempt before it is made and of an answer when it has arrived, so that
//! whatever the hub shows in between is judged rightly. Nothing here waits or reads a clock.

mod calls;
mod log;
mod messages;
mod names;
mod register;
mod telemetry;
mod verdict;

pub use self::calls::Calls;
pub use self::log::Log;
pub use self::messages::{Expiry, Mark, Messages};
pub use self::names::Names;
pub use self::register::{Lateness, Register, Section};
pub use self::telemetry::Telemetry;
pub use self::verdict::{Findings, Kind, Totals, Verdict};

use std::collections::BTreeMap;

/// Everything that was promised.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Telemetry by device.
    pub telemetry: BTreeMap<String, Telemetry>,
    /// The log as it was read.
    pub log: Log,
    /// Cloud-to-device messages by device.
    pub messages: BTreeMap<String, Messages>,
    /// Sections of twins by device.
    pub registers: BTreeMap<(String, Section), Register>,
    /// Whether writes of twins may come late.
    pub lateness: Lateness,
    /// Direct methods.
    pub calls: Calls,
    /// Registered devices.
    pub identities: Names,
    /// Devices whose subscriptions were acknowledged.
    pub sessions: Names,
    /// What was found wrong so far.
    pub findings: Findings,
}

impl Oracle {
    /// What a device was told of its telemetry.
    pub fn telemetry(&mut self, device: &str) -> (&mut Telemetry, &mut Findings) {
        (entry(&mut self.telemetry, device), &mut self.findings)
    }

    /// What was told of the messages to a device.
    pub fn messages(&mut self, device: &str) -> (&mut Messages, &mut Findings) {
        (entry(&mut self.messages, device), &mut self.findings)
    }

    /// What was told of a section of a device's twin.
    pub fn register(&mut self, device: &str, section: Section) -> (&mut Register, &mut Findings) {
        let lateness = self.lateness;
        let register = self.registers.entry((device.to_owned(), section));
        let register = register.or_insert_with(|| Register::new(lateness));
        (register, &mut self.findings)
    }

    /// Takes up an event of the log, read for the first time.
    pub fn logged(
        &mut self,
        partition: u16,
        sequence: u64,
        digest: u64,
        device: &str,
        number: u64,
    ) {
        self.log.read(partition, sequence, digest, &mut self.findings);
        entry(&mut self.telemetry, device).logged(device, number, &mut self.findings);
    }

    /// Judges what must hold when everything has been read and nothing is under way.
    pub fn close(&mut self) {
        for (device, telemetry) in &self.telemetry {
            telemetry.close(device, &mut self.findings);
        }
        for (device, messages) in &self.messages {
            messages.close(device, &mut self.findings);
        }
    }

    /// How many answers are still to come.
    #[must_use]
    pub fn open(&self) -> u64 {
        let telemetry: u64 = self.telemetry.values().map(Telemetry::open).sum();
        telemetry
            + self.registers.values().map(|register| u64::from(register.is_open())).sum::<u64>()
    }

    /// How many accepted messages nobody has received yet.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        self.messages.values().map(Messages::undelivered).sum()
    }

    /// How much was promised, and what of it was broken.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut totals = Totals {
            telemetry: self.telemetry.values().map(Telemetry::acknowledged).sum(),
            duplicated: self.telemetry.values().map(Telemetry::duplicated).sum(),
            calls: self.calls.answered(),
            identities: self.identities.len(),
            sessions: self.sessions.len(),
            ..Totals::default()
        };
        for messages in self.messages.values() {
            totals.messages += messages.accepted_count();
            totals.settled += messages.settled();
            totals.redelivered += messages.redelivered();
        }
        for ((_, section), register) in &self.registers {
            match section {
                Section::Reported => totals.reported += register.acknowledged(),
                Section::Desired => totals.desired += register.acknowledged(),
            }
        }
        Verdict { totals, findings: self.findings.clone() }
    }
}

fn entry<'a, T: Default>(map: &'a mut BTreeMap<String, T>, device: &str) -> &'a mut T {
    // Looked up twice, so that a name is copied only once.
    if !map.contains_key(device) {
        map.insert(device.to_owned(), T::default());
    }
    map.entry(device.to_owned()).or_default()
}
