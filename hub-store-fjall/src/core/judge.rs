//! Judging commands and applying them in memory, with the records that say what happened.

use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{Change, Claim, Issued, Op, Outcome, QueueKind, Version};
use hub_core::time::Timestamp;

use super::work::{Payload, Step, Work};
use crate::journal::group::Group;
use crate::journal::op::{Appended, Setting};
use crate::state::State;
use crate::state::recall;
use crate::state::shelf::Head;

/// A claimed item, as it is after the claim.
pub(crate) type Taken = (QueueKind, u64, Head);

/// The state and the group that is gathered.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) group: &'a mut Group,
}

impl Judge<'_> {
    /// The outcomes, and whether they are new (and not remembered).
    pub(crate) fn commit(&mut self, work: &Work) -> (Vec<Outcome>, bool) {
        if let Some(outcomes) = self.state.recall.get(work.id) {
            return (outcomes, false);
        }
        let base = self.state.version;
        let mut outcomes = Vec::with_capacity(work.steps.len());
        for step in &work.steps {
            self.state.version += 1;
            let version = Version(self.state.version);
            outcomes.push(match step {
                Step::Append(payload) => {
                    let sequences = vec![self.append(payload, &work.payloads)];
                    Outcome::Committed(Issued { version, sequences })
                }
                Step::Change(change, payloads) => {
                    self.change(change, payloads, &work.payloads, version)
                }
            });
        }
        let packed = recall::pack(work.id, base, &outcomes);
        self.group.batch(&packed);
        self.state.recall.add(work.id, packed.into());
        (outcomes, true)
    }

    fn append(&mut self, payload: &Payload, payloads: &[u8]) -> SequenceNumber {
        let Payload { partition, at, count, .. } = *payload;
        let (first, at) = self.state.log.number(partition, at, count);
        if count > 0 {
            let place = self.group.append(payload.of(payloads), first, at.as_millis());
            self.state.log.append(Appended { partition, count, first, at }, place);
        }
        SequenceNumber(first)
    }

    fn change(
        &mut self,
        change: &Change,
        appends: &[Payload],
        payloads: &[u8],
        version: Version,
    ) -> Outcome {
        if let Some(refusal) = change.refusal(&*self.state) {
            return refusal;
        }
        let mut sequences = Vec::new();
        let mut appends = appends.iter();
        for op in change.ops() {
            match op {
                Op::Require(..) => {}
                Op::Put(key, _, body) => {
                    self.group.put(key, version, body);
                    self.state.documents.put(key.clone(), Some((version, body.clone())));
                }
                Op::Remove(key, _) => {
                    self.group.remove(key);
                    self.state.documents.put(key.clone(), None);
                }
                Op::Push(push) => {
                    let sequence = self.state.shelf_mut(push.queue.kind).push(push, version);
                    self.group.push(sequence, version, push);
                    sequences.push(SequenceNumber(sequence));
                }
                Op::Retime(item, visible, marks) => {
                    let (kind, sequence) = (item.queue().kind, item.sequence().0);
                    let shelf = self.state.shelf_mut(kind);
                    if let Some(before) = shelf.setting(sequence) {
                        let visible = *visible;
                        let setting = Setting { version, visible, marks: *marks, ..before };
                        shelf.set(sequence, &setting);
                        self.group.set(kind, sequence, &setting);
                    }
                }
                Op::Settle(item) => {
                    let (kind, sequence) = (item.queue().kind, item.sequence().0);
                    self.state.shelf_mut(kind).settle(sequence);
                    self.group.settle(kind, sequence);
                }
                Op::Clear(queue) => {
                    let shelf = self.state.shelf_mut(queue.kind);
                    let last = shelf.last;
                    shelf.clear(queue, last);
                    self.group.clear(queue, last);
                }
                Op::Append(..) => {
                    if let Some(payload) = appends.next() {
                        sequences.push(self.append(payload, payloads));
                    }
                }
            }
        }
        Outcome::Committed(Issued { version, sequences })
    }

    /// Takes items. A claim that finds none leaves no trace.
    pub(crate) fn claim(&mut self, now: Timestamp, claim: &Claim) -> Vec<Taken> {
        let kind = claim.scope.kind();
        let chosen = self.state.shelf_mut(kind).choose(&claim.scope, now, claim.limit);
        if chosen.is_empty() {
            return Vec::new();
        }
        self.state.version += 1;
        let version = Version(self.state.version);
        let shelf = self.state.shelf_mut(kind);
        let mut taken = Vec::with_capacity(chosen.len());
        for sequence in chosen {
            let Some(before) = shelf.setting(sequence) else { continue };
            let claims = before.claims.saturating_add(1);
            let setting = Setting { version, visible: claim.hide_until, claims, ..before };
            shelf.set(sequence, &setting);
            self.group.set(kind, sequence, &setting);
            taken.extend(shelf.get(sequence).map(|head| (kind, sequence, head.clone())));
        }
        taken
    }

    /// Forgets entries below a number.
    pub(crate) fn trim(&mut self, partition: Partition, below: SequenceNumber) {
        // Only what there is now: entries that come later in the group are not meant.
        let below = below.min(self.state.log.next(partition));
        self.group.trim(partition, below);
        self.state.log.trim(partition, below);
    }
}
