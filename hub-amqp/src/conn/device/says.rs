//! What devices say.

use hub_core::Address;
use hub_core::frame::{Guarantee, Inbound, Interest};

use crate::address::DeviceNode;
use crate::conn::broker::Broker;
use crate::conn::links::Served;
use crate::conn::online::Asked;
use crate::conn::service::disposition;
use crate::endpoint::{Disposed, LinkKey};
use crate::inbound::{self, TwinQuestion};
use crate::outbound;
use crate::problem::AmqpError;

impl Broker {
    /// Says something for a device, behind its telemetry.
    pub(super) fn tell(&mut self, address: &Address, frame: Inbound) {
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
    pub(in crate::conn) fn hand_over(&mut self) {
        for address in std::mem::take(&mut self.gathered) {
            self.hand_over_of(&address);
        }
    }

    pub(super) fn hand_over_of(&mut self, address: &Address) {
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
    pub(in crate::conn) fn device_in(
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

    pub(super) fn worked_on(&mut self, link: LinkKey, count: u32) {
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
    pub(in crate::conn) fn settle_offer(
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
}
