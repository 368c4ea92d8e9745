//! File uploads: who may still finish one, and what back ends are told.
//!
//! An upload that was asked for and not finished is a *ticket*: an item in a queue of its device.
//! The queue's capacity is the most uploads a device may have open, so the store itself keeps that
//! bound; the item's deadline is when the address given to the device expires. There is no state
//! column; where an upload stands is read off its item:
//!
//! | state | how it shows |
//! |---|---|
//! | Open | `deadline` > now |
//! | Expired | `deadline` ≤ now |
//! | Finished, or swept | gone |
//!
//! | event | decided in | change |
//! |---|---|---|
//! | a device asks for an address | [`begin`] | push, bounded by `uploads_per_device_max`; the identity must be as it was read |
//! | the device says it is done | [`finish`] | settle, and with it push a notification |
//! | the device says it failed | [`finish`] | settle |
//! | nobody says anything | [`expire`] | settle, once the deadline is past |
//! | the device is deleted | registry | clear |
//!
//! What proves that a device means an upload of its own is the [`CorrelationId`].
//!
//! **Invariant:** an upload is finished once or not at all: both ways settle the same item.
//!
//! **Invariant:** a notification is made in the change that finishes its upload.

mod correlation;
mod notification;
mod ticket;

pub use self::correlation::{BadCorrelationId, CorrelationId};
pub use self::notification::FileNotification;
pub use self::ticket::{Refused, Ticket, begin, expire, finish, open};
