//! Nothing that was accepted is lost: a message leaves its queue for a reason, and a patch of a twin
//! changes what it says and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::device::Request;
use hub_core::frame::{Disposition, Inbound, LockToken};
use hub_core::id::Address;
use hub_core::store::{Kind, Marks, QueueId, QueueKind, Version};
use hub_core::time::Timestamp;
use hub_core::twin::{Section, Twin};
use serde_json::Value;

use super::durable::value_of;
use super::{Invariant, ensure};
use crate::fact::{Fact, Moment, SKEW_MAX, Shadowed, Step, Wish};
use crate::world::World;

#[derive(Default)]
pub(crate) struct NothingLost {
    /// What somebody asked to do with a claim.
    asked: BTreeSet<(u64, Version, u8)>,
    /// Queues that somebody asked to purge: a purge takes what it finds while it lasts.
    purged: BTreeSet<String>,
    reports: BTreeSet<u64>,
}

impl NothingLost {
    fn wants(&mut self, token: &LockToken, disposition: Disposition) {
        self.asked.insert((token.sequence.0, token.version, disposition as u8));
    }

    /// Why a message may leave its queue.
    fn justified(
        &self,
        moment: &Moment<'_>,
        id: &str,
        number: u64,
        was: &Shadowed,
    ) -> Result<(), String> {
        let asked = |d: Disposition| self.asked.contains(&(number, was.version, d as u8));
        let count = was.marks.as_bytes().first().copied().unwrap_or(0);
        let most = moment.limits.c2d_delivery_count_max;
        let latest = moment.now.as_millis() + SKEW_MAX;
        let why = asked(Disposition::Complete)
            || asked(Disposition::Reject)
            || (asked(Disposition::Abandon) && count + 1 >= most)
            || was.deadline <= Timestamp::from_millis(latest)
            || self.purged.contains(id);
        ensure(why, || format!("message {number} of {id} was removed for no reason: {was:?}"))
    }

    fn twin(&self, was: &Twin, is: &Twin) -> Result<(), String> {
        let (before, after) = (members(was.reported()), members(is.reported()));
        let changed: Vec<_> = after
            .iter()
            .filter(|(key, value)| before.get(*key) != Some(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let lost = before.keys().find(|key| !after.contains_key(*key));
        ensure(lost.is_none() && changed.len() <= 1, || {
            format!("one report turned {before:?} into {after:?}")
        })?;
        let known = |value: &Value| value.as_u64().is_some_and(|v| self.reports.contains(&v));
        let foreign = changed.iter().find(|(_, value)| !known(value));
        ensure(foreign.is_none(), || format!("nobody reported {foreign:?}"))
    }
}

fn members(section: &Section) -> BTreeMap<String, Value> {
    section.to_value().as_object().cloned().unwrap_or_default().into_iter().collect()
}

impl Invariant for NothingLost {
    fn name(&self) -> &'static str {
        "nothing accepted is lost"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Frame { inbound: Inbound::Settle(_, token, disposition), .. } => {
                self.wants(token, *disposition);
            }
            Fact::Frame { inbound: Inbound::Report(_, patch, _), .. } => {
                self.reports.extend(value_of(patch));
            }
            Fact::Asked { address, wish: Wish::Request(request), .. } => match request {
                Request::Settle(token, disposition) => self.wants(token, *disposition),
                Request::Purge => {
                    self.purged.insert(address.to_string());
                }
                _ => {}
            },
            Fact::Committed { steps, .. } => {
                for step in steps {
                    match step {
                        Step::Settled { item, was: Some(was) }
                            if item.queue().kind == QueueKind::Mailbox =>
                        {
                            let number = item.sequence().0;
                            self.justified(moment, &item.queue().id, number, was)?;
                        }
                        Step::Retimed { item, was: Some(was), marks } => {
                            let count = |marks: &Marks| marks.as_bytes().first().copied();
                            let (before, after) = (count(&was.marks), count(marks));
                            let (before, after) =
                                (before.unwrap_or_default(), after.unwrap_or_default());
                            let right = after == before || after == before + 1;
                            ensure(right, || format!("{item:?}: {before} became {after}"))?;
                        }
                        Step::Wrote { key, was: Some((_, was)), body, .. }
                            if key.kind == Kind::Twin =>
                        {
                            if let (Ok(was), Ok(is)) = (Twin::decode(was), Twin::decode(body)) {
                                self.twin(&was, &is)?;
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, world: &World) -> Result<(), String> {
        for client in &world.clients {
            let queue = QueueId::mailbox(&client.address);
            ensure(world.store.agrees(&queue), || format!("the store lost items of {queue:?}"))?;
            let address: &Address = &client.address;
            let pending = QueueId::feedback_pending(&address.device_id());
            ensure(world.store.agrees(&pending), || format!("the store lost {pending:?}"))?;
        }
        Ok(())
    }
}
