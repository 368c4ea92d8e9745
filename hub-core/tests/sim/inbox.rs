//! What `engine/inbox.rs` does, played deterministically: a node takes posts out of its inbox, at every
//! nudge that reaches it and from time to time without one.

use hub_core::device::{Answer, Input, Request};
use hub_core::error::{ErrorKind, HubError};
use hub_core::id::Address;
use hub_core::inbox::{Asked, Post, Replied, Reply};
use hub_core::store::{Change, Claim, Item, QueueId, QueueKind, Scope};

use crate::driver::{ClaimFor, Done, StoreCall};
use crate::fact::{Fact, Step};
use crate::world::{Bug, Event, World};

impl World {
    /// The nodes whose inboxes a change pushed to hear of it, with some luck.
    pub(crate) fn nudges(&mut self, fact: &Fact) {
        let Fact::Committed { steps, .. } = fact else { return };
        for step in steps {
            let Step::Pushed { queue, .. } = step else { continue };
            if queue.kind != QueueKind::Inbox {
                continue;
            }
            let node = self.nodes.iter().position(|node| node.id.as_str() == &*queue.id);
            if let Some(node) = node
                && !self.rng.permille(self.faults.hints_lost)
            {
                let delay = self.rng.between(1, 60);
                self.after(delay, Event::Nudge { node });
            }
        }
    }

    /// It is time to look without a nudge.
    pub(crate) fn poll_inbox(&mut self, n: usize) {
        self.look(n);
        let every = u64::try_from(self.limits.inbox_poll_every.as_millis()).unwrap();
        let run = self.nodes[n].run;
        self.after(every, Event::Inbox { node: n, run });
    }

    pub(crate) fn look(&mut self, n: usize) {
        let now = self.local(n);
        let claim = Claim {
            scope: Scope::Queue(QueueId::inbox(&self.nodes[n].id)),
            limit: 4,
            hide_until: now.after(self.limits.c2d_lock),
        };
        self.ask_store(n, StoreCall::Claim(ClaimFor::Inbox, now, claim));
    }

    pub(crate) fn take_post(&mut self, n: usize, item: &Item) {
        self.nodes[n].waiting.push_back((Change::new().settle(&item.at), Done::Nobody));
        if self.options.bug == Some(Bug::DriverLosesPosts) && self.rng.permille(300) {
            return self.kick(n);
        }
        match Input::of_post(Post::decode(&item.body).unwrap()) {
            Ok((of, input)) => {
                if self.nodes[n].machines.device(&of).is_some() {
                    self.input(n, &of, input);
                }
            }
            Err(asked) => self.make_call(n, item, &asked),
        }
        self.kick(n);
    }

    pub(crate) fn bury_post(&mut self, n: usize, item: &Item) {
        self.nodes[n].waiting.push_back((Change::new().settle(&item.at), Done::Nobody));
        if let Some(Post::Call(asked)) = Post::decode(&item.body) {
            self.make_call(n, item, &asked);
        }
        self.kick(n);
    }

    fn make_call(&mut self, n: usize, item: &Item, asked: &Asked) {
        let refuse = |kind| Answer::Failed(HubError::new(kind, "not made"));
        let reply = asked.reply.clone();
        if item.claims > 1 {
            return self.reply(n, asked.of.clone(), reply, refuse(ErrorKind::DeviceDisconnected));
        }
        if item.deadline <= self.local(n) {
            return self.reply(n, asked.of.clone(), reply, refuse(ErrorKind::DeviceNotOnline));
        }
        let id = self.nodes[n].next_call();
        self.nodes[n].foreign.insert(id, (asked.of.clone(), reply));
        self.input(n, &asked.of, Input::Ask(id, Request::from(asked)));
    }

    /// A call that another node waits for has ended.
    pub(crate) fn reply(&mut self, n: usize, of: Address, reply: Reply, answer: Answer) {
        let result = match answer {
            Answer::Method(reply) => Ok((reply.status, reply.payload)),
            Answer::Failed(error) => Err(error),
            other => Err(HubError::new(ErrorKind::Internal, format!("{other:?}"))),
        };
        let to = reply.to.clone();
        let post = Post::Answer(Box::new(Replied { of, reply, result }));
        let push = post.push(&to, self.local(n), &self.limits);
        self.nodes[n].waiting.push_back((Change::new().push(push), Done::Nobody));
        self.kick(n);
    }
}
