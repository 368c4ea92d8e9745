//! One bucket: what is owed, and how fast time pays it.

use std::time::Duration;

use crate::time::Timestamp;

/// Longest time a rate may be counted over: a day.
const PER_MAX: u64 = 24 * 3600 * 1000;

/// So many operations in so much time, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least one.
    count: u32,
    /// Milliseconds, 1 to [`PER_MAX`].
    per: u64,
    /// At least one.
    burst: u32,
}

impl Rate {
    /// `count` operations in `per`, which is read as at least a millisecond and at most a day; no
    /// operation at all is read as one. As many may come at once.
    #[must_use]
    pub fn new(count: u32, per: Duration) -> Self {
        let per = u64::try_from(per.as_millis()).unwrap_or(u64::MAX).clamp(1, PER_MAX);
        Self { count: count.max(1), per, burst: count.max(1) }
    }

    /// `count` operations a second.
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// `count` operations a minute.
    #[must_use]
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// Sets how many may come at once when nothing came for long enough; at least one.
    #[must_use]
    pub fn with_burst(mut self, burst: u32) -> Self {
        self.burst = burst.max(1);
        self
    }

    /// How many operations.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// In how much time.
    #[must_use]
    pub fn per(self) -> Duration {
        Duration::from_millis(self.per)
    }

    /// How many at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// What so many operations cost. At most 2^32 × 86,400,000, which is below 2^59.
    fn cost(self, count: u32) -> u64 {
        u64::from(count).saturating_mul(self.per)
    }
}

/// What is owed to a rate. A new one owes nothing.
///
/// The unit is such that an operation costs as many as the rate's time has milliseconds, and a
/// millisecond pays as many as the rate has operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    owed: u64,
    at: Timestamp,
}

impl Bucket {
    /// What is owed now. A clock that was set back pays nothing, and goes on from where it stands.
    fn owed(&self, rate: Rate, now: Timestamp) -> u64 {
        let passed = now.as_millis().saturating_sub(self.at.as_millis());
        self.owed.saturating_sub(passed.saturating_mul(u64::from(rate.count)))
    }

    /// How long until there is room for so many operations; zero if there is.
    #[must_use]
    pub fn wait(&self, rate: Rate, count: u32, now: Timestamp) -> Duration {
        let after = self.owed(rate, now).saturating_add(rate.cost(count.min(rate.burst)));
        let over = after.saturating_sub(rate.cost(rate.burst));
        Duration::from_millis(over.div_ceil(u64::from(rate.count)))
    }

    /// So many operations take their place, whether there is room or not.
    pub fn charge(&mut self, rate: Rate, count: u32, now: Timestamp) {
        self.owed = self.owed(rate, now).saturating_add(rate.cost(count));
        self.at = now;
    }

    /// Whether nothing is owed: it is as good as new then.
    #[must_use]
    pub fn is_free(&self, rate: Rate, now: Timestamp) -> bool {
        self.owed(rate, now) == 0
    }
}
