//! Only the latest claim of an item settles it; what is offered is a claim, and a claim hides.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::device::Answer;
use hub_core::frame::{Delivery, Outbound};
use hub_core::store::{QueueId, QueueKind, Version};
use hub_core::time::Timestamp;

use super::{Invariant, ensure};
use crate::fact::{Fact, Moment, Step};

#[derive(Default)]
pub(crate) struct LatestToken {
    latest: BTreeMap<(QueueId, u64), Version>,
    claims: BTreeSet<(u64, Version, Timestamp)>,
    offered: BTreeSet<(u64, Version)>,
}

impl LatestToken {
    fn offer(&mut self, delivery: &Delivery) -> Result<(), String> {
        let token = delivery.token;
        let claim = (token.sequence.0, token.version, token.until);
        ensure(self.claims.contains(&claim), || format!("{token:?} is no claim of the store"))?;
        let fresh = self.offered.insert((token.sequence.0, token.version));
        ensure(fresh, || format!("the claim {token:?} was handed out twice"))
    }
}

impl Invariant for LatestToken {
    fn name(&self) -> &'static str {
        "only the latest claim settles"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Claimed { now, item, was, .. } => {
                let hidden = was.visible > *now;
                ensure(!hidden, || format!("{item:?} was claimed at {now}, hidden: {was:?}"))?;
                let key = (item.at.queue().clone(), item.at.sequence().0);
                self.claims.insert((key.1, item.at.version(), item.visible));
                self.latest.insert(key, item.at.version());
            }
            Fact::Committed { steps, .. } => {
                for step in steps {
                    if let Step::Settled { item, was } | Step::Retimed { item, was, .. } = step {
                        let key = (item.queue().clone(), item.sequence().0);
                        let latest = self.latest.get(&key);
                        // A call that nobody claimed is taken back by whoever pushed it; what is kept
                        // gives way unclaimed to what is newer.
                        let unclaimed = latest.is_none()
                            && matches!(
                                key.0.kind,
                                QueueKind::Inbox | QueueKind::DeadLetter | QueueKind::TwinHistory
                            );
                        let right = (unclaimed || latest == Some(&item.version()))
                            && was.as_ref().is_some_and(|was| was.version == item.version());
                        ensure(right, || format!("{item:?} was settled; latest is {latest:?}"))?;
                    }
                }
            }
            Fact::Told { outbound: Outbound::Offer(delivery), .. }
            | Fact::Answered { answer: Answer::Received(Some(delivery)), .. } => {
                self.offer(delivery)?;
            }
            _ => {}
        }
        Ok(())
    }
}
