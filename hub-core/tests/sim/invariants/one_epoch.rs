//! At most one connection of an identity is live by the store, and an older one changes neither its
//! session nor its twin.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::device::Answer;
use hub_core::frame::Inbound;
use hub_core::id::NodeId;
use hub_core::session::Session;
use hub_core::store::Kind;
use hub_core::twin::Twin;

use super::durable::value_of;
use super::{Invariant, ensure};
use crate::fact::{Call, Conn, Fact, Moment, Step, Wish};

#[derive(Default)]
pub(crate) struct OneEpoch {
    nodes: BTreeMap<usize, NodeId>,
    connects: BTreeMap<Call, (Conn, usize)>,
    /// Epoch and node of every connection that was welcomed.
    epochs: BTreeMap<Conn, (u64, usize)>,
    /// Whose report wrote a value.
    reports: BTreeMap<u64, Conn>,
    sessions: BTreeMap<String, Session>,
    /// Nodes that another one holds for dead. One that lives says so, and is not among them.
    dead: BTreeSet<NodeId>,
}

impl OneEpoch {
    fn session(&mut self, node: usize, id: &str, is: Session) -> Result<(), String> {
        let was = self.sessions.insert(id.to_owned(), is.clone()).unwrap_or_default();
        let here = self.nodes.get(&node);
        let connect = is.epoch == was.epoch.next() && is.node.as_ref() == here;
        let same = is.epoch == was.epoch && was.node.as_ref() == here;
        let dead = was.node.as_ref().is_some_and(|node| self.dead.contains(node));
        let repair = is.epoch == was.epoch && dead && is.node.is_none();
        ensure(connect || same || repair, || format!("{here:?} turned {was:?} into {is:?}"))
    }

    fn report(&self, id: &str, value: u64) -> Result<(), String> {
        let Some((epoch, node)) =
            self.reports.get(&value).and_then(|conn| self.epochs.get(conn)).copied()
        else {
            return Err(format!("{value} was reported by no connection that was welcomed"));
        };
        let session = self.sessions.get(id);
        let live = session.is_some_and(|session| {
            session.epoch.0 == epoch && session.node.as_ref() == self.nodes.get(&node)
        });
        ensure(live, || {
            format!("{value} was reported in epoch {epoch} on node {node} under {session:?}")
        })
    }
}

impl Invariant for OneEpoch {
    fn name(&self) -> &'static str {
        "one epoch is live, and an older link changes nothing"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Started { node, id } => {
                self.nodes.insert(*node, id.clone());
            }
            Fact::Asked { call, node, wish: Wish::Connect { conn, .. }, .. } => {
                self.connects.insert(*call, (*conn, *node));
            }
            Fact::Answered { call, answer: Answer::Welcome(welcome) } => {
                if let Some((conn, node)) = self.connects.get(call) {
                    self.epochs.insert(*conn, (welcome.epoch.0, *node));
                }
            }
            Fact::Frame { conn, inbound: Inbound::Report(_, patch, _) } => {
                if let Some(value) = value_of(patch) {
                    self.reports.insert(value, *conn);
                }
            }
            Fact::Committed { node, steps } => {
                for step in steps {
                    match step {
                        Step::Wrote { key, .. } if key.kind == Kind::Node => {
                            let id = NodeId::new(&key.id).map_err(|error| error.to_string())?;
                            let own = self.nodes.get(node) == Some(&id);
                            if own {
                                self.dead.remove(&id)
                            } else {
                                self.dead.insert(id)
                            };
                        }
                        Step::Wrote { key, body, .. } if key.kind == Kind::Session => {
                            let session = Session::decode(body).ok_or("not a session")?;
                            self.session(*node, &key.id, session)?;
                        }
                        Step::Removed { key, .. } if key.kind == Kind::Session => {
                            self.sessions.remove(&*key.id);
                        }
                        Step::Wrote { key, was: Some((_, was)), body, .. }
                            if key.kind == Kind::Twin =>
                        {
                            let was = Twin::decode(was).map_err(|error| error.to_string())?;
                            let is = Twin::decode(body).map_err(|error| error.to_string())?;
                            let (was, is) = (was.reported().to_value(), is.reported().to_value());
                            let news = is.as_object().into_iter().flatten();
                            for (key_, value) in news.filter(|(k, v)| was.get(*k) != Some(*v)) {
                                let value = value.as_u64().ok_or_else(|| format!("{key_}?"))?;
                                self.report(&key.id, value)?;
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
}
