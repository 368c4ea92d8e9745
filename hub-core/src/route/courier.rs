//! How an endpoint fares, and when it is tried again.
//!
//! | state | what it means | leaves it by |
//! |---|---|---|
//! | unknown | nothing was tried yet | the first try |
//! | healthy | the last try was taken | a failure |
//! | unhealthy | the last try failed; it is repeated, with pauses that double | a success; [`Pace::dead_after`] |
//! | dead | it has failed for so long; it is still tried, once per longest pause | a success |
//!
//! Whatever the state, nothing is passed over: what is due stays due as long as the log keeps it.
//! An event that the endpoint will never take (too large, or refused for what it is) is the one
//! exception. It is counted as invalid, and says nothing about the endpoint.

use std::fmt;
use std::time::Duration;

use crate::limits::Limits;
use crate::time::Timestamp;

/// How an endpoint fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum EndpointStatus {
    /// Nothing was tried yet.
    #[default]
    Unknown,
    /// It takes what it is given.
    Healthy,
    /// It does not, and is tried again.
    Unhealthy,
    /// It has not for long, and is tried seldom.
    Dead,
}

impl EndpointStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Healthy, Self::Unhealthy, Self::Dead];

    /// As operators read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Dead => "dead",
        }
    }

    /// The status with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// Why an endpoint did not take something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// It could not be reached, or said that it cannot now.
    Transient,
    /// It did not answer in time.
    Timeout,
    /// It has too much to do.
    Throttled,
    /// It does not accept the hub's credentials, or its certificate is not accepted here.
    Unauthorized,
    /// What it answered is no answer: garbage, too much of it, or a redirect.
    InvalidAnswer,
    /// Its adapter failed.
    Internal,
    /// The first event that was not taken is larger than it takes. Concerns that event alone.
    TooLarge,
    /// It will never take the first event that was not taken. Concerns that event alone.
    Refused,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Transient,
        Self::Timeout,
        Self::Throttled,
        Self::Unauthorized,
        Self::InvalidAnswer,
        Self::Internal,
        Self::TooLarge,
        Self::Refused,
    ];

    /// As operators read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transient => "Transient",
            Self::Timeout => "Timeout",
            Self::Throttled => "Throttled",
            Self::Unauthorized => "Unauthorized",
            Self::InvalidAnswer => "InvalidAnswer",
            Self::Internal => "InternalError",
            Self::TooLarge => "MaxMessageSizeExceeded",
            Self::Refused => "Refused",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it concerns one event and not the endpoint: that event is dropped and counted.
    #[must_use]
    pub const fn is_of_one_event(self) -> bool {
        matches!(self, Self::TooLarge | Self::Refused)
    }
}

/// That an endpoint did not take all it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub kind: FailureKind,
    /// For people. Without payloads and credentials: it is kept and shown.
    pub message: String,
    /// How many of the first it has taken all the same. These do not come again.
    pub taken: usize,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// That nothing was taken.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), taken: 0, retry_after: None }
    }

    /// That the first so many were taken, and no more.
    #[must_use]
    pub fn after(self, taken: usize) -> Self {
        Self { taken, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

impl std::error::Error for Failure {}

/// How an endpoint is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The pause after the first failure. Each that follows is twice as long.
    pub retry_min: Duration,
    /// The longest pause.
    pub retry_max: Duration,
    /// How long it fails until it counts as dead.
    pub dead_after: Duration,
}

impl From<&Limits> for Pace {
    fn from(limits: &Limits) -> Self {
        Self {
            retry_min: limits.endpoint_retry_min,
            retry_max: limits.endpoint_retry_max,
            dead_after: limits.endpoint_dead_after,
        }
    }
}

/// Minds one endpoint: its state, and when it may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Courier {
    pace: Pace,
    status: EndpointStatus,
    failing_since: Option<Timestamp>,
    failures: u32,
    not_before: Timestamp,
}

impl Courier {
    /// One that finds its endpoint in this state.
    #[must_use]
    pub fn new(pace: Pace, status: EndpointStatus) -> Self {
        Self { pace, status, failing_since: None, failures: 0, not_before: Timestamp::ZERO }
    }

    /// How the endpoint fares.
    #[must_use]
    pub fn status(&self) -> EndpointStatus {
        self.status
    }

    /// When it may be tried next.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// It took something, if only an event before the one it refused.
    pub fn succeeded(&mut self) {
        self.status = EndpointStatus::Healthy;
        self.failing_since = None;
        self.failures = 0;
        self.not_before = Timestamp::ZERO;
    }

    /// It failed, for a reason that is not one event's.
    pub fn failed(&mut self, now: Timestamp, retry_after: Option<Duration>) {
        let since = *self.failing_since.get_or_insert(now);
        let dead = now.since(since) >= self.pace.dead_after
            // One that was found dead stays so until it takes something.
            || self.status == EndpointStatus::Dead;
        self.status = if dead { EndpointStatus::Dead } else { EndpointStatus::Unhealthy };
        let doubled = 2_u32.saturating_pow(self.failures.min(30));
        let pause = self.pace.retry_min.saturating_mul(doubled).min(self.pace.retry_max);
        self.failures = self.failures.saturating_add(1);
        // What an endpoint asks for is bounded too: it must not put itself to sleep for ever.
        let asked = retry_after.unwrap_or_default().min(self.pace.dead_after);
        self.not_before = now.after(pause.max(asked));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EndpointStatus::{Dead, Healthy, Unhealthy, Unknown};

    const PACE: Pace = Pace {
        retry_min: Duration::from_secs(1),
        retry_max: Duration::from_secs(60),
        dead_after: Duration::from_secs(3600),
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_a_success_ends_them() {
        let mut courier = Courier::new(PACE, Unknown);
        let mut now = at(10);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            courier.failed(now, None);
            assert_eq!(courier.status(), Unhealthy);
            assert_eq!(courier.not_before().since(now), Duration::from_secs(pause));
            now = courier.not_before();
        }
        courier.succeeded();
        assert_eq!((courier.status(), courier.not_before()), (Healthy, Timestamp::ZERO));
        courier.failed(now, None);
        assert_eq!(courier.not_before().since(now), Duration::from_secs(1));
    }

    #[test]
    fn it_is_dead_after_an_hour_and_is_tried_all_the_same() {
        let mut courier = Courier::new(PACE, Healthy);
        courier.failed(at(0), None);
        courier.failed(at(3599), None);
        assert_eq!(courier.status(), Unhealthy);
        courier.failed(at(3600), None);
        assert_eq!(courier.status(), Dead);
        assert!(courier.not_before() <= at(3660));
        courier.succeeded();
        assert_eq!(courier.status(), Healthy);
    }

    #[test]
    fn one_that_was_found_dead_stays_so_until_it_takes_something() {
        let mut courier = Courier::new(PACE, Dead);
        courier.failed(at(0), None);
        assert_eq!(courier.status(), Dead);
        courier.succeeded();
        assert_eq!(courier.status(), Healthy);
    }

    #[test]
    fn an_endpoint_may_ask_for_a_longer_pause_but_not_for_ever() {
        let mut courier = Courier::new(PACE, Healthy);
        courier.failed(at(0), Some(Duration::from_secs(90)));
        assert_eq!(courier.not_before(), at(90));
        courier.failed(at(90), Some(Duration::MAX));
        assert_eq!(courier.not_before(), at(90 + 3600));
        courier.failed(at(4000), Some(Duration::ZERO));
        assert_eq!(courier.not_before(), at(4004));
    }

    #[test]
    fn names_come_back() {
        for status in EndpointStatus::ALL {
            assert_eq!(EndpointStatus::from_name(status.name()), Some(status));
        }
        for kind in FailureKind::ALL {
            assert_eq!(FailureKind::from_name(kind.name()), Some(kind));
        }
    }
}
