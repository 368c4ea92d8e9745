//! Telling senders what became of their messages.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::MessageOutcome;
use crate::envelope::Ack;
use crate::id::Address;
use crate::limits::Limits;
use crate::store::{Change, Item, Push, QueueId};
use crate::time::Timestamp;

/// The word for an outcome in a feedback record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FeedbackStatus {
    /// Completed.
    Success,
    /// Expired.
    Expired,
    /// Given back too often.
    DeliveryCountExceeded,
    /// Rejected by the device.
    Rejected,
    /// Purged from the queue.
    Purged,
}

impl FeedbackStatus {
    /// The wire's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Expired => "Expired",
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::Rejected => "Rejected",
            Self::Purged => "Purged",
        }
    }
}

impl From<MessageOutcome> for FeedbackStatus {
    fn from(outcome: MessageOutcome) -> Self {
        match outcome {
            MessageOutcome::Completed => Self::Success,
            MessageOutcome::Rejected => Self::Rejected,
            MessageOutcome::Expired => Self::Expired,
            MessageOutcome::DeliveryCountExceeded => Self::DeliveryCountExceeded,
            MessageOutcome::Purged => Self::Purged,
        }
    }
}

/// What is needed of a message to tell its sender later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedbackSeed {
    pub(crate) ack: Ack,
    pub(crate) message_id: String,
    pub(crate) generation: u64,
}

impl FeedbackSeed {
    pub(crate) fn wants(&self, outcome: MessageOutcome) -> bool {
        match self.ack {
            Ack::None => false,
            Ack::Positive => !outcome.is_dead(),
            Ack::Negative => outcome.is_dead(),
            Ack::Full => true,
        }
    }
}

/// One line of feedback: the end of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackRecord {
    /// The id its sender gave the message; empty if it gave none.
    pub message_id: String,
    /// How it ended.
    pub status: FeedbackStatus,
    /// When it ended.
    pub at: Timestamp,
    /// Whose message it was.
    pub target: Address,
    /// The generation id of that identity.
    pub generation: u64,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    m: std::borrow::Cow<'a, str>,
    s: FeedbackStatus,
    t: u64,
    a: std::borrow::Cow<'a, str>,
    g: u64,
}

impl FeedbackRecord {
    /// The body of its queue item: one line of JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let line = Line {
            m: self.message_id.as_str().into(),
            s: self.status,
            t: self.at.as_millis(),
            a: self.target.as_str().into(),
            g: self.generation,
        };
        serde_json::to_vec(&line).unwrap_or_default().into()
    }

    /// Reads one line. `None` if it is not of that form.
    #[must_use]
    pub fn decode(line: &[u8]) -> Option<Self> {
        let line: Line<'_> = serde_json::from_slice(line).ok()?;
        Some(Self {
            message_id: line.m.into_owned(),
            status: line.s,
            at: Timestamp::from_millis(line.t),
            target: Address::parse(&line.a).ok()?,
            generation: line.g,
        })
    }

    /// Reads a batch: a line each.
    #[must_use]
    pub fn decode_batch(body: &[u8]) -> Vec<Self> {
        body.split(|byte| *byte == b'\n').filter_map(Self::decode).collect()
    }
}

/// Gathers records into batches: when enough are pending, or some time after the last batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitter {
    last: Timestamp,
    pending: u32,
}

impl Emitter {
    /// An emitter that starts its first interval now.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { last: now, pending: 0 }
    }

    /// A record was made on this node.
    pub fn noticed(&mut self) {
        self.pending = self.pending.saturating_add(1);
    }

    /// How many records to claim now; zero is not yet.
    #[must_use]
    pub fn due(&self, now: Timestamp, limits: &Limits) -> u32 {
        let full = self.pending >= limits.feedback_batch_max;
        let old = now >= self.last.after(limits.feedback_batch_age);
        if full || old { limits.feedback_batch_max } else { 0 }
    }

    /// Turns claimed records into the change that makes a batch of them. Nothing if there are none.
    #[must_use]
    pub fn emit(&mut self, items: &[Item], now: Timestamp, limits: &Limits) -> Option<Change> {
        self.last = now;
        let taken = u32::try_from(items.len()).unwrap_or(u32::MAX);
        self.pending = self.pending.saturating_sub(taken.max(1));
        if items.is_empty() {
            self.pending = 0;
            return None;
        }
        let mut body = Vec::new();
        let mut change = Change::new();
        for item in items {
            change = change.settle(&item.at);
            if !body.is_empty() {
                body.push(b'\n');
            }
            body.extend_from_slice(&item.body);
        }
        Some(change.push(Push {
            queue: QueueId::feedback(),
            capacity: limits.feedback_depth_max,
            visible: now,
            deadline: now.after(limits.feedback_ttl),
            body: body.into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SequenceNumber;
    use crate::store::{ItemRef, Marks, Op, Version};
    use std::time::Duration;

    fn record(id: &str) -> FeedbackRecord {
        FeedbackRecord {
            message_id: id.into(),
            status: FeedbackStatus::Success,
            at: Timestamp::from_millis(5),
            target: Address::parse("d1").unwrap(),
            generation: 637,
        }
    }

    fn item(n: u64) -> Item {
        let queue = QueueId::feedback_pending(&Address::parse("d1").unwrap().device_id());
        Item {
            at: ItemRef::new(queue, SequenceNumber(n), Version(n)),
            visible: Timestamp::ZERO,
            deadline: Timestamp::MAX,
            claims: 1,
            marks: Marks::default(),
            body: record(&format!("m{n}")).encode(),
        }
    }

    #[test]
    fn b07_feedback_is_batched_by_number_or_age() {
        let limits = Limits::default();
        let start = Timestamp::from_millis(1000);
        let mut emitter = Emitter::new(start);
        assert_eq!(emitter.due(start.after(Duration::from_secs(14)), &limits), 0);
        assert_eq!(emitter.due(start.after(Duration::from_secs(15)), &limits), 64);
        for _ in 0..63 {
            emitter.noticed();
        }
        assert_eq!(emitter.due(start, &limits), 0);
        emitter.noticed();
        assert_eq!(emitter.due(start, &limits), 64);
        let change = emitter.emit(&[item(1), item(2)], start, &limits).unwrap();
        assert_eq!(change.ops().len(), 3);
        let Some(Op::Push(push)) = change.ops().last() else { panic!("no batch") };
        let ids: Vec<_> =
            FeedbackRecord::decode_batch(&push.body).into_iter().map(|r| r.message_id).collect();
        assert_eq!(ids, ["m1", "m2"]);
        assert_eq!(emitter.emit(&[], start, &limits), None);
    }

    #[test]
    fn a_record_comes_back() {
        assert_eq!(FeedbackRecord::decode(&record("a\"b\n").encode()), Some(record("a\"b\n")));
        assert_eq!(FeedbackRecord::decode(b"{}"), None);
    }
}
