//! Telemetry that takes the way through the machine: because a route looks at the sender's twin.
//!
//! It is a job like others then. What waits one behind the other goes in one change, which holds
//! only if the twin is still as it was looked at.

use super::Device;
use super::effect::{Append, Effects, Said};
use super::events::needs_twin;
use super::job::{After, Job, Sent};
use crate::envelope::EventSource;
use crate::id::{LinkId, Tag};
use crate::query::Fields;
use crate::store::{Change, Entries, Key};

impl Device {
    pub(super) fn telemetry(&mut self, link: LinkId, tag: Tag, events: Entries, fx: &mut Effects) {
        let waits = matches!(self.jobs.back(), Some(Job::Telemetry(_)));
        if waits || needs_twin(&self.setup.routing, EventSource::Telemetry) {
            return self.enqueue(Job::Telemetry(vec![Sent { link, tag, events }]), fx);
        }
        let partition = self.address.partition(self.setup.partitions);
        let bytes = events.bytes();
        let change = self.setup.routing.telemetry(partition, self.now, events, None);
        fx.appends.push(Append { link, tag, change, bytes });
    }

    /// Routes what was sent, and all that was sent directly after it.
    pub(super) fn route(&mut self, mut sent: Vec<Sent>, fx: &mut Effects) {
        let mut bytes: usize = sent.iter().map(|one| one.events.bytes()).sum();
        while let Some(Job::Telemetry(more)) = self.jobs.front() {
            bytes = more.iter().fold(bytes, |sum, one| sum.saturating_add(one.events.bytes()));
            if bytes > self.setup.limits.batch_bytes_max {
                break;
            }
            if let Some(Job::Telemetry(more)) = self.jobs.pop_front() {
                sent.extend(more);
            }
        }
        let partition = self.address.partition(self.setup.partitions);
        let key = Key::twin(&self.address);
        let twin = self.documents.twin.get().map(|twin| -> &dyn Fields { twin });
        let mut change = Change::new();
        for one in &sent {
            let events = one.events.clone();
            change = change.and(self.setup.routing.telemetry(partition, self.now, events, twin));
        }
        let change = match self.documents.twin.at(key.clone()) {
            Some(twin) => change.require(&twin),
            // The identity is gone, and with it the twin; what it sent before still counts.
            None => change.require_absent(key),
        };
        self.write(Job::Telemetry(sent), change, After::Routed, fx);
    }

    pub(super) fn routed(sent: Vec<Sent>, fx: &mut Effects) {
        for Sent { link, tag, events } in sent {
            fx.said.push(Said::Received(link, tag, events.bytes()));
        }
    }
}
