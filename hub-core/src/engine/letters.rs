//! Dead letters: reading them, sending them again, getting rid of them.

use super::hub::Hub;
use super::messages::SentMessage;
use crate::delivery::DeadLetter;
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, SequenceNumber};
use crate::store::{Ask, Change, Item, ItemRef, Outcome, QueueId, QueueKind, Record};
use crate::time::Timestamp;

/// The messages that ended in any way but completion, kept as long as
/// [`Limits::dead_letters_max`](crate::limits::Limits::dead_letters_max) and
/// [`dead_letter_retention`](crate::limits::Limits::dead_letter_retention) say.
///
/// A letter is written in the very change that ends its message. Those of an identity go with it.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetters<'a> {
    hub: &'a Hub,
}

impl Hub {
    /// The dead letters of the hub.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters<'_> {
        DeadLetters { hub: self }
    }
}

/// How many letters are removed in one change.
const STEP: u32 = 256;

impl DeadLetters<'_> {
    /// Letters of an identity, the oldest first, after the one with the number `after`; at most
    /// `limit`, and no more than `Limits::list_page_max`.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn of(
        &self,
        of: &Address,
        after: Option<SequenceNumber>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, HubError> {
        let limit = limit.min(self.hub.limits().list_page_max);
        let queue = QueueId::dead_letters(of);
        let items = self.items(Ask::Items(queue, after.unwrap_or_default(), limit)).await?;
        Ok(items.iter().filter_map(DeadLetter::from_item).collect())
    }

    /// Letters of all identities, in byte order of their addresses and then the oldest first, after
    /// the letter of this address and number; else as [`DeadLetters::of`]. A page that is not full
    /// is the last.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn all(
        &self,
        after: Option<(&Address, SequenceNumber)>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, HubError> {
        let limit = limit.min(self.hub.limits().list_page_max);
        let (queue, number) = match after {
            Some((address, number)) => (address.shared().clone(), number),
            None => ("".into(), SequenceNumber::default()),
        };
        let ask = Ask::ItemsOfKind(QueueKind::DeadLetter, queue, number, limit);
        Ok(self.items(ask).await?.iter().filter_map(DeadLetter::from_item).collect())
    }

    /// How many letters of an identity there are.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn count(&self, of: &Address) -> Result<u32, HubError> {
        let ask = Ask::Depth(QueueId::dead_letters(of));
        match self.hub.core().store.read(&[ask]).await?.into_iter().next().flatten() {
            Some(Record::Depth(depth)) => Ok(depth),
            _ => Ok(0),
        }
    }

    /// A letter.
    ///
    /// # Errors
    /// `DeadLetterNotFound`; `Unavailable` when the store cannot be reached.
    pub async fn get(&self, of: &Address, number: SequenceNumber) -> Result<DeadLetter, HubError> {
        self.find(of, number).await.map(|(_, letter)| letter)
    }

    /// Sends a message again, as a new one with the old body, properties and wish for feedback, to
    /// expire then (`None`: after the default time to live). The letter goes in the change that puts
    /// the message into the queue; where that is refused, it stays.
    ///
    /// # Errors
    /// `DeadLetterNotFound`; else as [`Hub::send`], `QueueFull` among them.
    pub async fn replay(
        &self,
        of: &Address,
        number: SequenceNumber,
        expiry: Option<Timestamp>,
    ) -> Result<SentMessage, HubError> {
        let (at, letter) = self.find(of, number).await?;
        let removal = Change::new().settle(&at);
        let sent = self.hub.send_with(of, letter.replay(expiry), removal).await;
        match sent {
            // Somebody else has replayed or removed it, or it was too old.
            Err(error) if error.kind() == ErrorKind::Busy => {
                self.find(of, number).await.and(Err(error))
            }
            sent => sent,
        }
    }

    /// Removes a letter.
    ///
    /// # Errors
    /// `DeadLetterNotFound`; `Unavailable` when the store cannot be reached.
    pub async fn remove(&self, of: &Address, number: SequenceNumber) -> Result<(), HubError> {
        let (at, _) = self.find(of, number).await?;
        match self.hub.commit(of, Change::new().settle(&at)).await? {
            Outcome::Committed(_) => Ok(()),
            // A letter does not change: it is gone.
            _ => Err(not_found(of, number)),
        }
    }

    /// Removes all letters of an identity. Returns how many.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn purge(&self, of: &Address) -> Result<u64, HubError> {
        let queue = QueueId::dead_letters(of);
        self.purge_by(|after| Ask::Items(queue.clone(), after.1, STEP)).await
    }

    /// Removes all letters of all identities. Returns how many.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn purge_all(&self) -> Result<u64, HubError> {
        self.purge_by(|(queue, after)| {
            Ask::ItemsOfKind(QueueKind::DeadLetter, queue.into(), after, STEP)
        })
        .await
    }

    /// Page by page, each letter by itself where one of a page was taken meanwhile. What dies while
    /// this goes on may stay.
    async fn purge_by(
        &self,
        page: impl Fn((&str, SequenceNumber)) -> Ask,
    ) -> Result<u64, HubError> {
        let mut after = (String::new(), SequenceNumber::default());
        let mut purged = 0;
        loop {
            let items = self.items(page((&after.0, after.1))).await?;
            let Some(last) = items.last() else { return Ok(purged) };
            after = (last.at.queue().id.to_string(), last.at.sequence());
            let refs: Vec<ItemRef> = items.iter().map(|item| item.at.clone()).collect();
            purged += self.settle(&refs).await?;
        }
    }

    async fn settle(&self, items: &[ItemRef]) -> Result<u64, HubError> {
        let all = items.iter().fold(Change::new(), |change, item| change.settle(item));
        if let Outcome::Committed(_) = self.commit(all).await? {
            return Ok(u64::try_from(items.len()).unwrap_or(u64::MAX));
        }
        let mut settled = 0;
        for item in items {
            let one = self.commit(Change::new().settle(item)).await?;
            settled += u64::from(matches!(one, Outcome::Committed(_)));
        }
        Ok(settled)
    }

    async fn commit(&self, change: Change) -> Result<Outcome, HubError> {
        let shard = self.hub.inner.shards.first();
        let shard = shard.ok_or_else(|| HubError::new(ErrorKind::Internal, "there is no shard"))?;
        shard.commit(change, self.hub.limits().call_timeout).await
    }

    async fn find(
        &self,
        of: &Address,
        number: SequenceNumber,
    ) -> Result<(ItemRef, DeadLetter), HubError> {
        let ask = Ask::Item(QueueId::dead_letters(of), number);
        match self.hub.core().store.read(&[ask]).await?.into_iter().next().flatten() {
            Some(Record::Item(item)) => match DeadLetter::from_item(&item) {
                Some(letter) => Ok((item.at, letter)),
                None => {
                    Err(HubError::new(ErrorKind::Internal, "a stored dead letter cannot be read"))
                }
            },
            _ => Err(not_found(of, number)),
        }
    }

    async fn items(&self, ask: Ask) -> Result<Vec<Item>, HubError> {
        match self.hub.core().store.read(&[ask]).await?.into_iter().next().flatten() {
            Some(Record::Items(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }
}

fn not_found(of: &Address, number: SequenceNumber) -> HubError {
    let number = number.0;
    HubError::new(
        ErrorKind::DeadLetterNotFound,
        format!("{of} has no dead letter with the number {number}"),
    )
}
