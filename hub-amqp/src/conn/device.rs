//! Devices: what they say and hear.

use futures::future::FutureExt as _;
use hub_core::error::{CloseReason, DisconnectCause};
use hub_core::frame::{Disposition, Guarantee, Inbound, Interest, Outbound};
use hub_core::hello::{Credentials, Hello, Refusal};
use hub_core::id::LinkId;
use hub_core::{Address, Downlink, Hub, HubError, Link};

use super::broker::{Broker, SECTIONS};
use super::links::Served;
use super::online::{Asked, Device, Online};
use super::outlet::Outlet;
use super::service::disposition;
use super::tokens::hello;
use super::work::{CallOff, Done, abortable};
use crate::address::DeviceNode;
use crate::codec::{Outcome, Value};
use crate::endpoint::{Disposed, LinkKey};
use crate::inbound::{self, TwinQuestion};
use crate::outbound;
use crate::problem::{self, AmqpError, condition};

/// Words of the hub that are taken at once.
const SAID_MAX: usize = 64;

/// Connects the first of those who could be meant that is let in.
async fn connect(hub: Hub, hellos: Vec<Hello>) -> Result<(Address, Box<Link>), Refusal> {
    let mut last = Refusal::Unauthorized("no credentials");
    for hello in hellos {
        let address = hello.address.clone();
        match hub.connect(hello).await {
            Ok(link) => return Ok((address, Box::new(link))),
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}

/// Waits for the hub's next words to a device.
async fn listen(address: Address, id: LinkId, mut down: Downlink) -> Done {
    let mut said: Vec<Outbound> = down.next().await.into_iter().collect();
    while !said.is_empty() && said.len() < SAID_MAX {
        match down.try_next() {
            Some(more) => said.push(more),
            None => break,
        }
    }
    Done::Said(address, id, down, said)
}

impl Broker {
    /// The peer asks for a link of a device.
    pub(super) fn attach_device(
        &mut self,
        link: LinkKey,
        found: Vec<Address>,
        node: DeviceNode,
        sends: bool,
    ) {
        let known = found.iter().find(|address| self.devices.contains_key(*address)).cloned();
        if let Some(address) = known {
            self.links.insert(link, Served::Connecting(address.clone(), node));
            match self.devices.get_mut(&address) {
                Some(Device::Connecting(waiting)) => waiting.push((link, node, sends)),
                _ => self.attach_online(&address, link, node, sends),
            }
            return;
        }
        let hellos = self.hellos(link, &found);
        let (Some(asked), false) = (found.into_iter().next(), hellos.is_empty()) else {
            return self.unauthorized(link);
        };
        self.links.insert(link, Served::Connecting(asked.clone(), node));
        self.devices.insert(asked.clone(), Device::Connecting(vec![(link, node, sends)]));
        self.requests += 1;
        let connected = connect(self.hub.clone(), hellos);
        self.begin(connected.map(move |connected| Done::Connected(asked, connected)).boxed());
    }

    /// How those who could be meant introduce themselves: with a token of the connection, or with
    /// the certificate of its handshake.
    fn hellos(&self, link: LinkKey, found: &[Address]) -> Vec<Hello> {
        let certificate = || self.peer.certificate.clone().map(Credentials::Certificate);
        let property = |name: &str| {
            let value = self.endpoint.asked(link)?.properties.find(name).ok().flatten();
            value.and_then(Value::as_text).map(str::to_owned)
        };
        let introduced = |address: &Address| {
            let token = self.tokens.device(address).map(Credentials::Token);
            Some(Hello {
                model: property("com.microsoft:model-id"),
                client: property("com.microsoft:client-version"),
                peer: self.peer.addr,
                ..hello(address.clone(), token.or_else(certificate)?)
            })
        };
        found.iter().filter_map(introduced).collect()
    }

    pub(super) fn connected(
        &mut self,
        asked: &Address,
        connected: Result<(Address, Box<Link>), Refusal>,
    ) {
        self.requests -= 1;
        let Some(Device::Connecting(waiting)) = self.devices.remove(asked) else { return };
        let (address, link) = match connected {
            Ok(connected) => connected,
            Err(refusal) => {
                let why = AmqpError::from(&refusal);
                for (waiting, ..) in waiting {
                    if self.links.remove(&waiting).is_some() {
                        self.refuse(waiting, &why);
                    }
                }
                return self.close_if_done();
            }
        };
        self.known = true;
        let Link { up, down, welcome } = *link;
        let (work, handle) = abortable(listen(address.clone(), welcome.link, down));
        let online = Online::new(welcome.link, up, CallOff(handle));
        self.devices.insert(address.clone(), Device::Online(Box::new(online)));
        self.begin(work);
        for (link, node, sends) in waiting {
            if self.links.remove(&link).is_some() {
                self.links.insert(link, Served::Connecting(address.clone(), node));
                self.attach_online(&address, link, node, sends);
            }
        }
        // Whoever asked may be gone already.
        self.let_go(&address);
    }

    fn online(&mut self, address: &Address) -> Option<&mut Online> {
        match self.devices.get_mut(address) {
            Some(Device::Online(online)) => Some(online),
            _ => None,
        }
    }

    fn attach_online(&mut self, address: &Address, link: LinkKey, node: DeviceNode, sends: bool) {
        let Some(online) = self.online(address) else { return };
        online.links += 1;
        if sends {
            let limits = self.hub_limits();
            let body = match node {
                DeviceNode::Events => limits.telemetry_bytes_max,
                DeviceNode::Methods => limits.method_payload_bytes_max,
                DeviceNode::Twin => limits.reported_bytes_max,
                DeviceNode::Messages => {
                    self.links.remove(&link);
                    let why = "a device only hears there";
                    self.refuse(link, &AmqpError::new(condition::NOT_ALLOWED, why));
                    return self.gone_from(address, link);
                }
            };
            let served = Served::DeviceIn(address.clone(), node, 0);
            self.accept(link, served, body.saturating_add(SECTIONS), false);
            return self.replenish(link, 0);
        }
        let interest = match node {
            DeviceNode::Messages => Interest::Messages,
            DeviceNode::Methods => Interest::Methods,
            DeviceNode::Twin => Interest::TwinResponses,
            DeviceNode::Events => {
                self.links.remove(&link);
                let why = "a device only speaks there";
                self.refuse(link, &AmqpError::new(condition::NOT_ALLOWED, why));
                return self.gone_from(address, link);
            }
        };
        online.hears.insert(node as u8, link);
        let tag = online.ask(Asked::Hear(link, node));
        self.tell(address, Inbound::Subscribe(tag, vec![(interest, Guarantee::AtLeastOnce)]));
    }

    /// Says something for a device, behind its telemetry.
    fn tell(&mut self, address: &Address, frame: Inbound) {
        self.hand_over_of(address);
        self.send_up(address, frame);
    }

    fn send_up(&mut self, address: &Address, frame: Inbound) {
        let Some(online) = self.online(address) else { return };
        online.up.send(frame);
        if !online.up.has_room() && !self.full.contains(address) {
            self.full.push(address.clone());
        }
    }

    /// Hands over the telemetry of all devices.
    pub(super) fn hand_over(&mut self) {
        for address in std::mem::take(&mut self.gathered) {
            self.hand_over_of(&address);
        }
    }

    fn hand_over_of(&mut self, address: &Address) {
        let Some(online) = self.online(address) else { return };
        if online.batch.is_empty() {
            return;
        }
        let messages = std::mem::take(&mut online.gathered);
        let tag = online.ask(Asked::Telemetry(messages));
        let entries = online.batch.take();
        self.send_up(address, Inbound::Telemetry(tag, entries));
    }

    /// A device has sent a message.
    pub(super) fn device_in(
        &mut self,
        link: LinkKey,
        delivery: u32,
        settled: bool,
        payload: &[u8],
    ) {
        let Some(Served::DeviceIn(address, node, in_hand)) = self.links.get_mut(&link) else {
            return;
        };
        let (address, node) = (address.clone(), *node);
        if node == DeviceNode::Events && !settled {
            *in_hand += 1;
        }
        let done = match node {
            DeviceNode::Events => self.telemetry(&address, link, delivery, settled, payload),
            DeviceNode::Twin => self.twin(&address, payload),
            DeviceNode::Methods => self.method_answer(&address, payload),
            DeviceNode::Messages => Ok(()),
        };
        match done {
            Err(error) => {
                self.worked_on(link, u32::from(node == DeviceNode::Events && !settled));
                self.reject(link, delivery, settled, &error);
            }
            // Telemetry is settled when it is durable.
            Ok(()) if node == DeviceNode::Events => {
                if settled {
                    self.worked_on(link, 0);
                }
            }
            Ok(()) => self.take(link, delivery, settled),
        }
    }

    fn worked_on(&mut self, link: LinkKey, count: u32) {
        let Some(Served::DeviceIn(_, _, in_hand)) = self.links.get_mut(&link) else { return };
        *in_hand = in_hand.saturating_sub(count);
        let in_hand = *in_hand;
        self.replenish(link, in_hand);
    }

    fn telemetry(
        &mut self,
        address: &Address,
        link: LinkKey,
        delivery: u32,
        settled: bool,
        payload: &[u8],
    ) -> Result<(), AmqpError> {
        let limit = self.hub_limits().telemetry_bytes_max;
        let Some(online) = self.online(address) else { return Ok(()) };
        let first = online.batch.is_empty();
        inbound::telemetry(payload, online.up.stamp(), limit, &mut online.batch)?;
        if !settled {
            online.gathered.push((link, delivery));
        }
        if first {
            self.gathered.push(address.clone());
        }
        Ok(())
    }

    fn twin(&mut self, address: &Address, payload: &[u8]) -> Result<(), AmqpError> {
        let (question, id) = inbound::twin_question(payload)?;
        let Some(online) = self.online(address) else { return Ok(()) };
        let frame = match question {
            TwinQuestion::Get => Inbound::GetTwin(online.ask(Asked::Twin(id))),
            TwinQuestion::Report(patch, version) => {
                Inbound::Report(online.ask(Asked::Twin(id)), patch, version)
            }
            TwinQuestion::Listen => {
                let wanted = vec![(Interest::DesiredProperties, Guarantee::AtLeastOnce)];
                Inbound::Subscribe(online.ask(Asked::Notices(id)), wanted)
            }
            TwinQuestion::Ignore => {
                let ended = vec![Interest::DesiredProperties];
                Inbound::Unsubscribe(online.ask(Asked::Notices(id)), ended)
            }
        };
        self.tell(address, frame);
        Ok(())
    }

    fn method_answer(&mut self, address: &Address, payload: &[u8]) -> Result<(), AmqpError> {
        let (id, status, body) = inbound::method_answer(payload)?;
        // An answer to no call is of no use, and does no harm.
        if let Some(call) = outbound::method_ref(&id) {
            self.tell(address, Inbound::Reply(call, status, body));
        }
        Ok(())
    }

    /// A device says what became of a message.
    pub(super) fn settle_offer(
        &mut self,
        link: LinkKey,
        delivery: u32,
        outcome: Disposed,
        wants_answer: bool,
    ) {
        let Some(Served::DeviceOut(address, _, outlet)) = self.links.get_mut(&link) else { return };
        let Some(token) = outlet.settled(delivery) else { return };
        let address = address.clone();
        let Some(online) = self.online(&address) else { return };
        let tag = wants_answer.then(|| online.ask(Asked::Settle(link, delivery, outcome)));
        self.tell(&address, Inbound::Settle(tag, token, disposition(outcome)));
    }

    /// The hub has said something to a device.
    pub(super) fn said(
        &mut self,
        address: &Address,
        id: LinkId,
        down: Downlink,
        said: Vec<Outbound>,
    ) {
        if self.online(address).is_none_or(|online| online.id != id) {
            return;
        }
        let over = said.is_empty();
        for outbound in said {
            if let Outbound::Close(reason) = outbound {
                return self.closed(address, reason);
            }
            self.outbound(address, outbound);
        }
        if over {
            return self.closed(address, CloseReason::Internal);
        }
        let (work, handle) = abortable(listen(address.clone(), id, down));
        if let Some(online) = self.online(address) {
            online._listening = CallOff(handle);
            self.begin(work);
        }
    }

    fn outbound(&mut self, address: &Address, outbound: Outbound) {
        let mut message = Vec::new();
        let (node, lock) = match outbound {
            Outbound::Receipt(tag) => return self.receipt(address, tag),
            Outbound::Refused(tag, error) => return self.refused(address, tag, &error),
            Outbound::Close(_) => return,
            Outbound::Offer(delivery) => {
                outbound::offer(&mut message, &delivery, address);
                (DeviceNode::Messages, Some(delivery.token))
            }
            Outbound::Desired(version, patch) => {
                outbound::desired(&mut message, version, &patch);
                (DeviceNode::Twin, None)
            }
            Outbound::Call(call, name, payload) => {
                outbound::method(&mut message, call, &name, &payload);
                (DeviceNode::Methods, None)
            }
            Outbound::Twin(tag, document) => {
                let id = self.twin_id(address, tag);
                outbound::twin_answer(&mut message, id.as_deref(), 200, None, &document);
                (DeviceNode::Twin, None)
            }
            Outbound::Reported(tag, version) => {
                let id = self.twin_id(address, tag);
                outbound::twin_answer(&mut message, id.as_deref(), 200, Some(version), b"");
                (DeviceNode::Twin, None)
            }
        };
        let hears = self.online(address).and_then(|online| online.hearing(node));
        match (hears, lock) {
            (Some(link), lock) => self.put(link, message, lock),
            // Nobody hears it any more.
            (None, Some(token)) => {
                self.tell(address, Inbound::Settle(None, token, Disposition::Abandon));
            }
            (None, None) => {}
        }
    }

    fn twin_id(&mut self, address: &Address, tag: hub_core::id::Tag) -> Option<Box<[u8]>> {
        match self.online(address)?.asked.remove(&tag) {
            Some(Asked::Twin(id)) => id,
            _ => None,
        }
    }

    fn receipt(&mut self, address: &Address, tag: hub_core::id::Tag) {
        let Some(asked) = self.online(address).and_then(|online| online.asked.remove(&tag)) else {
            return;
        };
        match asked {
            Asked::Telemetry(messages) => self.durable(&messages, Outcome::Accepted),
            Asked::Hear(link, node) => {
                let waits = self.links.get(&link);
                if matches!(waits, Some(Served::Connecting(..))) {
                    self.links.remove(&link);
                    let served = Served::DeviceOut(address.clone(), node, Outlet::default());
                    self.accept(link, served, 0, node != DeviceNode::Messages);
                }
            }
            Asked::Notices(id) | Asked::Twin(id) => {
                let mut message = Vec::new();
                outbound::twin_answer(&mut message, id.as_deref(), 200, None, b"");
                self.put_twin(address, message);
            }
            Asked::Settle(link, delivery, outcome) => {
                self.answer_settled(link, delivery, outcome, None);
            }
            Asked::Nothing => {}
        }
    }

    fn refused(&mut self, address: &Address, tag: hub_core::id::Tag, error: &HubError) {
        let Some(asked) = self.online(address).and_then(|online| online.asked.remove(&tag)) else {
            return;
        };
        match asked {
            Asked::Telemetry(messages) => {
                self.durable(&messages, Outcome::Rejected(Some(&AmqpError::from(error))));
            }
            Asked::Hear(link, _) => {
                if self.links.remove(&link).is_some() {
                    self.refuse(link, &AmqpError::from(error));
                    self.gone_from(address, link);
                }
            }
            Asked::Notices(id) | Asked::Twin(id) => {
                let mut message = Vec::new();
                outbound::twin_refusal(&mut message, id.as_deref(), error);
                self.put_twin(address, message);
            }
            Asked::Settle(link, delivery, outcome) => {
                self.answer_settled(link, delivery, outcome, Some(error));
            }
            Asked::Nothing => {}
        }
    }

    fn put_twin(&mut self, address: &Address, message: Vec<u8>) {
        if let Some(link) = self.online(address).and_then(|online| online.hearing(DeviceNode::Twin))
        {
            self.put(link, message, None);
        }
    }

    /// Telemetry is durable, or refused: its messages are settled, neighbours together.
    fn durable(&mut self, messages: &[(LinkKey, u32)], outcome: Outcome<'_>) {
        for run in messages.chunk_by(|a, b| a.0 == b.0 && b.1 == a.1.wrapping_add(1)) {
            if let (Some((link, first)), Some((_, last))) = (run.first(), run.last()) {
                self.endpoint.settle(*link, (*first, *last), outcome, &mut self.turn);
                self.worked_on(*link, u32::try_from(run.len()).unwrap_or(u32::MAX));
            }
        }
    }

    /// The hub has ended a device's connection. With the last device the connection ends: clients
    /// notice that sooner than the end of a link.
    fn closed(&mut self, address: &Address, reason: CloseReason) {
        self.devices.remove(address);
        let why = problem::closed(reason);
        let links: Vec<LinkKey> = self
            .links
            .iter()
            .filter(|(_, served)| served.device() == Some(address))
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            self.detach(link, &why);
        }
        let serves =
            |served: &Served| !matches!(served, Served::Questions(_) | Served::Answers(..));
        if self.devices.is_empty() && !self.links.values().any(serves) {
            self.close(&why);
        }
    }

    /// A link is gone that may have been a device's.
    pub(super) fn device_gone(&mut self, link: LinkKey, served: &Served) {
        let (address, node) = match served {
            Served::DeviceIn(address, node, _)
            | Served::DeviceOut(address, node, _)
            | Served::Connecting(address, node) => (address.clone(), *node),
            _ => return,
        };
        let Some(online) = self.online(&address) else { return };
        if online.hearing(node) == Some(link) {
            online.hears.remove(&(node as u8));
            let ended = match node {
                DeviceNode::Messages => vec![Interest::Messages],
                DeviceNode::Methods => vec![Interest::Methods],
                DeviceNode::Twin => vec![Interest::TwinResponses, Interest::DesiredProperties],
                DeviceNode::Events => Vec::new(),
            };
            let tag = online.ask(Asked::Nothing);
            self.tell(&address, Inbound::Unsubscribe(tag, ended));
        }
        self.gone_from(&address, link);
    }

    fn gone_from(&mut self, address: &Address, link: LinkKey) {
        if let Some(online) = self.online(address) {
            online.links = online.links.saturating_sub(1);
            online.hears.retain(|_, hears| *hears != link);
        }
        self.let_go(address);
    }

    /// A device without links is not connected any more.
    fn let_go(&mut self, address: &Address) {
        if self.online(address).is_some_and(|online| online.links == 0) {
            self.hand_over_of(address);
            if let Some(Device::Online(mut online)) = self.devices.remove(address) {
                online.up.leave(DisconnectCause::Clean);
            }
            self.close_if_done();
        }
    }

    /// A device has put a newer token: it may stay for as long as that says.
    pub(super) fn renew(&mut self, address: &Address) {
        let Some(text) = self.tokens.device(address) else { return };
        if self.online(address).is_some() {
            let hello = hello(address.clone(), Credentials::Token(text));
            let hub = self.hub.clone();
            let address = address.clone();
            self.begin(
                async move { Done::Renewed(address, hub.authenticate(&hello).await) }.boxed(),
            );
        }
    }

    /// A policy's token was put: so for all devices that came with one.
    pub(super) fn renew_all(&mut self) {
        let devices: Vec<Address> = self.devices.keys().cloned().collect();
        for address in devices {
            self.renew(&address);
        }
    }

    pub(super) fn renewed(
        &mut self,
        address: &Address,
        granted: Result<hub_core::hello::Grant, Refusal>,
    ) {
        // A token that was let in and is not any more has ended meanwhile; so does what rests on it.
        if let (Some(online), Ok(grant)) = (self.online(address), granted) {
            online.up.renew(grant);
        }
    }
}
