//! Any bytes are packets or are refused, and what a packet says lies within them.
#![no_main]

use hub_mqtt::codec::{Decoded, Packet, Publish, decode, publish};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Decoded::Packet(packet, length)) = decode(rest, 100_000) {
        assert!(length >= 2 && length <= rest.len());
        match packet {
            Packet::Publish(message) => round_trip(&message),
            Packet::Subscribe(_, filters) | Packet::Unsubscribe(_, filters) => {
                assert!(filters.iter().count() > 0);
            }
            _ => {}
        }
        rest = &rest[length..];
    }
});

fn round_trip(message: &Publish<'_>) {
    let mut again = Vec::new();
    publish(&mut again, message).expect("it was a packet before");
    assert_eq!(decode(&again, 100_000), Ok(Decoded::Packet(Packet::Publish(*message), again.len())));
}
