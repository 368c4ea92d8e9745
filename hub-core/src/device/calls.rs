//! Direct methods: here if the device is connected here, by way of another node if it is there.

use super::Device;
use super::effect::Effects;
use super::input::Request;
use super::job::{After, Job};
use crate::error::{ErrorKind, HubError};
use crate::frame::Interest;
use crate::id::CallId;
use crate::inbox::{Asked, Post, Reply};
use crate::method::{Abroad, Answered, Holder, MethodCall, MethodReply, Patient, Waits, absent};
use crate::security::Registered;
use crate::store::{Change, Issued, ItemRef, Key, QueueId};
use crate::time::Timestamp;

/// What a machine keeps whose device may be connected to another node. Most have none of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Away {
    /// Calls in the inboxes of other nodes.
    pub(super) calls: Abroad,
    /// When to look where the device is, on behalf of calls that wait for it.
    pub(super) seek: Option<Timestamp>,
}

impl Away {
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.calls.deadline().into_iter().chain(self.seek).min()
    }
}

impl Device {
    pub(super) fn call(&mut self, caller: CallId, call: MethodCall, fx: &mut Effects) {
        let until = self.now.after(call.connect_timeout);
        let patient = Patient { caller, call, until, refused: None };
        let enabled = self.documents.identity.get().is_some_and(Registered::is_enabled);
        // A call needs no change, so it need not wait for one: only for the identity, and for
        // knowing where the device is.
        if enabled && self.online.is_some() {
            self.call_here(Waits::Anywhere, patient, fx);
        } else {
            self.enqueue(Job::Call(patient), fx);
        }
    }

    /// Where the device is has been read, or it is here.
    pub(super) fn call_somewhere(&mut self, patient: Patient, fx: &mut Effects) {
        if self.enabled().is_none() {
            if self.doubts() {
                return self.jobs.push_front(Job::Call(patient));
            }
            return fx.fail(patient.caller, HubError::not_found(&self.address));
        }
        if self.online.is_some() {
            return self.call_here(Waits::Anywhere, patient, fx);
        }
        // No guard would tell that it has come to another node since this was read.
        if self.doubts() {
            return self.jobs.push_front(Job::Call(patient));
        }
        match self.holder() {
            Some(holder) if patient.refused.as_deref() != Some(&holder) => {
                self.send_call(patient, holder, fx);
            }
            _ => self.call_here(Waits::Anywhere, patient, fx),
        }
    }

    /// The connection that another node holds.
    fn holder(&self) -> Option<Holder> {
        self.elsewhere().map(|(node, epoch)| (node.clone(), epoch))
    }

    /// Dispatches the call, lets it wait, or ends it.
    fn call_here(&mut self, waits: Waits, patient: Patient, fx: &mut Effects) {
        let listening = self.subscribed(Interest::Methods);
        let limits = &self.setup.limits;
        match self.methods.begin_for(waits, patient, listening, self.now, limits) {
            Ok(Some(dispatch)) => self.dispatch(vec![dispatch], fx),
            Ok(None) => self.seek(),
            Err(ended) => Self::end([ended], fx),
        }
    }

    /// A call that another node was asked for: made if the device is here.
    pub(super) fn call_for_another(&mut self, caller: CallId, call: MethodCall, fx: &mut Effects) {
        if self.enabled().is_none() {
            return self.not_found(caller, Request::InvokeHere(call), fx);
        }
        if self.online.is_none() {
            return Self::end([absent(caller)], fx);
        }
        let until = self.now.after(call.connect_timeout);
        self.call_here(Waits::Here, Patient { caller, call, until, refused: None }, fx);
    }

    fn send_call(&mut self, patient: Patient, holder: Holder, fx: &mut Effects) {
        let abroad = self.away.as_ref().map_or(0, |away| away.calls.len());
        let limits = &self.setup.limits;
        if self.methods.count().saturating_add(abroad) >= limits.methods_in_flight_max {
            let error = HubError::new(ErrorKind::TooManyMethods, "too many methods in flight");
            return fx.fail(patient.caller, error);
        }
        let Some(session) = self.documents.session.at(Key::session(&self.address)) else { return };
        let asked = Asked {
            of: self.address.clone(),
            reply: Reply { to: self.setup.node.clone(), call: patient.caller },
            name: patient.call.name.clone(),
            payload: patient.call.payload.clone(),
            response_timeout: patient.call.response_timeout,
            connect_timeout: patient.until.since(self.now),
        };
        let push = Post::Call(Box::new(asked)).push(&holder.0, self.now, limits);
        let change = Change::new().require(&session).push(push);
        self.write(Job::Call(patient), change, After::CallSent { holder }, fx);
    }

    pub(super) fn call_sent(&mut self, patient: Patient, holder: Holder, issued: &Issued) {
        let sequence = issued.sequences.first().copied().unwrap_or_default();
        let at = ItemRef::new(QueueId::inbox(&holder.0), sequence, issued.version);
        let away = self.away.get_or_insert_default();
        away.calls.sent(at, holder, patient, self.now, &self.setup.limits);
    }

    /// The node that was asked has answered.
    pub(super) fn answered(
        &mut self,
        caller: CallId,
        result: Result<MethodReply, HubError>,
        fx: &mut Effects,
    ) {
        let Some(away) = &mut self.away else { return };
        let answered = away.calls.answered(caller, result);
        self.call_on(answered, fx);
    }

    /// A call was taken back before it was dispatched.
    pub(super) fn recalled(&mut self, caller: CallId, fx: &mut Effects) {
        let Some(away) = &mut self.away else { return };
        let answered = away.calls.recalled(caller);
        self.call_on(answered, fx);
    }

    fn call_on(&mut self, answered: Answered, fx: &mut Effects) {
        match answered {
            Answered::Ended(ended) => Self::end([ended], fx),
            Answered::Again(patient) => {
                // Not to be refused for want of room: it had its place all the time.
                self.jobs.push_back(Job::Call(patient));
            }
            Answered::Unknown => {}
        }
    }

    /// Nobody waits for this call any more. One that lies in another node's inbox is taken back.
    pub(super) fn cancel_call(&mut self, caller: CallId, fx: &mut Effects) {
        self.methods.cancel(caller);
        if let Some(at) = self.away.as_mut().and_then(|away| away.calls.cancel(caller)) {
            self.enqueue(Job::Recall { caller, at }, fx);
        }
    }

    pub(super) fn recall(&mut self, caller: CallId, at: ItemRef, fx: &mut Effects) {
        let change = Change::new().settle(&at);
        self.write(Job::Recall { caller, at }, change, After::Recalled, fx);
    }

    /// Calls wait for a device that is not here. It may come to another node, of which there is no
    /// sign here; so its session is looked at from time to time.
    pub(super) fn seek(&mut self) {
        if self.online.is_none() && self.methods.has_patient() {
            let at = self.now.after(self.setup.limits.sweep_every);
            self.away.get_or_insert_default().seek.get_or_insert(at);
        }
    }

    /// Calls go to where the device is.
    pub(super) fn seek_now(&mut self) {
        if self.online.is_some() || !self.methods.has_patient() {
            return;
        }
        if self.doubts() {
            return self.jobs.push_front(Job::Seek);
        }
        if let Some(holder) = self.holder() {
            let patient = self.methods.take_patient(&holder);
            self.jobs.extend(patient.into_iter().map(Job::Call));
        }
        self.seek();
    }

    pub(super) fn tick_calls(&mut self, fx: &mut Effects) {
        Self::end(self.methods.tick(self.now), fx);
        let Some(away) = &mut self.away else { return };
        let seeks = away.seek.take_if(|at| *at <= self.now).is_some();
        let (recalls, ended) = away.calls.tick(self.now);
        Self::end(ended, fx);
        for (caller, at) in recalls {
            self.enqueue(Job::Recall { caller, at }, fx);
        }
        if seeks {
            self.enqueue(Job::Seek, fx);
        }
    }

    /// What a machine keeps of other nodes is dropped when nothing needs it.
    pub(super) fn tidy_away(&mut self) {
        let done = |away: &Away| away.calls.is_empty() && away.seek.is_none();
        if self.away.as_deref().is_some_and(done) {
            self.away = None;
        }
    }
}
