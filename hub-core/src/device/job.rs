//! Work that decides on documents: loaded, decided, committed, one at a time.

use bytes::Bytes;

use super::Setup;
use super::cache::Slot;
use super::events::needs_twin;
use super::follow::Followed;
use super::input::{Arrival, Request};
use crate::delivery::{MessageOutcome, Offered};
use crate::envelope::EventSource;
use crate::error::DisconnectCause;
use crate::frame::{Disposition, Guarantee, Interest, LockToken, Subscriptions};
use crate::id::{CallId, Epoch, LinkId, Tag};
use crate::inbox::Connection;
use crate::method::{Holder, Patient};
use crate::route::Routing;
use crate::session::Session;
use crate::store::{Entries, Item, ItemRef};
use crate::time::Timestamp;
use crate::twin::Known;

/// Who gets the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Link(LinkId, Option<Tag>),
    Call(CallId),
}

/// What is to be done. Kept until it is done, because a conflict decides it again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Job {
    /// `gone` once the link has ended while this was in hand.
    Connect {
        call: CallId,
        link: LinkId,
        arrival: Box<Arrival>,
        gone: Option<DisconnectCause>,
    },
    /// `released` are the claims the link held; `generation` is that of the identity it had; `heard`
    /// is the version of its desired properties that it has at the least.
    Leave {
        epoch: Epoch,
        generation: u64,
        cause: DisconnectCause,
        released: Vec<Offered>,
        heard: u64,
    },
    Subscribe {
        link: LinkId,
        tag: Tag,
        add: Vec<(Interest, Guarantee)>,
        remove: Vec<Interest>,
    },
    /// `epoch` is the link's: the report counts as long as no later one has taken over.
    Report {
        link: LinkId,
        epoch: Epoch,
        tag: Tag,
        patch: Bytes,
        if_version: Option<u64>,
    },
    GetTwin {
        link: LinkId,
        tag: Tag,
    },
    Settle {
        by: By,
        token: LockToken,
        disposition: Disposition,
        found: Found,
    },
    /// Messages whose life is over.
    Bury(Vec<(Offered, MessageOutcome)>),
    /// Claims that nobody wants: visible again at once.
    Release(Vec<Offered>),
    Ask {
        call: CallId,
        request: Request,
    },
    /// Events that are routed by the twin.
    Telemetry(Vec<Sent>),
    /// What a receive or purge claimed.
    Took {
        call: CallId,
        taking: Taking,
        limit: u32,
        items: Vec<Item>,
    },
    /// A direct method, for which it is to be found out where the device is.
    Call(Patient),
    /// Takes a call back from the inbox of another node.
    Recall {
        caller: CallId,
        at: ItemRef,
    },
    /// Looks where the device is that calls wait for.
    Seek,
    /// Another node has written the desired properties.
    Notice {
        during: Connection,
        version: u64,
        patch: Bytes,
    },
    /// Tells the device all its desired properties, or those that it may have missed.
    CatchUp,
    /// `fresh` once who may be here has been read again.
    Review {
        fresh: bool,
    },
}

/// Events of a link, and what their receipt names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) link: LinkId,
    pub(crate) tag: Tag,
    pub(crate) events: Entries,
}

/// What messages are claimed for, when it is not to offer them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// A receive under a lock of so many milliseconds.
    Receive(u64),
    /// A purge, which has removed so many.
    Purge(u64),
}

/// The item that a token names, when the machine does not hold it itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    NotYet,
    Nothing,
    Item(Box<Offered>),
}

impl Job {
    /// What it decides on. [`Slot::Known`] only where devices are told what they have missed.
    pub(crate) fn needs(&self, setup: &Setup) -> impl Iterator<Item = Slot> + use<> {
        let follows = setup.limits.desired_catch_up;
        let slots = self.slots(&setup.routing, follows).iter().copied();
        slots.filter(move |slot| follows || *slot != Slot::Known)
    }

    fn slots(&self, routing: &Routing, follows: bool) -> &'static [Slot] {
        match self {
            Self::Connect { .. } if needs_twin(routing, EventSource::ConnectionState) => {
                &[Slot::Identity, Slot::Session, Slot::Twin]
            }
            Self::Leave { .. } if needs_twin(routing, EventSource::ConnectionState) => {
                &[Slot::Session, Slot::Twin, Slot::Known]
            }
            Self::Connect { .. } | Self::Review { .. } => &[Slot::Identity, Slot::Session],
            Self::Call(_) => &[Slot::Identity, Slot::Session],
            Self::Leave { .. } => &[Slot::Session, Slot::Known],
            Self::Subscribe { .. } | Self::Seek => &[Slot::Session],
            Self::Telemetry(_) => &[Slot::Twin],
            Self::Report { .. } => &[Slot::Session, Slot::Twin],
            Self::GetTwin { .. } | Self::CatchUp if follows => {
                &[Slot::Session, Slot::Twin, Slot::Known]
            }
            Self::GetTwin { .. } | Self::CatchUp => &[Slot::Twin],
            Self::Ask { request, .. } => match request {
                Request::Send(_) | Request::SendWith(..) | Request::Invoke(_) => {
                    &[Slot::Identity, Slot::Session]
                }
                Request::InvokeHere(_) => &[Slot::Identity],
                Request::PatchTwin(..)
                | Request::PatchTwinWith(..)
                | Request::ReplaceTwin(..)
                | Request::ReplaceTwinWith(..)
                | Request::PatchDigitalTwin(..)
                | Request::Configure(..) => &[Slot::Identity, Slot::Session, Slot::Twin],
                Request::Repair(_) if needs_twin(routing, EventSource::ConnectionState) => {
                    &[Slot::Identity, Slot::Session, Slot::Twin]
                }
                Request::Repair(_) => &[Slot::Identity, Slot::Session],
                Request::Receive(_) | Request::Settle(..) | Request::Purge => &[],
            },
            Self::Settle { .. }
            | Self::Bury(_)
            | Self::Release(_)
            | Self::Took { .. }
            | Self::Recall { .. }
            | Self::Notice { .. } => &[],
        }
    }
}

/// What is true once the change in flight is committed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum After {
    Routed,
    Connected { session: Box<Session>, present: bool },
    Left { session: Box<Session> },
    Subscribed { session: Box<Session>, subscriptions: Subscriptions },
    Reported { version: u64 },
    Settled { outcome: Option<MessageOutcome>, feedback: bool },
    Buried { feedback: bool },
    Released,
    Sent { expiry: Timestamp },
    TwinWritten { notice: Option<(u64, Bytes)> },
    CallSent { holder: Holder },
    Recalled,
    Repaired { session: Box<Session>, epoch: Epoch },
    Purged,
    Followed(Box<Followed>),
    Remembered(Box<Known>),
}
