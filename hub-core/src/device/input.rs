//! Everything that can happen to one device or module.

use bytes::Bytes;

use crate::envelope::Message;
use crate::error::{CloseReason, DisconnectCause, HubError};
use crate::frame::{Disposition, Inbound, LockToken};
use crate::hello::{Grant, SessionMode};
use crate::id::{CallId, LinkId};
use crate::inbox::Connection;
use crate::method::{MethodCall, MethodReply};
use crate::store::{Change, DocumentRef, Item, Outcome, Record};
use crate::twin::{DigitalPatch, ServicePatch};

/// Somebody who has been authenticated.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// What it was granted.
    pub grant: Grant,
    /// What becomes of its session.
    pub session: SessionMode,
    /// The model it announced.
    pub model: Option<String>,
}

/// What an application or a request-response protocol asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Send a cloud-to-device message.
    Send(Message),
    /// The same, in one with another change: both happen or neither. The other one pushes nothing
    /// and touches nothing that the machine decides on. Where it is refused, so is this, as `Busy`.
    SendWith(Message, Box<Change>),
    /// Receive one message under a lock that ends after this many milliseconds.
    Receive(u64),
    /// Settle a received message.
    Settle(LockToken, Disposition),
    /// Remove all messages, locked ones included.
    Purge,
    /// Call a direct method, wherever the device is connected.
    Invoke(MethodCall),
    /// The same on behalf of another node: only if the device is connected here.
    InvokeHere(MethodCall),
    /// Merge into tags and desired properties, if the twin has this etag.
    PatchTwin(ServicePatch, Option<String>),
    /// The same, in one with another change: both happen or neither. The other one touches nothing
    /// of the device's own. Where it is refused, so is this, as `Busy`.
    PatchTwinWith(ServicePatch, Option<String>, Box<Change>),
    /// Replace tags and desired properties, if the twin has this etag.
    ReplaceTwin(ServicePatch, Option<String>),
    /// The same, in one with another change, as [`Request::PatchTwinWith`].
    ReplaceTwinWith(ServicePatch, Option<String>, Box<Change>),
    /// Change the digital twin, if the twin has this etag.
    PatchDigitalTwin(DigitalPatch, Option<String>),
    /// Make the twin what the configurations say, known at least up to this revision; in one with
    /// another change, which touches nothing of the device's own. Refused as `Busy` where this node
    /// knows only earlier ones.
    Configure(u64, Box<Change>),
    /// End the session of a connection that the node with this document held, and lost.
    Repair(DocumentRef),
}

/// Everything that can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Somebody authenticated came, and waits for [`super::Answer::Welcome`].
    Connect(CallId, LinkId, Box<Arrival>),
    /// The peer of a link has shown a newer credential of the same identity.
    Renew(LinkId, Box<Grant>),
    /// A link ended.
    Leave(LinkId, DisconnectCause),
    /// A device said something.
    Frame(LinkId, Inbound),
    /// Somebody asks for something, and waits for an answer.
    Ask(CallId, Request),
    /// Somebody does not wait any more.
    Cancel(CallId),
    /// The answer to [`super::Effects::reads`].
    Loaded(Vec<Option<Record>>),
    /// The read failed, and is to be asked for again.
    ReadFailed,
    /// The answer to a claim.
    Claimed(super::Purpose, u32, Vec<Item>),
    /// A claim could not be made.
    ClaimFailed(super::Purpose),
    /// A sweep took these items of the device's queue: their expiry has passed.
    Overdue(Vec<Item>),
    /// The answer to [`super::Effects::change`].
    Outcome(Outcome),
    /// The hub ends the connection, if there is one.
    Expel(CloseReason),
    /// A hint: something of this device may have changed elsewhere.
    Changed,
    /// Another node has put a message into the mailbox, or given one back.
    Mail,
    /// Another node has written the desired properties during this connection: their version, and
    /// the patch.
    Desired(Connection, u64, Bytes),
    /// Another node has made a call, or could not.
    Answered(CallId, Box<Result<MethodReply, HubError>>),
    /// Time has passed.
    Tick,
}
