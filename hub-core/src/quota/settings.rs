//! The quotas that a hub is given.

use std::time::Duration;

use super::{Operation, Rate};

/// How often devices and back ends may do what. By default as often as they like.
///
/// Rates of the hub are counted by each node for itself: where several nodes share a store, each is
/// given its share. A device is connected to one node at a time, so its own rates are its own.
///
/// ```
/// use hub_core::quota::{Operation, Quotas, Rate};
///
/// let quotas = Quotas::default()
///     .per_device(Operation::TelemetrySend, Rate::per_second(10).with_burst(100))
///     .per_hub(Operation::TelemetrySend, Rate::per_second(5_000));
/// # assert!(quotas.is_limited());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    hub: Vec<(Operation, Rate)>,
    device: Vec<(Operation, Rate)>,
    longest_wait: Duration,
    messages_per_day: Option<u64>,
}

/// Of longest waits the longest: a caller or peer should not be left without a word for longer.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Azure's sizes of hubs, for [`Quotas::azure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tier {
    /// F1, B1 and S1.
    S1,
    /// B2 and S2.
    S2,
    /// B3 and S3.
    S3,
}

impl Default for Quotas {
    /// None, and a longest wait of 10 s.
    fn default() -> Self {
        Self {
            hub: Vec::new(),
            device: Vec::new(),
            longest_wait: Duration::from_secs(10),
            messages_per_day: None,
        }
    }
}

impl Quotas {
    /// Bounds what each device does; its modules count as it. Replaces an earlier bound of the same
    /// operation.
    ///
    /// What a back end does to a device counts for that device, too.
    #[must_use]
    pub fn per_device(mut self, of: Operation, rate: Rate) -> Self {
        set(&mut self.device, of, rate);
        self
    }

    /// Bounds what all devices and back ends of a node do together.
    #[must_use]
    pub fn per_hub(mut self, of: Operation, rate: Rate) -> Self {
        set(&mut self.hub, of, rate);
        self
    }

    /// Sets how long an operation may wait for its turn; a minute at most, 10 s by default. One that
    /// would wait longer is refused. Zero: nobody waits.
    #[must_use]
    pub fn longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait.min(WAIT_MAX);
        self
    }

    /// Sets how many messages a node takes from midnight to midnight UTC, counted by the 4 KB: see
    /// [`Operation::is_metered`]. Kept in memory: a node that starts begins at zero.
    #[must_use]
    pub fn messages_per_day(mut self, messages: u64) -> Self {
        self.messages_per_day = Some(messages);
        self
    }

    /// The throttles and the daily quota of a hub of Azure, for whoever wants to meet them before
    /// they do there. Where Azure's are per unit, of so many units; at least one.
    ///
    /// From the table of quotas and throttling of Azure's documentation. Bursts are not documented
    /// there: here they are what comes in the time that the rate is counted over.
    #[must_use]
    pub fn azure(tier: Tier, units: u32) -> Self {
        let units = units.max(1);
        let each = |count: u32| count.saturating_mul(units);
        let second = |count: u32| Rate::per_second(count);
        let minute = |count: u32| Rate::per_minute(count);
        let (send, slow, receive, methods, reads, updates, queries, daily) = match tier {
            Tier::S1 => {
                let send = each(12).max(100);
                (send, 100, 1000, 40, 100, 50, 20, 400_000)
            }
            Tier::S2 => {
                let (reads, updates) = (each(10).max(100), each(5).max(50));
                (each(120), 100, 1000, 120, reads, updates, 20, 6_000_000)
            }
            Tier::S3 => {
                let (reads, updates) = (each(500), each(250));
                (each(6000), 5000, 50_000, 6144, reads, updates, 1000, 300_000_000)
            }
        };
        [
            (Operation::Connect, second(send)),
            (Operation::TelemetrySend, second(send)),
            (Operation::MessageSend, minute(each(slow))),
            (Operation::MessageReceive, minute(each(receive))),
            (Operation::DirectMethod, second(each(methods))),
            (Operation::TwinRead, second(reads)),
            (Operation::TwinUpdate, second(updates)),
            (Operation::Registry, minute(each(slow))),
            (Operation::FileUpload, minute(each(slow))),
            (Operation::Job, minute(each(slow))),
            (Operation::Configuration, minute(each(20))),
            (Operation::Query, minute(each(queries))),
        ]
        .into_iter()
        .fold(Self::default(), |quotas, (of, rate)| quotas.per_hub(of, rate))
        .messages_per_day(u64::from(units).saturating_mul(daily))
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        !self.hub.is_empty() || !self.device.is_empty() || self.messages_per_day.is_some()
    }

    /// The rate of each device, if there is one.
    #[must_use]
    pub fn of_device(&self, of: Operation) -> Option<Rate> {
        find(&self.device, of)
    }

    /// The rate of a node, if there is one.
    #[must_use]
    pub fn of_hub(&self, of: Operation) -> Option<Rate> {
        find(&self.hub, of)
    }

    /// How long an operation may wait.
    #[must_use]
    pub fn wait_max(&self) -> Duration {
        self.longest_wait
    }

    /// How many messages a day, if that is bounded.
    #[must_use]
    pub fn daily(&self) -> Option<u64> {
        self.messages_per_day
    }
}

fn set(rates: &mut Vec<(Operation, Rate)>, of: Operation, rate: Rate) {
    rates.retain(|(known, _)| *known != of);
    rates.push((of, rate));
}

fn find(rates: &[(Operation, Rate)], of: Operation) -> Option<Rate> {
    rates.iter().find(|(known, _)| *known == of).map(|(_, rate)| *rate)
}
