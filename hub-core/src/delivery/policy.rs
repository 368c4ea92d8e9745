//! The decisions about one message: may it enter, what does a disposition do to it.

use std::time::Duration;

use super::feedback::{FeedbackRecord, FeedbackStatus};
use super::{AT_ONCE, DeadLetter, MessageOutcome, Offered};
use crate::envelope::{Message, Property, Stored, SystemProperty};
use crate::error::{ErrorKind, HubError};
use crate::frame::Disposition;
use crate::id::Address;
use crate::limits::Limits;
use crate::store::{Change, Marks, Push, QueueId};
use crate::time::Timestamp;

/// Whether a message may enter the queue of an identity, and as what.
///
/// # Errors
/// `TooLarge`; `InvalidExpiry` for an expiry that has passed or lies further ahead than
/// [`Limits::c2d_ttl_max`]; `ArgumentInvalid` for a message id of more than 128 characters.
pub fn accept(
    address: &Address,
    generation: u64,
    message: Message,
    now: Timestamp,
    limits: &Limits,
) -> Result<Push, HubError> {
    let size = message.size();
    if size > limits.c2d_bytes_max {
        return Err(HubError::new(
            ErrorKind::TooLarge,
            format!("message has {size} bytes, the limit is {}", limits.c2d_bytes_max),
        ));
    }
    if message.message_id().is_some_and(|id| id.chars().count() > 128) {
        return Err(HubError::argument("message id has more than 128 characters"));
    }
    let expiry = message.expiry.unwrap_or_else(|| now.after(limits.c2d_ttl_default));
    if expiry <= now || expiry > now.after(limits.c2d_ttl_max).after(Duration::from_secs(1)) {
        return Err(HubError::new(
            ErrorKind::InvalidExpiry,
            format!(
                "expiry {expiry} is not between now and {} s ahead",
                limits.c2d_ttl_max.as_secs()
            ),
        ));
    }
    let derived = |p: &Property<'_>| {
        !matches!(
            p,
            Property::System(
                SystemProperty::To | SystemProperty::ExpiryTime | SystemProperty::Ack,
                _
            )
        )
    };
    let stored = Stored {
        ack: message.ack,
        enqueued: now,
        generation,
        properties: message.properties.iter().filter(derived).collect(),
        body: message.body,
    };
    Ok(Push {
        queue: QueueId::mailbox(address),
        capacity: limits.c2d_depth_max,
        visible: AT_ONCE,
        deadline: expiry,
        body: stored.encode(),
    })
}

/// How often a message was given back, by its marks; with the flag in [`Limits`], locks that ran
/// out count as well: every claim but the present one.
#[must_use]
pub fn delivery_count(marks: Marks, claims: u32, limits: &Limits) -> u8 {
    let abandoned = marks.as_bytes().first().copied().unwrap_or(0);
    if limits.c2d_lock_expiry_counts {
        abandoned.max(u8::try_from(claims.saturating_sub(1)).unwrap_or(u8::MAX))
    } else {
        abandoned
    }
}

/// What is to become of a message that a claim brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it to the device.
    Offer,
    /// Its life is over.
    Dead(MessageOutcome),
}

/// What a disposition comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The guarded change.
    pub change: Change,
    /// How the message's life ended, if it did.
    pub outcome: Option<MessageOutcome>,
}

/// Settles a message that is held under a valid lock.
///
/// Abandoning raises the delivery count; at the maximum the message is dead-lettered.
#[must_use]
pub fn settle(
    address: &Address,
    offered: &Offered,
    disposition: Disposition,
    now: Timestamp,
    limits: &Limits,
) -> Settled {
    let outcome = match disposition {
        Disposition::Complete => MessageOutcome::Completed,
        Disposition::Reject => MessageOutcome::Rejected,
        Disposition::Abandon => {
            let count = offered.delivery_count.saturating_add(1);
            if count < limits.c2d_delivery_count_max {
                let marks = Marks::new(&[count]).unwrap_or_default();
                let change = Change::new().retime(&offered.at, AT_ONCE, marks);
                return Settled { change, outcome: None };
            }
            let offered = Offered { delivery_count: count, ..offered.clone() };
            let outcome = MessageOutcome::DeliveryCountExceeded;
            return finish(address, &offered, outcome, now, limits);
        }
    };
    finish(address, offered, outcome, now, limits)
}

/// Ends a message's life, tells its sender if that was asked for, and keeps what died.
#[must_use]
pub(crate) fn finish(
    address: &Address,
    offered: &Offered,
    outcome: MessageOutcome,
    now: Timestamp,
    limits: &Limits,
) -> Settled {
    let mut change = Change::new().settle(&offered.at);
    if let Some(seed) = offered.feedback.as_deref().filter(|seed| seed.wants(outcome)) {
        let record = FeedbackRecord {
            message_id: seed.message_id.clone(),
            status: FeedbackStatus::from(outcome),
            at: now,
            target: address.clone(),
            generation: seed.generation,
        };
        change = change.push(Push {
            queue: QueueId::feedback_pending(&address.device_id()),
            capacity: limits.feedback_depth_max,
            visible: now,
            deadline: now.after(limits.feedback_ttl),
            body: record.encode(),
        });
    }
    if let Some(seed) = offered.letter.as_deref().filter(|_| outcome.is_dead()) {
        let from = (offered.at.sequence(), offered.delivery_count);
        change = change.push(DeadLetter::push(address, from, seed, outcome, now, limits));
    }
    Settled { change, outcome: Some(outcome) }
}
