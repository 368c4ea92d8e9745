//! Without the feature: nothing.

use std::time::Duration;

use super::{Began, Ended, Load, Pause};
use crate::delivery::MessageOutcome;
use crate::device::Tally;
use crate::error::{DisconnectCause, ErrorKind};
use crate::frame::Inbound;
use crate::hello::Refusal;
use crate::quota::{Operation, Reason};
use crate::route::FailureKind;
use crate::store::{Op, Outcome, StoreError};

#[derive(Debug, Default)]
pub(crate) struct Meter;

impl Meter {
    pub(crate) fn new(_: &str) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn connected(&self, _: &'static str) {}
    #[inline]
    pub(crate) fn disconnected(&self, _: DisconnectCause) {}
    #[inline]
    pub(crate) fn refused(&self, _: &Refusal) {}
    #[inline]
    pub(crate) fn frame(&self, _: &Inbound) {}
    #[inline]
    pub(crate) fn paused(&self, _: Pause) {}
    #[inline]
    pub(crate) fn weigh(_: &mut Load, _: &[Op]) {}
    #[inline]
    pub(crate) fn committed(&self, _: Load, _: Began, _: &[Outcome]) {}
    #[inline]
    pub(crate) fn retried(&self) {}
    #[inline]
    pub(crate) fn store_failed(&self, _: &StoreError) {}
    #[inline]
    pub(crate) fn request_refused(&self, _: ErrorKind) {}
    #[inline]
    pub(crate) fn quota_waited(&self, _: Operation) {}
    #[inline]
    pub(crate) fn quota_refused(&self, _: Operation, _: Reason) {}
    #[inline]
    pub(crate) fn message_sent(&self, _: Ended) {}
    #[inline]
    pub(crate) fn offered(&self) {}
    #[inline]
    pub(crate) fn settled(&self, _: MessageOutcome) {}
    #[inline]
    pub(crate) fn method(&self, _: Ended) {}
    #[inline]
    pub(crate) fn twin_written(&self, _: Ended) {}
    #[inline]
    pub(crate) fn queried(&self, _: Ended, _: Began) {}
    #[inline]
    pub(crate) fn tally(&self, _: &Tally) {}
    #[inline]
    pub(crate) fn machine_failed(&self) {}
    #[inline]
    pub(crate) fn delivered(&self, _: &str, _: u64) {}
    #[inline]
    pub(crate) fn delivery_failed(&self, _: &str, _: FailureKind) {}
    #[inline]
    pub(crate) fn events_expired(&self, _: &str, _: u64) {}
}

/// How long the first of a queue has waited: not known.
#[derive(Debug, Default)]
pub(crate) struct Waits(());

impl Waits {
    #[inline]
    pub(crate) fn joined(&mut self) {}

    #[inline]
    pub(crate) fn taken(&mut self, _: usize) {}

    #[inline]
    pub(crate) fn oldest(&self) -> Option<Duration> {
        None
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Born;

/// How old the oldest of many things is: not known.
#[derive(Debug, Default)]
pub(crate) struct Ages(());

impl Ages {
    #[inline]
    pub(crate) fn enter(&mut self) -> Born {
        Born
    }

    #[inline]
    pub(crate) fn leave(&mut self, _: Born) {}

    #[inline]
    pub(crate) fn oldest(&self) -> Option<Duration> {
        None
    }
}
