//! From the hub to the device.

use hub_core::error::{CloseReason, HubError};
use hub_core::frame::{Delivery, Disposition, Guarantee, Inbound, Interest, Outbound};
use hub_core::id::Tag;

use super::flight::Sent;
use super::{Asked, Context, End, Session, Turn};
use crate::bag;
use crate::codec::{self, EncodeError, PacketId, Publish, Qos, suback, unsuback};
use crate::problem;
use crate::topics;

impl Session {
    pub(super) fn outbound(
        &mut self,
        context: Context<'_>,
        outbound: Outbound,
        turn: &mut Turn,
    ) -> Result<(), End> {
        match outbound {
            Outbound::Receipt(tag) => {
                // A patch of a device that does not listen for answers has both: a PUBACK that
                // waits for it, and a question that is answered with no more than this.
                self.acks.done(tag, &mut turn.wire);
                self.granted(tag, turn);
                Ok(())
            }
            Outbound::Refused(tag, error) => self.refused(context, tag, &error, turn),
            Outbound::Twin(tag, document) => {
                self.twin_response(context, tag, 200, None, |_, _| {}, &document, turn)
            }
            Outbound::Reported(tag, version) => {
                self.twin_response(context, tag, 204, Some(version), |_, _| {}, b"", turn)
            }
            Outbound::Offer(delivery) => self.offer(context, &delivery, turn),
            Outbound::Desired(version, patch) => {
                turn.topic.clear();
                topics::write_desired(version, &mut turn.topic);
                let sent = Sent::Desired(version);
                self.push(context, (Interest::DesiredProperties, sent), &patch, turn)
            }
            Outbound::Call(call, name, payload) => {
                turn.topic.clear();
                topics::write_method(&name, call, &mut turn.topic);
                self.push(context, (Interest::Methods, Sent::Other), &payload, turn)
            }
            Outbound::Close(reason) => Err(End::Closed(reason)),
        }
    }

    fn answered(&mut self, tag: Tag) -> Option<Asked> {
        let at = self.asked.iter().position(|(asked, _)| *asked == tag)?;
        let (_, asked) = self.asked.remove(at);
        if self.asked.is_empty() {
            self.asked = Vec::new();
        }
        Some(asked)
    }

    fn granted(&mut self, tag: Tag, turn: &mut Turn) {
        match self.answered(tag) {
            // As many codes as a SUBSCRIBE had filters always fit into its answer.
            Some(Asked::Subscribe(id, codes)) => {
                let _ = suback(&mut turn.wire, id, &codes);
            }
            Some(Asked::Unsubscribe(id)) => unsuback(&mut turn.wire, id),
            Some(Asked::Twin(_)) | None => {}
        }
    }

    fn refused(
        &mut self,
        context: Context<'_>,
        tag: Tag,
        error: &HubError,
        turn: &mut Turn,
    ) -> Result<(), End> {
        let at = self.asked.iter().find(|(asked, _)| *asked == tag);
        match at {
            Some((_, Asked::Twin(_))) => {
                let (status, tracking) = (problem::status(error.kind()), (self.link, tag.0));
                let body = |now, out: &mut String| problem::write_body(error, tracking, now, out);
                self.twin_response(context, tag, status, None, body, b"", turn)
            }
            // A SUBACK with a failure code is taken for success by stock SDKs, and telemetry has
            // no negative answer at all.
            Some(_) => Err(End::Refused(error.kind())),
            None if self.acks.awaits(tag) => Err(End::Refused(error.kind())),
            None => Ok(()),
        }
    }

    /// Answers a twin request, if it wanted an answer and the device listens. The body is
    /// `document`, unless `write` writes one.
    #[expect(clippy::too_many_arguments, reason = "three callers, all in this file")]
    fn twin_response(
        &mut self,
        context: Context<'_>,
        tag: Tag,
        status: u32,
        version: Option<u64>,
        write: impl FnOnce(hub_core::time::Timestamp, &mut String),
        document: &[u8],
        turn: &mut Turn,
    ) -> Result<(), End> {
        self.acks.done(tag, &mut turn.wire);
        let Some(Asked::Twin(Some(request))) = self.answered(tag) else {
            return Ok(());
        };
        turn.topic.clear();
        topics::write_twin_response(status, &request, version, &mut turn.topic);
        turn.body.clear();
        write(context.now, &mut turn.body);
        let body = std::mem::take(&mut turn.body);
        let payload = if body.is_empty() { document } else { body.as_bytes() };
        let pushed = self.push(context, (Interest::TwinResponses, Sent::Other), payload, turn);
        turn.body = body;
        pushed
    }

    /// Publishes to the topic that stands in `turn`, if the device listens.
    fn push(
        &mut self,
        context: Context<'_>,
        (interest, sent): (Interest, Sent),
        payload: &[u8],
        turn: &mut Turn,
    ) -> Result<(), End> {
        let id = match self.subscriptions.get(interest) {
            None => return Ok(()),
            Some(Guarantee::AtMostOnce) => None,
            Some(Guarantee::AtLeastOnce) => {
                self.check_flight(context)?;
                Some(self.flight.other(sent))
            }
        };
        // Everything in these topics is bounded far below what a topic may hold.
        write(turn, id, false, payload).map_err(|_| End::Closed(CloseReason::Internal))
    }

    /// The device must acknowledge, or the list of what it owes would grow without end.
    fn check_flight(&self, context: Context<'_>) -> Result<(), End> {
        if self.flight.len() < context.limits.link_window {
            Ok(())
        } else {
            Err(End::Unacknowledged)
        }
    }

    fn offer(
        &mut self,
        context: Context<'_>,
        delivery: &Delivery,
        turn: &mut Turn,
    ) -> Result<(), End> {
        let Some(guarantee) = self.subscriptions.get(Interest::Messages) else {
            // It crossed an UNSUBSCRIBE. Its lock runs out, and it waits for the next subscription.
            return Ok(());
        };
        turn.body.clear();
        self.topics.write_to(&mut turn.body);
        turn.topic.clear();
        self.topics.write_devicebound(&mut turn.topic);
        let usual = context.limits.c2d_ttl_default;
        bag::write_delivery(delivery, &turn.body, usual, &mut turn.topic);
        if turn.topic.len() > usize::from(u16::MAX) {
            // Percent-encoding can make a bag longer than any topic. It would never be delivered,
            // and everything behind it would wait for it.
            turn.undeliverable += 1;
            self.tell(Inbound::Settle(None, delivery.token, Disposition::Reject), turn);
            return Ok(());
        }
        let id = match guarantee {
            Guarantee::AtMostOnce => {
                self.unwritten.push(delivery.token);
                None
            }
            Guarantee::AtLeastOnce => {
                self.check_flight(context)?;
                Some(self.flight.message(delivery.token))
            }
        };
        let written = write(turn, id, delivery.redelivered, &delivery.message.body);
        written.map_err(|_| End::Closed(CloseReason::Internal))
    }
}

fn write(
    turn: &mut Turn,
    id: Option<PacketId>,
    dup: bool,
    payload: &[u8],
) -> Result<(), EncodeError> {
    let qos = if id.is_some() { Qos::One } else { Qos::Zero };
    // The standard allows DUP with QoS 1 only.
    let dup = dup && id.is_some();
    let publish = Publish { dup, qos, retain: false, id, topic: &turn.topic, payload };
    codec::publish(&mut turn.wire, &publish)
}
