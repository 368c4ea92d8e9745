//! One thing that a node tells another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::wire;
use crate::error::HubError;
use crate::id::{Address, CallId, Epoch, NodeId};
use crate::limits::Limits;
use crate::store::{Push, QueueId};
use crate::time::Timestamp;

/// Where the answer to a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The node that waits for it.
    pub to: NodeId,
    /// Which of its calls. One of an earlier run of the node is of nobody.
    pub call: CallId,
}

/// A direct method for a device whose connection another node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whose method.
    pub of: Address,
    /// Where the answer goes.
    pub reply: Reply,
    /// The method's name.
    pub name: Arc<str>,
    /// Its payload, JSON text.
    pub payload: Bytes,
    /// How long to wait for the answer, from the dispatch on.
    pub response_timeout: Duration,
    /// How long to wait for the device to listen, as long as it stays connected.
    pub connect_timeout: Duration,
}

/// How such a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replied {
    /// Whose method it was.
    pub of: Address,
    /// Whom the answer is for.
    pub reply: Reply,
    /// Status and payload, or why there is none.
    pub result: Result<(i32, Bytes), HubError>,
}

/// Why a connection has to end that its own identity does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The device of this module was disabled.
    Disabled,
}

/// One connection of all that ever were. The epochs of an identity that was deleted and made anew
/// begin again, so the epoch alone does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The generation of the identity.
    pub generation: u64,
    /// The epoch.
    pub epoch: Epoch,
}

/// One thing that a node tells another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Post {
    /// Its identity or its session was changed: look at whether the connection may stay.
    Changed(Address),
    /// A message may be in its mailbox.
    Mail(Address),
    /// Its desired properties were written during this connection: their version, and the patch as
    /// JSON text. It is for no later connection, which may have read them since.
    Desired(Address, Connection, u64, Bytes),
    /// Its connection has to end.
    Expelled(Address, Gone),
    /// Call a direct method.
    Call(Box<Asked>),
    /// The end of a call.
    Answer(Box<Replied>),
}

impl Post {
    /// Whom it is about.
    #[must_use]
    pub fn of(&self) -> &Address {
        match self {
            Self::Changed(of) | Self::Mail(of) | Self::Desired(of, ..) | Self::Expelled(of, _) => {
                of
            }
            Self::Call(asked) => &asked.of,
            Self::Answer(replied) => &replied.of,
        }
    }

    /// The push that brings it to a node. A call is void after [`Limits::remote_dispatch_timeout`],
    /// everything else after [`Limits::inbox_ttl`].
    #[must_use]
    pub fn push(&self, to: &NodeId, now: Timestamp, limits: &Limits) -> Push {
        let life = match self {
            Self::Call(_) => limits.remote_dispatch_timeout,
            _ => limits.inbox_ttl,
        };
        Push {
            queue: QueueId::inbox(to),
            capacity: limits.inbox_depth_max,
            // At once by every clock: that of the other node may be behind.
            visible: Timestamp::ZERO,
            deadline: now.after(life),
            body: wire::encode(self),
        }
    }

    /// Reads the body of an item. `None` if it is of no known form.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        wire::decode(body)
    }
}
