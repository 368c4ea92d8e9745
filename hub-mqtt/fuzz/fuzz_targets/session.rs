//! Whatever a device sends after its CONNECT, and whatever the hub answers, the session takes it
//! or ends, and never owes an acknowledgement that it was not asked for.
#![no_main]

use hub_core::envelope::{AuthMethod, AuthScope, AuthType, EventSource, Stamp};
use hub_core::frame::{Inbound, Outbound, Subscriptions};
use hub_core::hello::{CredentialMark, Grant, Welcome};
use hub_core::id::{Epoch, LinkId, Tag};
use hub_core::limits::Limits;
use hub_core::time::Timestamp;
use hub_core::transport::Peer;
use hub_mqtt::codec::{Connect, Decoded, Packet, decode};
use hub_mqtt::connect::Introduction;
use hub_mqtt::session::{Context, End, Input, Session, Turn};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u64, &[u8])| {
    let (stored, mut answers, bytes) = input;
    let connect = Connect {
        clean_session: false,
        keep_alive: 60,
        client_id: "d1",
        will: None,
        username: Some("h/d1"),
        password: None,
    };
    let introduction = Introduction::read(&Packet::Connect(connect), Peer::default())
        .expect("it is well-formed");
    let auth = AuthMethod { scope: AuthScope::Device, kind: AuthType::Sas };
    let address = &introduction.hello.address;
    let stamp = Stamp::new(EventSource::Telemetry, address, "1", Some(auth), None);
    let welcome = Welcome {
        link: LinkId(1),
        epoch: Epoch(1),
        session_present: true,
        subscriptions: Subscriptions::from_bits(stored),
        grant: Grant {
            auth,
            expires: Timestamp::MAX,
            generation: 1,
            credential: CredentialMark::default(),
        },
    };
    let limits = Limits::default();
    let context = Context { now: Timestamp::ZERO, stamp: &stamp, limits: &limits };
    let mut turn = Turn::new();
    let mut session = Session::begin(introduction, &welcome, &limits, Timestamp::ZERO, &mut turn);
    let mut rest = bytes;
    let mut published = 0_usize;
    loop {
        match decode(rest, 100_000) {
            Ok(Decoded::Packet(packet, length)) => {
                rest = &rest[length..];
                if let Packet::Publish(publish) = packet {
                    published += usize::from(publish.id.is_some());
                }
                session.handle(context, Input::Packet(packet), &mut turn);
            }
            Ok(Decoded::Incomplete(_)) => break,
            Err(error) => {
                session.handle(context, Input::Over(End::Malformed(error)), &mut turn);
                break;
            }
        }
        session.handle(context, Input::ReadEnd, &mut turn);
        for frame in std::mem::take(&mut turn.up) {
            answers = answers.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if let Some(answer) = answer(&frame, answers) {
                session.handle(context, Input::Hub(answer), &mut turn);
            }
        }
    }
    let mut wire = turn.wire.as_slice();
    let mut acknowledged = 0_usize;
    while let Ok(Decoded::Packet(packet, length)) = decode(wire, 1_000_000) {
        acknowledged += usize::from(matches!(packet, Packet::PubAck(_)));
        wire = &wire[length..];
    }
    assert!(wire.is_empty() && acknowledged <= published);
});

fn answer(frame: &Inbound, pick: u64) -> Option<Outbound> {
    let tag = match frame {
        Inbound::Telemetry(tag, _)
        | Inbound::Report(tag, ..)
        | Inbound::GetTwin(tag)
        | Inbound::Subscribe(tag, _)
        | Inbound::Unsubscribe(tag, _) => *tag,
        Inbound::Settle(..) | Inbound::Reply(..) | Inbound::Heard(_) => return None,
    };
    match pick % 8 {
        0 => None,
        1 => Some(Outbound::Twin(tag, "{}".into())),
        2 => Some(Outbound::Reported(tag, pick)),
        3 => Some(Outbound::Receipt(Tag(pick % 5))),
        _ => Some(Outbound::Receipt(tag)),
    }
}
