//! Twins that wait for configurations to be applied.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::Address;
use crate::limits::Limits;
use crate::store::{Push, QueueId};
use crate::time::Timestamp;

/// A twin that waits for configurations to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Todo {
    /// Whose twin.
    pub twin: Address,
    /// The revision of the configurations by which it was found. Whoever knows only an earlier one
    /// leaves it to others.
    pub revision: u64,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u8,
    twin: String,
    revision: u64,
}

const FORMAT: u8 = 1;

impl Todo {
    /// A twin that was found.
    #[must_use]
    pub fn new(twin: Address, revision: u64) -> Self {
        Self { twin, revision }
    }

    /// The body of its queue item: JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let twin = self.twin.as_str().to_owned();
        let body = Body { v: FORMAT, twin, revision: self.revision };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads a body. `None` if it is none of this format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        Some(Self { twin: Address::parse(&body.twin).ok()?, revision: body.revision })
    }

    /// Puts it into the queue.
    #[must_use]
    pub fn push(&self, limits: &Limits) -> Push {
        Push {
            queue: QueueId::configure(),
            capacity: limits.configuration_backlog_max,
            visible: Timestamp::ZERO,
            deadline: Timestamp::MAX,
            body: self.encode(),
        }
    }
}
