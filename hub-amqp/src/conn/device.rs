//! Devices: how they come and go.

mod hears;
mod says;

use futures::future::FutureExt as _;
use hub_core::error::{CloseReason, DisconnectCause};
use hub_core::frame::{Guarantee, Inbound, Interest};
use hub_core::hello::{Credentials, Grant, Hello, Refusal};
use hub_core::{Address, Hub, Link};

use self::hears::listen;
use super::broker::{Broker, SECTIONS};
use super::links::Served;
use super::online::{Asked, Device, Online};
use super::tokens::hello;
use super::work::{CallOff, Done, abortable};
use crate::address::DeviceNode;
use crate::codec::Value;
use crate::endpoint::LinkKey;
use crate::problem::{self, AmqpError, condition};

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

    pub(super) fn renewed(&mut self, address: &Address, granted: Result<Grant, Refusal>) {
        // A token that was let in and is not any more has ended meanwhile; so does what rests on it.
        if let (Some(online), Ok(grant)) = (self.online(address), granted) {
            online.up.renew(grant);
        }
    }
}
