//! What each job comes to, once what it needs has been read.

use std::time::Duration;

use super::effect::{Answer, Effects, Purpose};
use super::input::Request;
use super::job::{After, By, Found, Job, Taking};
use super::twins::Write;
use super::{Busy, Device, LINK_GONE};
use crate::error::HubError;
use crate::hello::Refusal;
use crate::id::CallId;
use crate::security::Registered;
use crate::store::{DocumentRef, Key};
use crate::time::Timestamp;

impl Device {
    pub(super) fn decide(&mut self, job: Job, fx: &mut Effects) {
        match job {
            Job::Connect { call, gone: Some(_), .. } => {
                fx.answer(call, Answer::Refused(Refusal::Unavailable(LINK_GONE)));
            }
            Job::Connect { call, link, arrival, gone: None } => {
                self.connect(call, link, arrival, fx);
            }
            Job::Leave { epoch, generation, cause, released, heard } => {
                let (change, after) = self.left(epoch, generation, &released, heard);
                if change.is_empty() {
                    return;
                }
                let job = Job::Leave { epoch, generation, cause, released, heard };
                self.write(job, change, after, fx);
            }
            Job::Subscribe { link, tag, add, remove } => {
                self.subscribe(Job::Subscribe { link, tag, add, remove }, fx);
            }
            Job::Report { .. } => self.report(job, fx),
            Job::Telemetry(sent) => self.route(sent, fx),
            Job::GetTwin { link, tag } => self.get_twin(link, tag, fx),
            Job::Settle { .. } => self.settle(job, fx),
            Job::Bury(dead) => self.bury_now(dead, fx),
            Job::Release(offered) => {
                let change = self.give_back(&offered);
                self.write(Job::Release(offered), change, After::Released, fx);
            }
            Job::Ask { call, request } => self.request(call, request, fx),
            Job::Took { call, taking: Taking::Receive(lock), items, .. } => {
                self.received(call, lock, &items, fx);
            }
            Job::Took { call, taking: Taking::Purge(before), limit, items } => {
                self.purge_taken(call, before, limit, items, fx);
            }
            Job::Call(patient) => self.call_somewhere(patient, fx),
            Job::Recall { caller, at } => self.recall(caller, at, fx),
            Job::Seek => self.seek_now(),
            Job::Notice { during, version, patch } => self.notice_in(during, version, patch, fx),
            Job::CatchUp => self.catch_up(fx),
            Job::Review { fresh: false } => {
                self.documents.forget();
                self.jobs.push_front(Job::Review { fresh: true });
            }
            Job::Review { fresh: true } => self.review(fx),
        }
    }

    /// The identity, as long as it is there and enabled, to be required by a change.
    pub(super) fn enabled(&self) -> Option<(u64, DocumentRef)> {
        let identity = self.documents.identity.get().filter(|identity| identity.is_enabled())?;
        let guard = self.documents.identity.at(Key::identity(&self.address))?;
        Some((identity.generation(), guard))
    }

    pub(super) fn request(&mut self, call: CallId, request: Request, fx: &mut Effects) {
        match request {
            Request::Send(message) => self.send(call, message, None, fx),
            Request::SendWith(message, also) => self.send(call, message, Some(also), fx),
            Request::Invoke(method) => self.call(call, method, fx),
            Request::InvokeHere(method) => self.call_for_another(call, method, fx),
            Request::Repair(node) => self.repair(call, node, fx),
            Request::PatchTwin(patch, if_match) => {
                self.write_twin(call, Write::Patch(patch), if_match, fx);
            }
            Request::PatchTwinWith(patch, if_match, also) => {
                self.write_twin(call, Write::PatchWith(patch, also), if_match, fx);
            }
            Request::ReplaceTwin(patch, if_match) => {
                self.write_twin(call, Write::Replace(patch), if_match, fx);
            }
            Request::PatchDigitalTwin(patch, if_match) => {
                self.write_twin(call, Write::Digital(patch), if_match, fx);
            }
            Request::Configure(revision, also) => self.make_configured(call, revision, also, fx),
            Request::ReplaceTwinWith(content, if_match, also) => {
                self.write_twin(call, Write::ReplaceWith(content, also), if_match, fx);
            }
            Request::Receive(lock_ms) => {
                let lock = Duration::from_millis(lock_ms);
                self.jobs.push_front(Job::Ask { call, request: Request::Receive(lock_ms) });
                self.busy = Busy::Claiming;
                self.claim(Purpose::Job, self.now, 1, lock, fx);
            }
            Request::Purge => {
                self.jobs.push_front(Job::Ask { call, request: Request::Purge });
                self.busy = Busy::Claiming;
                let lock = self.setup.limits.c2d_lock;
                self.claim(Purpose::Job, Timestamp::MAX, self.ends_max(), lock, fx);
            }
            Request::Settle(token, disposition) => {
                let by = By::Call(call);
                let job = Job::Settle { by, token, disposition, found: Found::NotYet };
                self.settle(job, fx);
            }
        }
    }

    pub(super) fn not_found(&mut self, call: CallId, request: Request, fx: &mut Effects) {
        if self.doubts() {
            return self.jobs.push_front(Job::Ask { call, request });
        }
        fx.fail(call, HubError::not_found(&self.address));
    }
}
