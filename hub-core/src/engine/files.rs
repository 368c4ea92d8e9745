//! Receiving file notifications: which files devices have uploaded.

use super::hub::Hub;
use super::service_queue::{Received, ServiceQueue, Which};
use crate::error::HubError;
use crate::frame::{Disposition, LockToken};
use crate::time::Timestamp;
use crate::upload::FileNotification;

/// A file notification, locked for whoever received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFileNotification {
    /// What proves its receipt.
    pub token: LockToken,
    /// How often it was handed out, this time included.
    pub deliveries: u32,
    /// What it says.
    pub notification: FileNotification,
}

impl ReceivedFileNotification {
    /// When the lock ends, for protocols that tell.
    #[must_use]
    pub fn locked_until(&self) -> Timestamp {
        self.token.until
    }

    /// Nothing if a later version of the hub wrote it: then it stays for that one, until it expires.
    fn new(received: &Received) -> Option<Self> {
        let Some(notification) = FileNotification::decode(&received.body) else {
            let sequence = received.token.sequence.0;
            tracing::warn!(sequence, "a file notification cannot be read");
            return None;
        };
        Some(Self { token: received.token, deliveries: received.deliveries, notification })
    }
}

/// Receives file notifications. All receivers of a hub compete for the same queue.
///
/// A notification lives for `Limits::file_notification_ttl`, is locked for
/// `Limits::file_notification_lock` when it is received, and is dropped when it was given back
/// `Limits::file_notification_delivery_count_max` times.
#[derive(Debug, Clone)]
pub struct FileNotificationReceiver {
    queue: ServiceQueue,
}

impl Hub {
    /// Receives file notifications: one for each upload that a device has finished.
    #[must_use]
    pub fn file_notifications(&self) -> FileNotificationReceiver {
        FileNotificationReceiver { queue: ServiceQueue::new(self, Which::FileNotifications) }
    }
}

impl FileNotificationReceiver {
    /// The next notification, if there is one now.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn try_receive(&self) -> Result<Option<ReceivedFileNotification>, HubError> {
        while let Some(received) = self.queue.try_receive().await? {
            if let Some(notification) = ReceivedFileNotification::new(&received) {
                return Ok(Some(notification));
            }
        }
        Ok(None)
    }

    /// Waits for the next notification. Dropping the future loses none.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached, or the hub shuts down.
    pub async fn receive(&self) -> Result<ReceivedFileNotification, HubError> {
        loop {
            let received = self.queue.receive().await?;
            if let Some(notification) = ReceivedFileNotification::new(&received) {
                return Ok(notification);
            }
        }
    }

    /// Settles a notification: complete and reject remove it, abandon gives it back.
    ///
    /// # Errors
    /// `MessageLockLost` if the token is not the latest of its notification, or its lock has ended.
    pub async fn settle(&self, token: LockToken, disposition: Disposition) -> Result<(), HubError> {
        self.queue.settle(token, disposition).await
    }
}
