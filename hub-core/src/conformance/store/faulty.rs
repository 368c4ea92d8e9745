//! A store that fails, as stores behind a network do: on a seed, and within the contract.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::task::Poll;

use async_trait::async_trait;
use tokio::task::yield_now;

use super::random::Random;
use crate::id::{NodeId, Partition, SequenceNumber};
use crate::store::{
    Ask, Batch, Claim, Document, Durability, Entry, Item, Kind, Outcome, Record, Seek, Store,
    StoreError,
};
use crate::time::Timestamp;

/// How often a [`Faulty`] store does what, each in a hundred calls. The sum of the first four is at
/// most a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Refuses as `Unavailable`; nothing has happened.
    pub unavailable: u8,
    /// Answers `Unknown`; nothing has happened. Only `commit` and `trim`.
    pub unknown_without_effect: u8,
    /// Does what was asked and answers `Unknown`: the answer was lost. Only `commit` and `trim`.
    pub unknown_with_effect: u8,
    /// Drops the inner future after a few polls and answers `Unknown`: the connection was lost
    /// half-way. Only `commit` and `trim`.
    pub dropped: u8,
    /// Waits a few turns of the runtime before the call, and again before its answer.
    pub delayed: u8,
    /// Takes the items of a claim and answers `Unknown`: they stay hidden for their time, and nobody
    /// has them. Zero by default, since no caller can repeat a claim.
    pub claims_lost: u8,
}

impl Faults {
    /// None at all: from now on the store is as good as the one inside.
    pub const NONE: Self = Self {
        unavailable: 0,
        unknown_without_effect: 0,
        unknown_with_effect: 0,
        dropped: 0,
        delayed: 0,
        claims_lost: 0,
    };
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            unavailable: 10,
            unknown_without_effect: 10,
            unknown_with_effect: 10,
            dropped: 10,
            delayed: 30,
            claims_lost: 0,
        }
    }
}

/// How many faults a [`Faulty`] store has made so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Injected {
    /// Refusals as `Unavailable`.
    pub unavailable: u64,
    /// `Unknown`, and nothing had happened.
    pub unknown_without_effect: u64,
    /// `Unknown`, and it had happened.
    pub unknown_with_effect: u64,
    /// Inner futures dropped.
    pub dropped: u64,
    /// Calls delayed.
    pub delayed: u64,
    /// Claims whose items nobody got.
    pub claims_lost: u64,
}

/// Wraps a store and makes it fail.
///
/// Nothing it does breaks the contract: it refuses, is slow, loses answers, and drops calls. Its
/// decisions come from a seed. As long as calls come one after another, the same seed gives the
/// same faults; when they come at once, their order is the runtime's.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    dice: Mutex<Dice>,
}

#[derive(Debug)]
struct Dice {
    random: Random,
    faults: Faults,
    injected: Injected,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy)]
struct Fate {
    delay_before: u64,
    delay_after: u64,
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Unavailable,
    WithoutEffect,
    WithEffect,
    /// After this many polls.
    Dropped(u64),
    ClaimLost,
}

/// Which faults are possible for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Without an effect, so there is nothing that could be unknown.
    Look,
    /// With an effect that may be asked for again.
    Change,
    /// With an effect that cannot be asked for again.
    Claim,
}

impl<S> Faulty<S> {
    /// Around a store, with the default faults.
    pub fn new(inner: S, seed: u64) -> Self {
        let dice = Dice {
            random: Random::new(seed),
            faults: Faults::default(),
            injected: Injected::default(),
        };
        Self { inner, dice: Mutex::new(dice) }
    }

    /// The same with other faults.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        self.set_faults(faults);
        self
    }

    /// Changes the faults from the next call on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// What it has done so far.
    pub fn injected(&self) -> Injected {
        self.lock().injected
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The store inside, and no more faults.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn lock(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().expect("nothing panics under this lock")
    }

    /// Draws what becomes of a call, and waits as long as it is to be late.
    async fn meet_fate(&self, call: Call) -> Fate {
        let fate = self.lock().throw(call);
        turns(fate.delay_before).await;
        fate
    }
}

impl Dice {
    fn throw(&mut self, call: Call) -> Fate {
        let Self { random, faults, injected } = self;
        let mut fate = Fate { delay_before: 0, delay_after: 0, fault: None };
        if random.percent(faults.delayed) {
            (fate.delay_before, fate.delay_after) = (random.below(4), random.below(4));
            injected.delayed += 1;
        }
        let polls = random.below(6);
        let mut left = random.below(100);
        // Whether the number drawn falls into this slice of the hundred.
        let mut falls = |percent: u8| {
            let within = left < u64::from(percent);
            left = if within { u64::MAX } else { left - u64::from(percent) };
            within
        };
        if falls(faults.unavailable) {
            injected.unavailable += 1;
            fate.fault = Some(Fault::Unavailable);
        } else if call == Call::Claim {
            if falls(faults.claims_lost) {
                injected.claims_lost += 1;
                fate.fault = Some(Fault::ClaimLost);
            }
        } else if call == Call::Change {
            if falls(faults.unknown_without_effect) {
                injected.unknown_without_effect += 1;
                fate.fault = Some(Fault::WithoutEffect);
            } else if falls(faults.unknown_with_effect) {
                injected.unknown_with_effect += 1;
                fate.fault = Some(Fault::WithEffect);
            } else if falls(faults.dropped) {
                injected.dropped += 1;
                fate.fault = Some(Fault::Dropped(polls));
            }
        }
        fate
    }
}

/// Lets the runtime run others this many times.
async fn turns(count: u64) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// Polls a call a few times and drops it, whatever it has answered by then.
async fn drop_after<T>(polls: u64, call: impl Future<Output = T> + Send) {
    let mut call = pin!(call);
    for _ in 0..polls {
        if poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await.is_ready() {
            return;
        }
        yield_now().await;
    }
}

/// Calls the inner store as fate has it.
macro_rules! call {
    ($self:ident, $kind:ident, $operation:literal, $call:expr) => {{
        let fate = $self.meet_fate(Call::$kind).await;
        let answer = match fate.fault {
            None => $call.await,
            Some(Fault::Unavailable) => {
                Err(StoreError::unavailable($operation, "injected: refused"))
            }
            Some(Fault::WithoutEffect) => {
                Err(StoreError::unknown($operation, "injected: the request was lost"))
            }
            Some(Fault::WithEffect | Fault::ClaimLost) => $call.await.and_then(|_| {
                Err(StoreError::unknown($operation, "injected: the answer was lost"))
            }),
            Some(Fault::Dropped(polls)) => {
                drop_after(polls, $call).await;
                Err(StoreError::unknown($operation, "injected: dropped half-way"))
            }
        };
        turns(fate.delay_after).await;
        answer
    }};
}

#[async_trait]
impl<S: Store> Store for Faulty<S> {
    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    async fn read(&self, asks: &[Ask]) -> Result<Vec<Option<Record>>, StoreError> {
        call!(self, Look, "read", self.inner.read(asks))
    }

    async fn scan(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: NonZeroU32,
    ) -> Result<Vec<Document>, StoreError> {
        call!(self, Look, "scan", self.inner.scan(kind, after, limit))
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        call!(self, Change, "commit", self.inner.commit(batch))
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Vec<Item>>, StoreError> {
        call!(self, Claim, "claim", self.inner.claim(now, claims))
    }

    async fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: NonZeroU32,
    ) -> Result<Vec<Entry>, StoreError> {
        call!(self, Look, "tail", self.inner.tail(partition, from, limit))
    }

    async fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, StoreError> {
        call!(self, Look, "seek", self.inner.seek(partition, to))
    }

    async fn trim(&self, partition: Partition, below: SequenceNumber) -> Result<(), StoreError> {
        call!(self, Change, "trim", self.inner.trim(partition, below))
    }

    /// Late, and now and then for nothing.
    async fn nudged(&self, node: &NodeId) {
        let fate = self.meet_fate(Call::Look).await;
        if fate.fault.is_none() {
            self.inner.nudged(node).await;
        }
        turns(fate.delay_after).await;
    }
}

#[cfg(test)]
mod tests;
