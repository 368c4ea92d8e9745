//! Whatever a peer sends, cut wherever it may be: the machine takes it or ends, what it writes are
//! frames, and nothing it holds grows beyond its bound.
#![no_main]

use std::sync::Arc;

use hub_amqp::AmqpLimits;
use hub_amqp::codec::{Decoded, Outcome, decode};
use hub_amqp::endpoint::{Endpoint, Happening, LinkKey, Taken, Turn};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (choice, prepared, bytes) = input;
    let limits = Arc::new(AmqpLimits::default());
    let mut endpoint = Endpoint::new(limits.clone(), "hub".into());
    let mut turn = Turn::default();
    let mut whole = Vec::new();
    if prepared {
        // An open connection with a session on channel 0.
        whole.extend(b"AMQP\x00\x01\x00\x00");
        whole.extend(b"\x00\x00\x00\x11\x02\x00\x00\x00\x00\x53\x10\xc0\x04\x01\xa1\x01c");
        whole.extend(b"\x00\x00\x00\x16\x02\x00\x00\x00\x00\x53\x11\xc0\x09\x04\x40\x43\x52\x08");
        whole.extend(b"\x52\x08\x43\x43");
        whole.truncate(8 + 17 + 22);
    }
    whole.extend(bytes);
    let mut rest = whole.as_slice();
    let mut links: Vec<LinkKey> = Vec::new();
    while let Taken::Bytes(count) = endpoint.take(rest, &mut turn) {
        assert!(count > 0 && count <= rest.len());
        rest = &rest[count..];
        for happening in std::mem::take(&mut turn.happened) {
            match happening {
                Happening::Sasl(_) => endpoint.sasl_decided(choice & 1 == 0, &mut turn),
                Happening::Asked(link) => {
                    assert!(endpoint.accept(link, 1000, choice & 2 == 0, &mut turn));
                    endpoint.grant(link, 3, &mut turn);
                    links.push(link);
                }
                Happening::Message { link, delivery, payload, .. } => {
                    assert!(payload.len() <= 1000);
                    endpoint.settle(link, (delivery, delivery), Outcome::Accepted, &mut turn);
                }
                Happening::Sendable(link) => {
                    endpoint.send(link, &[7; 2000], choice & 4 == 0, &mut turn);
                    endpoint.drain(link, &mut turn);
                }
                Happening::Disposed { .. } | Happening::Gone(_) | Happening::Over(_) => {}
            }
        }
        assert!(endpoint.links() <= limits.links_max);
        written(&turn.wire);
        turn.wire.clear();
    }
});

fn written(mut wire: &[u8]) {
    while !wire.is_empty() {
        if let Some(rest) = wire.strip_prefix(b"AMQP") {
            wire = &rest[4..];
            continue;
        }
        let Ok(Decoded::Frame(frame)) = decode(wire, 1 << 20) else { panic!("not a frame") };
        wire = &wire[frame.length..];
    }
}
