//! Quotas in force: who has its turn when, waiting for it, and what is told when there is none.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::clock::Clock;
use super::hooks::{Action, Actor};
use super::line::lock;
use super::meter::Meter;
use crate::error::{ErrorKind, HubError};
use crate::frame::Inbound;
use crate::id::Address;
use crate::limits::Limits;
use crate::quota::{Ledger, Operation, Quotas, Reason, Refused, Verdict, Work, blocks};
use crate::store::Entries;
use crate::time::Timestamp;

/// When an operation goes on: now, or then.
pub(super) type Turn = Option<Timestamp>;

/// The quotas of a node. There is none where nothing is limited, so that nothing is spent on it.
pub(crate) struct Throttle {
    ledger: Mutex<Ledger>,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
    longest_wait: Duration,
    daily: Option<u64>,
    waiting: AtomicUsize,
    refusals: AtomicU64,
    stop: watch::Sender<bool>,
}

impl Throttle {
    pub(crate) fn new(
        quotas: Quotas,
        limits: &Limits,
        clock: Arc<dyn Clock>,
        meter: Arc<Meter>,
    ) -> Option<Self> {
        quotas.is_limited().then(|| Self {
            longest_wait: quotas.wait_max(),
            daily: quotas.daily(),
            ledger: Mutex::new(Ledger::new(quotas, limits.quota_devices_max)),
            clock,
            meter,
            waiting: AtomicUsize::new(0),
            refusals: AtomicU64::new(0),
            stop: watch::Sender::new(false),
        })
    }

    /// Takes a place in the line, if the turn comes within the longest wait.
    pub(super) fn take(&self, work: Work<'_>) -> Result<Turn, Refused> {
        self.take_within(work, self.longest_wait)
    }

    /// The same for one that has waited already.
    pub(super) fn take_within(&self, work: Work<'_>, patience: Duration) -> Result<Turn, Refused> {
        let now = self.clock.now();
        let verdict = lock(&self.ledger).take_within(work, patience, now);
        match verdict {
            Verdict::Now => Ok(None),
            Verdict::After(wait) => {
                self.meter.quota_waited(work.operation);
                Ok(Some(now.after(wait)))
            }
            Verdict::Refused(refused) => Err(refused),
        }
    }

    /// What is told whoever has no turn.
    pub(super) fn refuse(&self, work: Work<'_>, refused: Refused) -> HubError {
        let Work { operation, device, .. } = work;
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.meter.quota_refused(operation, refused.reason);
        let Refused { reason, retry_after } = refused;
        let seconds = retry_after.as_millis().div_ceil(1000);
        let device = device.map(tracing::field::display);
        tracing::debug!(device, operation = operation.name(), ?reason, seconds, "no turn");
        let error = match (reason, self.daily) {
            (Reason::Daily, Some(messages)) => HubError::new(
                ErrorKind::QuotaExceeded,
                format!(
                    "The hub has taken its {messages} messages of the day. Wait {seconds} seconds \
                     and try again. Operation type: {operation}"
                ),
            ),
            _ => HubError::new(
                ErrorKind::Throttled,
                format!(
                    "The request has been throttled. Wait {seconds} seconds and try again. \
                     Operation type: {operation}"
                ),
            ),
        };
        error.with_retry_after(retry_after)
    }

    /// Waits for a turn. Dropping the future gives the place up; nobody else has it then. When the hub
    /// stops there is none.
    pub(super) async fn wait(&self, turn: Turn) -> Result<(), HubError> {
        let Some(at) = turn else { return Ok(()) };
        let _waiting = Waiting::new(&self.waiting);
        let mut stop = self.stop.subscribe();
        // A turn further ahead than the longest wait is one of a clock that was set back meanwhile.
        loop {
            let left = at.since(self.clock.now());
            if left.is_zero() || left > self.longest_wait {
                return Ok(());
            }
            tokio::select! {
                () = self.clock.wait_until(at) => {}
                _ = stop.wait_for(|stop| *stop) => {
                    return Err(HubError::new(ErrorKind::Unavailable, "the hub shuts down"));
                }
            }
        }
    }

    /// Waits for as long as anybody may who came then.
    pub(super) async fn wait_longest(&self, came: Timestamp) -> Result<(), HubError> {
        self.wait(Some(came.after(self.longest_wait))).await
    }

    /// Nobody waits any more: the hub stops.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Takes a place in the line and waits for the turn.
    pub(super) async fn pass(&self, work: Work<'_>) -> Result<(), HubError> {
        let turn = self.take(work).map_err(|refused| self.refuse(work, refused))?;
        self.wait(turn).await
    }

    /// How many messages of a daily quota these are. Looked at one by one only if there is one.
    pub(super) fn blocks_of(&self, events: &Entries) -> u64 {
        match self.daily {
            Some(_) => events.iter().map(|event| blocks(event.len())).sum(),
            None => 0,
        }
    }

    /// What a frame of a device counts as, if it counts.
    pub(super) fn work_of<'a>(&self, device: &'a Address, frame: &Inbound) -> Option<Work<'a>> {
        let (operation, count, blocks) = match frame {
            Inbound::Telemetry(_, events) => {
                (Operation::TelemetrySend, count(events.len()), self.blocks_of(events))
            }
            Inbound::Report(_, patch, _) => (Operation::TwinUpdate, 1, blocks(patch.len())),
            Inbound::GetTwin(_) => (Operation::TwinRead, 1, 1),
            Inbound::Settle(..)
            | Inbound::Reply(..)
            | Inbound::Heard(_)
            | Inbound::Subscribe(..)
            | Inbound::Unsubscribe(..) => return None,
        };
        Some(Work { operation, device: Some(device), count, blocks })
    }

    /// How many operations wait for their turn, and how many were refused.
    pub(super) fn waiting(&self) -> (usize, u64) {
        (self.waiting.load(Ordering::Relaxed), self.refusals.load(Ordering::Relaxed))
    }

    /// How many devices are remembered, and how often there was no room for one.
    pub(super) fn devices(&self) -> (usize, u64) {
        let ledger = lock(&self.ledger);
        (ledger.devices(), ledger.untracked())
    }

    /// How many messages were taken today, and how many may be.
    pub(super) fn today(&self) -> (u64, Option<u64>) {
        (lock(&self.ledger).used_today(self.clock.now()), self.daily)
    }
}

/// One that waits, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One operation that a device does by itself.
pub(super) fn one(operation: Operation, device: &Address) -> Work<'_> {
    Work { operation, device: Some(device), count: 1, blocks: 1 }
}

/// Telemetry that comes without a link.
pub(super) fn telemetry(device: &Address, events: usize, blocks: u64) -> Work<'_> {
    let operation = Operation::TelemetrySend;
    Work { operation, device: Some(device), count: count(events), blocks }
}

/// What a back end's action counts as, if it counts. What devices do is counted where it is done.
pub(super) fn work_of<'a>(actor: Actor<'_>, action: Action<'a>, bytes: usize) -> Option<Work<'a>> {
    let Actor::Service(_) = actor else { return None };
    let blocks = blocks(bytes);
    let (operation, device, count) = match action {
        Action::SendMessage(to) => (Operation::MessageSend, Some(to), 1),
        Action::InvokeMethod(of, _) => {
            let count = u32::try_from(blocks).unwrap_or(u32::MAX);
            (Operation::DirectMethod, Some(of), count)
        }
        Action::ReadTwin(of) => (Operation::TwinRead, Some(of), 1),
        Action::WriteTwin(of) => (Operation::TwinUpdate, Some(of), 1),
        Action::WriteRegistry(of) => (Operation::Registry, Some(of), 1),
        Action::ReadRegistry => (Operation::Registry, None, 1),
        Action::QueryTwins => (Operation::Query, None, 1),
        Action::ReadJobs
        | Action::WriteJob(_)
        | Action::ReadRegistryJobs
        | Action::WriteRegistryJob => (Operation::Job, None, 1),
        Action::ReadConfigurations | Action::WriteConfiguration(_) => {
            (Operation::Configuration, None, 1)
        }
        _ => return None,
    };
    Some(Work { operation, device, count, blocks })
}
