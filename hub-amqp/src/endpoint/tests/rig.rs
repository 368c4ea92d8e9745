//! A peer that writes frames by hand.

use std::sync::Arc;

use super::super::*;
use crate::codec::{State, Write as _};

/// A peer that writes frames by hand.
pub(super) struct Rig {
    pub(super) endpoint: Endpoint,
    pub(super) turn: Turn,
}

pub(super) fn limits() -> AmqpLimits {
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
pub(super) fn frame(channel: u16, code: u8, fields: &[&[u8]], payload: &[u8]) -> Vec<u8> {
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

pub(super) fn uint(number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.uint(number);
    out
}

pub(super) fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.text(text);
    out
}

pub(super) const NULL: &[u8] = b"\x40";
pub(super) const TRUE: &[u8] = b"\x41";
pub(super) const FALSE: &[u8] = b"\x42";

pub(super) fn source(address: &str) -> Vec<u8> {
    let address = text(address);
    let mut out = vec![0, 0x53, 0x28, 0xc0, u8::try_from(address.len() + 1).unwrap(), 1];
    out.extend(address);
    out
}

impl Rig {
    pub(super) fn new() -> Self {
        Self { endpoint: Endpoint::new(Arc::new(limits()), "hub".into()), turn: Turn::default() }
    }

    /// A connection with a session on channel 1, whose peer takes so many transfers.
    pub(super) fn open(window: u32) -> Self {
        let mut rig = Self::new();
        rig.says(&AMQP_HEADER);
        rig.says(&frame(0, 0x10, &[&text("peer")], b""));
        rig.says(&frame(1, 0x11, &[NULL, &uint(10), &uint(window), &uint(8)], b""));
        assert_eq!(rig.heard(), "header open begin");
        rig
    }

    pub(super) fn says(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.endpoint.take(bytes, &mut self.turn) {
                Taken::Bytes(count) => bytes = &bytes[count..],
                Taken::Needs(_) | Taken::Nothing => return,
            }
        }
    }

    pub(super) fn attach(&mut self, handle: u32, receives: bool) -> LinkKey {
        let role = if receives { TRUE } else { FALSE };
        let name = text("link");
        let fields: [&[u8]; 6] = [&name, &uint(handle), role, NULL, NULL, &source("a")];
        self.says(&frame(1, 0x12, &fields, b""));
        match self.turn.happened.pop() {
            Some(Happening::Asked(key)) => key,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn transfer(&mut self, handle: u32, delivery: u32, more: bool, payload: &[u8]) {
        let more = if more { TRUE } else { FALSE };
        let fields: [&[u8]; 6] = [&uint(handle), &uint(delivery), b"\xa0\x01t", NULL, FALSE, more];
        self.says(&frame(1, 0x14, &fields, payload));
    }

    pub(super) fn flow(
        &mut self,
        handle: u32,
        next_incoming: u32,
        window: u32,
        count: u32,
        credit: u32,
    ) {
        let (n, w, h, c, k) =
            (uint(next_incoming), uint(window), uint(handle), uint(count), uint(credit));
        let fields: [&[u8]; 7] = [&n, &w, &uint(10), &uint(8), &h, &c, &k];
        self.says(&frame(1, 0x13, &fields, b""));
    }

    /// Attaches where no link can be.
    pub(super) fn attach_nothing(&mut self, handle: u32) {
        let fields: [&[u8]; 3] = [&text("link"), &uint(handle), TRUE];
        self.says(&frame(1, 0x12, &fields, b""));
        assert!(
            !self.turn.happened.iter().any(|happening| matches!(happening, Happening::Asked(_)))
        );
    }

    /// What the hub has written, in words.
    pub(super) fn heard(&mut self) -> String {
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

    pub(super) fn happened(&mut self) -> Vec<Happening> {
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
