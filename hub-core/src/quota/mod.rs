//! Quotas: how often devices and back ends may do what, and how many messages a day.
//!
//! A quota is a [`Rate`] for one [`Operation`]: for each device, or for all of a node together.
//! [`Quotas`] are those that a hub is given; without any nothing is counted. A [`Ledger`] keeps what was
//! done against them, and says of each operation what becomes of it:
//!
//! | how long until there is room for it | verdict |
//! |---|---|
//! | none | [`Verdict::Now`] |
//! | not longer than [`Quotas::longest_wait`] | [`Verdict::After`]: it has its place in the line, and goes on then |
//! | longer | [`Verdict::Refused`]: it leaves no trace, and may come again when there is room |
//!
//! The arithmetic is a token bucket, counted from the other end: a [`Bucket`] holds what is owed, each
//! operation adds to it, and time takes away. What is owed is a whole number of a unit in which both an
//! operation and a millisecond are whole, so nothing that is counted is rounded and nothing drifts: over
//! any span of time no more is let through than the burst and what the rate gives, to the millisecond and
//! but for the last operation's own size.
//!
//! An operation that counts as more than a burst, as a batch of messages may, waits for room for a
//! whole burst and owes the rest. It would never have its turn otherwise.

mod bucket;
mod daily;
mod ledger;
mod operation;
mod settings;

#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Rate};
pub use daily::{METER_BYTES, blocks};
pub use ledger::{Ledger, Reason, Refused, Verdict, Work};
pub use operation::Operation;
pub use settings::{Quotas, Tier};
