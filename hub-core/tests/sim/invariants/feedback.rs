//! The sender learns how a message ended if and only if it asked for it: one record in the change
//! that ends the message, and that record at least once in a batch.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::delivery::{FeedbackRecord, FeedbackStatus};
use hub_core::envelope::{Ack, Stored, SystemProperty};
use hub_core::store::{QueueId, QueueKind};

use super::{Invariant, ensure};
use crate::fact::{Fact, Moment, Step};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Feedback {
    /// Records that wait for their batch, and those made of them that nobody received.
    pending: BTreeMap<(QueueId, u64), String>,
    made: BTreeSet<String>,
    received: BTreeSet<String>,
    depth: BTreeMap<String, u32>,
    capacity: u32,
}

impl Feedback {
    fn committed(&mut self, steps: &[Step]) -> Result<(), String> {
        let mut ends = Vec::new();
        let mut records = Vec::new();
        for step in steps {
            match step {
                Step::Settled { item, was: Some(was) }
                    if item.queue().kind == QueueKind::Mailbox =>
                {
                    let stored = Stored::decode(was.body.clone()).ok_or("not a message")?;
                    let id = stored.properties.system(SystemProperty::MessageId);
                    ends.push((id.unwrap_or_default().to_owned(), stored.ack));
                }
                Step::Pushed { queue, sequence, item, .. }
                    if queue.kind == QueueKind::FeedbackPending =>
                {
                    let record = FeedbackRecord::decode(&item.body).ok_or("not a record")?;
                    self.pending.insert((queue.clone(), *sequence), record.message_id.clone());
                    *self.depth.entry(queue.id.to_string()).or_default() += 1;
                    records.push((record.message_id, record.status));
                }
                Step::Settled { item, .. } if item.queue().kind == QueueKind::FeedbackPending => {
                    let key = (item.queue().clone(), item.sequence().0);
                    self.made.extend(self.pending.remove(&key));
                    *self.depth.entry(item.queue().id.to_string()).or_default() -= 1;
                }
                Step::Cleared { queue, .. } if queue.kind == QueueKind::FeedbackPending => {
                    self.pending.retain(|(of, _), _| of != queue);
                    self.depth.insert(queue.id.to_string(), 0);
                }
                _ => {}
            }
        }
        for (id, ack) in &ends {
            let told = records.iter().position(|(record, _)| record == id);
            let status = told.map(|at| records.remove(at).1);
            let fits = match (ack, status) {
                (Ack::None, None) | (Ack::Full, Some(_)) => true,
                (Ack::Positive, Some(status)) => status == FeedbackStatus::Success,
                (Ack::Negative, Some(status)) => status != FeedbackStatus::Success,
                (Ack::None, Some(_)) => false,
                // How it ended is not in the change without a record.
                (Ack::Positive | Ack::Negative, None) => true,
                (Ack::Full, None) => self.is_crowded(steps),
            };
            ensure(fits, || format!("{id} asked for {ack:?} and got {status:?}"))?;
        }
        ensure(records.is_empty(), || format!("{records:?} are records of no message"))
    }

    /// Without room for a record the message goes all the same.
    fn is_crowded(&self, steps: &[Step]) -> bool {
        let ends = steps.iter().filter(|step| matches!(step, Step::Settled { .. })).count();
        let most = self.depth.values().max().copied().unwrap_or(0);
        most + u32::try_from(ends).unwrap_or(u32::MAX) > self.capacity
    }
}

impl Invariant for Feedback {
    fn name(&self) -> &'static str {
        "feedback exactly for what was asked, at least once"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        self.capacity = moment.limits.feedback_depth_max;
        match fact {
            Fact::Committed { steps, .. } => self.committed(steps)?,
            Fact::Feedback { records } => {
                for record in records {
                    let id = &record.message_id;
                    ensure(self.made.contains(id), || format!("feedback of {id} from nowhere"))?;
                    self.received.insert(id.clone());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, _: &World) -> Result<(), String> {
        let waits = self.pending.values().next();
        ensure(waits.is_none(), || format!("the record of {waits:?} is in no batch"))?;
        let unheard = self.made.difference(&self.received).next();
        ensure(unheard.is_none(), || format!("nobody received the feedback of {unheard:?}"))
    }
}
