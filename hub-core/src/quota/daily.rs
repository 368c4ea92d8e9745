//! How many messages a day, as Azure meters them.

use std::time::Duration;

use crate::time::Timestamp;

/// What counts as one message: so many bytes, or a part of them.
pub const METER_BYTES: usize = 4096;

const DAY: u64 = 24 * 3600 * 1000;

/// How many messages so many bytes count as: one for each [`METER_BYTES`] begun, and at least one.
#[must_use]
pub fn blocks(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(METER_BYTES)).unwrap_or(u64::MAX).max(1)
}

/// How many messages have come since midnight UTC.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Daily {
    day: u64,
    used: u64,
}

impl Daily {
    /// How many there were on the day of now.
    pub(super) fn used(&self, now: Timestamp) -> u64 {
        if now.as_millis() / DAY == self.day { self.used } else { 0 }
    }

    /// How long until there is room under a limit, if there is none.
    pub(super) fn wait(&self, limit: u64, now: Timestamp) -> Option<Duration> {
        let over = self.used(now) >= limit;
        over.then(|| Duration::from_millis(DAY - now.as_millis() % DAY))
    }

    pub(super) fn charge(&mut self, blocks: u64, now: Timestamp) {
        self.used = self.used(now).saturating_add(blocks);
        self.day = now.as_millis() / DAY;
    }
}
