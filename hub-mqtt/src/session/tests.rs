//! The session driven by hand: packets and frames in, what is written and told out.

mod checklist;
mod model;
mod transcripts;

use std::fmt::Write as _;

use bytes::Bytes;
use hub_core::envelope::{
    AuthMethod, AuthScope, AuthType, Event, EventSource, Property, Stamp, Stored,
};
use hub_core::frame::{Delivery, Inbound, LockToken};
use hub_core::hello::{CredentialMark, Grant};
use hub_core::id::{Epoch, LinkId, Partition, SequenceNumber};
use hub_core::store::{Entries, Entry, Version};
use hub_core::transport::Peer;

use super::*;
use crate::codec::{self, Decoded, Publish, Qos};

/// A session and its surroundings.
struct Rig {
    session: Session,
    turn: Turn,
    limits: Limits,
    stamp: Stamp,
    now: Timestamp,
}

/// A CONNECT of a device or module without anything special.
fn connect(address: &'static str, username: &'static str) -> codec::Connect<'static> {
    codec::Connect {
        clean_session: false,
        keep_alive: 60,
        client_id: address,
        will: None,
        username: Some(username),
        password: Some(b"t"),
    }
}

impl Rig {
    /// A session of device `d1` without anything stored.
    fn new() -> Self {
        Self::begin(connect("d1", "h/d1/?api-version=2021-04-12"), None)
    }

    /// A session of what `connect` introduces; `stored` are the subscriptions of a stored session.
    fn begin(connect: codec::Connect<'_>, stored: Option<Subscriptions>) -> Self {
        let introduction = Introduction::read(&Packet::Connect(connect), Peer::default()).unwrap();
        let auth = AuthMethod { scope: AuthScope::Device, kind: AuthType::Sas };
        let grant = Grant {
            auth,
            expires: Timestamp::MAX,
            generation: 1,
            credential: CredentialMark::default(),
        };
        let welcome = Welcome {
            link: LinkId(7),
            epoch: Epoch(1),
            session_present: stored.is_some(),
            subscriptions: stored.unwrap_or_default(),
            grant,
        };
        let address = introduction.hello.address.clone();
        let stamp = Stamp::new(EventSource::Telemetry, &address, "1", Some(auth), None);
        let limits = Limits::default();
        let mut turn = Turn::new();
        let now = Timestamp::parse("2024-01-02T03:04:05Z").unwrap();
        let session = Session::begin(introduction, &welcome, &limits, now, &mut turn);
        Self { session, turn, limits, stamp, now }
    }

    fn step(&mut self, input: Input<'_>) {
        let context = Context { now: self.now, stamp: &self.stamp, limits: &self.limits };
        self.session.handle(context, input, &mut self.turn);
    }

    /// A packet, and the end of the read that brought it.
    fn packet(&mut self, packet: Packet<'_>) -> &mut Self {
        self.step(Input::Packet(packet));
        self.step(Input::ReadEnd);
        self
    }

    fn publish(&mut self, qos: Qos, id: u16, topic: &str, payload: &str) -> &mut Self {
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            id: PacketId::new(id),
            topic,
            payload: payload.as_bytes(),
        };
        self.packet(Packet::Publish(publish))
    }

    fn subscribe(&mut self, id: u16, filters: &[(&str, Qos)]) -> &mut Self {
        let mut bytes = Vec::new();
        codec::subscribe(&mut bytes, PacketId::new(id).unwrap(), filters).unwrap();
        self.bytes(&bytes)
    }

    fn unsubscribe(&mut self, id: u16, filters: &[&str]) -> &mut Self {
        let mut bytes = Vec::new();
        codec::unsubscribe(&mut bytes, PacketId::new(id).unwrap(), filters).unwrap();
        self.bytes(&bytes)
    }

    /// One packet as its bytes.
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        match codec::decode(bytes, 1 << 20) {
            Ok(Decoded::Packet(packet, length)) if length == bytes.len() => self.packet(packet),
            other => panic!("{other:?}"),
        }
    }

    fn hub(&mut self, outbound: Outbound) -> &mut Self {
        self.step(Input::Hub(outbound));
        self
    }

    /// What was written to the device since the last look, one packet per line.
    #[track_caller]
    fn writes(&mut self, want: &[&str]) -> &mut Self {
        let wire = std::mem::take(&mut self.turn.wire);
        let mut rest = wire.as_slice();
        let mut found = Vec::new();
        while !rest.is_empty() {
            let Ok(Decoded::Packet(packet, length)) = codec::decode(rest, 1 << 20) else {
                panic!("{rest:02x?}");
            };
            found.push(line(&packet));
            rest = &rest[length..];
        }
        assert_eq!(found, want);
        self
    }

    /// What the hub was told since the last look. Tags are printed as `#n`.
    #[track_caller]
    fn tells(&mut self, want: &[&str]) -> &mut Self {
        let found: Vec<String> = self.turn.up.drain(..).map(|frame| told(&frame)).collect();
        assert_eq!(found, want);
        self
    }

    #[track_caller]
    fn ends(&mut self, want: Option<End>) -> &mut Self {
        assert_eq!(self.turn.end(), want);
        self
    }
}

fn line(packet: &Packet<'_>) -> String {
    match packet {
        Packet::ConnAck(present, code) => format!("CONNACK {} {code:?}", u8::from(*present)),
        Packet::PubAck(id) => format!("PUBACK {id}"),
        Packet::SubAck(id, codes) => format!("SUBACK {id} {codes:?}"),
        Packet::UnsubAck(id) => format!("UNSUBACK {id}"),
        Packet::PingResp => "PINGRESP".into(),
        Packet::Publish(p) => {
            assert!(!p.retain);
            let mut line = format!("PUBLISH q{}", p.qos as u8);
            if let Some(id) = p.id {
                let _ = write!(line, " id{id}");
            }
            if p.dup {
                line.push_str(" dup");
            }
            let _ = write!(line, " {} {}", p.topic, String::from_utf8_lossy(p.payload));
            line
        }
        other => panic!("a hub does not send {other:?}"),
    }
}

fn told(frame: &Inbound) -> String {
    match frame {
        Inbound::Telemetry(tag, entries) => format!("telemetry #{} {}", tag.0, events(entries)),
        Inbound::Settle(None, token, disposition) => {
            format!("settle {}.{} {disposition:?}", token.sequence, token.version.0)
        }
        Inbound::Report(tag, patch, version) => {
            let patch = String::from_utf8_lossy(patch);
            format!("report #{} {patch} if {version:?}", tag.0)
        }
        Inbound::GetTwin(tag) => format!("get twin #{}", tag.0),
        Inbound::Reply(call, status, body) => {
            format!("reply {} {status} {}", call.0, String::from_utf8_lossy(body))
        }
        Inbound::Heard(version) => format!("heard {version}"),
        Inbound::Subscribe(tag, wanted) => format!("subscribe #{} {wanted:?}", tag.0),
        Inbound::Unsubscribe(tag, ended) => format!("unsubscribe #{} {ended:?}", tag.0),
        Inbound::Settle(Some(_), ..) => panic!("MQTT waits for no answer to a settlement"),
    }
}

/// `[{properties} body, …]` of all events.
fn events(entries: &Entries) -> String {
    let mut lines = Vec::new();
    for at in 0..entries.len() {
        let entry = Entry {
            sequence: SequenceNumber(1),
            at: Timestamp::ZERO,
            body: entries.get(at).unwrap(),
        };
        let event = Event::decode(Partition(0), &entry).unwrap();
        let mut line = String::new();
        for property in event.properties.iter() {
            let _ = match property {
                Property::System(name, value) => write!(line, "{}={value} ", name.name()),
                Property::Application(name, value) => write!(line, "{name}={} ", value.unwrap()),
            };
        }
        let _ = write!(line, "{}", String::from_utf8_lossy(&event.body));
        lines.push(line);
    }
    format!("[{}]", lines.join("|"))
}

/// A cloud-to-device message `hello`, the `version`th claim of it.
fn offer(sequence: u64, version: u64, redelivered: bool) -> Outbound {
    let token = LockToken {
        sequence: SequenceNumber(sequence),
        version: Version(version),
        until: Timestamp::ZERO,
    };
    let message = Stored {
        ack: hub_core::envelope::Ack::None,
        enqueued: Timestamp::ZERO,
        generation: 1,
        properties: hub_core::envelope::Properties::default(),
        body: Bytes::from_static(b"hello"),
    };
    Outbound::Offer(Box::new(Delivery {
        token,
        message,
        expiry: Timestamp::ZERO.after(Limits::default().c2d_ttl_default),
        delivery_count: 0,
        redelivered,
    }))
}

const EVENTS: &str = "devices/d1/messages/events/";
const DEVICEBOUND: &str = "devices/d1/messages/devicebound/#";
const METHODS: &str = "$iothub/methods/POST/#";
const RESPONSES: &str = "$iothub/twin/res/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";
const REPORTED: &str = "$iothub/twin/PATCH/properties/reported/";
const OFFERED: &str =
    "devices/d1/messages/devicebound/%24.to=%2Fdevices%2Fd1%2Fmessages%2Fdevicebound hello";
