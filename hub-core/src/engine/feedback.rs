//! Receiving feedback: a queue of its own, with locks like the devices'.

use super::hub::Hub;
use crate::delivery::FeedbackRecord;
use crate::error::{ErrorKind, HubError};
use crate::frame::{Disposition, LockToken};
use crate::id::SequenceNumber;
use crate::store::{Ask, Change, Claim, Item, ItemRef, Marks, Outcome, QueueId, Record, Scope};
use crate::time::Timestamp;

/// Some feedback, locked for whoever received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackBatch {
    /// What proves its receipt.
    pub token: LockToken,
    /// When it was made.
    pub deliveries: u32,
    /// The records.
    pub records: Vec<FeedbackRecord>,
}

/// Receives feedback. All receivers of a hub compete for the same queue.
#[derive(Debug, Clone)]
pub struct FeedbackReceiver {
    hub: Hub,
}

impl Hub {
    /// Receives feedback on cloud-to-device messages.
    #[must_use]
    pub fn feedback(&self) -> FeedbackReceiver {
        FeedbackReceiver { hub: self.without_owner() }
    }
}

impl FeedbackReceiver {
    /// The next batch, if there is one now; locked for `Limits::feedback_lock`.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn try_receive(&self) -> Result<Option<FeedbackBatch>, HubError> {
        let (core, limits) = (self.hub.core(), self.hub.limits());
        loop {
            let now = core.clock.now();
            let claim = Claim {
                scope: Scope::Queue(QueueId::feedback()),
                limit: 1,
                hide_until: now.after(limits.feedback_lock),
            };
            let lists = core.store.claim(now, &[claim]).await?;
            let Some(item) = lists.into_iter().flatten().next() else { return Ok(None) };
            let spent = count(&item) >= limits.feedback_delivery_count_max;
            if item.deadline <= now || spent {
                self.commit(Change::new().settle(&item.at)).await?;
                continue;
            }
            return Ok(Some(FeedbackBatch {
                token: LockToken {
                    sequence: item.at.sequence(),
                    version: item.at.version(),
                    until: item.visible,
                },
                deliveries: item.claims,
                records: FeedbackRecord::decode_batch(&item.body),
            }));
        }
    }

    /// Waits for the next batch. Dropping the future loses none.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached, or the hub shuts down.
    pub async fn receive(&self) -> Result<FeedbackBatch, HubError> {
        let core = self.hub.core();
        let mut stop = self.hub.shutdown_signal();
        loop {
            let ready = core.feedback_ready.notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            if let Some(batch) = self.try_receive().await? {
                return Ok(batch);
            }
            // A lock of another receiver may end, or another node make a batch, without a sign.
            let again = core.clock.now().after(core.limits.sweep_every);
            tokio::select! {
                () = ready => {}
                () = core.clock.wait_until(again) => {}
                () = stop.requested() => {
                    return Err(HubError::new(ErrorKind::Unavailable, "the hub shuts down"));
                }
            }
        }
    }

    /// Settles a batch: complete and reject remove it, abandon gives it back.
    ///
    /// # Errors
    /// `MessageLockLost` if the token is not the latest of its batch, or its lock has ended.
    pub async fn settle(&self, token: LockToken, disposition: Disposition) -> Result<(), HubError> {
        let lost = || HubError::new(ErrorKind::MessageLockLost, "the lock on the batch is lost");
        let now = self.hub.now();
        if token.until <= now {
            return Err(lost());
        }
        let at = ItemRef::new(QueueId::feedback(), token.sequence, token.version);
        let change = match disposition {
            Disposition::Complete | Disposition::Reject => Change::new().settle(&at),
            Disposition::Abandon => {
                let given_back = self.given_back(token.sequence).await?.ok_or_else(lost)?;
                let marks = Marks::new(&[given_back.saturating_add(1)]).unwrap_or_default();
                Change::new().retime(&at, now, marks)
            }
        };
        match self.commit(change).await? {
            Outcome::Committed(_) => Ok(()),
            _ => Err(lost()),
        }
    }

    async fn given_back(&self, sequence: SequenceNumber) -> Result<Option<u8>, HubError> {
        let ask = Ask::Item(QueueId::feedback(), sequence);
        let records = self.hub.core().store.read(&[ask]).await?;
        Ok(match records.into_iter().next().flatten() {
            Some(Record::Item(item)) => Some(count(&item)),
            _ => None,
        })
    }

    async fn commit(&self, change: Change) -> Result<Outcome, HubError> {
        let shard = self.hub.inner.shards.first();
        let shard = shard.ok_or_else(|| HubError::new(ErrorKind::Internal, "there is no shard"))?;
        shard.commit(change, self.hub.limits().call_timeout).await
    }
}

fn count(item: &Item) -> u8 {
    item.marks.as_bytes().first().copied().unwrap_or(0)
}

/// When a lock token's lock ends, for protocols that tell.
impl FeedbackBatch {
    /// When the lock ends.
    #[must_use]
    pub fn locked_until(&self) -> Timestamp {
        self.token.until
    }
}
