//! From the device to the hub.

use bytes::Bytes;
use hub_core::envelope::Property;
use hub_core::frame::{Disposition, Guarantee, Inbound, Interest};

use super::flight::Sent;
use super::{Asked, Context, End, Session, Turn};
use crate::codec::{Filters, Packet, PacketId, Publish, Qos, simple};
use crate::connect::LastWill;
use crate::topics::Operation;

/// What a publish that asks to be retained carries instead.
const RETAINED: Property<'static> = Property::Application("mqtt-retain", Some("true"));
/// What a will carries.
const WILL: Property<'static> = Property::Application("iothub-MessageType", Some("Will"));

impl Session {
    #[inline]
    pub(super) fn packet(
        &mut self,
        context: Context<'_>,
        packet: Packet<'_>,
        turn: &mut Turn,
    ) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.publish(context, &publish, turn),
            Packet::PubAck(id) => {
                match self.flight.acknowledged(id) {
                    Some(Sent::Message(token)) => {
                        self.tell(Inbound::Settle(None, token, Disposition::Complete), turn);
                    }
                    Some(Sent::Desired(version)) => self.tell(Inbound::Heard(version), turn),
                    Some(Sent::Other) | None => {}
                }
                Ok(())
            }
            Packet::Subscribe(id, filters) => self.subscribe(context, id, filters, turn),
            Packet::Unsubscribe(id, filters) => {
                self.unsubscribe(id, filters, turn);
                Ok(())
            }
            Packet::PingReq => {
                simple(&mut turn.wire, Packet::PingResp);
                Ok(())
            }
            Packet::Disconnect => Err(End::Goodbye),
            Packet::Connect(_)
            | Packet::ConnAck(..)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::SubAck(..)
            | Packet::UnsubAck(_)
            | Packet::PingResp => Err(End::Unexpected),
        }
    }

    #[inline]
    fn publish(
        &mut self,
        context: Context<'_>,
        publish: &Publish<'_>,
        turn: &mut Turn,
    ) -> Result<(), End> {
        if publish.qos == Qos::Two {
            return Err(End::QosTwo);
        }
        match self.topics.operation(publish.topic).map_err(End::Topic)? {
            Operation::Telemetry(bag) => self.telemetry(context, publish, bag, turn),
            Operation::GetTwin(request) => {
                // Subscriptions count from their request on: a client may not wait for its SUBACK.
                if self.subscriptions.has(Interest::TwinResponses) {
                    let tag = self.ask(Asked::Twin(Some(request.into())));
                    self.tell(Inbound::GetTwin(tag), turn);
                }
                self.acknowledge(publish.id, turn);
                Ok(())
            }
            Operation::Report { request, version } => {
                let tag = self.ask(Asked::Twin(request.map(Into::into)));
                self.end_batch(turn);
                if let Some(id) = publish.id {
                    self.acks.wait(tag, id);
                }
                let patch = Bytes::copy_from_slice(publish.payload);
                self.tell(Inbound::Report(tag, patch, version), turn);
                Ok(())
            }
            Operation::MethodResponse(call, status) => {
                if let Some(call) = call {
                    let payload = Bytes::copy_from_slice(publish.payload);
                    self.tell(Inbound::Reply(call, status, payload), turn);
                }
                self.acknowledge(publish.id, turn);
                Ok(())
            }
        }
    }

    #[inline]
    fn telemetry(
        &mut self,
        context: Context<'_>,
        publish: &Publish<'_>,
        bag: &str,
        turn: &mut Turn,
    ) -> Result<(), End> {
        let retained = publish.retain.then_some(RETAINED);
        let properties = turn.bag.parse(bag).chain(retained);
        let limit = context.limits.telemetry_bytes_max;
        turn.batch
            .push(context.stamp, properties, publish.payload, limit)
            .map_err(|refused| End::TooLarge(refused.bytes))?;
        let tag = match self.gathering {
            Some(tag) => tag,
            None => {
                let tag = self.tag();
                self.gathering = Some(tag);
                tag
            }
        };
        if let Some(id) = publish.id {
            self.acks.wait(tag, id);
        }
        Ok(())
    }

    /// Hands over what has gathered.
    pub(super) fn end_batch(&mut self, turn: &mut Turn) {
        if let Some(tag) = self.gathering.take() {
            turn.up.push(Inbound::Telemetry(tag, turn.batch.take()));
        }
    }

    /// Hands over anything else, behind the telemetry that came before it.
    pub(super) fn tell(&mut self, inbound: Inbound, turn: &mut Turn) {
        self.end_batch(turn);
        turn.up.push(inbound);
    }

    fn ask(&mut self, asked: Asked) -> hub_core::id::Tag {
        let tag = self.tag();
        self.asked.push((tag, asked));
        tag
    }

    /// A publish that needs no answer of the hub is done. Publishes before it may not be.
    fn acknowledge(&mut self, id: Option<PacketId>, turn: &mut Turn) {
        if let Some(id) = id {
            // A batch has one unbroken stretch of the publishes, or its receipt would have to
            // look for several.
            self.end_batch(turn);
            self.acks.ready(id, &mut turn.wire);
        }
    }

    fn subscribe(
        &mut self,
        context: Context<'_>,
        id: PacketId,
        filters: Filters<'_>,
        turn: &mut Turn,
    ) -> Result<(), End> {
        let mut wanted = Vec::new();
        let mut codes = Vec::new();
        for (filter, qos) in filters {
            if codes.len() >= context.limits.subscriptions_max {
                return Err(End::TooManyFilters);
            }
            let interest = self.topics.interest(filter).map_err(|_| End::Filter)?;
            let guarantee = match qos {
                Qos::Zero => Guarantee::AtMostOnce,
                Qos::One | Qos::Two => Guarantee::AtLeastOnce,
            };
            codes.push(u8::from(guarantee == Guarantee::AtLeastOnce));
            wanted.push((interest, guarantee));
        }
        for (interest, guarantee) in &wanted {
            self.subscriptions = self.subscriptions.with(*interest, *guarantee);
        }
        let tag = self.ask(Asked::Subscribe(id, codes.into()));
        self.tell(Inbound::Subscribe(tag, wanted), turn);
        Ok(())
    }

    /// A filter that was never subscribed is none to end; the standard wants an UNSUBACK anyway.
    fn unsubscribe(&mut self, id: PacketId, filters: Filters<'_>, turn: &mut Turn) {
        let mut ended = Vec::new();
        for (filter, _) in filters {
            match self.topics.interest(filter) {
                Ok(interest) if !ended.contains(&interest) => ended.push(interest),
                _ => {}
            }
        }
        for interest in &ended {
            self.subscriptions = self.subscriptions.without(*interest);
        }
        let tag = self.ask(Asked::Unsubscribe(id));
        self.tell(Inbound::Unsubscribe(tag, ended), turn);
    }

    /// Messages of QoS 0 are done once they are written.
    pub(super) fn written(&mut self, turn: &mut Turn) {
        for token in std::mem::take(&mut self.unwritten) {
            self.tell(Inbound::Settle(None, token, Disposition::Complete), turn);
        }
    }

    /// The will becomes the last telemetry of the connection. One over the size limit is dropped:
    /// there is nobody left to tell.
    pub(super) fn publish_will(&mut self, context: Context<'_>, will: &LastWill, turn: &mut Turn) {
        let extra = [Some(WILL), will.retain.then_some(RETAINED)].into_iter().flatten();
        let properties = turn.bag.parse(&will.bag).chain(extra);
        let limit = context.limits.telemetry_bytes_max;
        if turn.batch.push(context.stamp, properties, &will.payload, limit).is_ok() {
            self.gathering = Some(self.tag());
            self.end_batch(turn);
        }
    }
}
