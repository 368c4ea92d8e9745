//! What is waited for, and what comes of it.

use futures::future::{AbortHandle, Abortable, BoxFuture, FutureExt as _};
use hub_core::engine::{EventReader, PartitionInfo};
use hub_core::envelope::Event;
use hub_core::frame::{LockToken, Outbound};
use hub_core::hello::{Grant, Refusal};
use hub_core::id::LinkId;
use hub_core::{Address, Downlink, HubError, Link, Timestamp};

use crate::endpoint::{Disposed, LinkKey};
use crate::inbound::Question;
use crate::problem::AmqpError;
use crate::token::Token;

/// A page of the log, and what its partition holds, if that was asked for.
pub(super) struct Page {
    pub(super) reader: EventReader,
    pub(super) read: Result<Vec<Event>, HubError>,
    pub(super) info: Option<(PartitionInfo, Timestamp)>,
}

/// Something that was waited for has come.
pub(super) enum Done {
    /// Nothing: it is not wanted any more.
    Nothing,
    /// A name and token of the security layer.
    Secured(Result<Token, Refusal>),
    /// A token that was put, and on which link.
    Put(LinkKey, Question, Result<Token, Refusal>),
    /// An answer about the log.
    Managed(LinkKey, Question, Vec<u8>),
    /// A message to a device: the link it came on, its number and whether it is settled already.
    Sent(LinkKey, u32, bool, Result<(), AmqpError>),
    /// A reader that a link asked for.
    Opened(LinkKey, Result<EventReader, HubError>),
    /// Events for a link.
    Read(LinkKey, Box<Page>),
    /// Something for a back end: its lock and the message.
    Claimed(LinkKey, Result<(LockToken, Vec<u8>), HubError>),
    /// It was settled: the link, its number, what became of it, whether the peer wants to
    /// know.
    Settled(LinkKey, u32, Disposed, bool, Result<(), HubError>),
    /// A device is connected: under which address it was asked for, and who it is.
    Connected(Address, Result<(Address, Box<Link>), Refusal>),
    /// What a device's newer token grants it.
    Renewed(Address, Result<Grant, Refusal>),
    /// The hub has said something to a device.
    Said(Address, LinkId, Downlink, Vec<Outbound>),
}

/// Work in hand.
pub(super) type Work = BoxFuture<'static, Done>;

/// Work that can be called off.
pub(super) fn abortable(work: impl Future<Output = Done> + Send + 'static) -> (Work, AbortHandle) {
    let (handle, registration) = AbortHandle::new_pair();
    let work = Abortable::new(work, registration);
    (work.map(|done| done.unwrap_or(Done::Nothing)).boxed(), handle)
}

/// Calls off work when it is dropped.
#[derive(Debug)]
pub(super) struct CallOff(pub(super) AbortHandle);

impl Drop for CallOff {
    fn drop(&mut self) {
        self.0.abort();
    }
}
