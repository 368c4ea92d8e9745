//! How long it takes to decode a PUBLISH of QoS 1 with 256 bytes of payload and a topic as the
//! Python SDK sends it: the crate's own decoder against published codecs, on the same bytes.
//!
//! Run with `cargo bench -p hub-mqtt --bench codec`. It prints nanoseconds per packet, the middle
//! of several rounds. The decision it led to is in `docs/decisions/mqtt-codec.md`.

#![allow(missing_docs, reason = "a bench has no API")]

use std::hint::black_box;
use std::time::Instant;

use hub_mqtt::codec::{self, Decoded, Packet, PacketId, Publish, Qos};

const PACKETS: usize = 200;
const ROUNDS: usize = 401;

/// As many packets as one read of a socket brings when a device sends in a burst.
fn burst() -> Vec<u8> {
    let topic = "devices/d1/messages/events/%24.mid=m1&%24.ct=application%2Fjson&%24.ce=utf-8&a=1";
    let mut out = Vec::new();
    for _ in 0..PACKETS {
        let publish = Publish {
            dup: false,
            qos: Qos::One,
            retain: false,
            id: Some(PacketId::MAX),
            topic,
            payload: &[b'x'; 256],
        };
        if codec::publish(&mut out, &publish).is_err() {
            out.clear();
        }
    }
    out
}

/// Runs `decode` over fresh copies of the burst and prints the median. `decode` returns how many
/// packets it found.
fn measure<B>(name: &str, fresh: impl Fn() -> B, decode: impl Fn(B) -> usize) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let input = black_box(fresh());
            let start = Instant::now();
            let found = decode(input);
            let taken = start.elapsed();
            assert_eq!(found, PACKETS, "{name}");
            taken.as_secs_f64() * 1e9 / PACKETS as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:<12} {:>7.1} ns/packet", rounds.get(ROUNDS / 2).copied().unwrap_or(f64::NAN));
}

fn main() {
    let bytes = burst();
    measure(
        "own",
        || bytes.as_slice(),
        |mut rest| {
            let mut found = 0;
            while let Ok(Decoded::Packet(packet, length)) = codec::decode(rest, 400_000) {
                if let Packet::Publish(publish) = packet {
                    found += usize::from(black_box(publish).payload.len() == 256);
                }
                rest = rest.get(length..).unwrap_or(&[]);
            }
            found
        },
    );
    measure(
        "mqttrs",
        || bytes.as_slice(),
        // Its decoder does not say how long a packet was; here all are of one length.
        |bytes| {
            let packets = bytes.chunks(bytes.len() / PACKETS).map(mqttrs::decode_slice);
            packets
                .filter(|packet| match packet {
                    Ok(Some(mqttrs::Packet::Publish(p))) => black_box(p).payload.len() == 256,
                    _ => false,
                })
                .count()
        },
    );
    measure(
        "mqttbytes",
        || bytes::BytesMut::from(bytes.as_slice()),
        |mut stream| {
            let mut found = 0;
            while let Ok(packet) = mqttbytes::v4::read(&mut stream, 400_000) {
                if let mqttbytes::v4::Packet::Publish(publish) = packet {
                    found += usize::from(black_box(publish).payload.len() == 256);
                }
            }
            found
        },
    );
}
