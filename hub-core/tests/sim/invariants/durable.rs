//! Nothing is acknowledged, to a device or to a caller, before the store has committed it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hub_core::device::{Answer, Request};
use hub_core::frame::{Disposition, Inbound, LockToken, Outbound};
use hub_core::id::Tag;
use hub_core::session::Session;
use hub_core::store::{Kind, QueueKind, Version};
use hub_core::twin::Twin;

use super::{Invariant, ensure};
use crate::fact::{Call, Conn, Fact, Moment, Step, Wish};

#[derive(Default)]
pub(crate) struct Durable {
    /// Frames without an answer; a link may repeat one.
    frames: BTreeMap<(Conn, Tag), Vec<Inbound>>,
    asked: BTreeMap<Call, Wish>,
    /// Bodies in the log.
    events: BTreeSet<Bytes>,
    /// Messages in queues that were committed, by queue and number.
    pushed: BTreeSet<(String, u64)>,
    /// Removed, or given back, by the version of the claim.
    ended: BTreeSet<(u64, Version)>,
    given_back: BTreeSet<(u64, Version)>,
    /// Values that reports have written.
    reported: BTreeSet<u64>,
    /// Versions of twins that were written, as texts of the whole.
    twins: BTreeSet<Bytes>,
    sessions: BTreeSet<(u64, bool)>,
}

impl Durable {
    fn settled(&self, token: &LockToken, disposition: Disposition) -> Result<(), String> {
        let claim = (token.sequence.0, token.version);
        let done = self.ended.contains(&claim)
            || (disposition == Disposition::Abandon && self.given_back.contains(&claim));
        ensure(done, || format!("{token:?} is acknowledged as {disposition:?} and is not"))
    }

    fn take(&mut self, conn: Conn, tag: Tag) -> Option<Inbound> {
        self.frames.get_mut(&(conn, tag))?.pop()
    }

    fn receipt(&mut self, conn: Conn, tag: Tag) -> Result<(), String> {
        let Some(frame) = self.take(conn, tag) else {
            return Err(format!("connection {conn} is answered {tag:?} and asked nothing so"));
        };
        match frame {
            Inbound::Telemetry(_, entries) => {
                let missing = entries.iter().find(|body| !self.events.contains(body));
                ensure(missing.is_none(), || format!("{missing:?} is not in the log"))
            }
            Inbound::Settle(_, token, disposition) => self.settled(&token, disposition),
            Inbound::Report(_, patch, _) => match value_of(&patch) {
                Some(value) => ensure(self.reported.contains(&value), || {
                    format!("the report {patch:?} is acknowledged and not written")
                }),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn answered(&mut self, call: Call, answer: &Answer) -> Result<(), String> {
        match (self.asked.get(&call), answer) {
            (Some(Wish::Request(Request::Settle(token, disposition))), Answer::Done) => {
                self.settled(token, *disposition)
            }
            (_, Answer::Sent(sent)) => {
                let there = self.pushed.iter().any(|(_, number)| *number == sent.sequence.0);
                ensure(there, || format!("message {} is not in its queue", sent.sequence))
            }
            (_, Answer::Twin(twin)) => ensure(self.twins.contains(&twin.encode()), || {
                format!("a twin of version {} was never stored", twin.version())
            }),
            (Some(Wish::Connect { .. }), Answer::Welcome(welcome)) => {
                let there = self.sessions.contains(&(welcome.epoch.0, true));
                ensure(there, || format!("no session of epoch {:?} was stored", welcome.epoch))
            }
            _ => Ok(()),
        }
    }
}

/// The number by which a patch of the simulation is recognised.
pub(super) fn value_of(patch: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(patch).ok()?;
    value.as_object()?.iter().find(|(key, _)| !key.starts_with('$'))?.1.as_u64()
}

impl Invariant for Durable {
    fn name(&self) -> &'static str {
        "nothing is acknowledged before it is durable"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Committed { steps, .. } => {
                for step in steps {
                    self.committed(step);
                }
                Ok(())
            }
            Fact::Frame { conn, inbound } => {
                let tag = match inbound {
                    Inbound::Telemetry(tag, _)
                    | Inbound::Report(tag, ..)
                    | Inbound::GetTwin(tag)
                    | Inbound::Subscribe(tag, _)
                    | Inbound::Unsubscribe(tag, _)
                    | Inbound::Settle(Some(tag), ..) => *tag,
                    Inbound::Settle(None, ..) | Inbound::Reply(..) | Inbound::Heard(_) => {
                        return Ok(());
                    }
                };
                self.frames.entry((*conn, tag)).or_default().push(inbound.clone());
                Ok(())
            }
            Fact::Told { conn, outbound } => match outbound {
                Outbound::Receipt(tag) | Outbound::Reported(tag, _) => self.receipt(*conn, *tag),
                Outbound::Refused(tag, _) | Outbound::Twin(tag, _) => {
                    let known = self.take(*conn, *tag).is_some();
                    ensure(known, || format!("connection {conn} is answered {tag:?} twice"))
                }
                _ => Ok(()),
            },
            Fact::Asked { call, wish, .. } => {
                self.asked.insert(*call, wish.clone());
                Ok(())
            }
            Fact::Answered { call, answer } => self.answered(*call, answer),
            _ => Ok(()),
        }
    }
}

impl Durable {
    fn committed(&mut self, step: &Step) {
        match step {
            Step::Appended { bodies, .. } => self.events.extend(bodies.iter().cloned()),
            Step::Pushed { queue, sequence, .. } if queue.kind == QueueKind::Mailbox => {
                self.pushed.insert((queue.id.to_string(), *sequence));
            }
            Step::Settled { item, .. } => {
                self.ended.insert((item.sequence().0, item.version()));
            }
            Step::Retimed { item, .. } => {
                self.given_back.insert((item.sequence().0, item.version()));
            }
            Step::Wrote { key, body, .. } if key.kind == Kind::Twin => {
                if let Ok(twin) = Twin::decode(body) {
                    let members = twin.reported().to_value();
                    let members = members.as_object().cloned().unwrap_or_default();
                    self.reported.extend(members.values().filter_map(serde_json::Value::as_u64));
                }
                self.twins.insert(body.clone());
            }
            Step::Wrote { key, body, .. } if key.kind == Kind::Session => {
                if let Some(session) = Session::decode(body) {
                    self.sessions.insert((session.epoch.0, session.node.is_some()));
                }
            }
            _ => {}
        }
    }
}
