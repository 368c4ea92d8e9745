//! Where an endpoint stands in the outbox, and which node works it off: one document per endpoint.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::courier::{EndpointStatus, FailureKind};
use crate::id::{NodeId, Partition, SequenceNumber};
use crate::store::{Key, Kind};
use crate::time::Timestamp;

/// Which node works an endpoint off, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenure {
    /// The node.
    pub node: NodeId,
    /// Until when no other takes its place, unless it is renewed.
    pub until: Timestamp,
}

/// Where an endpoint stands.
///
/// Every write of it is guarded by what was read, so a node that lost its tenure without knowing it
/// cannot move it any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Who works it off.
    pub tenure: Option<Tenure>,
    /// For each partition the entry of the outbox to be looked at next; zero where none ever was.
    pub positions: Vec<SequenceNumber>,
    /// How it fares.
    pub status: EndpointStatus,
    /// The last failure, and when it was.
    pub last_error: Option<(FailureKind, String, Timestamp)>,
    /// When it last took something.
    pub last_success: Option<Timestamp>,
    /// When something was last tried.
    pub last_attempt: Option<Timestamp>,
    /// Events that it took.
    pub delivered: u64,
    /// Events that it will never take, and that were dropped.
    pub invalid: u64,
    /// Entries of the outbox that were older than the log is kept before they were looked at.
    pub expired: u64,
}

const FORMAT: u8 = 1;

/// Longest message of a failure that is kept, in bytes.
const MESSAGE_MAX: usize = 512;

#[derive(Serialize, Deserialize)]
struct Body {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default)]
    until: u64,
    positions: Vec<u64>,
    status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<(String, String, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    success: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u64>,
    delivered: u64,
    invalid: u64,
    expired: u64,
}

impl Place {
    /// The key of an endpoint's document. No consumer group has a colon in its name.
    #[must_use]
    pub fn key(endpoint: &str) -> Key {
        Key::new(Kind::Cursor, &format!("endpoint:{}", endpoint.to_ascii_lowercase()))
    }

    /// The body of its document: JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let error = self.last_error.as_ref().map(|(kind, message, at)| {
            let cut = message.floor_char_boundary(MESSAGE_MAX);
            let message = message.get(..cut).unwrap_or_default().to_owned();
            (kind.name().to_owned(), message, at.as_millis())
        });
        let body = Body {
            v: FORMAT,
            node: self.tenure.as_ref().map(|tenure| tenure.node.as_str().to_owned()),
            until: self.tenure.as_ref().map_or(0, |tenure| tenure.until.as_millis()),
            positions: self.positions.iter().map(|position| position.0).collect(),
            status: self.status.name().to_owned(),
            error,
            success: self.last_success.map(Timestamp::as_millis),
            attempt: self.last_attempt.map(Timestamp::as_millis),
            delivered: self.delivered,
            invalid: self.invalid,
            expired: self.expired,
        };
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads the body of a document. `None` if it is of no known format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        let until = Timestamp::from_millis(body.until);
        let node = body.node.and_then(|node| NodeId::new(&node).ok());
        Some(Self {
            tenure: node.map(|node| Tenure { node, until }),
            positions: body.positions.into_iter().map(SequenceNumber).collect(),
            status: EndpointStatus::from_name(&body.status).unwrap_or_default(),
            last_error: body.error.and_then(|(kind, message, at)| {
                Some((FailureKind::from_name(&kind)?, message, Timestamp::from_millis(at)))
            }),
            last_success: body.success.map(Timestamp::from_millis),
            last_attempt: body.attempt.map(Timestamp::from_millis),
            delivered: body.delivered,
            invalid: body.invalid,
            expired: body.expired,
        })
    }

    /// Until when another node works it off; `None` if this one may. A node that comes back under
    /// its name goes on at once.
    #[must_use]
    pub fn taken_until(&self, node: &NodeId, now: Timestamp) -> Option<Timestamp> {
        let other = self.tenure.as_ref().filter(|tenure| tenure.node != *node)?;
        (other.until > now).then_some(other.until)
    }

    /// The entry to be looked at next in a partition.
    #[must_use]
    pub fn position(&self, partition: Partition) -> SequenceNumber {
        self.positions.get(usize::from(partition.0)).copied().unwrap_or_default()
    }

    /// Keeps that everything before `next` is done in a partition.
    pub fn advance(&mut self, partition: Partition, next: SequenceNumber) {
        let at = usize::from(partition.0);
        if self.positions.len() <= at {
            self.positions.resize(at + 1, SequenceNumber::default());
        }
        if let Some(position) = self.positions.get_mut(at) {
            *position = (*position).max(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    #[test]
    fn it_comes_back_from_its_document() {
        let mut place = Place {
            tenure: Some(Tenure { node: node("a"), until: Timestamp::from_millis(9) }),
            status: EndpointStatus::Unhealthy,
            last_error: Some((FailureKind::Timeout, "too late".into(), Timestamp::from_millis(3))),
            last_success: Some(Timestamp::from_millis(2)),
            delivered: 7,
            ..Place::default()
        };
        place.advance(Partition(2), SequenceNumber(5));
        assert_eq!(Place::decode(&place.encode()), Some(place.clone()));
        assert_eq!(Place::decode(&Place::default().encode()), Some(Place::default()));
        assert_eq!(Place::decode(b"{\"v\":2}"), None);
        place.last_error = Some((FailureKind::Timeout, "é".repeat(2000), Timestamp::ZERO));
        let (_, message, _) = Place::decode(&place.encode()).unwrap().last_error.unwrap();
        assert_eq!(message, "é".repeat(256));
    }

    #[test]
    fn positions_only_move_forward() {
        let mut place = Place::default();
        place.advance(Partition(1), SequenceNumber(5));
        place.advance(Partition(1), SequenceNumber(4));
        assert_eq!(place.position(Partition(1)), SequenceNumber(5));
        assert_eq!(place.position(Partition(0)), SequenceNumber(0));
        assert_eq!(place.position(Partition(9)), SequenceNumber(0));
    }

    #[test]
    fn another_node_waits_until_the_tenure_is_over() {
        let until = Timestamp::from_millis(100);
        let mut place = Place::default();
        assert_eq!(place.taken_until(&node("b"), Timestamp::ZERO), None);
        place.tenure = Some(Tenure { node: node("a"), until });
        assert_eq!(place.taken_until(&node("b"), Timestamp::from_millis(99)), Some(until));
        assert_eq!(place.taken_until(&node("b"), until), None);
        assert_eq!(place.taken_until(&node("a"), Timestamp::ZERO), None);
    }
}
