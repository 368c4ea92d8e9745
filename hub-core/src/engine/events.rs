//! Reading the event log.
//!
//! A reader is a position in one partition; it pulls, and nothing is buffered for it. Where a
//! consumer group stands can be kept by the client, as Event Hubs clients do, or by the hub: a
//! [`Cursor`] is a document, moved only forward from where it was read.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::hub::Hub;
use super::shard::Shard;
use crate::envelope::Event;
use crate::error::{ErrorKind, HubError};
use crate::id::{Partition, SequenceNumber};
use crate::store::{Ask, Change, Key, Outcome, Record, Seek, Version};
use crate::time::Timestamp;

/// Where to begin reading a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The oldest event still kept.
    Earliest,
    /// The next event to come.
    Latest,
    /// The event with this sequence number, or the oldest kept after it.
    Sequence(SequenceNumber),
    /// The first event accepted at or after this time.
    Time(Timestamp),
}

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Which partition.
    pub partition: Partition,
    /// The oldest event kept, or the next to come if there is none.
    pub first: SequenceNumber,
    /// The next event to come.
    pub next: SequenceNumber,
    /// When the last event was accepted, if one is kept.
    pub last_enqueued: Option<Timestamp>,
}

/// Reads one partition from a position on.
#[derive(Debug)]
pub struct EventReader {
    hub: Hub,
    partition: Partition,
    next: SequenceNumber,
}

/// How long a reader waits for a sign of new events before it looks by itself: events of other
/// nodes give no sign here.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Hub {
    /// What a partition holds.
    ///
    /// # Errors
    /// `NoSuchPartition`; `Unavailable` when the store cannot be reached.
    pub async fn partition_info(&self, partition: Partition) -> Result<PartitionInfo, HubError> {
        self.partition_shard(partition)?;
        let store = &self.core().store;
        let first = store.seek(partition, Seek::Oldest).await?;
        let next = store.seek(partition, Seek::Next).await?;
        let one = NonZeroU32::MIN;
        let last = match next.0.checked_sub(1).map(SequenceNumber) {
            Some(last) if last >= first => store.tail(partition, last, one).await?,
            _ => Vec::new(),
        };
        let last_enqueued = last.first().map(|entry| entry.at);
        Ok(PartitionInfo { partition, first, next, last_enqueued })
    }

    /// A reader of one partition.
    ///
    /// # Errors
    /// `NoSuchPartition`; `Unavailable` when the store cannot be reached.
    pub async fn reader(
        &self,
        partition: Partition,
        from: Position,
    ) -> Result<EventReader, HubError> {
        self.partition_shard(partition)?;
        let store = &self.core().store;
        let next = match from {
            Position::Earliest => store.seek(partition, Seek::Oldest).await?,
            Position::Latest => store.seek(partition, Seek::Next).await?,
            Position::Sequence(sequence) => SequenceNumber(sequence.0.max(1)),
            Position::Time(at) => store.seek(partition, Seek::Time(at)).await?,
        };
        Ok(EventReader { hub: self.without_owner(), partition, next })
    }

    /// Where the hub keeps that a consumer group stands in a partition.
    ///
    /// # Errors
    /// `ArgumentInvalid` for a group name that is blank, longer than 50 characters, or has
    /// characters other than letters, digits and `$ . _ -`; `NoSuchPartition`.
    pub async fn cursor(&self, group: &str, partition: Partition) -> Result<Cursor, HubError> {
        self.partition_shard(partition)?;
        check_group(group)?;
        let key = Key::cursor(&group.to_ascii_lowercase(), partition);
        let mut cursor = Cursor { hub: self.without_owner(), key, version: None, position: None };
        cursor.reload().await?;
        Ok(cursor)
    }

    fn partition_shard(&self, partition: Partition) -> Result<&Arc<Shard>, HubError> {
        self.inner.shards.get(usize::from(partition.0)).ok_or_else(|| {
            HubError::new(ErrorKind::NoSuchPartition, format!("there is no partition {partition}"))
        })
    }
}

/// Whether a text is the name of a consumer group.
///
/// # Errors
/// `ArgumentInvalid`.
pub fn check_group(group: &str) -> Result<(), HubError> {
    let legal = group.chars().all(|c| c.is_ascii_alphanumeric() || "$._-".contains(c));
    if group.is_empty() || group.len() > 50 || !legal {
        return Err(HubError::argument("a consumer group is 1 to 50 letters, digits or $ . _ -"));
    }
    Ok(())
}

impl EventReader {
    /// The partition it reads.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The next event it will read.
    #[must_use]
    pub fn position(&self) -> SequenceNumber {
        self.next
    }

    /// The events there are now, at most `limit` and no more than `Limits::log_page_max`.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn try_read(&mut self, limit: u32) -> Result<Vec<Event>, HubError> {
        let limit = limit.min(self.hub.limits().log_page_max);
        let Some(limit) = NonZeroU32::new(limit) else { return Ok(Vec::new()) };
        let entries = self.hub.core().store.tail(self.partition, self.next, limit).await?;
        if let Some(last) = entries.last() {
            self.next = last.sequence.next();
        }
        Ok(entries.iter().filter_map(|entry| Event::decode(self.partition, entry)).collect())
    }

    /// Waits until there are events, and returns them as [`EventReader::try_read`] does. Dropping
    /// the future loses none.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached, or the hub shuts down.
    pub async fn read(&mut self, limit: u32) -> Result<Vec<Event>, HubError> {
        let shard = self.hub.partition_shard(self.partition)?.clone();
        let mut stop = self.hub.shutdown_signal();
        loop {
            let appended = shard.appended.notified();
            tokio::pin!(appended);
            // Registered before the look, so that an append in between is not missed.
            appended.as_mut().enable();
            let events = self.try_read(limit).await?;
            if !events.is_empty() {
                return Ok(events);
            }
            tokio::select! {
                () = appended => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.requested() => {
                    return Err(HubError::new(ErrorKind::Unavailable, "the hub shuts down"));
                }
            }
        }
    }
}

/// Where a consumer group stands in one partition, kept by the hub.
#[derive(Debug)]
pub struct Cursor {
    hub: Hub,
    key: Key,
    version: Option<Version>,
    position: Option<SequenceNumber>,
}

impl Cursor {
    /// The next event the group has to read; `None` if it never said.
    #[must_use]
    pub fn position(&self) -> Option<SequenceNumber> {
        self.position
    }

    async fn reload(&mut self) -> Result<(), HubError> {
        let records = self.hub.core().store.read(&[Ask::Document(self.key.clone())]).await?;
        match records.into_iter().next().flatten() {
            Some(Record::Document(document)) => {
                self.version = Some(document.at.version());
                let number = document.body.as_ref().try_into().map(u64::from_le_bytes);
                self.position = number.ok().map(SequenceNumber);
            }
            _ => (self.version, self.position) = (None, None),
        }
        Ok(())
    }

    /// Keeps that everything before `next` is done. Durable when this returns.
    ///
    /// # Errors
    /// `PreconditionFailed` if another reader of the group has moved the cursor since it was read;
    /// the cursor then stands where that reader left it.
    pub async fn advance(&mut self, next: SequenceNumber) -> Result<(), HubError> {
        let body = Bytes::copy_from_slice(&next.0.to_le_bytes());
        let change = Change::new().write(&self.key, self.version, body);
        let shard = self.hub.inner.shards.first();
        let shard = shard.ok_or_else(|| HubError::new(ErrorKind::Internal, "there is no shard"))?;
        match shard.commit(change, self.hub.limits().call_timeout).await? {
            Outcome::Committed(issued) => {
                (self.version, self.position) = (Some(issued.version), Some(next));
                Ok(())
            }
            _ => {
                self.reload().await?;
                Err(HubError::new(
                    ErrorKind::PreconditionFailed,
                    "another reader of the group has moved the cursor",
                ))
            }
        }
    }
}
