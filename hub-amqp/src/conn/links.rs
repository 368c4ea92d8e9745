//! What links are for, once they are accepted.

use hub_core::Address;

use super::broker::Broker;
use super::events::Reading;
use super::outlet::Outlet;
use super::work::CallOff;
use crate::address::{self, DeviceNode, Node};
use crate::codec::Role;
use crate::endpoint::{Disposed, LinkKey};
use crate::problem::{AmqpError, condition};

/// Largest question: a token and a few names.
const QUESTION_BYTES_MAX: usize = 32 * 1024;

/// Which questions an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Desk {
    /// Tokens.
    Cbs,
    /// What the log holds.
    Management,
}

/// What the hub tells back ends, under locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// What became of messages to devices.
    Feedback,
    /// Which files were uploaded.
    Files,
}

/// What a link is for.
pub(super) enum Served {
    /// The peer asks questions.
    Questions(Desk),
    /// The peer hears answers. It has given this address to answer to.
    Answers(Desk, Option<String>, Outlet),
    /// A back end sends messages to devices; so many are being worked on.
    DeviceBound(u32),
    /// A back end hears what the hub has to tell; the next of it is being waited for.
    Told(News, Outlet, Option<CallOff>),
    /// A reader is being opened.
    Opening(Box<Reading>),
    /// A reader of the log.
    Events(Box<Reading>),
    /// Its device is being connected.
    Connecting(Address, DeviceNode),
    /// A device sends; so many messages are being worked on.
    DeviceIn(Address, DeviceNode, u32),
    /// A device hears.
    DeviceOut(Address, DeviceNode, Outlet),
}

impl Served {
    /// Whose link it is, if it is a device's.
    pub(super) fn device(&self) -> Option<&Address> {
        match self {
            Self::Connecting(address, _)
            | Self::DeviceIn(address, ..)
            | Self::DeviceOut(address, ..) => Some(address),
            _ => None,
        }
    }

    /// Messages that wait for credit.
    pub(super) fn outlet(&mut self) -> Option<&mut Outlet> {
        match self {
            Self::Answers(_, _, outlet)
            | Self::Told(_, outlet, _)
            | Self::DeviceOut(_, _, outlet) => Some(outlet),
            _ => None,
        }
    }
}

impl Broker {
    /// The peer asks for a link.
    pub(super) fn asked(&mut self, link: LinkKey) {
        if self.stopping {
            let why = AmqpError::new(condition::FORCED, "the hub shuts down");
            return self.refuse(link, &why);
        }
        let Some(attach) = self.endpoint.asked(link) else { return };
        let sends = attach.role == Role::Sender;
        let (ours, theirs) = match attach.role {
            Role::Sender => (attach.target, attach.source),
            Role::Receiver => (attach.source, attach.target),
        };
        let reply_to = theirs.and_then(|theirs| theirs.address).map(str::to_owned);
        let Some(ours) = ours.filter(|ours| !ours.dynamic) else {
            let why = AmqpError::new(condition::NOT_IMPLEMENTED, "a link needs an address");
            return self.refuse(link, &why);
        };
        let address = ours.address.unwrap_or("");
        match (address::parse(address, self.hub.names()), sends) {
            (Some(Node::Cbs), _) => self.attach_desk(link, Desk::Cbs, sends, reply_to),
            (Some(Node::Management), _) => {
                self.attach_desk(link, Desk::Management, sends, reply_to);
            }
            (Some(Node::DeviceBound), true) => self.attach_device_bound(link),
            (Some(Node::Feedback), false) => self.attach_news(link, News::Feedback),
            (Some(Node::FileNotifications), false) => self.attach_news(link, News::Files),
            (Some(Node::Events { path, group, partition }), false) => {
                self.attach_events(link, path, group, partition);
            }
            (Some(Node::Device(found, node)), _) => self.attach_device(link, found, node, sends),
            (None, _) => {
                let why = AmqpError::new(condition::NOT_FOUND, "nothing is served at the address");
                self.refuse(link, &why);
            }
            (Some(_), _) => {
                let why = "the address is for the other direction";
                self.refuse(link, &AmqpError::new(condition::NOT_ALLOWED, why));
            }
        }
    }

    fn attach_desk(&mut self, link: LinkKey, desk: Desk, sends: bool, reply_to: Option<String>) {
        if sends {
            self.accept(link, Served::Questions(desk), QUESTION_BYTES_MAX, false);
            self.replenish(link, 0);
        } else {
            self.accept(link, Served::Answers(desk, reply_to, Outlet::default()), 0, true);
        }
    }

    /// The peer has sent a message.
    pub(super) fn message(&mut self, link: LinkKey, delivery: u32, settled: bool, payload: &[u8]) {
        match self.links.get(&link) {
            Some(Served::Questions(Desk::Cbs)) => self.put_token(link, delivery, settled, payload),
            Some(Served::Questions(Desk::Management)) => {
                self.manage(link, delivery, settled, payload);
            }
            Some(Served::DeviceBound(_)) => self.device_bound(link, delivery, settled, payload),
            Some(Served::DeviceIn(..)) => self.device_in(link, delivery, settled, payload),
            _ => {}
        }
    }

    /// The peer says what became of a message that it was sent.
    pub(super) fn disposed(
        &mut self,
        link: LinkKey,
        delivery: u32,
        outcome: Disposed,
        wants_answer: bool,
    ) {
        match self.links.get(&link) {
            Some(Served::Told(..)) => {
                self.settle_news(link, delivery, outcome, wants_answer);
            }
            Some(Served::DeviceOut(..)) => {
                self.settle_offer(link, delivery, outcome, wants_answer);
            }
            _ => {}
        }
    }
}
