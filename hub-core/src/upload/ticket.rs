//! Tickets: uploads that were asked for and are not finished.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::correlation::CorrelationId;
use super::notification::FileNotification;
use crate::blob::BlobName;
use crate::id::DeviceId;
use crate::limits::Limits;
use crate::store::{Change, DocumentRef, Item, Push, QueueId};
use crate::time::Timestamp;

/// An upload that was asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What is to be uploaded.
    pub blob: BlobName,
    /// What the device's [`CorrelationId`] must know.
    pub secret: [u8; 16],
}

/// Does not print the secret (T7).
impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("blob", &self.blob).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    v: u8,
    blob: std::borrow::Cow<'a, str>,
    secret: u128,
}

const FORMAT: u8 = 1;

impl Ticket {
    /// The body of its queue item: JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let secret = u128::from_be_bytes(self.secret);
        let body = Body { v: FORMAT, blob: self.blob.as_str().into(), secret };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads a body. `None` if it is none of this format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body<'_> = serde_json::from_slice(body).ok()?;
        let blob = BlobName::parse(&body.blob).ok()?;
        (body.v == FORMAT).then_some(Self { blob, secret: body.secret.to_be_bytes() })
    }
}

/// Begins an upload that may be finished until `expiry`. The store refuses the change when the
/// device has as many open as it may, or is no longer as it was read.
#[must_use]
pub fn begin(
    identity: &DocumentRef,
    device: &DeviceId,
    ticket: &Ticket,
    expiry: Timestamp,
    limits: &Limits,
) -> Change {
    Change::new().require(identity).push(Push {
        queue: QueueId::uploads(device),
        capacity: limits.uploads_per_device_max,
        // For a sweep, which takes only what is visible.
        visible: Timestamp::ZERO,
        deadline: expiry,
        body: ticket.encode(),
    })
}

/// Why an upload cannot be finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The device has no such upload, or it is finished.
    Unknown,
    /// Too late.
    Expired,
}

/// The ticket that a device means, if it may still finish it. `item` is what stands at the place
/// that the id names.
///
/// # Errors
/// [`Refused`].
pub fn open(item: Option<&Item>, id: &CorrelationId, now: Timestamp) -> Result<Ticket, Refused> {
    if id.expiry <= now {
        return Err(Refused::Expired);
    }
    let item = item.ok_or(Refused::Unknown)?;
    let ticket = Ticket::decode(&item.body).ok_or(Refused::Unknown)?;
    // A device guesses at its own tickets only, so there is nothing to learn from the time.
    if ticket.secret != id.secret || item.deadline != id.expiry {
        return Err(Refused::Unknown);
    }
    Ok(ticket)
}

/// Finishes an upload, and tells back ends if there is something to tell.
#[must_use]
pub fn finish(item: &Item, notification: Option<&FileNotification>, limits: &Limits) -> Change {
    let change = Change::new().settle(&item.at);
    let Some(notification) = notification else { return change };
    change.push(Push {
        queue: QueueId::file_notifications(),
        capacity: limits.file_notification_depth_max,
        visible: Timestamp::ZERO,
        deadline: notification.enqueued.after(limits.file_notification_ttl),
        body: notification.encode(),
    })
}

/// Gives up those of these uploads that have expired. Nothing if none has.
#[must_use]
pub fn expire(items: &[Item], now: Timestamp) -> Option<Change> {
    let expired = items.iter().filter(|item| item.deadline <= now);
    let change = expired.fold(Change::new(), |change, item| change.settle(&item.at));
    (!change.is_empty()).then_some(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SequenceNumber;
    use crate::store::{ItemRef, Key, Kind, Marks, Op, Version};

    const EXPIRY: Timestamp = Timestamp::from_millis(1_000);

    fn device() -> DeviceId {
        DeviceId::new("d1").unwrap()
    }

    fn ticket() -> Ticket {
        Ticket { blob: BlobName::new(&device(), "a\"/é").unwrap(), secret: [0xfe; 16] }
    }

    fn item(sequence: u64, deadline: Timestamp) -> Item {
        let queue = QueueId::uploads(&device());
        Item {
            at: ItemRef::new(queue, SequenceNumber(sequence), Version(1)),
            visible: Timestamp::ZERO,
            deadline,
            claims: 0,
            marks: Marks::default(),
            body: ticket().encode(),
        }
    }

    fn id(sequence: u64) -> CorrelationId {
        let sequence = SequenceNumber(sequence);
        CorrelationId { sequence, expiry: EXPIRY, secret: ticket().secret }
    }

    #[test]
    fn a_ticket_comes_back() {
        assert_eq!(Ticket::decode(&ticket().encode()), Some(ticket()));
        for bad in
            ["", "{}", r#"{"v":2,"blob":"d1/a","secret":1}"#, r#"{"v":1,"blob":"d1","secret":1}"#]
        {
            assert_eq!(Ticket::decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_queue_bounds_how_many_are_open() {
        let limits = Limits { uploads_per_device_max: 3, ..Limits::default() };
        let identity = DocumentRef::new(Key::new(Kind::Identity, "d1"), Version(4));
        let change = begin(&identity, &device(), &ticket(), EXPIRY, &limits);
        let [Op::Require(key, Some(Version(4))), Op::Push(push)] = change.ops() else {
            panic!("{change:?}")
        };
        assert_eq!(key.kind, Kind::Identity);
        assert_eq!((push.capacity, push.deadline), (3, EXPIRY));
        assert_eq!(push.queue, QueueId::uploads(&device()));
    }

    #[test]
    fn only_the_holder_of_the_id_may_finish_and_only_in_time() {
        let (before, item) = (Timestamp::from_millis(999), item(1, EXPIRY));
        assert_eq!(open(Some(&item), &id(1), before), Ok(ticket()));
        assert_eq!(open(Some(&item), &id(1), EXPIRY), Err(Refused::Expired));
        assert_eq!(open(None, &id(1), before), Err(Refused::Unknown));
        assert_eq!(open(None, &id(1), EXPIRY), Err(Refused::Expired));
        let guessed = CorrelationId { secret: [0; 16], ..id(1) };
        assert_eq!(open(Some(&item), &guessed, before), Err(Refused::Unknown));
        // An id whose holder would like more time is none that was given out.
        let later = CorrelationId { expiry: Timestamp::from_millis(5_000), ..id(1) };
        assert_eq!(open(Some(&item), &later, EXPIRY), Err(Refused::Unknown));
    }

    #[test]
    fn what_is_told_is_told_in_the_change_that_finishes() {
        let (item, limits) = (item(1, EXPIRY), Limits::default());
        let quiet = finish(&item, None, &limits);
        assert!(matches!(quiet.ops(), [Op::Settle(_)]), "{quiet:?}");
        let notification = FileNotification {
            blob: ticket().blob,
            url: "https://h/uploads/d1/a".into(),
            size: 5,
            modified: Timestamp::from_millis(7),
            enqueued: Timestamp::from_millis(8),
        };
        let change = finish(&item, Some(&notification), &limits);
        let [Op::Settle(_), Op::Push(push)] = change.ops() else { panic!("{change:?}") };
        assert_eq!(push.queue, QueueId::file_notifications());
        assert_eq!(push.deadline, Timestamp::from_millis(8).after(limits.file_notification_ttl));
        assert_eq!(FileNotification::decode(&push.body), Some(notification));
    }

    #[test]
    fn what_has_expired_is_given_up() {
        let items = [item(1, EXPIRY), item(2, Timestamp::from_millis(1_001)), item(3, EXPIRY)];
        let change = expire(&items, EXPIRY).unwrap();
        let settled = |op: &Op| matches!(op, Op::Settle(at) if at.sequence().0 != 2);
        assert!(change.ops().len() == 2 && change.ops().iter().all(settled), "{change:?}");
        assert_eq!(expire(&items, Timestamp::from_millis(999)), None);
        assert_eq!(expire(&[], EXPIRY), None);
    }
}
