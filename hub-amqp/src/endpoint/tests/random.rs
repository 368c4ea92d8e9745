//! A peer that says anything.

use proptest::prelude::*;

use super::super::*;
use super::rig::{FALSE, NULL, Rig, TRUE, frame, source, text, uint};

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
