//! A queue of the hub that its back ends receive from: feedback, file notifications.
//!
//! All receivers compete for it. What one receives is locked for it; settled by nobody, it comes
//! again.

use bytes::Bytes;
use tokio::sync::Notify;

use super::hub::Hub;
use crate::error::{ErrorKind, HubError};
use crate::frame::{Disposition, LockToken};
use crate::id::SequenceNumber;
use crate::store::{Ask, Change, Claim, Item, ItemRef, Marks, Outcome, QueueId, Record, Scope};

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Feedback,
    FileNotifications,
}

/// A receiver of one of them. Does not keep the hub alive.
#[derive(Debug, Clone)]
pub(super) struct ServiceQueue {
    hub: Hub,
    which: Which,
}

/// Something received, locked.
pub(super) struct Received {
    pub(super) token: LockToken,
    /// How often it was handed out, this time included.
    pub(super) deliveries: u32,
    pub(super) body: Bytes,
}

impl ServiceQueue {
    pub(super) fn new(hub: &Hub, which: Which) -> Self {
        Self { hub: hub.without_owner(), which }
    }

    fn id(&self) -> QueueId {
        match self.which {
            Which::Feedback => QueueId::feedback(),
            Which::FileNotifications => QueueId::file_notifications(),
        }
    }

    /// What is notified when something new is in the queue.
    fn ready(&self) -> &Notify {
        match self.which {
            Which::Feedback => &self.hub.core().feedback_ready,
            Which::FileNotifications => &self.hub.core().files_ready,
        }
    }

    pub(super) async fn try_receive(&self) -> Result<Option<Received>, HubError> {
        let (core, limits) = (self.hub.core(), self.hub.limits());
        let (lock, deliveries_max) = match self.which {
            Which::Feedback => (limits.feedback_lock, limits.feedback_delivery_count_max),
            Which::FileNotifications => {
                (limits.file_notification_lock, limits.file_notification_delivery_count_max)
            }
        };
        loop {
            let now = core.clock.now();
            let scope = Scope::Queue(self.id());
            let claim = Claim { scope, limit: 1, hide_until: now.after(lock) };
            let lists = core.store.claim(now, &[claim]).await?;
            let Some(item) = lists.into_iter().flatten().next() else { return Ok(None) };
            if item.deadline <= now || given_back(&item) >= deliveries_max {
                self.commit(Change::new().settle(&item.at)).await?;
                continue;
            }
            return Ok(Some(Received {
                token: LockToken {
                    sequence: item.at.sequence(),
                    version: item.at.version(),
                    until: item.visible,
                },
                deliveries: item.claims,
                body: item.body,
            }));
        }
    }

    /// Waits for something to receive. Dropping the future loses nothing.
    pub(super) async fn receive(&self) -> Result<Received, HubError> {
        let core = self.hub.core();
        let mut stop = self.hub.shutdown_signal();
        loop {
            let ready = self.ready().notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            if let Some(received) = self.try_receive().await? {
                return Ok(received);
            }
            // A lock of another receiver may end, or another node add something, without a sign.
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

    /// Complete and reject remove what was received, abandon gives it back.
    pub(super) async fn settle(
        &self,
        token: LockToken,
        disposition: Disposition,
    ) -> Result<(), HubError> {
        let lost = || HubError::new(ErrorKind::MessageLockLost, "the lock is lost");
        let now = self.hub.now();
        if token.until <= now {
            return Err(lost());
        }
        let at = ItemRef::new(self.id(), token.sequence, token.version);
        let change = match disposition {
            Disposition::Complete | Disposition::Reject => Change::new().settle(&at),
            Disposition::Abandon => {
                let count = self.given_back(token.sequence).await?.ok_or_else(lost)?;
                let marks = Marks::new(&[count.saturating_add(1)]).unwrap_or_default();
                Change::new().retime(&at, now, marks)
            }
        };
        match self.commit(change).await? {
            Outcome::Committed(_) => {
                if disposition == Disposition::Abandon {
                    self.ready().notify_waiters();
                }
                Ok(())
            }
            _ => Err(lost()),
        }
    }

    async fn given_back(&self, sequence: SequenceNumber) -> Result<Option<u8>, HubError> {
        let ask = Ask::Item(self.id(), sequence);
        let records = self.hub.core().store.read(&[ask]).await?;
        Ok(match records.into_iter().next().flatten() {
            Some(Record::Item(item)) => Some(given_back(&item)),
            _ => None,
        })
    }

    async fn commit(&self, change: Change) -> Result<Outcome, HubError> {
        let shard = self.hub.inner.shards.first();
        let shard = shard.ok_or_else(|| HubError::new(ErrorKind::Internal, "there is no shard"))?;
        shard.commit(change, self.hub.limits().call_timeout).await
    }
}

/// How often an item was given back.
fn given_back(item: &Item) -> u8 {
    item.marks.as_bytes().first().copied().unwrap_or(0)
}
