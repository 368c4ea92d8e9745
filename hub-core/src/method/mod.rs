//! Direct methods: a call, and its one end.
//!
//! A call is never stored, never queued beyond its connect timeout, and never dispatched twice. It
//! ends exactly once: with the device's answer, or with one of the errors of [`Correlator`].

mod abroad;
mod call;
mod correlator;

pub use self::abroad::{Abroad, Answered, Holder, Patient, absent};
pub use self::call::{Dispatched, MethodCall, MethodReply};
pub use self::correlator::{Correlator, Dispatch, Ended, Waits};
