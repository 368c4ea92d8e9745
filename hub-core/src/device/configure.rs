//! Making a twin what the configurations say.

use super::Device;
use super::cache::Cached;
use super::effect::Effects;
use super::events::{Digital, before_write, twin_changed};
use super::input::Request;
use super::job::Job;
use super::twins::notice_of;
use crate::configuration::Plan;
use crate::error::{ErrorKind, HubError};
use crate::id::CallId;
use crate::store::{Change, Key};

impl Device {
    /// Decides by the twin as it is and the configurations as this node knows them. The twin is
    /// written as by any other: with its version, its event, and a notice to the device.
    pub(super) fn make_configured(
        &mut self,
        call: CallId,
        revision: u64,
        also: Box<Change>,
        fx: &mut Effects,
    ) {
        let guard = self.documents.twin.at(Key::twin(&self.address));
        let known = self.documents.session.get();
        let (Cached::Known(_, twin), Some(guard), Some(identity)) =
            (&mut self.documents.twin, guard, self.documents.identity.get())
        else {
            return self.not_found(call, Request::Configure(revision, also), fx);
        };
        let generation = identity.generation();
        let (now, limits) = (self.now, &self.setup.limits);
        let deployed = &self.setup.configurations;
        let plan = match deployed.revision() < revision {
            true => Plan::Outdated,
            false => deployed.plan(&self.address, twin, limits),
        };
        let (patch, then, refused) = match plan {
            Plan::Outdated if self.fresh => {
                let message = "this node does not know the configurations of now";
                return fx.fail(call, HubError::new(ErrorKind::Busy, message));
            }
            Plan::Outdated => {
                self.documents.forget();
                return self
                    .jobs
                    .push_front(Job::Ask { call, request: Request::Configure(revision, also) });
            }
            Plan::Nothing => {
                // Written as it is: its guard is what says that it is still so.
                let write = Change::new().replace(&guard, twin.encode()).and((*also).clone());
                let job = Job::Ask { call, request: Request::Configure(revision, also) };
                return self.write_and_tell(job, write, None, generation, fx);
            }
            Plan::Write { patch, then, refused } => (patch, then, refused),
        };
        let digital = Digital::before(&self.setup, &self.address, known, twin);
        let before = before_write(&self.setup, twin);
        let change = patch.map(|patch| twin.patch(&patch, None, now, limits)).transpose();
        let (notice, told) = match change {
            Ok(Some(change)) => {
                twin.set_configured(then);
                let told = twin_changed(
                    &self.setup,
                    &self.address,
                    before.as_ref(),
                    &change,
                    digital,
                    twin,
                );
                (notice_of(&change), told)
            }
            Ok(None) => {
                twin.set_configured(then);
                (None, Change::new())
            }
            Err(_) => {
                twin.set_configured(refused);
                (None, Change::new())
            }
        };
        let write = Change::new().replace(&guard, twin.encode()).and((*also).clone()).and(told);
        let job = Job::Ask { call, request: Request::Configure(revision, also) };
        self.write_and_tell(job, write, notice, generation, fx);
    }
}
