//! What was done against the quotas, by all devices and back ends of a node.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

use super::daily::Daily;
use super::{Bucket, Operation, Quotas, Rate};
use crate::id::Address;
use crate::time::Timestamp;

/// An operation that somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work<'a> {
    /// What it is.
    pub operation: Operation,
    /// The device that does it, or that it is done to; none if it concerns no device alone.
    pub device: Option<&'a Address>,
    /// How many operations it counts as.
    pub count: u32,
    /// How many messages of the daily quota it counts as, if it is metered.
    pub blocks: u64,
}

/// Which quota has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The device's own rate.
    Device,
    /// The node's rate.
    Hub,
    /// The messages of the day are used up.
    Daily,
}

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// How long until there is room, if nobody else comes.
    pub retry_after: Duration,
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Now,
    /// It has its place, and goes on after so long.
    After(Duration),
    /// It does not go on, and counts nothing.
    Refused(Refused),
}

/// Devices that are remembered before it is looked which of them owe nothing any more.
const SWEEP_MIN: usize = 1024;
/// Shortest pause between two such looks once there is no room for more.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The buckets of one device, of those operations that it did.
type Buckets = Vec<(Operation, Bucket)>;

/// What was done against some quotas. Knows nothing of links, requests or waiting.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    quotas: Quotas,
    hub: Buckets,
    devices: HashMap<Box<str>, Buckets>,
    devices_max: usize,
    /// How many devices there are when the next look is due, and not before when.
    sweep_at: (usize, Timestamp),
    untracked: u64,
    daily: Daily,
}

impl Ledger {
    /// Nothing was done yet. At most so many devices are remembered at once.
    #[must_use]
    pub fn new(quotas: Quotas, devices_max: usize) -> Self {
        Self {
            quotas,
            hub: Vec::new(),
            devices: HashMap::new(),
            devices_max,
            sweep_at: (SWEEP_MIN.min(devices_max), Timestamp::ZERO),
            untracked: 0,
            daily: Daily::default(),
        }
    }

    /// What becomes of an operation that is to be done now. Unless it is refused it counts from now
    /// on, so that whoever comes later waits behind it.
    pub fn take(&mut self, work: Work<'_>, now: Timestamp) -> Verdict {
        self.take_within(work, self.quotas.wait_max(), now)
    }

    /// The same for one that waits no longer than this.
    pub fn take_within(&mut self, work: Work<'_>, patience: Duration, now: Timestamp) -> Verdict {
        let Work { operation, device, count, blocks } = work;
        let daily = self.quotas.daily().filter(|_| operation.is_metered());
        if let Some(retry_after) = daily.and_then(|limit| self.daily.wait(limit, now)) {
            return Verdict::Refused(Refused { reason: Reason::Daily, retry_after });
        }
        let of_hub = self.quotas.of_hub(operation);
        let of_device = self.quotas.of_device(operation).zip(device.map(Address::device_str));
        let wait = |buckets: Option<&Buckets>, rate: Rate| {
            let bucket = buckets.and_then(|buckets| find(buckets, operation)).unwrap_or_default();
            bucket.wait(rate, count, now)
        };
        let hub_wait = of_hub.map_or(Duration::ZERO, |rate| wait(Some(&self.hub), rate));
        let device_wait =
            of_device.map_or(Duration::ZERO, |(rate, device)| wait(self.devices.get(device), rate));
        let longest = hub_wait.max(device_wait);
        if longest > patience {
            let reason = if device_wait > hub_wait { Reason::Device } else { Reason::Hub };
            return Verdict::Refused(Refused { reason, retry_after: longest });
        }
        if let Some(rate) = of_hub {
            charge(&mut self.hub, operation, rate, count, now);
        }
        if let Some((rate, device)) = of_device
            && let Some(buckets) = self.buckets_of(device, now)
        {
            charge(buckets, operation, rate, count, now);
        }
        if daily.is_some() {
            self.daily.charge(blocks, now);
        }
        if longest.is_zero() { Verdict::Now } else { Verdict::After(longest) }
    }

    /// The buckets of a device, made if there is room for them.
    fn buckets_of(&mut self, device: &str, now: Timestamp) -> Option<&mut Buckets> {
        if !self.devices.contains_key(device) {
            let (count, not_before) = self.sweep_at;
            // A time far ahead is one of a clock that was set back since.
            let due = now >= not_before || now.after(SWEEP_EVERY) < not_before;
            if self.devices.len() >= count && due {
                self.sweep(now);
            }
            if self.devices.len() >= self.devices_max {
                self.untracked = self.untracked.saturating_add(1);
                return None;
            }
            self.devices.insert(device.into(), Vec::new());
        }
        self.devices.get_mut(device)
    }

    /// Forgets devices that owe nothing: they are as if they had never come.
    fn sweep(&mut self, now: Timestamp) {
        let quotas = &self.quotas;
        self.devices.retain(|_, buckets| {
            buckets.retain(|(operation, bucket)| {
                quotas.of_device(*operation).is_some_and(|rate| !bucket.is_free(rate, now))
            });
            !buckets.is_empty()
        });
        // Twice as many as are left: so a look costs each newcomer a constant share. With no room
        // for that the time between two looks bounds what they cost.
        let left = self.devices.len();
        let next = left.saturating_mul(2).max(SWEEP_MIN).min(self.devices_max);
        let full = next >= self.devices_max;
        let not_before = if full { now.after(SWEEP_EVERY) } else { Timestamp::ZERO };
        self.sweep_at = (next, not_before);
        if left < next / 2 {
            self.devices.shrink_to(next);
        }
    }

    /// How many devices are remembered.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// How often there was no room to remember what a device did.
    #[must_use]
    pub fn untracked(&self) -> u64 {
        self.untracked
    }

    /// How many messages of the daily quota are used.
    #[must_use]
    pub fn used_today(&self, now: Timestamp) -> u64 {
        self.daily.used(now)
    }
}

fn find(buckets: &Buckets, of: Operation) -> Option<Bucket> {
    buckets.iter().find(|(operation, _)| *operation == of).map(|(_, bucket)| *bucket)
}

fn charge(buckets: &mut Buckets, of: Operation, rate: Rate, count: u32, now: Timestamp) {
    match buckets.iter_mut().find(|(operation, _)| *operation == of) {
        Some((_, bucket)) => bucket.charge(rate, count, now),
        None => {
            let mut bucket = Bucket::default();
            bucket.charge(rate, count, now);
            buckets.push((of, bucket));
        }
    }
}
