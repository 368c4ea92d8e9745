//! What the hub says to devices.

use hub_core::error::CloseReason;
use hub_core::frame::{Disposition, Inbound, Outbound};
use hub_core::id::{LinkId, Tag};
use hub_core::{Address, Downlink, HubError};

use crate::address::DeviceNode;
use crate::codec::Outcome;
use crate::conn::broker::Broker;
use crate::conn::links::Served;
use crate::conn::online::Asked;
use crate::conn::outlet::Outlet;
use crate::conn::work::{CallOff, Done, abortable};
use crate::endpoint::LinkKey;
use crate::outbound;
use crate::problem::AmqpError;

/// Words of the hub that are taken at once.
const SAID_MAX: usize = 64;

/// Waits for the hub's next words to a device.
pub(super) async fn listen(address: Address, id: LinkId, mut down: Downlink) -> Done {
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
    /// The hub has said something to a device.
    pub(in crate::conn) fn said(
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

    fn twin_id(&mut self, address: &Address, tag: Tag) -> Option<Box<[u8]>> {
        match self.online(address)?.asked.remove(&tag) {
            Some(Asked::Twin(id)) => id,
            _ => None,
        }
    }

    fn receipt(&mut self, address: &Address, tag: Tag) {
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

    fn refused(&mut self, address: &Address, tag: Tag, error: &HubError) {
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
}
