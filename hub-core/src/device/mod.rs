//! The machines of one device or module, together.
//!
//! [`Device::handle`] is the one way in: something happened, at a time; the effects say what is to
//! be done about it. Read [`Input`] (what can happen) and [`Effects`] (what can be asked): they are
//! the specification.
//!
//! Everything that decides on documents is a *job*. Jobs are done one at a time and in order: what
//! a job needs is read, its change is decided by the pure rules of `twin`, `delivery` and
//! `session`, the change is committed, and only then is anything said about it. A conflict forgets
//! what was read and decides the same job again. Direct methods and deliveries need no change and
//! pass by.
//!
//! **Invariant:** nothing is acknowledged before the outcome of its change is an input.
//! **Invariant:** at most one change of a device is in flight, telemetry aside.

mod cache;
mod calls;
mod configure;
mod decide;
mod effect;
pub(crate) mod events;
mod follow;
mod input;
mod job;
mod messages;
mod outcome;
mod pipeline;
mod posts;
mod room;
mod sessions;
mod staging;
mod telemetry;
mod twins;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use self::cache::{Documents, Slot};
use self::calls::Away;
pub use self::effect::{Answer, Append, Effects, LifecycleKind, Purpose, Said, Sent, Tally};
use self::follow::Following;
pub use self::input::{Arrival, Input, Request};
use self::job::{After, By, Found, Job};
use self::room::Room;
pub(crate) use self::staging::is_hint;
pub use self::staging::{Staged, Staging};
use crate::configuration::Deployed;
use crate::delivery::Mailbox;
use crate::error::CloseReason;
use crate::frame::{Inbound, Interest, Outbound, Subscriptions};
use crate::hello::Grant;
use crate::id::{Address, CallId, Epoch, LinkId, NodeId, Partition};
use crate::limits::Limits;
use crate::method::{Correlator, Dispatch, Ended, Patient};
use crate::route::Routing;
use crate::store::{Change, Entries, QueueId};
use crate::time::Timestamp;
use crate::twin::Notices;

/// What all machines of a node share.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// The bounds.
    pub limits: Limits,
    /// This node.
    pub node: NodeId,
    /// Partitions of the log.
    pub partitions: u16,
    /// Where events go.
    pub routing: Arc<Routing>,
    /// The configurations in force.
    pub configurations: Arc<Deployed>,
}

/// A live connection.
#[derive(Debug, Clone, PartialEq)]
struct Online {
    link: LinkId,
    epoch: Epoch,
    subscriptions: Subscriptions,
    stored: bool,
    grant: Grant,
    notices: Notices,
    following: Following,
}

/// What the pipeline waits for.
#[derive(Debug, Clone, PartialEq)]
enum Busy {
    No,
    Reading(Vec<Slot>),
    ReadingItem,
    /// The oldest items of this queue, and so many of them if it is known.
    MakingRoom(QueueId, Option<u32>),
    Claiming,
    Writing(After),
}

/// The machine of one device or module.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    setup: Arc<Setup>,
    address: Address,
    now: Timestamp,
    documents: Documents,
    online: Option<Online>,
    mailbox: Mailbox,
    methods: Correlator,
    /// What concerns the connection that another node may hold.
    away: Option<Box<Away>>,
    jobs: VecDeque<Job>,
    busy: Busy,
    /// All that the job in hand decides on was read for it.
    fresh: bool,
    /// The job that comes next was decided before, and is to be decided again.
    again: bool,
    /// How often the job in hand has met a conflict.
    rounds: u32,
    /// The job in hand has met a full queue of feedback.
    mute_feedback: bool,
    /// The job in hand has met a full inbox of another node.
    mute_posts: bool,
    /// The job in hand has met a full queue whose oldest items give way.
    room: Option<Box<Room>>,
    /// The job in hand has met a full queue of twins to configure.
    mute_configuring: bool,
}

/// How long after a failed claim the next is tried.
const CLAIM_RETRY: Duration = Duration::from_secs(1);
/// What a caller is told whose link ended before it was connected. Most likely nobody listens.
const LINK_GONE: &str = "the link ended before it was connected";
/// Most messages one purge step removes.
const PURGE_STEP: u32 = 256;

impl Device {
    /// A machine that knows nothing yet.
    #[must_use]
    pub fn new(setup: Arc<Setup>, address: Address) -> Self {
        Self {
            setup,
            address,
            now: Timestamp::ZERO,
            documents: Documents::default(),
            online: None,
            mailbox: Mailbox::default(),
            methods: Correlator::default(),
            away: None,
            jobs: VecDeque::new(),
            busy: Busy::No,
            fresh: false,
            again: false,
            rounds: 0,
            mute_feedback: false,
            mute_posts: false,
            room: None,
            mute_configuring: false,
        }
    }

    /// The change that appends a device's events as they are. Telemetry is no change of the device,
    /// so it waits for none of its jobs; as long as no route looks at it, this is all there is to it.
    #[must_use]
    pub fn append(partition: Partition, now: Timestamp, events: Entries) -> Change {
        Change::new().append(partition, now, events)
    }

    /// From now on events go elsewhere, or there are other configurations. What was decided before
    /// stays.
    pub(crate) fn configure(&mut self, setup: Arc<Setup>) {
        self.setup = setup;
    }

    /// The one way in. `now` never goes back: a smaller one is read as the last.
    pub fn handle(&mut self, now: Timestamp, input: Input, fx: &mut Effects) {
        self.now = self.now.max(now);
        match input {
            Input::Connect(call, link, arrival) => {
                self.enqueue(Job::Connect { call, link, arrival, gone: None }, fx);
            }
            Input::Renew(link, grant) => self.renew(link, *grant, fx),
            Input::Leave(link, cause) => self.leave(link, cause, fx),
            Input::Frame(link, frame) => self.frame(link, frame, fx),
            Input::Ask(call, request) => self.ask(call, request, fx),
            Input::Cancel(call) => self.cancel(call, fx),
            Input::Loaded(records) => self.loaded(records, fx),
            Input::ReadFailed => self.read_again(fx),
            Input::Claimed(purpose, limit, items) => self.claimed(purpose, limit, items, fx),
            Input::ClaimFailed(purpose) => self.claim_failed(purpose, fx),
            Input::Overdue(items) => self.overdue(&items, fx),
            Input::Outcome(outcome) => self.outcome(outcome, fx),
            Input::Expel(reason) => self.close(reason, fx),
            Input::Changed => {
                // Cached documents stay until their guard fails, but who is allowed here is
                // looked up anew.
                if !self.jobs.contains(&Job::Review { fresh: false }) {
                    self.enqueue(Job::Review { fresh: false }, fx);
                }
            }
            Input::Mail => self.mailbox.stir(),
            Input::Desired(during, version, patch) => {
                self.heard_of_desired(during, version, patch, fx);
            }
            Input::Answered(call, result) => self.answered(call, *result, fx),
            Input::Tick => self.tick(fx),
        }
        self.advance(fx);
        self.fetch(fx);
        self.tidy_away();
    }

    /// When to call again if nothing else happens. A call too early does nothing.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let listens = self.subscribed(Interest::Messages);
        let mailbox = self.mailbox.deadline().filter(|_| listens || self.mailbox.out() > 0);
        let expiry = self.online.as_ref().and_then(|online| self.expiry(&online.grant));
        let away = self.away.as_ref().and_then(|away| away.deadline());
        let notices = self.online.as_ref().and_then(|online| online.notices.deadline());
        [self.methods.deadline(), mailbox, expiry, away, notices].into_iter().flatten().min()
    }

    /// Whether nothing would be lost if this machine were dropped and made anew.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.online.is_none()
            && self.jobs.is_empty()
            && self.busy == Busy::No
            && self.methods.is_idle()
            && self.away.is_none()
            && self.mailbox.is_idle()
    }

    /// Whose machine this is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The live connection, if there is one.
    #[must_use]
    pub fn link(&self) -> Option<(LinkId, Epoch)> {
        self.online.as_ref().map(|online| (online.link, online.epoch))
    }

    /// How many inputs wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// How many messages are out for delivery.
    #[must_use]
    pub fn offers(&self) -> usize {
        self.mailbox.out()
    }

    fn expiry(&self, grant: &Grant) -> Option<Timestamp> {
        let ends = (grant.expires != Timestamp::MAX).then_some(grant.expires)?;
        Some(ends.after(self.setup.limits.token_grace))
    }

    fn subscribed(&self, interest: Interest) -> bool {
        self.online.as_ref().is_some_and(|online| online.subscriptions.has(interest))
    }

    fn is_current(&self, link: LinkId) -> bool {
        self.epoch_of(link).is_some()
    }

    /// The epoch of a link, as long as this machine knows of none that took over.
    fn epoch_of(&self, link: LinkId) -> Option<Epoch> {
        self.online.as_ref().filter(|online| online.link == link).map(|online| online.epoch)
    }

    fn frame(&mut self, link: LinkId, frame: Inbound, fx: &mut Effects) {
        match frame {
            Inbound::Telemetry(tag, events) => self.telemetry(link, tag, events, fx),
            Inbound::Settle(tag, token, disposition) => {
                let by = By::Link(link, tag);
                let job = Job::Settle { by, token, disposition, found: Found::NotYet };
                self.enqueue(job, fx);
            }
            Inbound::Reply(reference, status, payload) => {
                if self.is_current(link) {
                    let ended = self.methods.reply(reference, status, payload, &self.setup.limits);
                    Self::end(ended, fx);
                }
            }
            Inbound::Heard(version) => self.has_heard(link, version, fx),
            // What follows changes the session or the twin: a link that was taken over has no
            // say in it any more.
            frame => {
                if let Some(epoch) = self.epoch_of(link) {
                    self.owned(link, epoch, frame, fx);
                }
            }
        }
    }

    fn owned(&mut self, link: LinkId, epoch: Epoch, frame: Inbound, fx: &mut Effects) {
        let job = match frame {
            Inbound::Report(tag, patch, if_version) => {
                Job::Report { link, epoch, tag, patch, if_version }
            }
            Inbound::GetTwin(tag) => Job::GetTwin { link, tag },
            Inbound::Subscribe(tag, add) => Job::Subscribe { link, tag, add, remove: Vec::new() },
            Inbound::Unsubscribe(tag, remove) => {
                Job::Subscribe { link, tag, add: Vec::new(), remove }
            }
            Inbound::Telemetry(..)
            | Inbound::Settle(..)
            | Inbound::Reply(..)
            | Inbound::Heard(_) => return,
        };
        self.enqueue(job, fx);
    }

    fn ask(&mut self, call: CallId, request: Request, fx: &mut Effects) {
        match request {
            Request::Invoke(method) => self.call(call, method, fx),
            Request::Settle(token, disposition) => {
                let by = By::Call(call);
                self.enqueue(Job::Settle { by, token, disposition, found: Found::NotYet }, fx);
            }
            request => self.enqueue(Job::Ask { call, request }, fx),
        }
    }

    /// What waits is taken back; what is in hand is done, and answered to nobody.
    fn cancel(&mut self, call: CallId, fx: &mut Effects) {
        self.cancel_call(call, fx);
        let of = |job: &Job| match job {
            Job::Ask { call: caller, .. } | Job::Call(Patient { caller, .. }) => *caller == call,
            _ => false,
        };
        if let Some(at) = self.jobs.iter().position(of)
            && !(at == 0 && self.busy != Busy::No)
        {
            self.jobs.remove(at);
        }
    }

    fn dispatch(&self, calls: Vec<Dispatch>, fx: &mut Effects) {
        let Some(online) = &self.online else { return };
        for Dispatch { reference, call } in calls {
            fx.say(online.link, Outbound::Call(reference, call.name, call.payload));
        }
    }

    fn end(ended: impl IntoIterator<Item = Ended>, fx: &mut Effects) {
        for Ended { caller, result } in ended {
            match result {
                Ok(reply) => fx.answer(caller, Answer::Method(reply)),
                Err(error) => fx.fail(caller, error),
            }
        }
    }

    fn tick(&mut self, fx: &mut Effects) {
        self.tick_calls(fx);
        if self.online.as_mut().is_some_and(|online| online.notices.tick(self.now)) {
            self.enqueue(Job::CatchUp, fx);
        }
        self.mailbox.tick(self.now);
        let expired = self
            .online
            .as_ref()
            .and_then(|online| self.expiry(&online.grant))
            .is_some_and(|ends| ends <= self.now);
        if expired {
            self.close(CloseReason::CredentialExpired, fx);
        }
    }
}
