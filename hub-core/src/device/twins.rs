//! The twin: what devices report and see, and what back ends write.

use bytes::Bytes;

use super::Device;
use super::cache::Cached;
use super::effect::{Answer, Effects};
use super::events::{Digital, before_write, retargeted, twin_changed};
use super::input::Request;
use super::job::{After, Job};
use crate::error::{CloseReason, HubError};
use crate::frame::{Interest, Outbound};
use crate::id::{CallId, LinkId, Tag};
use crate::inbox::{Connection, Post};
use crate::limits::Limits;
use crate::store::{Change, Key};
use crate::time::Timestamp;
use crate::twin::{DigitalPatch, Patch, ServicePatch, Twin, TwinChange};

/// What a back end writes to a twin.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    Patch(ServicePatch),
    /// In one with another change.
    PatchWith(ServicePatch, Box<Change>),
    Replace(ServicePatch),
    /// The same for a replacement.
    ReplaceWith(ServicePatch, Box<Change>),
    Digital(DigitalPatch),
}

impl Write {
    fn request(self, if_match: Option<String>) -> Request {
        match self {
            Self::Patch(patch) => Request::PatchTwin(patch, if_match),
            Self::PatchWith(patch, also) => Request::PatchTwinWith(patch, if_match, also),
            Self::Replace(patch) => Request::ReplaceTwin(patch, if_match),
            Self::ReplaceWith(patch, also) => Request::ReplaceTwinWith(patch, if_match, also),
            Self::Digital(patch) => Request::PatchDigitalTwin(patch, if_match),
        }
    }

    fn also(&self) -> Option<&Change> {
        match self {
            Self::PatchWith(_, also) | Self::ReplaceWith(_, also) => Some(also),
            Self::Patch(_) | Self::Replace(_) | Self::Digital(_) => None,
        }
    }

    fn apply(
        &self,
        twin: &mut Twin,
        etag: Option<&str>,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<TwinChange, HubError> {
        Ok(match self {
            Self::Patch(patch) | Self::PatchWith(patch, _) => {
                twin.patch(patch, etag, now, limits)?
            }
            Self::Replace(content) | Self::ReplaceWith(content, _) => {
                twin.replace(content, etag, now, limits)?
            }
            Self::Digital(patch) => {
                let patch = patch.resolve(twin, limits)?;
                twin.patch(&patch, etag, now, limits)?
            }
        })
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
        let known = self.documents.session.get();
        let Cached::Known(_, twin) = &mut self.documents.twin else { return };
        let limits = &self.setup.limits;
        let before = before_write(&self.setup, twin);
        let digital = Digital::before(&self.setup, &self.address, known, twin);
        let changed = Patch::parse(patch, limits)
            .and_then(|parsed| twin.report(&parsed, *if_version, self.now, limits));
        match changed {
            Ok(change) if !change.is_empty() => {
                // The twin is changed in place; until the outcome is known nobody reads it,
                // and a refusal forgets it.
                let after = After::Reported { version: twin.reported_version() };
                let told = twin_changed(
                    &self.setup,
                    &self.address,
                    before.as_ref(),
                    &change,
                    digital,
                    twin,
                );
                let found = retargeted(&self.setup, &self.address, twin, self.mute_configuring);
                let write = Change::new().require(&session).replace(&guard, twin.encode());
                self.write(job, write.and(found).and(told), after, fx);
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
        what: Write,
        if_match: Option<String>,
        fx: &mut Effects,
    ) {
        let guard = self.documents.twin.at(Key::twin(&self.address));
        let known = self.documents.session.get();
        let (Cached::Known(_, twin), Some(guard), Some(identity)) =
            (&mut self.documents.twin, guard, self.documents.identity.get())
        else {
            return self.not_found(call, what.request(if_match), fx);
        };
        let generation = identity.generation();
        let (now, limits) = (self.now, &self.setup.limits);
        let before = before_write(&self.setup, twin);
        let digital = Digital::before(&self.setup, &self.address, known, twin);
        match what.apply(twin, if_match.as_deref(), now, limits) {
            Ok(change) if !change.is_empty() => {
                let told = twin_changed(
                    &self.setup,
                    &self.address,
                    before.as_ref(),
                    &change,
                    digital,
                    twin,
                );
                let found = retargeted(&self.setup, &self.address, twin, self.mute_configuring);
                let also = what.also().cloned().unwrap_or_default();
                let write = Change::new().replace(&guard, twin.encode());
                let write = write.and(also).and(found).and(told);
                let job = Job::Ask { call, request: what.request(if_match) };
                self.write_and_tell(job, write, notice_of(&change), generation, fx);
            }
            // Nothing will be written, so no guard would tell that this is outdated.
            _ if !self.fresh => {
                self.documents.forget();
                self.jobs.push_front(Job::Ask { call, request: what.request(if_match) });
            }
            Ok(_) => {
                let Some(also) = what.also().cloned() else {
                    return fx.answer(call, Answer::Twin(twin.clone()));
                };
                // The twin is written as it is: its guard is what says that it is still there.
                let write = Change::new().replace(&guard, twin.encode()).and(also);
                let job = Job::Ask { call, request: what.request(if_match) };
                self.write_and_tell(job, write, None, generation, fx);
            }
            Err(error) => fx.fail(call, error),
        }
    }

    /// Writes a twin, and tells the device of what was written, wherever that is connected.
    pub(super) fn write_and_tell(
        &mut self,
        job: Job,
        mut write: Change,
        notice: Option<(u64, Bytes)>,
        generation: u64,
        fx: &mut Effects,
    ) {
        if let Some((version, patch)) = notice.clone() {
            write = self.require_session(write);
            write = self.tell(write, |of, epoch| {
                Post::Desired(of, Connection { generation, epoch }, version, patch)
            });
        }
        self.write(job, write, After::TwinWritten { notice }, fx);
    }
}

pub(super) fn notice_of(change: &TwinChange) -> Option<(u64, Bytes)> {
    change.desired_notice().map(|notice| (notice.version, notice.body))
}
