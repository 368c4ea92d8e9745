//! What an application may do to a device in a transaction of its own.
//!
//! A store that shares its database with an application can let the application's rows and the hub's
//! changes become durable together. The rules are these here: from what is read within the transaction
//! they make the guarded change that the hub itself would commit. The change tells the node that holds
//! the device's connection, whichever it is, by a post in its inbox; so nothing needs to be called once
//! the transaction is committed.

use std::sync::Arc;

use super::Setup;
use super::cache::{Documents, Slot};
use super::events::{Digital, retargeted, twin_changed};
use super::room::Room;
use crate::delivery;
use crate::envelope::Message;
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, Epoch};
use crate::inbox::{Connection, Post};
use crate::security::Registered as _;
use crate::store::{Ask, Change, Key, Op, QueueId, QueueKind, Record};
use crate::time::Timestamp;
use crate::twin::{ServicePatch, Twin};

/// What is read, in the order of the asks.
const SLOTS: [Slot; 3] = [Slot::Identity, Slot::Session, Slot::Twin];

/// Makes changes for others to commit, by the hub's rules and at its time.
#[derive(Debug, Clone)]
pub struct Staging {
    setup: Arc<Setup>,
    now: Timestamp,
}

/// A change to commit, and what is then true.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged<T> {
    /// Holds as long as what was read still stands.
    pub change: Change,
    /// Of a message its expiry, of a twin the twin as it will be.
    pub then: T,
}

impl<T> Staged<T> {
    /// The same without telling other nodes, and without a sign that configurations are to be
    /// applied: for when their queue is full. They find it by themselves.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.change = self.change.without(is_hint);
        self
    }
}

impl Staging {
    pub(crate) fn new(setup: Arc<Setup>, now: Timestamp) -> Self {
        Self { setup, now }
    }

    /// What has to be read of a device or module, at one instant or under locks.
    #[must_use]
    pub fn asks(of: &Address) -> [Ask; 3] {
        SLOTS.map(|slot| Documents::ask(slot, of))
    }

    /// What has to be read where a queue was full whose oldest items give way to new ones, and how many
    /// of these are wanted, if that is known. `None` where nothing gives way.
    #[must_use]
    pub fn room(&self, queue: &QueueId, items: Option<u32>) -> Option<[Ask; 2]> {
        Room::asks(queue, items, &self.setup.limits)
    }

    /// A change with room made for it in a queue that was full. `read` are the answers to
    /// [`Staging::room`].
    ///
    /// # Errors
    /// How many items have to be read instead.
    pub fn with_room(
        &self,
        change: Change,
        queue: &QueueId,
        read: &[Option<Record>],
    ) -> Result<Change, u32> {
        Room::of(queue.clone(), read).make(change, &self.setup.limits)
    }

    /// A cloud-to-device message. `read` are the answers to [`Staging::asks`].
    ///
    /// # Errors
    /// As [`Hub::send`](crate::Hub::send), but for `QueueFull`, which the store finds.
    pub fn send(
        &self,
        to: &Address,
        read: Vec<Option<Record>>,
        message: Message,
    ) -> Result<Staged<Timestamp>, HubError> {
        let documents = documents(read)?;
        let identity = documents.identity.get().filter(|identity| identity.is_enabled());
        let guard = documents.identity.at(Key::identity(to));
        let (Some(identity), Some(guard)) = (identity, guard) else {
            return Err(HubError::not_found(to));
        };
        let limits = &self.setup.limits;
        let push = delivery::accept(to, identity.generation(), message, self.now, limits)?;
        let then = push.deadline;
        let change = Change::new().require(&guard).push(push);
        Ok(Staged { change: self.told(change, to, &documents, |of, _| Post::Mail(of)), then })
    }

    /// Merges into tags and desired properties, if the twin has this etag (`None` or `*`: any). A
    /// change that does nothing is empty.
    ///
    /// # Errors
    /// As [`Hub::patch_twin`](crate::Hub::patch_twin).
    pub fn patch_twin(
        &self,
        of: &Address,
        read: Vec<Option<Record>>,
        patch: &ServicePatch,
        if_match: Option<&str>,
    ) -> Result<Staged<Twin>, HubError> {
        let documents = documents(read)?;
        let guard = documents.twin.at(Key::twin(of));
        let (Some(twin), Some(guard), Some(identity)) =
            (documents.twin.get(), guard, documents.identity.get())
        else {
            return Err(HubError::not_found(of));
        };
        let mut then = twin.clone();
        let digital = Digital::before(&self.setup, of, documents.session.get(), twin);
        let changed = then.patch(patch, if_match, self.now, &self.setup.limits)?;
        if changed.is_empty() {
            return Ok(Staged { change: Change::new().require(&guard), then });
        }
        let told = twin_changed(&self.setup, of, Some(twin), &changed, digital, &then);
        let found = retargeted(&self.setup, of, &mut then, false);
        let mut change = Change::new().replace(&guard, then.encode());
        if let Some(notice) = changed.desired_notice() {
            let generation = identity.generation();
            change = self.told(change, of, &documents, |of, epoch| {
                let during = Connection { generation, epoch };
                Post::Desired(of, during, notice.version, notice.body)
            });
        }
        Ok(Staged { change: change.and(found).and(told), then })
    }

    /// Tells the node that holds the connection, and holds only as long as that one does.
    fn told(
        &self,
        change: Change,
        of: &Address,
        documents: &Documents,
        post: impl FnOnce(Address, Epoch) -> Post,
    ) -> Change {
        let Some(at) = documents.session.at(Key::session(of)) else {
            return change.require_absent(Key::session(of));
        };
        let change = change.require(&at);
        let session = documents.session.get();
        match session.and_then(|session| Some((session.node.as_ref()?, session.epoch))) {
            None => change,
            Some((node, epoch)) => {
                let post = post(of.clone(), epoch);
                change.push(post.push(node, self.now, &self.setup.limits))
            }
        }
    }
}

/// Whether a step is a sign for somebody who would find by himself what it tells of.
pub(crate) fn is_hint(op: &Op) -> bool {
    let kinds = [QueueKind::Inbox, QueueKind::Configure];
    matches!(op, Op::Push(push) if kinds.contains(&push.queue.kind))
}

fn documents(read: Vec<Option<Record>>) -> Result<Documents, HubError> {
    let mut documents = Documents::default();
    for (slot, record) in SLOTS.into_iter().zip(read) {
        let unreadable = |_| HubError::new(ErrorKind::Internal, "a document cannot be read");
        documents.load(slot, record).map_err(unreadable)?;
    }
    Ok(documents)
}
