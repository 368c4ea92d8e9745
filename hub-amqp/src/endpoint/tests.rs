//! Whole conversations with a machine that no socket is behind.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::codec::{FrameBody, Write as _};

/// A peer that writes frames by hand.
struct Rig {
    endpoint: Endpoint,
    turn: Turn,
}

fn limits() -> AmqpLimits {
    AmqpLimits {
        frame_bytes_max: 600,
        channel_max: 3,
        links_max: 4,
        incoming_window: 8,
        partial_bytes_max: 2000,
        ..AmqpLimits::default()
    }
}

/// A frame with a list of fields, each with its constructor.
fn frame(channel: u16, code: u8, fields: &[&[u8]], payload: &[u8]) -> Vec<u8> {
    let list: Vec<u8> = fields.concat();
    let mut out = vec![0, 0, 0, 0, 2, 0];
    out.extend(channel.to_be_bytes());
    out.extend([0, 0x53, code, 0xd0]);
    out.extend(u32::try_from(list.len() + 4).unwrap().to_be_bytes());
    out.extend(u32::try_from(fields.len()).unwrap().to_be_bytes());
    out.extend(list);
    out.extend(payload);
    let size = u32::try_from(out.len()).unwrap();
    out[..4].copy_from_slice(&size.to_be_bytes());
    out
}

fn uint(number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.uint(number);
    out
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.text(text);
    out
}

const NULL: &[u8] = b"\x40";
const TRUE: &[u8] = b"\x41";
const FALSE: &[u8] = b"\x42";

fn source(address: &str) -> Vec<u8> {
    let address = text(address);
    let mut out = vec![0, 0x53, 0x28, 0xc0, u8::try_from(address.len() + 1).unwrap(), 1];
    out.extend(address);
    out
}

impl Rig {
    fn new() -> Self {
        Self { endpoint: Endpoint::new(Arc::new(limits()), "hub".into()), turn: Turn::default() }
    }

    /// A connection with a session on channel 1, whose peer takes so many transfers.
    fn open(window: u32) -> Self {
        let mut rig = Self::new();
        rig.says(&AMQP_HEADER);
        rig.says(&frame(0, 0x10, &[&text("peer")], b""));
        rig.says(&frame(1, 0x11, &[NULL, &uint(10), &uint(window), &uint(8)], b""));
        assert_eq!(rig.heard(), "header open begin");
        rig
    }

    fn says(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.endpoint.take(bytes, &mut self.turn) {
                Taken::Bytes(count) => bytes = &bytes[count..],
                Taken::Needs(_) | Taken::Nothing => return,
            }
        }
    }

    fn attach(&mut self, handle: u32, receives: bool) -> LinkKey {
        let role = if receives { TRUE } else { FALSE };
        let name = text("link");
        let fields: [&[u8]; 6] = [&name, &uint(handle), role, NULL, NULL, &source("a")];
        self.says(&frame(1, 0x12, &fields, b""));
        match self.turn.happened.pop() {
            Some(Happening::Asked(key)) => key,
            other => panic!("{other:?}"),
        }
    }

    fn transfer(&mut self, handle: u32, delivery: u32, more: bool, payload: &[u8]) {
        let more = if more { TRUE } else { FALSE };
        let fields: [&[u8]; 6] = [&uint(handle), &uint(delivery), b"\xa0\x01t", NULL, FALSE, more];
        self.says(&frame(1, 0x14, &fields, payload));
    }

    fn flow(&mut self, handle: u32, next_incoming: u32, window: u32, count: u32, credit: u32) {
        let (n, w, h, c, k) =
            (uint(next_incoming), uint(window), uint(handle), uint(count), uint(credit));
        let fields: [&[u8]; 7] = [&n, &w, &uint(10), &uint(8), &h, &c, &k];
        self.says(&frame(1, 0x13, &fields, b""));
    }

    /// What the hub has written, in words.
    fn heard(&mut self) -> String {
        let wire = std::mem::take(&mut self.turn.wire);
        let mut rest = wire.as_slice();
        let mut words = Vec::new();
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix(&AMQP_HEADER) {
                words.push("header".to_owned());
                rest = tail;
                continue;
            }
            if let Some(tail) = rest.strip_prefix(&SASL_HEADER) {
                words.push("sasl-header".to_owned());
                rest = tail;
                continue;
            }
            let Ok(Decoded::Frame(frame)) = codec::decode(rest, 1 << 20) else {
                panic!("{rest:?}")
            };
            rest = &rest[frame.length..];
            words.push(match frame.body {
                FrameBody::Sasl(body) => format!("sasl-{:x}", body[2]),
                FrameBody::Amqp(_, []) => "heartbeat".to_owned(),
                FrameBody::Amqp(_, body) => word(codec::performative(body).unwrap()),
            });
        }
        words.join(" ")
    }

    fn happened(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.turn.happened)
    }
}

fn word(performative: Performative<'_>) -> String {
    let or = |condition: Option<&str>| condition.map_or(String::new(), |c| format!("({c})"));
    match performative {
        Performative::Open(_) => "open".to_owned(),
        Performative::Begin(_) => "begin".to_owned(),
        Performative::Attach(attach) => {
            let attach = attach.read().unwrap();
            let refused = attach.source.is_none() && attach.target.is_none();
            format!("attach-{}{}", attach.handle, if refused { "-null" } else { "" })
        }
        Performative::Flow(flow) => match (flow.handle, flow.link_credit) {
            (Some(handle), Some(credit)) => format!("flow-{handle}-{credit}"),
            _ => "flow".to_owned(),
        },
        Performative::Transfer(transfer, payload) => format!(
            "transfer-{}-{}-{}{}",
            transfer.handle,
            transfer.delivery_id.unwrap(),
            payload.len(),
            if transfer.more { "+" } else { "" }
        ),
        Performative::Disposition(disposition) => match disposition.state {
            State::Accepted => format!("accepted-{}-{}", disposition.first, disposition.last),
            State::Rejected(Some((condition, _))) => format!("rejected({condition})"),
            other => format!("{other:?}"),
        },
        Performative::Detach(detach) => {
            format!("detach-{}{}", detach.handle, or(detach.condition))
        }
        Performative::End(end) => format!("end{}", or(end.condition)),
        Performative::Close(close) => format!("close{}", or(close.condition)),
    }
}

use crate::codec::State;

#[test]
fn a_peer_may_come_with_and_without_a_security_layer() {
    Rig::open(8);
    for (mechanism, response) in [("MSSBCBS", None), ("ANONYMOUS", Some("")), ("EXTERNAL", None)] {
        let mut rig = Rig::new();
        rig.says(&SASL_HEADER);
        let mut init = Vec::new();
        init.symbol(mechanism);
        let mut answer = Vec::new();
        answer.binary(response.unwrap_or("").as_bytes());
        let mut bytes = frame(0, 0x41, &[&init, &answer], b"");
        bytes[5] = 1;
        rig.says(&bytes);
        rig.says(&AMQP_HEADER);
        rig.says(&frame(0, 0x10, &[&text("peer")], b""));
        assert_eq!(rig.heard(), "sasl-header sasl-40 sasl-44 header open", "{mechanism}");
    }
}

#[test]
fn a_name_and_a_token_wait_for_the_hub() {
    let mut rig = Rig::new();
    rig.says(&SASL_HEADER);
    let mut bytes = frame(0, 0x41, &[b"\xa3\x05PLAIN", b"\xa0\x05\0me\0t"], b"");
    bytes[5] = 1;
    // What is pipelined behind waits too.
    bytes.extend(AMQP_HEADER);
    rig.says(&bytes);
    let token = SaslChoice::Plain { name: "me".into(), token: "t".into() };
    assert_eq!(rig.happened(), [Happening::Sasl(token)]);
    assert_eq!(rig.endpoint.take(&AMQP_HEADER, &mut rig.turn), Taken::Nothing);
    rig.endpoint.sasl_decided(true, &mut rig.turn);
    rig.says(&AMQP_HEADER);
    assert_eq!(rig.heard(), "sasl-header sasl-40 sasl-44 header");
    let mut rig = Rig::new();
    rig.says(&SASL_HEADER);
    rig.says(&bytes);
    rig.happened();
    rig.endpoint.sasl_decided(false, &mut rig.turn);
    assert_eq!(rig.happened(), [Happening::Over(Over::Refused)]);
}

#[test]
fn another_protocol_is_told_what_is_spoken_here() {
    for bytes in [&b"GET / HTTP/1.1"[..], b"AMQP\x00\x00\x09\x01", b"\x10\x20\0\x04MQTT\x04"] {
        let mut rig = Rig::new();
        rig.says(bytes);
        assert_eq!(rig.heard(), "sasl-header");
        assert_eq!(rig.happened(), [Happening::Over(Over::Refused)]);
    }
}

#[test]
fn what_may_not_be_said_closes_the_connection() {
    let close = frame(0, 0x18, &[], b"");
    for (frame, want) in [
        (frame(0, 0x10, &[&text("again")], b""), "amqp:illegal-state"),
        (frame(1, 0x11, &[NULL, &uint(0), &uint(1), &uint(1)], b""), "amqp:illegal-state"),
        (frame(2, 0x11, &[b"\x60\0\x02", &uint(0), &uint(1), &uint(1)], b""), "amqp:illegal-state"),
        (frame(4, 0x11, &[NULL, &uint(0), &uint(1), &uint(1)], b""), "amqp:not-allowed"),
        (frame(2, 0x13, &[NULL, &uint(0), &uint(1), &uint(1)], b""), "amqp:illegal-state"),
        (frame(2, 0x14, &[&uint(0)], b""), "amqp:illegal-state"),
        (frame(2, 0x17, &[], b""), "amqp:illegal-state"),
        (frame(1, 0x14, &[], b""), "amqp:invalid-field"),
        (frame(1, 0x13, &[TRUE], b""), "amqp:invalid-field"),
        (frame(1, 0x29, &[], b""), "amqp:not-allowed"),
        (b"\0\0\x10\0\x02\0\0\0".to_vec(), "amqp:connection:framing-error"),
        (b"\0\0\0\x0a\x02\x00\0\0\xa1\xff".to_vec(), "amqp:decode-error"),
        (b"\0\0\0\x0a\x02\x01\0\0\0\0".to_vec(), "amqp:connection:framing-error"),
    ] {
        let mut rig = Rig::open(8);
        rig.says(&frame);
        assert_eq!(rig.heard(), format!("close({want})"), "{frame:02x?}");
        assert_eq!(rig.happened(), [Happening::Over(Over::Violation)]);
        // Nothing is heard after it.
        rig.says(&close);
        assert_eq!(rig.heard(), "");
    }
}

#[test]
fn a_link_is_asked_for_accepted_and_detached() {
    let mut rig = Rig::open(8);
    let key = rig.attach(3, true);
    let asked = rig.endpoint.asked(key).unwrap();
    assert_eq!(asked.source.unwrap().address, Some("a"));
    assert!(rig.endpoint.accept(key, 0, true, &mut rig.turn));
    assert!(rig.endpoint.asked(key).is_none());
    assert!(!rig.endpoint.accept(key, 0, true, &mut rig.turn));
    assert_eq!(rig.heard(), "attach-3");
    rig.says(&frame(1, 0x16, &[&uint(3), TRUE], b""));
    assert_eq!(rig.heard(), "detach-3");
    assert_eq!(rig.happened(), [Happening::Gone(key)]);
    // The handle is free again, and names another link.
    assert_ne!(rig.attach(3, true), key);
}

#[test]
fn a_link_may_be_refused_or_ended_by_the_hub() {
    let mut rig = Rig::open(8);
    let why = AmqpError::new(condition::NOT_FOUND, "nothing");
    let key = rig.attach(0, true);
    rig.endpoint.refuse(key, &why, &mut rig.turn);
    assert_eq!(rig.heard(), "attach-0-null detach-0(amqp:not-found)");
    // Its detach is an answer, and no news.
    rig.says(&frame(1, 0x16, &[&uint(0), TRUE], b""));
    assert_eq!((rig.heard().as_str(), rig.happened().len(), rig.endpoint.links()), ("", 0, 0));
    let key = rig.attach(0, false);
    rig.endpoint.accept(key, 100, false, &mut rig.turn);
    rig.endpoint.grant(key, 5, &mut rig.turn);
    rig.endpoint.detach(key, Some(&why), &mut rig.turn);
    assert_eq!(rig.heard(), "attach-0 flow-0-5 detach-0(amqp:not-found)");
    // What was on its way is dropped.
    rig.transfer(0, 0, false, b"late");
    assert_eq!((rig.heard().as_str(), rig.happened().len()), ("", 0));
}

#[test]
fn a_mistake_about_a_session_ends_the_session() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, true);
    rig.endpoint.accept(key, 0, true, &mut rig.turn);
    rig.heard();
    rig.flow(7, 0, 8, 0, 1);
    assert_eq!(rig.heard(), "end(amqp:session:unattached-handle)");
    assert_eq!(rig.happened(), [Happening::Gone(key)]);
    // Until the peer has ended it, what it says there is dropped; then the channel is free.
    rig.attach_nothing(1);
    rig.says(&frame(1, 0x17, &[], b""));
    rig.says(&frame(1, 0x11, &[NULL, &uint(0), &uint(1), &uint(1)], b""));
    assert_eq!(rig.heard(), "begin");
    let mut rig = Rig::open(8);
    rig.attach(2, true);
    rig.attach_nothing(2);
    assert_eq!(rig.heard(), "end(amqp:session:handle-in-use)");
    let mut rig = Rig::open(8);
    rig.attach_nothing(4);
    assert_eq!(rig.heard(), "end(amqp:not-allowed)");
}

impl Rig {
    /// Attaches where no link can be.
    fn attach_nothing(&mut self, handle: u32) {
        let fields: [&[u8]; 3] = [&text("link"), &uint(handle), TRUE];
        self.says(&frame(1, 0x12, &fields, b""));
        assert!(
            !self.turn.happened.iter().any(|happening| matches!(happening, Happening::Asked(_)))
        );
    }
}

#[test]
fn messages_come_in_parts_and_within_credit() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, false);
    rig.endpoint.accept(key, 1000, false, &mut rig.turn);
    rig.endpoint.grant(key, 2, &mut rig.turn);
    rig.heard();
    rig.transfer(0, 7, true, b"one ");
    rig.transfer(0, 7, true, b"two ");
    assert!(rig.happened().is_empty());
    rig.transfer(0, 7, false, b"three");
    let payload = b"one two three".to_vec();
    let message = Happening::Message { link: key, delivery: 7, settled: false, payload };
    assert_eq!(rig.happened(), [message]);
    assert_eq!(rig.endpoint.credit(key), 1);
    rig.endpoint.settle(key, (7, 7), Outcome::Accepted, &mut rig.turn);
    assert_eq!(rig.heard(), "accepted-7-7");
    // One that is taken back was none, but it has cost its credit.
    rig.transfer(0, 8, true, b"x");
    let fields: [&[u8]; 10] = [&uint(0), &uint(8), NULL, NULL, NULL, FALSE, NULL, NULL, NULL, TRUE];
    rig.says(&frame(1, 0x14, &fields, b""));
    assert_eq!((rig.happened().len(), rig.endpoint.credit(key)), (0, 0));
    assert_eq!(rig.heard(), "flow");
    rig.transfer(0, 9, false, b"too much");
    assert_eq!(rig.heard(), "detach-0(amqp:link:transfer-limit-exceeded)");
    assert_eq!(rig.happened(), [Happening::Gone(key)]);
}

#[test]
fn a_large_message_ends_its_link() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, false);
    rig.endpoint.accept(key, 600, false, &mut rig.turn);
    rig.endpoint.grant(key, 9, &mut rig.turn);
    rig.transfer(0, 0, true, &[0; 500]);
    rig.transfer(0, 0, true, &[0; 100]);
    rig.heard();
    rig.transfer(0, 0, true, &[0; 1]);
    assert_eq!(rig.heard(), "detach-0(amqp:link:message-size-exceeded)");
}

#[test]
fn unfinished_messages_are_bounded_over_all_links() {
    let mut rig = Rig::open(8);
    let keys: Vec<LinkKey> = (0..4).map(|handle| rig.attach(handle, false)).collect();
    for key in &keys {
        rig.endpoint.accept(*key, 1000, false, &mut rig.turn);
        rig.endpoint.grant(*key, 9, &mut rig.turn);
    }
    rig.heard();
    for handle in 0..4 {
        rig.transfer(handle, handle, true, &[0; 500]);
    }
    assert_eq!(rig.heard(), "flow");
    rig.transfer(0, 0, true, &[0; 1]);
    assert_eq!(rig.heard(), "detach-0(amqp:resource-limit-exceeded)");
    // Its bytes are free again.
    rig.transfer(1, 1, true, &[0; 450]);
    assert_eq!(rig.heard(), "");
}

#[test]
fn a_session_has_a_window_and_a_connection_has_so_many_links() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, false);
    rig.endpoint.accept(key, 10_000, false, &mut rig.turn);
    rig.endpoint.grant(key, 9, &mut rig.turn);
    rig.heard();
    // The window is widened when half of it is used up.
    for part in 0..20 {
        rig.transfer(0, 0, true, b"x");
        assert_eq!(rig.heard(), if part % 4 == 3 { "flow" } else { "" }, "{part}");
    }
    for handle in 1..4 {
        rig.attach(handle, true);
    }
    let many = frame(2, 0x11, &[NULL, &uint(0), &uint(1), &uint(1)], b"");
    rig.says(&many);
    let fields: [&[u8]; 3] = [&text("link"), &uint(0), TRUE];
    rig.says(&frame(2, 0x12, &fields, b""));
    assert_eq!(rig.heard(), "begin end(amqp:resource-limit-exceeded)");
}

#[test]
fn what_is_sent_keeps_to_credit_window_and_frame_size() {
    let mut rig = Rig::open(3);
    let key = rig.attach(2, true);
    rig.endpoint.accept(key, 0, false, &mut rig.turn);
    assert!(!rig.endpoint.can_send(key));
    assert_eq!(rig.endpoint.send(key, b"x", true, &mut rig.turn), None);
    rig.flow(2, 0, 3, 0, 3);
    assert_eq!(rig.happened(), [Happening::Sendable(key)]);
    rig.heard();
    assert_eq!(rig.endpoint.send(key, b"first", false, &mut rig.turn), Some(0));
    // 600 bytes a frame at most: three parts, of which the window has room for two.
    assert_eq!(rig.endpoint.send(key, &[0; 1400], true, &mut rig.turn), Some(1));
    assert_eq!(rig.heard(), "transfer-2-0-5 transfer-2-1-520+ transfer-2-1-520+");
    assert!(!rig.endpoint.can_send(key));
    // The peer has taken all three, and the rest follows before anything else may.
    rig.flow(2, 3, 3, 2, 1);
    assert_eq!(rig.heard(), "transfer-2-1-360");
    assert!(rig.endpoint.can_send(key));
    rig.endpoint.send(key, b"last", true, &mut rig.turn);
    assert_eq!(rig.heard(), "transfer-2-2-4");
    assert!(!rig.endpoint.can_send(key), "the credit is used up");
}

#[test]
fn numbers_go_round() {
    let mut rig = Rig::open(3);
    let key = rig.attach(0, true);
    rig.endpoint.accept(key, 0, true, &mut rig.turn);
    // As if four thousand million had been sent.
    if let Some(session) = rig.endpoint.sessions.get_mut(&1) {
        (session.next_outgoing_id, session.next_delivery) = (u32::MAX, u32::MAX);
    }
    if let Some(link) = rig.endpoint.links.get_mut(&key) {
        link.delivery_count = u32::MAX;
    }
    rig.flow(0, u32::MAX, 2, u32::MAX, 2);
    rig.heard();
    rig.endpoint.send(key, b"a", false, &mut rig.turn);
    rig.endpoint.send(key, b"b", false, &mut rig.turn);
    assert_eq!(rig.heard(), format!("transfer-0-{}-1 transfer-0-0-1", u32::MAX));
    // One is under way when the peer speaks again.
    rig.flow(0, 0, 2, 0, 2);
    assert_eq!(rig.endpoint.credit(key), 1);
    rig.happened();
    // Both are settled by one range across the end of the numbers.
    rig.says(&frame(1, 0x15, &[TRUE, &uint(u32::MAX), &uint(0), TRUE, b"\x00\x53\x24\x45"], b""));
    assert_eq!(rig.happened().len(), 2);
}

#[test]
fn credit_is_used_up_on_request() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, true);
    rig.endpoint.accept(key, 0, true, &mut rig.turn);
    let (n, w) = (uint(0), uint(8));
    let fields: [&[u8]; 9] =
        [&n, &w, &uint(10), &uint(8), &uint(0), &uint(0), &uint(7), NULL, TRUE];
    rig.says(&frame(1, 0x13, &fields, b""));
    assert_eq!(rig.happened(), [Happening::Sendable(key)]);
    assert!(rig.endpoint.is_draining(key));
    rig.heard();
    rig.endpoint.send(key, b"x", true, &mut rig.turn);
    rig.endpoint.drain(key, &mut rig.turn);
    assert_eq!(rig.heard(), "transfer-0-0-1 flow-0-0");
    assert!(!rig.endpoint.is_draining(key) && rig.endpoint.credit(key) == 0);
}

#[test]
fn a_flow_may_ask_for_an_answer() {
    let mut rig = Rig::open(8);
    let (n, w) = (uint(0), uint(8));
    let fields: [&[u8]; 10] = [&n, &w, &n, &w, NULL, NULL, NULL, NULL, FALSE, TRUE];
    rig.says(&frame(1, 0x13, &fields, b""));
    assert_eq!(rig.heard(), "flow");
    // Credit for a link on which the peer sends is no business of the hub's.
    let key = rig.attach(0, false);
    rig.endpoint.accept(key, 10, false, &mut rig.turn);
    rig.flow(0, 0, 8, 0, 100);
    assert_eq!((rig.endpoint.credit(key), rig.happened().len()), (0, 0));
}

#[test]
fn a_message_is_settled_once() {
    let mut rig = Rig::open(100);
    let key = rig.attach(0, true);
    rig.endpoint.accept(key, 0, false, &mut rig.turn);
    rig.flow(0, 0, 100, 0, 10);
    rig.happened();
    for _ in 0..4 {
        rig.endpoint.send(key, b"x", false, &mut rig.turn);
    }
    rig.endpoint.send(key, b"settled when sent", true, &mut rig.turn);
    let accepted: &[u8] = b"\x00\x53\x24\x45";
    let says = |rig: &mut Rig, first: u32, last: u32, settled: &[u8], state: &[u8]| {
        let fields: [&[u8]; 5] = [TRUE, &uint(first), &uint(last), settled, state];
        rig.says(&frame(1, 0x15, &fields, b""));
        let disposed = rig.happened().into_iter().map(|happening| match happening {
            Happening::Disposed { delivery, outcome, wants_answer, .. } => {
                (delivery, outcome, wants_answer)
            }
            other => panic!("{other:?}"),
        });
        disposed.collect::<Vec<_>>()
    };
    // Something that is no outcome says nothing.
    assert_eq!(says(&mut rig, 0, 0, FALSE, b"\x00\x53\x23\x45"), []);
    assert_eq!(says(&mut rig, 0, 0, TRUE, accepted), [(0, Disposed::Accepted, false)]);
    // One client says everything twice.
    assert_eq!(says(&mut rig, 0, 0, TRUE, accepted), []);
    assert_eq!(says(&mut rig, 1, 1, FALSE, b"\x00\x53\x26\x45"), [(1, Disposed::Released, true)]);
    // A range as wide as can be names only what there is.
    assert_eq!(
        says(&mut rig, 2, 1, TRUE, b"\x00\x53\x25\x45"),
        [(2, Disposed::Rejected, false), (3, Disposed::Rejected, false)]
    );
    assert_eq!(says(&mut rig, 4, 4, TRUE, accepted), []);
}

#[test]
fn a_connection_is_closed_from_either_side() {
    let mut rig = Rig::open(8);
    rig.says(&frame(0, 0x18, &[], b""));
    assert_eq!(rig.heard(), "close");
    assert_eq!(rig.happened(), [Happening::Over(Over::Goodbye)]);
    let mut rig = Rig::open(8);
    let why = AmqpError::new(condition::FORCED, "stop");
    rig.endpoint.close(Some(&why), &mut rig.turn);
    assert_eq!(rig.heard(), "close(amqp:connection:forced)");
    assert!(rig.endpoint.is_closing() && rig.happened().is_empty());
    // What was on its way is dropped, also what would have been a mistake.
    rig.says(&frame(3, 0x14, &[&uint(0)], b""));
    rig.says(&frame(0, 0x18, &[], b""));
    assert_eq!(rig.happened(), [Happening::Over(Over::Answered)]);
}

#[test]
fn a_session_ends_with_its_links() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, true);
    rig.endpoint.accept(key, 0, true, &mut rig.turn);
    rig.heard();
    rig.says(&frame(1, 0x17, &[], b""));
    assert_eq!((rig.heard().as_str(), rig.happened()), ("end", vec![Happening::Gone(key)]));
    assert_eq!(rig.endpoint.links(), 0);
}

/// What a peer does at random: mostly sensible things, in no sensible order.
fn step() -> impl Strategy<Value = Vec<u8>> {
    let small = 0_u32..5;
    let channel = 0_u16..5;
    let code =
        prop_oneof![Just(0x13_u8), Just(0x14), Just(0x15), Just(0x16), Just(0x17), Just(0x12)];
    let field = prop_oneof![
        small.clone().prop_map(uint),
        Just(NULL.to_vec()),
        Just(TRUE.to_vec()),
        Just(FALSE.to_vec()),
        Just(text("link")),
        Just(source("a")),
        Just(b"\xa0\x01t".to_vec()),
        Just(b"\x00\x53\x24\x45".to_vec()),
    ];
    let fields = prop::collection::vec(field, 0..9);
    let random = (channel.clone(), code, fields, prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(channel, code, fields, payload)| {
            let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            frame(channel, code, &fields, &payload)
        });
    let attach = (small.clone(), any::<bool>()).prop_map(|(handle, receives)| {
        let role = if receives { TRUE } else { FALSE };
        frame(1, 0x12, &[&text("l"), &uint(handle), role, NULL, NULL, &source("a")], b"")
    });
    let transfer = (small.clone(), small.clone(), any::<bool>()).prop_map(|(handle, id, more)| {
        let more = if more { TRUE } else { FALSE };
        frame(1, 0x14, &[&uint(handle), &uint(id), b"\xa0\x01t", NULL, FALSE, more], &[7; 300])
    });
    let flow = (small.clone(), small).prop_map(|(handle, credit)| {
        let (n, w) = (uint(0), uint(8));
        frame(1, 0x13, &[&n, &w, &n, &w, &uint(handle), &uint(0), &uint(credit)], b"")
    });
    prop_oneof![1 => random, 4 => attach, 6 => transfer, 4 => flow]
}

proptest! {
    /// Whatever a peer says and whatever the hub does about it: what is written are frames, and
    /// nothing grows beyond its bound.
    #[test]
    fn a_peer_cannot_break_the_machine(
        steps in prop::collection::vec((step(), 0_u8..8), 0..80),
    ) {
        let mut rig = Rig::open(8);
        let mut keys: Vec<LinkKey> = Vec::new();
        for (bytes, choice) in steps {
            rig.says(&bytes);
            for happening in rig.happened() {
                if let Happening::Asked(key) = happening {
                    keys.push(key);
                    let why = AmqpError::new(condition::NOT_FOUND, "no");
                    match choice {
                        0 => rig.endpoint.refuse(key, &why, &mut rig.turn),
                        _ => {
                            rig.endpoint.accept(key, 700, choice < 4, &mut rig.turn);
                            rig.endpoint.grant(key, 3, &mut rig.turn);
                        }
                    }
                }
            }
            if let Some(key) = keys.get(usize::from(choice)) {
                rig.endpoint.send(*key, &[1; 900], choice < 4, &mut rig.turn);
                rig.endpoint.drain(*key, &mut rig.turn);
                if choice == 7 {
                    rig.endpoint.detach(*key, None, &mut rig.turn);
                }
            }
            rig.heard();
            let endpoint = &rig.endpoint;
            prop_assert!(endpoint.links.len() <= 4 && endpoint.partial_bytes <= 2000);
            let partial: usize = endpoint.links.values().map(Link::partial_bytes).sum();
            prop_assert_eq!(partial, endpoint.partial_bytes);
            for session in endpoint.sessions.values() {
                for key in session.handles.values() {
                    prop_assert!(endpoint.links.contains_key(key));
                }
                prop_assert!(session.unsettled.len() <= 80);
            }
        }
    }
}
