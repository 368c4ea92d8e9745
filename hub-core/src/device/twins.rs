//! The twin: what devices report and see, and what back ends write.

use bytes::Bytes;

use super::Device;
use super::cache::Cached;
use super::effect::{Answer, Effects};
use super::events::{before_write, twin_changed};
use super::input::Request;
use super::job::{After, Job};
use crate::error::{CloseReason, HubError};
use crate::frame::{Interest, Outbound};
use crate::id::{CallId, LinkId, Tag};
use crate::inbox::{Connection, Post};
use crate::store::{Change, Key};
use crate::twin::{Patch, ServicePatch, TwinChange};

/// How a back end writes a twin.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Way {
    Patch,
    /// In one with another change.
    PatchWith(Box<Change>),
    Replace,
    /// The same for a replacement.
    ReplaceWith(Box<Change>),
}

impl Way {
    fn request(self, patch: ServicePatch, if_match: Option<String>) -> Request {
        match self {
            Self::Patch => Request::PatchTwin(patch, if_match),
            Self::PatchWith(also) => Request::PatchTwinWith(patch, if_match, also),
            Self::Replace => Request::ReplaceTwin(patch, if_match),
            Self::ReplaceWith(also) => Request::ReplaceTwinWith(patch, if_match, also),
        }
    }

    fn also(&self) -> Option<&Change> {
        match self {
            Self::PatchWith(also) | Self::ReplaceWith(also) => Some(also),
            Self::Patch | Self::Replace => None,
        }
    }
}

impl Device {
    pub(super) fn report(&mut self, job: Job, fx: &mut Effects) {
        let Job::Report { link, epoch, tag, patch, if_version } = &job else { return };
        let (link, tag) = (*link, *tag);
        let session = self.documents.session.at(Key::session(&self.address));
        let twin = self.documents.twin.at(Key::twin(&self.address));
        let (Some(session), Some(guard)) = (session, twin) else {
            if self.doubts() {
                return self.jobs.push_front(job);
            }
            return fx.refuse_report(link, tag, HubError::not_found(&self.address));
        };
        if !self.is_live(*epoch) {
            if self.doubts() {
                return self.jobs.push_front(job);
            }
            // Taken over, perhaps on another node: an older link writes nothing.
            if self.is_current(link) {
                self.close(CloseReason::TakenOver, fx);
            }
            return;
        }
        let Cached::Known(_, twin) = &mut self.documents.twin else { return };
        let limits = &self.setup.limits;
        let before = before_write(&self.setup, twin);
        let changed = Patch::parse(patch, limits)
            .and_then(|parsed| twin.report(&parsed, *if_version, self.now, limits));
        match changed {
            Ok(change) if !change.is_empty() => {
                // The twin is changed in place; until the outcome is known nobody reads it,
                // and a refusal forgets it.
                let after = After::Reported { version: twin.reported_version() };
                let write = Change::new().require(&session).replace(&guard, twin.encode());
                let event =
                    twin_changed(&self.setup, &self.address, before.as_ref(), &change, twin);
                self.write(job, write.and(event), after, fx);
            }
            // Nothing will be written, so no guard would tell that this is outdated.
            _ if !self.fresh => {
                self.documents.forget();
                self.jobs.push_front(job);
            }
            Ok(_) => {
                let version = twin.reported_version();
                self.reported(link, tag, version, fx);
            }
            Err(error) => fx.refuse_report(link, tag, error.into()),
        }
    }

    pub(super) fn reported(&self, link: LinkId, tag: Tag, version: u64, fx: &mut Effects) {
        fx.tally.reports += 1;
        // Answers go only to a session that listens for them; a stock client that does not
        // would take them for something else.
        if self.subscribed(Interest::TwinResponses) {
            fx.say(link, Outbound::Reported(tag, version));
        } else {
            fx.say(link, Outbound::Receipt(tag));
        }
    }

    pub(super) fn get_twin(&mut self, link: LinkId, tag: Tag, fx: &mut Effects) {
        if !self.fresh {
            // No guard would tell that the cached one is outdated.
            if self.follows() {
                self.documents.forget();
            } else {
                self.documents.twin = Cached::Unknown;
            }
            return self.jobs.push_front(Job::GetTwin { link, tag });
        }
        if self.subscribed(Interest::TwinResponses) && self.remember_view(link, tag, fx) {
            return;
        }
        self.show_twin(link, tag, fx);
    }

    pub(super) fn show_twin(&mut self, link: LinkId, tag: Tag, fx: &mut Effects) {
        match self.documents.twin.get() {
            _ if !self.subscribed(Interest::TwinResponses) => {
                fx.say(link, Outbound::Receipt(tag));
            }
            Some(twin) => {
                let version = twin.desired_version();
                fx.say(link, Outbound::Twin(tag, twin.device_view()));
                self.knows_desired(version, fx);
            }
            None => fx.say(link, Outbound::Refused(tag, HubError::not_found(&self.address))),
        }
    }

    pub(super) fn write_twin(
        &mut self,
        call: CallId,
        patch: ServicePatch,
        if_match: Option<String>,
        way: Way,
        fx: &mut Effects,
    ) {
        let guard = self.documents.twin.at(Key::twin(&self.address));
        let (Cached::Known(_, twin), Some(guard), Some(identity)) =
            (&mut self.documents.twin, guard, self.documents.identity.get())
        else {
            return self.not_found(call, way.request(patch, if_match), fx);
        };
        let generation = identity.generation();
        let (now, limits) = (self.now, &self.setup.limits);
        let etag = if_match.as_deref();
        let before = before_write(&self.setup, twin);
        let result = match way {
            Way::Replace | Way::ReplaceWith(_) => twin.replace(&patch, etag, now, limits),
            Way::Patch | Way::PatchWith(_) => twin.patch(&patch, etag, now, limits),
        };
        match result {
            Ok(change) if !change.is_empty() => {
                let notice = notice_of(&change);
                let event =
                    twin_changed(&self.setup, &self.address, before.as_ref(), &change, twin);
                let mut write = Change::new().replace(&guard, twin.encode());
                if let Some((version, patch)) = notice.clone() {
                    write = self.require_session(write);
                    write = self.tell(write, |of, epoch| {
                        Post::Desired(of, Connection { generation, epoch }, version, patch)
                    });
                }
                if let Some(also) = way.also() {
                    write = write.and(also.clone());
                }
                let after = After::TwinWritten { notice };
                let request = way.request(patch, if_match);
                self.write(Job::Ask { call, request }, write.and(event), after, fx);
            }
            // Nothing will be written, so no guard would tell that this is outdated.
            _ if !self.fresh => {
                self.documents.forget();
                let request = way.request(patch, if_match);
                self.jobs.push_front(Job::Ask { call, request });
            }
            Ok(_) => {
                let Some(also) = way.also().cloned() else {
                    return fx.answer(call, Answer::Twin(twin.clone()));
                };
                // The twin is written as it is: its guard is what says that it is still there.
                let write = Change::new().replace(&guard, twin.encode()).and(also);
                let request = way.request(patch, if_match);
                let after = After::TwinWritten { notice: None };
                self.write(Job::Ask { call, request }, write, after, fx);
            }
            Err(error) => fx.fail(call, error.into()),
        }
    }
}

fn notice_of(change: &TwinChange) -> Option<(u64, Bytes)> {
    change.desired_notice().map(|notice| (notice.version, notice.body))
}
