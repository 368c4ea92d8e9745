//! Time as data: the core takes it as an argument and never asks for it.

use std::fmt;
use std::time::Duration;

/// An instant in UTC: whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The beginning: 1970-01-01T00:00:00Z. As "never happened" it prints as year 1, as SDKs expect.
    pub const ZERO: Self = Self(0);
    /// Later than everything: the time of what never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// From milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This much later; never beyond [`Timestamp::MAX`].
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This much earlier; never before [`Timestamp::ZERO`].
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Ticks of 100 ns since 0001-01-01T00:00:00Z, in which generation ids are written.
    #[must_use]
    pub const fn as_ticks(self) -> u64 {
        self.0.saturating_mul(10_000).saturating_add(621_355_968_000_000_000)
    }

    /// Parses ISO 8601 (`2026-01-05T10:00:00.123Z`, with an offset, or without one: then UTC).
    /// Fractions below a millisecond are dropped; instants before 1970 become [`Timestamp::ZERO`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let stamp = text.parse::<jiff::Timestamp>().ok().or_else(|| {
            let civil = text.parse::<jiff::civil::DateTime>().ok()?;
            civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|z| z.timestamp())
        })?;
        Some(Self(u64::try_from(stamp.as_millisecond()).unwrap_or(0)))
    }
}

/// ISO 8601 in UTC with seven fractional digits, as .NET's round-trip format writes it and the C#
/// SDK insists on. [`Timestamp::ZERO`] prints as `0001-01-01T00:00:00.0000000Z`, the SDKs' "never".
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ZERO {
            return f.write_str("0001-01-01T00:00:00.0000000Z");
        }
        let days = self.0 / 86_400_000;
        let (h, m, s, ms) =
            (self.0 / 3_600_000 % 24, self.0 / 60_000 % 60, self.0 / 1000 % 60, self.0 % 1000);
        // Civil date from days since 1970-01-01 in the proleptic Gregorian calendar, counted
        // in eras of 400 years that begin on 1 March. Twin stamps are printed per patch, so
        // this does not go through a general formatter.
        let z = days.saturating_add(719_468);
        let (era, doe) = (z / 146_097, z % 146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}0000Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_agrees_with_a_calendar_library() {
        for millis in [1, 951_782_400_000, 1_709_251_199_999, 1_893_456_000_123, 4_102_444_800_000]
        {
            let ours = Timestamp::from_millis(millis).to_string();
            let theirs = jiff::Timestamp::from_millisecond(millis as i64).unwrap();
            assert_eq!(ours, format!("{:.7}", theirs));
            assert_eq!(Timestamp::parse(&ours), Some(Timestamp::from_millis(millis)));
        }
    }

    #[test]
    fn parsing_takes_what_clients_send() {
        let want = Timestamp::from_millis(1_893_456_000_000);
        for text in [
            "2030-01-01T00:00:00Z",
            "2030-01-01T00:00:00.0000000Z",
            "2030-01-01T02:00:00+02:00",
            "2030-01-01T00:00:00",
        ] {
            assert_eq!(Timestamp::parse(text), Some(want), "{text}");
        }
        assert_eq!(Timestamp::parse("PT1H"), None);
        assert_eq!(Timestamp::parse("1893456000"), None);
    }

    #[test]
    fn never_is_year_one_and_ticks_match_a_capture() {
        assert_eq!(Timestamp::ZERO.to_string(), "0001-01-01T00:00:00.0000000Z");
        let captured = Timestamp::parse("2019-12-29T00:58:49.931Z").unwrap();
        assert_eq!(captured.as_ticks() / 10_000, 637_131_779_299_315_265 / 10_000);
    }
}
