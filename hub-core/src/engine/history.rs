//! What twins were: their last changes, and the whole twin at a version or at a time.

use super::hub::Hub;
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, SequenceNumber};
use crate::store::{Ask, Item, Key, QueueId, Record};
use crate::time::Timestamp;
use crate::twin::{Twin, TwinVersion, twin_at_time, twin_at_version};

/// The history of twins, kept as long as
/// [`Limits::twin_history_max`](crate::limits::Limits::twin_history_max) and
/// [`twin_history_retention`](crate::limits::Limits::twin_history_retention) say.
///
/// A change is written down in the very change that makes it. The history of a twin goes with it.
#[derive(Debug, Clone, Copy)]
pub struct TwinHistory<'a> {
    hub: &'a Hub,
}

impl Hub {
    /// The history of twins.
    #[must_use]
    pub fn twin_history(&self) -> TwinHistory<'_> {
        TwinHistory { hub: self }
    }
}

/// How many changes are read at once.
const PAGE: u32 = 64;

impl TwinHistory<'_> {
    /// The changes of a twin that are kept, the oldest first, of versions above `after`; at most
    /// `limit`, and no more than `Limits::list_page_max`.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`; `Unavailable` when the store cannot be reached.
    pub async fn versions(
        &self,
        of: &Address,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<TwinVersion>, HubError> {
        let (_, mut versions) = self.read(of).await?;
        versions.retain(|version| after.is_none_or(|after| version.version() > after));
        let limit = limit.min(self.hub.limits().list_page_max);
        versions.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(versions)
    }

    /// The twin as it was in a version.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`; `TwinVersionNotFound` if that version is not kept, or there
    /// was none yet; `Unavailable` when the store cannot be reached.
    pub async fn at_version(&self, of: &Address, version: u64) -> Result<Twin, HubError> {
        let (twin, history) = self.read(of).await?;
        twin_at_version(twin, &history, version).ok_or_else(|| {
            HubError::new(
                ErrorKind::TwinVersionNotFound,
                format!("version {version} of the twin of {of} is not kept"),
            )
        })
    }

    /// The twin as it was at a time. Of changes by nodes whose clocks differ the version decides which
    /// was later.
    ///
    /// # Errors
    /// As [`TwinHistory::at_version`].
    pub async fn at(&self, of: &Address, time: Timestamp) -> Result<Twin, HubError> {
        let (twin, history) = self.read(of).await?;
        twin_at_time(twin, &history, time).ok_or_else(|| {
            HubError::new(
                ErrorKind::TwinVersionNotFound,
                format!("what the twin of {of} was at {time} is not kept"),
            )
        })
    }

    /// A twin with its history: all changes that are kept, up to the one that left the twin so.
    async fn read(&self, of: &Address) -> Result<(Twin, Vec<TwinVersion>), HubError> {
        let unreadable =
            || HubError::new(ErrorKind::Internal, "a stored twin or its history cannot be read");
        let mut after = SequenceNumber::default();
        let mut versions = Vec::new();
        loop {
            let asks =
                [Ask::Items(QueueId::twin_history(of), after, PAGE), Ask::Document(Key::twin(of))];
            let mut records = self.hub.core().store.read(&asks).await?.into_iter();
            let items: Vec<Item> = match records.next().flatten() {
                Some(Record::Items(items)) => items,
                _ => Vec::new(),
            };
            let Some(Record::Document(twin)) = records.next().flatten() else {
                return Err(HubError::not_found(of));
            };
            for item in &items {
                versions.push(TwinVersion::decode(&item.body).map_err(|_| unreadable())?);
            }
            match items.last() {
                Some(last) if u32::try_from(items.len()).is_ok_and(|count| count >= PAGE) => {
                    after = last.at.sequence();
                }
                // Nothing comes after these at the instant at which the twin was read. Those of before
                // may be gone by now, and have not changed.
                _ => {
                    let twin = Twin::decode(&twin.body).map_err(|_| unreadable())?;
                    // The device was deleted and made anew while this was read.
                    versions.retain(|version| version.version() <= twin.version());
                    return Ok((twin, versions));
                }
            }
        }
    }
}
