//! Receiving feedback: a queue of its own, with locks like the devices'.

use super::hub::Hub;
use super::service_queue::{Received, ServiceQueue, Which};
use crate::delivery::FeedbackRecord;
use crate::error::HubError;
use crate::frame::{Disposition, LockToken};
use crate::time::Timestamp;

/// Some feedback, locked for whoever received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackBatch {
    /// What proves its receipt.
    pub token: LockToken,
    /// How often it was handed out, this time included.
    pub deliveries: u32,
    /// The records.
    pub records: Vec<FeedbackRecord>,
}

impl FeedbackBatch {
    /// When the lock ends, for protocols that tell.
    #[must_use]
    pub fn locked_until(&self) -> Timestamp {
        self.token.until
    }
}

impl From<Received> for FeedbackBatch {
    fn from(received: Received) -> Self {
        Self {
            token: received.token,
            deliveries: received.deliveries,
            records: FeedbackRecord::decode_batch(&received.body),
        }
    }
}

/// Receives feedback. All receivers of a hub compete for the same queue.
#[derive(Debug, Clone)]
pub struct FeedbackReceiver {
    queue: ServiceQueue,
}

impl Hub {
    /// Receives feedback on cloud-to-device messages.
    #[must_use]
    pub fn feedback(&self) -> FeedbackReceiver {
        FeedbackReceiver { queue: ServiceQueue::new(self, Which::Feedback) }
    }
}

impl FeedbackReceiver {
    /// The next batch, if there is one now; locked for `Limits::feedback_lock`.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn try_receive(&self) -> Result<Option<FeedbackBatch>, HubError> {
        Ok(self.queue.try_receive().await?.map(FeedbackBatch::from))
    }

    /// Waits for the next batch. Dropping the future loses none.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached, or the hub shuts down.
    pub async fn receive(&self) -> Result<FeedbackBatch, HubError> {
        Ok(self.queue.receive().await?.into())
    }

    /// Settles a batch: complete and reject remove it, abandon gives it back.
    ///
    /// # Errors
    /// `MessageLockLost` if the token is not the latest of its batch, or its lock has ended.
    pub async fn settle(&self, token: LockToken, disposition: Disposition) -> Result<(), HubError> {
        self.queue.settle(token, disposition).await
    }
}
