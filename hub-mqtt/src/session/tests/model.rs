//! Random conversations against a model of what was owed.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::error::{CloseReason, ErrorKind, HubError};
use hub_core::frame::{Interest, MethodRef};
use proptest::prelude::*;

use super::*;

/// A step of a conversation. Numbers pick among what is possible.
#[derive(Debug, Clone)]
enum Step {
    Publish { topic: u8, qos: u8 },
    ReadEnd,
    Subscribe(u8, bool),
    Unsubscribe(u8),
    PubAck(u16),
    Answer(u8),
    Offer(u8),
    Desired,
    Call,
    Written,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..4, 0_u8..2).prop_map(|(topic, qos)| Step::Publish { topic, qos }),
        2 => Just(Step::ReadEnd),
        2 => (0_u8..4, any::<bool>()).prop_map(|(filter, once)| Step::Subscribe(filter, once)),
        1 => (0_u8..4).prop_map(Step::Unsubscribe),
        3 => any::<u16>().prop_map(Step::PubAck),
        5 => any::<u8>().prop_map(Step::Answer),
        3 => (0_u8..8).prop_map(Step::Offer),
        1 => Just(Step::Desired),
        1 => Just(Step::Call),
        1 => Just(Step::Written),
    ]
}

/// What a peer and a hub know of each other.
#[derive(Default)]
struct Model {
    /// Publishes of QoS 1 that have no PUBACK yet, in order.
    unacknowledged: Vec<u16>,
    /// Tags the hub owes an answer to, and whether that is a twin's.
    owed: BTreeMap<u64, &'static str>,
    /// Ids of publishes of QoS 1 to the device that it has not acknowledged, with the message
    /// and the claim of it that was sent last.
    in_flight: BTreeMap<u16, Option<(u64, u64)>>,
    /// The latest claim of each message.
    versions: BTreeMap<u64, u64>,
    settled: BTreeSet<(u64, u64)>,
}

impl Model {
    fn read_up(&mut self, rig: &mut Rig) -> Result<(), TestCaseError> {
        for frame in rig.turn.up.drain(..) {
            let (tag, what) = match frame {
                Inbound::Telemetry(tag, entries) => {
                    prop_assert!(!entries.is_empty());
                    (tag, "receipt")
                }
                Inbound::Subscribe(tag, _) | Inbound::Unsubscribe(tag, _) => (tag, "receipt"),
                Inbound::Report(tag, ..) => (tag, "reported"),
                Inbound::GetTwin(tag) => (tag, "twin"),
                Inbound::Reply(..) | Inbound::Heard(_) => continue,
                Inbound::Settle(tag, token, _) => {
                    prop_assert!(tag.is_none());
                    let (sequence, version) = (token.sequence.0, token.version.0);
                    prop_assert!(self.settled.insert((sequence, version)), "settled twice");
                    continue;
                }
            };
            prop_assert!(self.owed.insert(tag.0, what).is_none(), "tag used twice");
        }
        Ok(())
    }

    fn read_wire(&mut self, rig: &mut Rig) -> Result<(), TestCaseError> {
        let wire = std::mem::take(&mut rig.turn.wire);
        let mut rest = wire.as_slice();
        while let Ok(Decoded::Packet(packet, length)) = codec::decode(rest, 1 << 20) {
            rest = &rest[length..];
            match packet {
                Packet::PubAck(id) => {
                    prop_assert_eq!(self.unacknowledged.first(), Some(&id.get()), "ack order");
                    self.unacknowledged.remove(0);
                }
                Packet::Publish(publish) => {
                    let Some(id) = publish.id else { continue };
                    let message = publish.topic.contains("devicebound").then(|| {
                        let body = std::str::from_utf8(publish.payload).unwrap();
                        let (sequence, version) = body.split_once('.').unwrap();
                        (sequence.parse::<u64>().unwrap(), version.parse::<u64>().unwrap())
                    });
                    let before = self.in_flight.insert(id.get(), message);
                    // The only id that may be used again is that of the same message.
                    let again = |(before, _): (u64, u64)| message.is_some_and(|m| m.0 == before);
                    prop_assert!(before.is_none_or(|before| before.is_some_and(again)));
                }
                _ => {}
            }
        }
        prop_assert!(rest.is_empty());
        Ok(())
    }
}

fn numbered(sequence: u64, version: u64) -> Outbound {
    match offer(sequence, version, version > 1) {
        Outbound::Offer(mut delivery) => {
            delivery.message.body = format!("{sequence}.{version}").into();
            Outbound::Offer(delivery)
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn acks_are_in_order_and_ids_do_not_collide(steps in prop::collection::vec(step(), 0..120)) {
        let mut rig = Rig::new();
        let mut model = Model::default();
        let mut next_id = 0_u16;
        rig.turn.wire.clear();
        let report = format!("{REPORTED}?$rid=1");
        let topics = [EVENTS, "$iothub/twin/GET/?$rid=1", &report, "$iothub/methods/res/200/?$rid=1"];
        let filters = [DEVICEBOUND, METHODS, RESPONSES, DESIRED];
        for step in steps {
            match step {
                Step::Publish { topic, qos } => {
                    next_id += 1;
                    let id = PacketId::new(next_id).filter(|_| qos == 1);
                    let qos = if qos == 1 { Qos::One } else { Qos::Zero };
                    let topic = topics[usize::from(topic)];
                    let publish = Publish { dup: false, qos, retain: false, id, topic, payload: b"{}" };
                    model.unacknowledged.extend(id.map(PacketId::get));
                    rig.step(Input::Packet(Packet::Publish(publish)));
                }
                Step::ReadEnd => rig.step(Input::ReadEnd),
                Step::Subscribe(filter, once) => {
                    next_id += 1;
                    let qos = if once { Qos::Zero } else { Qos::One };
                    rig.subscribe(next_id, &[(filters[usize::from(filter)], qos)]);
                }
                Step::Unsubscribe(filter) => {
                    next_id += 1;
                    rig.unsubscribe(next_id, &[filters[usize::from(filter)]]);
                }
                Step::PubAck(pick) => {
                    let ids: Vec<u16> = model.in_flight.keys().copied().collect();
                    let id = match usize::from(pick) % (ids.len() + 1) {
                        0 => pick.max(1),
                        n => ids[n - 1],
                    };
                    rig.packet(Packet::PubAck(PacketId::new(id).unwrap()));
                    if let Some(Some(claim)) = model.in_flight.remove(&id) {
                        model.read_up(&mut rig)?;
                        prop_assert!(model.settled.contains(&claim));
                    }
                }
                Step::Answer(pick) if !model.owed.is_empty() => {
                    let tags: Vec<u64> = model.owed.keys().copied().collect();
                    let tag = tags[usize::from(pick) % tags.len()];
                    let answer = match (model.owed.remove(&tag), pick % 3) {
                        (Some("receipt"), _) | (None, _) => Outbound::Receipt(Tag(tag)),
                        (_, 0) => Outbound::Refused(Tag(tag), HubError::argument("no")),
                        (Some("twin"), _) => Outbound::Twin(Tag(tag), Bytes::from_static(b"{}")),
                        _ => Outbound::Reported(Tag(tag), 1),
                    };
                    rig.hub(answer);
                }
                Step::Answer(_) => {}
                Step::Offer(sequence) => {
                    let sequence = u64::from(sequence);
                    let version = model.versions.entry(sequence).or_insert(0);
                    *version += 1;
                    let outbound = numbered(sequence, *version);
                    rig.hub(outbound);
                }
                Step::Desired => {
                    rig.hub(Outbound::Desired(1, Bytes::new()));
                }
                Step::Call => {
                    rig.hub(Outbound::Call(MethodRef(1), "m".into(), Bytes::new()));
                }
                Step::Written => rig.step(Input::Written),
            }
            model.read_up(&mut rig)?;
            model.read_wire(&mut rig)?;
            prop_assert_eq!(rig.turn.end(), None);
        }
        // Whatever is still owed is answered: then nothing is unacknowledged.
        rig.step(Input::ReadEnd);
        model.read_up(&mut rig)?;
        for (tag, what) in std::mem::take(&mut model.owed) {
            rig.hub(match what {
                "receipt" => Outbound::Receipt(Tag(tag)),
                "twin" => Outbound::Twin(Tag(tag), Bytes::new()),
                _ => Outbound::Reported(Tag(tag), 1),
            });
            model.read_wire(&mut rig)?;
        }
        prop_assert!(model.unacknowledged.is_empty() && rig.session.asked.is_empty());
        prop_assert_eq!(rig.session.flight.ids().len(), model.in_flight.len());
    }

    /// Whatever bytes come, and whatever the hub says, the session takes them or ends.
    #[test]
    fn nothing_makes_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        answers in prop::collection::vec((0_u8..9, 0_u64..5), 0..20),
    ) {
        let mut rig = Rig::new();
        let mut rest = bytes.as_slice();
        let mut answers = answers.into_iter();
        loop {
            match codec::decode(rest, 300) {
                Ok(Decoded::Packet(packet, length)) => {
                    rest = &rest[length..];
                    rig.step(Input::Packet(packet));
                }
                Ok(Decoded::Incomplete(_)) => break,
                Err(error) => {
                    rig.step(Input::Over(End::Malformed(error)));
                    break;
                }
            }
            if let Some((kind, n)) = answers.next() {
                rig.hub(match kind {
                    0 | 1 => Outbound::Receipt(Tag(n)),
                    2 => Outbound::Refused(Tag(n), HubError::new(ErrorKind::Internal, "x")),
                    3 => offer(n, 1, false),
                    4 => Outbound::Desired(n, Bytes::new()),
                    5 => Outbound::Call(MethodRef(n), "é/".into(), Bytes::new()),
                    6 => Outbound::Twin(Tag(n), Bytes::new()),
                    7 => Outbound::Reported(Tag(n), n),
                    _ => Outbound::Close(CloseReason::Internal),
                });
            }
        }
        rig.step(Input::ReadEnd);
        rig.step(Input::Tick);
    }

    /// The same with packets that are well-formed and mean something.
    #[test]
    fn subscriptions_are_what_was_asked_for(
        asked in prop::collection::vec((0_usize..4, any::<bool>()), 0..20),
    ) {
        let mut rig = Rig::new();
        let filters = [DEVICEBOUND, METHODS, RESPONSES, DESIRED];
        let mut model = BTreeSet::new();
        for (id, (filter, on)) in (1..).zip(asked) {
            if on {
                rig.subscribe(id, &[(filters[filter], Qos::One)]);
                model.insert(filter);
            } else {
                rig.unsubscribe(id, &[filters[filter]]);
                model.remove(&filter);
            }
        }
        for (at, interest) in Interest::ALL.into_iter().take(4).enumerate() {
            prop_assert_eq!(rig.session.subscriptions().has(interest), model.contains(&at));
        }
    }
}
