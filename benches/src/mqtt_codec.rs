//! Packets of MQTT, to and from bytes.

use std::fmt;

use hub_mqtt::codec::{self, Decoded, Packet, PacketId, Publish, Qos};

use crate::fixture::BODY;
use crate::{Bench, Random};

const TOPIC: &str =
    "devices/device-000001/messages/events/%24.mid=m1&%24.ct=application%2Fjson&%24.ce=utf-8";

/// So many packets one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst(usize);

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "burst={}", self.0)
    }
}

fn write(out: &mut Vec<u8>, count: usize, payload: &[u8]) {
    for id in (1..).map_while(PacketId::new).take(count) {
        let publish = Publish {
            dup: false,
            qos: Qos::One,
            retain: false,
            id: Some(id),
            topic: TOPIC,
            payload,
        };
        codec::publish(out, &publish).expect("it fits");
    }
}

/// Decodes PUBLISH packets of QoS 1 with 256 B of payload, as a hub reads them.
#[derive(Debug)]
pub struct Decode {
    burst: Burst,
    bytes: Vec<u8>,
}

impl Bench for Decode {
    type Size = Burst;
    const NAME: &'static str = "mqtt_codec/decode";
    const SIZES: &'static [Burst] = &[Burst(1), Burst(100)];

    fn open(burst: Burst) -> Self {
        Self { burst, bytes: Vec::new() }
    }

    fn seed(&mut self, random: &mut Random) {
        write(&mut self.bytes, self.burst.0, &random.bytes(BODY));
    }

    fn elements(Burst(count): Burst) -> u64 {
        count as u64
    }

    fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            let (mut rest, mut found) = (std::hint::black_box(self.bytes.as_slice()), 0);
            while let Ok(Decoded::Packet(packet, length)) = codec::decode(rest, 400_000) {
                if let Packet::Publish(publish) = packet {
                    found += usize::from(std::hint::black_box(publish).payload.len() == BODY);
                }
                rest = rest.get(length..).unwrap_or(&[]);
            }
            assert_eq!(found, self.burst.0);
        }
    }
}

/// Encodes the same, as a client or a bridge writes them.
#[derive(Debug)]
pub struct Encode {
    burst: Burst,
    payload: Vec<u8>,
    out: Vec<u8>,
}

impl Bench for Encode {
    type Size = Burst;
    const NAME: &'static str = "mqtt_codec/encode";
    const SIZES: &'static [Burst] = &[Burst(1), Burst(100)];

    fn open(burst: Burst) -> Self {
        Self { burst, payload: Vec::new(), out: Vec::new() }
    }

    fn seed(&mut self, random: &mut Random) {
        self.payload = random.bytes(BODY);
    }

    fn elements(Burst(count): Burst) -> u64 {
        count as u64
    }

    fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            self.out.clear();
            write(&mut self.out, self.burst.0, std::hint::black_box(&self.payload));
            std::hint::black_box(&self.out);
        }
    }
}
