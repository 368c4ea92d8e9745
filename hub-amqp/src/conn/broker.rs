//! A connection without its socket: what its links are for, and what is being waited for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{FuturesUnordered, Stream as _};
use hub_core::error::{CloseReason, DisconnectCause};
use hub_core::transport::Peer;
use hub_core::{Address, Hub, Limits};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::links::Served;
use super::online::Device;
use super::work::{Done, Work};
use super::{End, Shared};
use crate::endpoint::{Endpoint, Happening, LinkKey, Over, Taken, Turn};
use crate::limits::AmqpLimits;
use crate::outbound::EventWriter;
use crate::problem::{AmqpError, condition};
use crate::token::Tokens;

/// While this many bytes wait for the peer, nothing is read from it and no event is taken from the
/// log for it: it would only cause more.
pub(super) const WAITING_MAX: usize = 128 * 1024;

/// Room in a message for everything besides its body and what counts with it.
pub(super) const SECTIONS: usize = 64 * 1024;

/// Completed work that is looked at before others have their turn.
const DONE_MAX: usize = 64;

pub(super) struct Broker {
    pub(super) hub: Hub,
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    pub(super) endpoint: Endpoint,
    pub(super) turn: Turn,
    pub(super) links: HashMap<LinkKey, Served>,
    pub(super) tokens: Tokens,
    pub(super) devices: HashMap<Address, Device>,
    /// Devices that have no room, while they have none.
    pub(super) full: Vec<Address>,
    /// Devices with telemetry that is still to be handed over.
    pub(super) gathered: Vec<Address>,
    work: FuturesUnordered<Work>,
    /// Requests of the peer that are being worked on.
    pub(super) requests: usize,
    pub(super) evict: UnboundedSender<LinkKey>,
    evicted: UnboundedReceiver<LinkKey>,
    /// Bytes that wait for credit.
    pub(super) queued: usize,
    /// Bytes that wait for the socket, as the driver said last.
    pub(super) unwritten: usize,
    /// Readers with events that may be sent.
    pub(super) ready: VecDeque<LinkKey>,
    pub(super) scratch: Vec<u8>,
    pub(super) events: EventWriter,
    /// Whether the peer has proved who it is, once.
    pub(super) known: bool,
    /// When it must have.
    pub(super) introduction: Instant,
    pub(super) stopping: bool,
    pub(super) end: Option<End>,
}

impl Broker {
    pub(super) fn new(hub: Hub, shared: Arc<Shared>, peer: Peer, introduction: Instant) -> Self {
        let (evict, evicted) = unbounded_channel();
        let endpoint = Endpoint::new(shared.limits.clone(), hub.names().primary().into());
        Self {
            hub,
            shared,
            peer,
            endpoint,
            turn: Turn::default(),
            links: HashMap::new(),
            tokens: Tokens::default(),
            devices: HashMap::new(),
            full: Vec::new(),
            gathered: Vec::new(),
            work: FuturesUnordered::new(),
            requests: 0,
            evict,
            evicted,
            queued: 0,
            unwritten: 0,
            ready: VecDeque::new(),
            scratch: Vec::new(),
            events: EventWriter::default(),
            known: false,
            introduction,
            stopping: false,
            end: None,
        }
    }

    pub(super) fn limits(&self) -> &AmqpLimits {
        &self.shared.limits
    }

    pub(super) fn hub_limits(&self) -> &Limits {
        self.hub.limits()
    }

    pub(super) fn begin(&self, work: Work) {
        self.work.push(work);
    }

    /// Whether another frame of the peer may be looked at.
    pub(super) fn may_hear(&self) -> bool {
        self.end.is_none()
            && self.unwritten + self.turn.wire.len() < WAITING_MAX
            && self.requests < self.limits().requests_max
            && self.full.is_empty()
    }

    /// Whether all devices have room. If not, this task is woken when one has.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> bool {
        let devices = &mut self.devices;
        self.full.retain(|address| match devices.get_mut(address) {
            Some(Device::Online(online)) => online.up.poll_ready(cx).is_pending(),
            _ => false,
        });
        self.full.is_empty()
    }

    /// Looks at what the peer has said. Gives how many bytes were taken, and how many are needed
    /// before more can be.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> (usize, usize) {
        let (mut used, mut needs) = (0, 0);
        while self.may_hear() {
            let rest = bytes.get(used..).unwrap_or(&[]);
            if rest.is_empty() {
                break;
            }
            match self.endpoint.take(rest, &mut self.turn) {
                Taken::Bytes(count) => used += count,
                Taken::Needs(count) => {
                    needs = count;
                    self.happened();
                    break;
                }
                Taken::Nothing => {
                    self.happened();
                    break;
                }
            }
            self.happened();
        }
        self.hand_over();
        (used, needs)
    }

    /// Deals with what has happened on the endpoint, and what that causes.
    pub(super) fn happened(&mut self) {
        while !self.turn.happened.is_empty() {
            for happening in std::mem::take(&mut self.turn.happened) {
                self.happening(happening);
            }
        }
    }

    fn happening(&mut self, happening: Happening) {
        match happening {
            Happening::Sasl(choice) => self.secure(choice),
            Happening::Asked(link) => self.asked(link),
            Happening::Message { link, delivery, settled, payload } => {
                self.message(link, delivery, settled, &payload);
            }
            Happening::Sendable(link) => self.sendable(link),
            Happening::Disposed { link, delivery, outcome, wants_answer } => {
                self.disposed(link, delivery, outcome, wants_answer);
            }
            Happening::Gone(link) => self.forget(link),
            Happening::Over(over) => {
                self.end.get_or_insert(match over {
                    Over::Goodbye => End::Goodbye,
                    Over::Answered => End::Closed,
                    Over::Violation => End::Protocol,
                    Over::Refused => End::Refused,
                });
            }
        }
    }

    fn sendable(&mut self, link: LinkKey) {
        match self.links.get(&link) {
            Some(Served::Events(_)) => self.wake_reader(link),
            Some(_) => {
                self.flush(link);
                self.claim(link);
            }
            None => {}
        }
    }

    /// Puts a message on a link, to be sent as soon as its credit allows.
    pub(super) fn put(
        &mut self,
        link: LinkKey,
        payload: Vec<u8>,
        lock: Option<hub_core::frame::LockToken>,
    ) {
        let Some(outlet) = self.links.get_mut(&link).and_then(Served::outlet) else { return };
        self.queued = self.queued.saturating_add(payload.len());
        outlet.push(payload, lock);
        self.flush(link);
        self.stuck();
    }

    /// A peer that takes nothing is cut off: what waits for its credit and for its socket is
    /// bounded together.
    pub(super) fn stuck(&mut self) {
        let waiting = self.queued.saturating_add(self.unwritten);
        if waiting.saturating_add(self.turn.wire.len()) > self.hub_limits().peer_write_bytes_max {
            self.end.get_or_insert(End::Stuck);
        }
    }

    /// Sends what waits on a link, as far as its credit goes.
    pub(super) fn flush(&mut self, link: LinkKey) {
        let Some(outlet) = self.links.get_mut(&link).and_then(Served::outlet) else { return };
        while !outlet.is_empty() && self.endpoint.can_send(link) {
            let Some((payload, lock)) = outlet.pop() else { break };
            self.queued = self.queued.saturating_sub(payload.len());
            let delivery = self.endpoint.send(link, &payload, lock.is_none(), &mut self.turn);
            if let (Some(delivery), Some(lock)) = (delivery, lock) {
                outlet.sent(delivery, lock);
            }
        }
        if outlet.is_empty() && self.endpoint.is_draining(link) {
            self.endpoint.drain(link, &mut self.turn);
        }
    }

    /// Refuses a link that was asked for.
    pub(super) fn refuse(&mut self, link: LinkKey, why: &AmqpError) {
        self.shared.counters.links_refused();
        self.endpoint.refuse(link, why, &mut self.turn);
    }

    /// Accepts a link for something.
    pub(super) fn accept(
        &mut self,
        link: LinkKey,
        served: Served,
        message_max: usize,
        settles: bool,
    ) {
        if self.endpoint.accept(link, message_max, settles, &mut self.turn) {
            self.shared.counters.links_accepted();
            self.links.insert(link, served);
        }
    }

    /// Ends a link from the hub's side.
    pub(super) fn detach(&mut self, link: LinkKey, why: &AmqpError) {
        self.endpoint.detach(link, Some(why), &mut self.turn);
        self.forget(link);
    }

    /// A link is gone.
    fn forget(&mut self, link: LinkKey) {
        let Some(mut served) = self.links.remove(&link) else { return };
        if let Some(outlet) = served.outlet() {
            self.queued = self.queued.saturating_sub(outlet.bytes());
        }
        self.device_gone(link, &served);
    }

    /// Settles messages of a peer, and lets it send more when it has little credit left. So many
    /// are still being worked on.
    pub(super) fn replenish(&mut self, link: LinkKey, in_hand: u32) {
        let full = self.limits().link_credit;
        if self.endpoint.credit(link) <= full / 2 {
            self.endpoint.grant(link, full.saturating_sub(in_hand), &mut self.turn);
        }
    }

    /// Deals with work that is done. Says whether there was any.
    pub(super) fn poll_work(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        for _ in 0..DONE_MAX {
            let Poll::Ready(Some(done)) = std::pin::Pin::new(&mut self.work).poll_next(cx) else {
                break;
            };
            any = true;
            self.done(done);
            self.happened();
            self.hand_over();
        }
        any
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Secured(admitted) => self.secured(admitted),
            Done::Put(link, question, admitted) => self.token_put(link, &question, admitted),
            Done::Managed(link, question, answer) => self.managed(link, &question, answer),
            Done::Sent(link, delivery, settled, sent) => self.sent(link, delivery, settled, sent),
            Done::Opened(link, reader) => self.opened(link, reader),
            Done::Read(link, page) => self.page(link, *page),
            Done::Claimed(link, news) => self.claimed(link, news),
            Done::Settled(link, delivery, outcome, wants_answer, settled) => {
                self.news_settled(link, delivery, outcome, wants_answer, settled);
            }
            Done::Connected(asked, connected) => self.connected(&asked, connected),
            Done::Renewed(address, granted) => self.renewed(&address, granted),
            Done::Said(address, id, down, said) => self.said(&address, id, down, said),
        }
    }

    /// Deals with readers that lost their place. Says whether there were any.
    pub(super) fn poll_evicted(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(Some(link)) = self.evicted.poll_recv(cx) {
            any = true;
            self.shared.counters.readers_evicted();
            let why = "another reader with the same or a higher epoch has taken the partition";
            self.detach(link, &AmqpError::new(condition::STOLEN, why));
            self.happened();
        }
        any
    }

    /// The hub is to stop: no new link is served. Devices are closed by the hub, and the connection
    /// with the last of them.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.close_if_done();
    }

    pub(super) fn close_if_done(&mut self) {
        if self.stopping && self.devices.is_empty() {
            self.close(&AmqpError::new(condition::FORCED, "the hub shuts down"));
        }
    }

    /// Closes the connection from the hub's side.
    pub(super) fn close(&mut self, why: &AmqpError) {
        self.endpoint.close(Some(why), &mut self.turn);
        self.happened();
    }

    /// Takes leave of the hub.
    pub(super) fn leave(&mut self, end: End) {
        let cause = match end {
            End::Goodbye => DisconnectCause::Clean,
            End::Lost => DisconnectCause::ConnectionLost,
            End::Protocol | End::Refused | End::Unknown => DisconnectCause::Protocol,
            End::Silent => DisconnectCause::KeepAlive,
            End::Stuck => DisconnectCause::Closed(CloseReason::PeerStuck),
            End::Closed => DisconnectCause::Closed(CloseReason::Shutdown),
        };
        for device in self.devices.values_mut() {
            if let Device::Online(online) = device {
                online.up.leave(cause);
            }
        }
        self.devices.clear();
        self.links.clear();
        self.work = FuturesUnordered::new();
    }
}
