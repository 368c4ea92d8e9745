//! Senders that wait for how the life of their message ends.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::HashMap;
use futures::channel::oneshot;

use super::line::lock;
use super::meter::{Ages, Born};
use crate::delivery::MessageOutcome;
use crate::id::{Address, SequenceNumber};
use crate::time::Timestamp;

/// What the sender of a message waits on for its outcome. Cancelled if nobody will tell.
pub(crate) type Outcome = oneshot::Receiver<MessageOutcome>;

/// The senders of this node that wait, at most so many.
pub(crate) struct Outcomes {
    max: usize,
    waiting: Mutex<Waiting>,
    turned_away: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    senders: HashMap<(Address, SequenceNumber), Sender>,
    ages: Ages,
}

/// One who waits for the outcome of a message.
struct Sender {
    waits: oneshot::Sender<MessageOutcome>,
    born: Born,
    /// When the message has expired, wherever it is.
    expiry: Timestamp,
}

impl Waiting {
    fn forget(&mut self, over: impl Fn(&Sender) -> bool) {
        let ages = &mut self.ages;
        self.senders.retain(|_, sender| {
            let gone = over(sender);
            if gone {
                ages.leave(sender.born);
            }
            !gone
        });
    }
}

impl Outcomes {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, waiting: Mutex::default(), turned_away: AtomicU64::new(0) }
    }

    /// Begins to wait on behalf of a sender. To be called before anybody can settle the message; the
    /// answer goes to the sender with what this returns, so that it may look as late as it likes.
    pub(crate) fn expect(
        &self,
        address: &Address,
        sequence: SequenceNumber,
        expiry: Timestamp,
    ) -> Outcome {
        let (waits, outcome) = oneshot::channel();
        let waiting = &mut *lock(&self.waiting);
        if waiting.senders.len() >= self.max {
            waiting.forget(|sender| sender.waits.is_canceled());
        }
        if waiting.senders.len() < self.max {
            let born = waiting.ages.enter();
            waiting.senders.insert((address.clone(), sequence), Sender { waits, born, expiry });
        } else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// A message's life has ended.
    pub(crate) fn ended(
        &self,
        address: &Address,
        sequence: SequenceNumber,
        outcome: MessageOutcome,
    ) {
        let waiting = &mut *lock(&self.waiting);
        if let Some(Sender { waits, born, .. }) =
            waiting.senders.remove(&(address.clone(), sequence))
        {
            waiting.ages.leave(born);
            // Whoever dropped the future does not want to know.
            let _ = waits.send(outcome);
        }
    }

    /// Lets go of senders whose message had expired by then, and whose outcome was not learnt here:
    /// it ended at another node.
    pub(crate) fn forget(&self, before: Timestamp) {
        lock(&self.waiting).forget(|sender| sender.expiry < before);
    }

    /// How many wait, and since when the first does.
    pub(crate) fn depth(&self) -> (usize, Option<Duration>) {
        let waiting = lock(&self.waiting);
        (waiting.senders.len(), waiting.ages.oldest())
    }

    /// How many there was no room for.
    pub(crate) fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }
}
