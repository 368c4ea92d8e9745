//! What machines of other nodes are told, and what they tell.

use bytes::Bytes;

use super::cache::Cached;
use super::effect::{Effects, LifecycleKind};
use super::events::Transition;
use super::input::{Input, Request};
use super::job::{After, Job};
use super::{Device, Online};
use crate::error::{CloseReason, DisconnectCause};
use crate::frame::{Interest, Outbound};
use crate::id::{Address, CallId, Epoch, NodeId};
use crate::inbox::{Asked, Connection, Gone, Post};
use crate::method::{MethodCall, MethodReply};
use crate::route::Presence;
use crate::store::{Change, DocumentRef, Key};
use crate::twin::Tell;

impl Input {
    /// What a post of another node is to the machine of its device.
    ///
    /// # Errors
    /// A call is no input by itself: somebody has to wait for its answer. It is handed back.
    pub fn of_post(post: Post) -> Result<(Address, Self), Box<Asked>> {
        Ok(match post {
            Post::Changed(of) => (of, Self::Changed),
            Post::Mail(of) => (of, Self::Mail),
            Post::Desired(of, during, version, patch) => {
                (of, Self::Desired(during, version, patch))
            }
            Post::Expelled(of, Gone::Disabled) => (of, Self::Expel(CloseReason::IdentityDisabled)),
            Post::Answer(replied) => {
                let reply = |(status, payload)| MethodReply { status, payload };
                (
                    replied.of,
                    Self::Answered(replied.reply.call, Box::new(replied.result.map(reply))),
                )
            }
            Post::Call(asked) => return Err(asked),
        })
    }
}

impl From<&Asked> for Request {
    fn from(asked: &Asked) -> Self {
        Self::InvokeHere(MethodCall {
            name: asked.name.clone(),
            payload: asked.payload.clone(),
            response_timeout: asked.response_timeout,
            connect_timeout: asked.connect_timeout,
        })
    }
}

impl Device {
    /// The node that holds the connection, if it is another one.
    pub(super) fn elsewhere(&self) -> Option<(&NodeId, Epoch)> {
        let session = self.documents.session.get()?;
        Some((session.elsewhere(&self.setup.node)?, session.epoch))
    }

    /// Holds only as long as the connection is where it was read to be. Without this a machine whose
    /// session is outdated would tell nobody, or the wrong node.
    pub(super) fn require_session(&self, change: Change) -> Change {
        let key = Key::session(&self.address);
        match &self.documents.session {
            Cached::Known(version, _) => change.require(&DocumentRef::new(key, *version)),
            Cached::Absent => change.require_absent(key),
            // Whatever needs it has read it.
            Cached::Unknown => change,
        }
    }

    /// Tells the node that holds the connection, if it is another one and its inbox has room. If it
    /// has none, what it was to be told of is found by polling.
    pub(super) fn tell(&self, change: Change, post: impl FnOnce(Address, Epoch) -> Post) -> Change {
        match self.elsewhere() {
            Some((node, epoch)) if !self.mute_posts => {
                let post = post(self.address.clone(), epoch);
                change.push(post.push(node, self.now, &self.setup.limits))
            }
            _ => change,
        }
    }

    /// Another node has written the desired properties.
    pub(super) fn heard_of_desired(
        &mut self,
        during: Connection,
        version: u64,
        patch: Bytes,
        fx: &mut Effects,
    ) {
        if self.jobs.is_empty() {
            self.notice_in(during, version, patch, fx);
        } else {
            // A connect in hand may be durable, and what is meant is then its link.
            self.enqueue(Job::Notice { during, version, patch }, fx);
        }
    }

    pub(super) fn notice_in(
        &mut self,
        during: Connection,
        version: u64,
        patch: Bytes,
        fx: &mut Effects,
    ) {
        let here = |online: &Online| Connection {
            generation: online.grant.generation,
            epoch: online.epoch,
        };
        if self.online.as_ref().map(here) == Some(during) {
            self.notice(version, patch, fx);
        }
    }

    /// Tells the device of its desired properties, in order.
    pub(super) fn notice(&mut self, version: u64, patch: Bytes, fx: &mut Effects) {
        if self.holds(version, &patch, fx) {
            return;
        }
        let Some(online) = &mut self.online else { return };
        match online.notices.notice(version, patch, self.now, &self.setup.limits) {
            Tell::These(these) => self.say_desired(these, fx),
            Tell::All if self.follows() => self.listens(fx),
            Tell::All => self.enqueue(Job::CatchUp, fx),
        }
    }

    /// The device has read its twin.
    pub(super) fn knows_desired(&mut self, version: u64, fx: &mut Effects) {
        let Some(online) = &mut self.online else { return };
        let these = online.notices.knows(version);
        self.say_desired(these, fx);
    }

    fn say_desired(&mut self, these: Vec<(u64, Bytes)>, fx: &mut Effects) {
        if !self.subscribed(Interest::DesiredProperties) {
            return;
        }
        for (version, patch) in these {
            self.tells(version);
            if let Some(online) = &self.online {
                fx.say(online.link, Outbound::Desired(version, patch));
            }
        }
    }

    /// A notice may have been lost: then the device is told all of its desired properties.
    pub(super) fn catch_up(&mut self, fx: &mut Effects) {
        if !self.fresh {
            // No guard would tell that the cached one is outdated.
            if self.follows() {
                self.documents.forget();
            } else {
                self.documents.twin = Cached::Unknown;
            }
            return self.jobs.push_front(Job::CatchUp);
        }
        if self.follows() {
            return self.follow(fx);
        }
        let Some(notice) = self.documents.twin.get().map(|twin| twin.desired_in_full()) else {
            return;
        };
        let missed = |online: &Online| online.notices.has_missed(notice.version);
        if self.online.as_ref().is_some_and(missed) {
            self.say_desired(vec![(notice.version, notice.body)], fx);
            self.knows_desired(notice.version, fx);
        }
    }

    /// The node that the session names is gone for good, or was started anew.
    pub(super) fn repair(&mut self, call: CallId, node: DocumentRef, fx: &mut Effects) {
        let named = self.documents.session.known().filter(|(_, session)| {
            session.node.as_ref().is_some_and(|named| *named.as_str() == *node.key().id)
        });
        let own = *node.key().id == *self.setup.node.as_str();
        let (Some((version, session)), false) = (named, own && self.online.is_some()) else {
            if self.doubts() {
                let request = Request::Repair(node);
                return self.jobs.push_front(Job::Ask { call, request });
            }
            return fx.answer(call, super::Answer::Done);
        };
        let epoch = session.epoch;
        let session = session.disconnected(self.now);
        // Another node may come back, and then looks at each of its connections itself.
        let change = if own { Change::new() } else { Change::new().require(&node) };
        let key = Key::session(&self.address);
        let mut change = change.write(&key, Some(version), session.encode());
        if let Some(identity) = self.documents.identity.get() {
            change = change.and(self.presence(Transition {
                presence: Presence::Disconnected,
                generation: identity.generation(),
                epoch,
                at: self.now,
            }));
        }
        let after = After::Repaired { session: Box::new(session), epoch };
        self.write(Job::Ask { call, request: Request::Repair(node) }, change, after, fx);
    }

    pub(super) fn repaired(&mut self, epoch: Epoch, fx: &mut Effects) {
        fx.tell(LifecycleKind::Disconnected(epoch, DisconnectCause::ConnectionLost));
    }
}
