//! A message ends once: one change removes it, and at most one settlement of it is told as done.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::device::{Answer, Request};
use hub_core::frame::{Disposition, Inbound, LockToken, Outbound};
use hub_core::id::Tag;
use hub_core::store::QueueId;

use super::{Invariant, ensure};
use crate::fact::{Call, Conn, Fact, Moment, Step, Wish};

#[derive(Default)]
pub(crate) struct SettledOnce {
    gone: BTreeSet<(QueueId, u64)>,
    pushed: BTreeSet<(QueueId, u64)>,
    frames: BTreeMap<(Conn, Tag), (LockToken, Disposition)>,
    asked: BTreeMap<Call, (LockToken, Disposition)>,
    /// What somebody was told, by message: the claim that ended it.
    told: BTreeMap<u64, LockToken>,
}

impl SettledOnce {
    fn done(&mut self, token: LockToken, disposition: Disposition) -> Result<(), String> {
        if disposition == Disposition::Abandon {
            return Ok(());
        }
        let before = self.told.insert(token.sequence.0, token);
        ensure(before.is_none(), || format!("{before:?} and {token:?} both ended one message"))
    }
}

impl Invariant for SettledOnce {
    fn name(&self) -> &'static str {
        "a message is settled at most once"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Committed { steps, .. } => {
                for step in steps {
                    match step {
                        Step::Pushed { queue, sequence, .. } => {
                            let fresh = self.pushed.insert((queue.clone(), *sequence));
                            ensure(fresh, || format!("{sequence} was pushed twice to {queue:?}"))?;
                        }
                        Step::Settled { item, was } => {
                            let key = (item.queue().clone(), item.sequence().0);
                            let there = was.is_some() && self.gone.insert(key);
                            ensure(there, || format!("{item:?} was gone and was settled"))?;
                        }
                        Step::Cleared { queue, sequences } => {
                            let keys = sequences.iter().map(|n| (queue.clone(), *n));
                            self.gone.extend(keys);
                        }
                        _ => {}
                    }
                }
            }
            Fact::Frame { conn, inbound: Inbound::Settle(Some(tag), token, disposition) } => {
                self.frames.insert((*conn, *tag), (*token, *disposition));
            }
            Fact::Told { conn, outbound: Outbound::Receipt(tag) } => {
                if let Some((token, disposition)) = self.frames.remove(&(*conn, *tag)) {
                    self.done(token, disposition)?;
                }
            }
            Fact::Asked {
                call, wish: Wish::Request(Request::Settle(token, disposition)), ..
            } => {
                self.asked.insert(*call, (*token, *disposition));
            }
            Fact::Answered { call, answer: Answer::Done } => {
                if let Some((token, disposition)) = self.asked.remove(call) {
                    self.done(token, disposition)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
