//! The document of a node.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It runs, and says so again before [`Member::expires`].
    #[serde(rename = "live")]
    Live,
    /// It did not say so again. Another node repairs what it left, until [`Member::expires`].
    #[serde(rename = "lost")]
    Lost,
}

/// A node, as its document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Tells one run of a node from the next: drawn when it starts.
    pub run: u64,
    /// How it stands.
    pub standing: Standing,
    /// Since when it runs.
    pub since: Timestamp,
    /// From when on this is not to be believed any more, by the clock of whoever wrote it.
    pub expires: Timestamp,
    /// Partitions of the log. All nodes of a hub must agree on them.
    pub partitions: u16,
    /// How many connections it held when it wrote this.
    pub connections: u64,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u8,
    run: String,
    standing: Standing,
    since: u64,
    expires: u64,
    partitions: u16,
    connections: u64,
}

const FORMAT: u8 = 1;

impl Member {
    /// The body of its document: JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let body = Body {
            v: FORMAT,
            // As text: a JSON number of 64 bits is not the same to every reader.
            run: format!("{:016x}", self.run),
            standing: self.standing,
            since: self.since.as_millis(),
            expires: self.expires.as_millis(),
            partitions: self.partitions,
            connections: self.connections,
        };
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads the body of a document. `None` if it is of no known format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        Some(Self {
            run: u64::from_str_radix(&body.run, 16).ok()?,
            standing: body.standing,
            since: Timestamp::from_millis(body.since),
            expires: Timestamp::from_millis(body.expires),
            partitions: body.partitions,
            connections: body.connections,
        })
    }

    /// Whether it runs, as far as this document can tell.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.standing == Standing::Live && now < self.expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_from_its_document() {
        let member = Member {
            run: u64::MAX - 1,
            standing: Standing::Lost,
            since: Timestamp::from_millis(1),
            expires: Timestamp::from_millis(2),
            partitions: 4,
            connections: 9,
        };
        assert_eq!(Member::decode(&member.encode()), Some(member));
        assert_eq!(Member::decode(b"{}"), None);
    }
}
