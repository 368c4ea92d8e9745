//! Where an identity is connected, and what outlives its connections.
//!
//! A session document per identity names the node that holds the connection and its epoch. Every
//! connect writes it, guarded by what was read, with the epoch one higher; so at most one epoch is
//! live, and whoever finds a higher one than its own has been taken over.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::frame::Subscriptions;
use crate::hello::SessionMode;
use crate::id::{Epoch, NodeId};
use crate::time::Timestamp;

/// The session of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// The node that holds the connection; `None` while disconnected.
    pub node: Option<NodeId>,
    /// The latest connection's epoch.
    pub epoch: Epoch,
    /// When `node` last changed between some and none.
    pub since: Timestamp,
    /// When the device last did something that the hub wrote down.
    pub active: Timestamp,
    /// Whether subscriptions are kept between connections.
    pub stored: bool,
    /// What the session is subscribed to.
    pub subscriptions: Subscriptions,
    /// The model the latest connection announced.
    pub model: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    epoch: u64,
    since: u64,
    active: u64,
    stored: bool,
    subscriptions: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
}

const FORMAT: u8 = 1;

impl Session {
    /// The body of its document: JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let body = Body {
            v: FORMAT,
            node: self.node.as_ref().map(|node| node.as_str().to_owned()),
            epoch: self.epoch.0,
            since: self.since.as_millis(),
            active: self.active.as_millis(),
            stored: self.stored,
            subscriptions: self.subscriptions.to_bits(),
            model: self.model.clone(),
        };
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads the body of a document. `None` if it is of no known format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        Some(Self {
            node: body.node.and_then(|node| NodeId::new(&node).ok()),
            epoch: Epoch(body.epoch),
            since: Timestamp::from_millis(body.since),
            active: Timestamp::from_millis(body.active),
            stored: body.stored,
            subscriptions: Subscriptions::from_bits(body.subscriptions),
            model: body.model,
        })
    }

    /// The session after a connect on `node`. A persistent connect finds what a persistent one left;
    /// a clean one drops it.
    #[must_use]
    pub fn connected(
        &self,
        node: &NodeId,
        mode: SessionMode,
        model: Option<String>,
        now: Timestamp,
    ) -> Self {
        let stored = mode == SessionMode::Persistent;
        Self {
            node: Some(node.clone()),
            epoch: self.epoch.next(),
            since: now,
            active: now,
            stored,
            subscriptions: if stored && self.stored {
                self.subscriptions
            } else {
                Subscriptions::NONE
            },
            model: model.or_else(|| self.model.clone()),
        }
    }

    /// The session after its connection ended.
    #[must_use]
    pub fn disconnected(&self, now: Timestamp) -> Self {
        Self {
            node: None,
            since: now,
            active: now,
            subscriptions: if self.stored { self.subscriptions } else { Subscriptions::NONE },
            ..self.clone()
        }
    }

    /// The node that holds the connection, if it is not this one.
    #[must_use]
    pub fn elsewhere(&self, here: &NodeId) -> Option<&NodeId> {
        self.node.as_ref().filter(|node| *node != here)
    }

    /// Whether it is connected somewhere.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.node.is_some()
    }

    /// The word for whether it is connected.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        if self.is_connected() { "Connected" } else { "Disconnected" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Guarantee, Interest};

    const NOW: Timestamp = Timestamp::from_millis(7);

    fn node() -> NodeId {
        NodeId::new("n1").unwrap()
    }

    #[test]
    fn subscriptions_survive_between_persistent_connects_only() {
        let mut s = Session::default().connected(&node(), SessionMode::Persistent, None, NOW);
        assert_eq!((s.epoch, s.stored), (Epoch(1), true));
        s.subscriptions = s.subscriptions.with(Interest::Methods, Guarantee::AtMostOnce);
        let kept = s.disconnected(NOW).connected(&node(), SessionMode::Persistent, None, NOW);
        assert!(kept.subscriptions.has(Interest::Methods));
        let clean = kept.connected(&node(), SessionMode::Clean, None, NOW);
        assert!(clean.subscriptions.is_empty() && !clean.stored);
        let after = clean.disconnected(NOW).connected(&node(), SessionMode::Persistent, None, NOW);
        assert!(after.subscriptions.is_empty());
        assert_eq!(after.epoch, Epoch(4));
    }

    #[test]
    fn it_comes_back_from_its_document() {
        let session =
            Session::default().connected(&node(), SessionMode::Clean, Some("dtmi:x;1".into()), NOW);
        assert_eq!(Session::decode(&session.encode()), Some(session));
        assert_eq!(Session::decode(b"{\"v\":2}"), None);
    }
}
