//! Telling the node that holds a connection what the registry does to its identity.

use super::core::Core;
use super::hub::Hub;
use crate::device::is_hint;
use crate::error::HubError;
use crate::id::{Address, NodeId};
use crate::inbox::Post;
use crate::session::Session;
use crate::store::{Change, DocumentRef, Key, Outcome, QueueKind, Record};

/// Where an identity is connected, as it was read.
pub(super) struct Holder<'a> {
    of: &'a Address,
    at: Option<DocumentRef>,
    node: Option<NodeId>,
}

impl<'a> Holder<'a> {
    pub(super) fn new(of: &'a Address, session: Option<Record>) -> Self {
        let Some(Record::Document(document)) = session else {
            return Self { of, at: None, node: None };
        };
        let node = Session::decode(&document.body).and_then(|session| session.node);
        Self { of, at: Some(document.at), node }
    }

    /// The change holds only as long as the connection is where it was read to be: otherwise a
    /// device could connect meanwhile to a node that is told nothing.
    pub(super) fn required(&self, change: Change) -> Change {
        match &self.at {
            Some(at) => change.require(at),
            None => change.require_absent(Key::session(self.of)),
        }
    }

    /// The change tells the node that holds the connection, if that is another one.
    pub(super) fn told(
        &self,
        core: &Core,
        change: Change,
        post: impl FnOnce(Address) -> Post,
    ) -> Change {
        match self.node.as_ref().filter(|node| **node != core.setup.node) {
            None => change,
            Some(node) => {
                let post = post(self.of.clone());
                change.push(post.push(node, core.clock.now(), &core.limits))
            }
        }
    }
}

impl Hub {
    /// Commits a change that tells other nodes. Whether it was; a conflict is to be tried again.
    ///
    /// A node whose inbox is full is not told: it does not fetch its posts, so it is stopped or cut
    /// off. When it is back it looks at all its connections by itself.
    /// A twin that finds no room in the queue of those to configure is found by a sweep.
    pub(super) async fn commit_post(&self, of: &Address, change: Change) -> Result<bool, HubError> {
        match self.commit(of, change.clone()).await? {
            Outcome::Committed(_) => Ok(true),
            Outcome::Full(queue)
                if matches!(queue.kind, QueueKind::Inbox | QueueKind::Configure) =>
            {
                let quiet = change.without(is_hint);
                Ok(matches!(self.commit(of, quiet).await?, Outcome::Committed(_)))
            }
            _ => Ok(false),
        }
    }
}
