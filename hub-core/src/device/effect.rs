//! Everything that a device's machine can ask for.

use crate::delivery::MessageOutcome;
use crate::error::{CloseReason, DisconnectCause, ErrorKind, HubError};
use crate::frame::{Delivery, Outbound};
use crate::hello::{Refusal, Welcome};
use crate::id::{CallId, Epoch, LinkId, SequenceNumber, Tag};
use crate::method::MethodReply;
use crate::store::{Ask, Change, Claim};
use crate::time::Timestamp;
use crate::twin::Twin;

/// What a claim is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To offer on this link.
    Offer(LinkId),
    /// For the job in hand: a receive or a purge.
    Job,
}

/// An answer to a caller.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The connection is made.
    Welcome(Box<Welcome>),
    /// The connection is refused.
    Refused(Refusal),
    /// The message is in the queue.
    Sent(Sent),
    /// A message, or none.
    Received(Option<Box<Delivery>>),
    /// Done.
    Done,
    /// So many messages were removed.
    Purged(u64),
    /// The device answered.
    Method(MethodReply),
    /// The twin after the write.
    Twin(Box<Twin>),
    /// It was not done.
    Failed(HubError),
}

/// A message that the hub has accepted for delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its place in the device's queue.
    pub sequence: SequenceNumber,
    /// When it expires.
    pub expiry: Timestamp,
}

/// Something that happened to a connection or a message, for whoever listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifecycleKind {
    /// Connected, with this epoch.
    Connected(Epoch),
    /// Disconnected, for this cause.
    Disconnected(Epoch, DisconnectCause),
    /// A message's life ended; all but `Completed` are dead letters.
    Settled(SequenceNumber, MessageOutcome),
}

/// Something that leaves the machine. Nothing of it claims anything that is not durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// To a link.
    ToLink(LinkId, Outbound),
    /// To a caller.
    Answer(CallId, Answer),
    /// To a link: its events, of so many bytes, are durable.
    Received(LinkId, Tag, usize),
    /// A link's connection is over.
    Close(LinkId, CloseReason),
    /// To whoever listens.
    Lifecycle(LifecycleKind),
    /// A feedback record was made durable.
    FeedbackMade,
}

/// Events of a link that are to be appended; the receipt leaves when they are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Whose receipt it is.
    pub link: LinkId,
    /// What the receipt names.
    pub tag: Tag,
    /// The append.
    pub change: Change,
    /// Bytes of the events, as the link counts them.
    pub bytes: usize,
}

/// What a machine counts in one turn, for metrics. Nothing is decided on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Reports of properties that were taken.
    pub reports: u64,
    /// Why others were refused.
    pub reports_refused: Vec<ErrorKind>,
    /// Inputs that were turned away because too many wait.
    pub turned_away: u64,
}

/// What a machine asks for in one turn. The buffer is the caller's, reused from turn to turn.
///
/// The machine says nothing about a change before its [`super::Input::Outcome`]: durable before
/// visible, by construction. The one exception are [`Append`]s, whose receipts the caller holds.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    /// What must become durable; answered by `Outcome`. At most one is in flight per device.
    pub change: Option<Change>,
    /// Records to read, answered by `Loaded`. Empty if there is nothing to read.
    pub reads: Vec<Ask>,
    /// Items to take, with the time to take them at; answered by `Claimed` or `ClaimFailed`.
    pub claims: Vec<(Purpose, Timestamp, Claim)>,
    /// Events for the log.
    pub appends: Vec<Append>,
    /// What leaves now.
    pub said: Vec<Said>,
    /// What is counted.
    pub tally: Tally,
}

impl Effects {
    /// Empties the buffer, keeping its memory.
    pub fn clear(&mut self) {
        self.change = None;
        self.reads.clear();
        self.claims.clear();
        self.appends.clear();
        self.said.clear();
        self.tally.reports = 0;
        self.tally.reports_refused.clear();
        self.tally.turned_away = 0;
    }

    pub(crate) fn answer(&mut self, call: CallId, answer: Answer) {
        self.said.push(Said::Answer(call, answer));
    }

    pub(crate) fn fail(&mut self, call: CallId, error: HubError) {
        self.answer(call, Answer::Failed(error));
    }

    pub(crate) fn say(&mut self, link: LinkId, outbound: Outbound) {
        self.said.push(Said::ToLink(link, outbound));
    }

    pub(crate) fn refuse_report(&mut self, link: LinkId, tag: Tag, error: HubError) {
        self.tally.reports_refused.push(error.kind());
        self.say(link, Outbound::Refused(tag, error));
    }

    pub(crate) fn tell(&mut self, kind: LifecycleKind) {
        self.said.push(Said::Lifecycle(kind));
    }
}
