//! A cloud-to-device message on its way to a device.
//!
//! There is no state column. Where a message stands is *read off* two times of its queue item:
//!
//! | state | how it shows |
//! |---|---|
//! | Enqueued | `visible` ≤ now |
//! | Invisible (locked) | `visible` > now |
//! | Completed, or Dead-lettered | gone |
//!
//! What is to be visible at once is visible from the beginning of time, so that it is so by the
//! clock of every node.
//!
//! | event | decided in | change |
//! |---|---|---|
//! | a back end sends | [`accept`] | push, bounded by the queue's depth |
//! | a link is ready and its window free | [`Mailbox::wants`] | the store claims, hidden until the lock ends |
//! | an item was claimed | [`Mailbox::claimed`] | offer it; or, past its expiry, [`Verdict::Dead`] |
//! | complete, reject, abandon | [`settle`] | settle or retime, and a feedback record |
//! | the lock runs out | [`Mailbox::tick`] | none: the item is visible again by itself |
//! | the link goes | [`Mailbox::released`] | retime to at once: a kindness, not a duty |
//!
//! Where dead letters are kept ([`Limits::dead_letters_max`]), the change that ends a message in any way
//! but completion also pushes it into the identity's queue of dead letters: [`DeadLetter`].
//!
//! **Invariant:** a message is settled by the holder of its latest claim, or not at all.
//!
//! Source of the rules: cloud-to-device messaging of IoT Hub (queue of 50, lock of 60 s, delivery
//! count raised by abandon only, expiry, feedback), all of it in [`Limits`].

mod feedback;
mod letter;
mod mailbox;
mod policy;

pub use self::feedback::{Emitter, FeedbackRecord, FeedbackStatus};
pub use self::letter::DeadLetter;
pub(crate) use self::mailbox::judge;
pub use self::mailbox::{Claimed, Mailbox, Offered};
pub(crate) use self::policy::finish;
pub use self::policy::{Settled, Verdict, accept, delivery_count, settle};
#[cfg(doc)]
use crate::limits::Limits;
use crate::time::Timestamp;

/// When an item is visible that is to be so at once, whatever a node's clock shows.
pub(crate) const AT_ONCE: Timestamp = Timestamp::ZERO;

/// How the life of a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageOutcome {
    /// The device completed it.
    Completed,
    /// The device rejected it.
    Rejected,
    /// It expired before it was completed.
    Expired,
    /// It was given back too often.
    DeliveryCountExceeded,
    /// It was purged from its queue.
    Purged,
}

impl MessageOutcome {
    /// Whether it was dead-lettered: everything but completed.
    #[must_use]
    pub fn is_dead(self) -> bool {
        self != Self::Completed
    }
}
