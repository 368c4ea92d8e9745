//! Every call ends exactly once, with its own answer; a method is handed to a device at most once, and
//! never if its caller was told so.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hub_core::device::{Answer, Request};
use hub_core::error::ErrorKind;
use hub_core::frame::Outbound;
use hub_core::id::Address;

use super::{Invariant, ensure};
use crate::fact::{Call, Fact, Moment, Wish};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Calls {
    /// Open calls, with the node they were put to and what they asked for.
    open: BTreeMap<Call, (usize, Address, Wish)>,
    ended: BTreeSet<Call>,
    payloads: BTreeMap<Call, Bytes>,
    dispatched: BTreeSet<Bytes>,
    /// Whose callers were told that they were not.
    withheld: BTreeSet<Bytes>,
}

impl Invariant for Calls {
    fn name(&self) -> &'static str {
        "each call ends exactly once"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Asked { call, node, address, wish } => {
                if let Wish::Request(Request::Invoke(method)) = wish {
                    // Its payload is no public field; the text of the whole names it.
                    let text = format!("{method:?}");
                    self.payloads.insert(*call, payload_in(&text));
                }
                self.open.insert(*call, (*node, address.clone(), wish.clone()));
            }
            Fact::Answered { call, answer } => {
                ensure(self.ended.insert(*call), || {
                    format!("call {call} ended again: {answer:?}")
                })?;
                self.open.remove(call);
                if let (Answer::Failed(error), Some(asked)) = (answer, self.payloads.get(call))
                    && error.kind() == ErrorKind::DeviceNotOnline
                {
                    let sent = self.dispatched.contains(asked);
                    ensure(!sent, || format!("{asked:?} was dispatched, and its caller told not"))?;
                    self.withheld.insert(asked.clone());
                }
                if let (Answer::Method(reply), Some(asked)) = (answer, self.payloads.get(call)) {
                    ensure(reply.payload == asked, || {
                        format!("call {call} asked {asked:?} and got {:?}", reply.payload)
                    })?;
                }
            }
            Fact::Cancelled { call } => {
                self.open.remove(call);
            }
            Fact::Crashed { node } => self.open.retain(|_, (at, ..)| at != node),
            Fact::Told { outbound: Outbound::Call(_, _, payload), .. } => {
                let fresh = self.dispatched.insert(payload.clone());
                ensure(fresh, || format!("{payload:?} was dispatched twice"))?;
                let withheld = self.withheld.contains(payload);
                ensure(!withheld, || format!("{payload:?} was dispatched after all"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, _: &World) -> Result<(), String> {
        let open = self.open.first_key_value();
        ensure(open.is_none(), || format!("a call has no end: {open:?}"))
    }
}

fn payload_in(debug: &str) -> Bytes {
    let start = debug.find("{\\\"value").unwrap_or(0);
    let end = debug[start..].find('}').map_or(debug.len(), |end| start + end + 1);
    debug[start..end].replace('\\', "").into_bytes().into()
}
