//! What the engine counts. With the feature `metrics` it reaches the `metrics` façade; without it
//! every function here is empty and every type without size.
//!
//! `docs/observability.md` lists all of it. What happens often is counted once per batch, on
//! handles made when the hub starts: so a recorder is to be installed before that.

mod names;

#[cfg(feature = "metrics")]
mod families;
#[cfg(feature = "metrics")]
mod on;
#[cfg(feature = "metrics")]
pub(crate) use self::on::{Ages, Born, Meter, Waits};

#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(not(feature = "metrics"))]
pub(crate) use self::off::{Ages, Born, Meter, Waits};

use std::time::Instant;

pub(crate) use self::names::Ended;
use self::names::Named;

/// The words for a cause, for a log line.
pub(crate) fn cause_name(cause: crate::error::DisconnectCause) -> &'static str {
    cause.name()
}

/// The word for a frame, for a log line.
pub(crate) fn frame_name(frame: &crate::frame::Inbound) -> &'static str {
    frame.name()
}

/// The words for a refusal, for a log line.
pub(crate) fn refusal_name(refusal: &crate::hello::Refusal) -> &'static str {
    refusal.name()
}

/// Why a link's peer is not read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    /// So many of its own frames are unanswered.
    WindowFull,
    /// So much waits for the store, of all links together.
    Committing,
    /// One of its frames waits for its turn.
    Throttled,
}

/// Counts a request by how it ends, also if nobody waits for that.
pub(crate) struct Counted<'m, C: Fn(&Meter, Ended)> {
    meter: &'m Meter,
    count: C,
    ended: Ended,
}

impl<'m, C: Fn(&Meter, Ended)> Counted<'m, C> {
    pub(crate) fn new(meter: &'m Meter, count: C) -> Self {
        Self { meter, count, ended: Ended::Dropped }
    }

    pub(crate) fn end<T>(
        mut self,
        result: Result<T, crate::error::HubError>,
    ) -> Result<T, crate::error::HubError> {
        self.ended = Ended::from(&result);
        result
    }
}

impl<C: Fn(&Meter, Ended)> Drop for Counted<'_, C> {
    fn drop(&mut self) {
        (self.count)(self.meter, self.ended);
    }
}

/// What is sent to the store in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    pub(crate) changes: usize,
    pub(crate) bytes: usize,
    /// Frames of telemetry, the messages in them, and the bytes of these. Only with the feature.
    pub(crate) frames: usize,
    pub(crate) messages: usize,
    pub(crate) message_bytes: usize,
}

/// A moment that a duration is measured from, if anybody wants to know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began(Option<Instant>);

impl Began {
    /// Looks at a clock only if the feature is on, or the trace level.
    pub(crate) fn now() -> Self {
        let wanted = cfg!(feature = "metrics") || tracing::enabled!(tracing::Level::TRACE);
        Self(wanted.then(Instant::now))
    }

    pub(crate) fn seconds(self) -> f64 {
        self.0.map_or(0.0, |began| began.elapsed().as_secs_f64())
    }
}
