use proptest::prelude::*;

use super::*;

fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

/// Encodes any packet, by its own function.
fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let pairs = |filters: &Filters<'_>| -> Vec<(String, Qos)> {
        filters.iter().map(|(filter, qos)| (filter.to_owned(), qos)).collect()
    };
    match packet {
        Packet::Connect(c) => connect(&mut out, c).unwrap(),
        Packet::ConnAck(present, code) => connack(&mut out, *present, *code),
        Packet::Publish(p) => publish(&mut out, p).unwrap(),
        Packet::PubAck(id) => puback(&mut out, *id),
        Packet::Subscribe(id, filters) => {
            let pairs = pairs(filters);
            let pairs: Vec<_> = pairs.iter().map(|(f, q)| (f.as_str(), *q)).collect();
            subscribe(&mut out, *id, &pairs).unwrap();
        }
        Packet::SubAck(id, codes) => suback(&mut out, *id, codes).unwrap(),
        Packet::Unsubscribe(id, filters) => {
            let pairs = pairs(filters);
            let filters: Vec<_> = pairs.iter().map(|(f, _)| f.as_str()).collect();
            unsubscribe(&mut out, *id, &filters).unwrap();
        }
        Packet::UnsubAck(id) => unsuback(&mut out, *id),
        other => simple(&mut out, *other),
    }
    out
}

#[track_caller]
fn whole(bytes: &[u8]) -> Packet<'_> {
    match decode(bytes, REMAINING_MAX) {
        Ok(Decoded::Packet(packet, length)) if length == bytes.len() => packet,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn both_ways(bytes: &[u8], check: impl FnOnce(&Packet<'_>)) {
    let packet = whole(bytes);
    check(&packet);
    assert_eq!(encode(&packet), bytes);
    for cut in 0..bytes.len() {
        match decode(&bytes[..cut], REMAINING_MAX) {
            Ok(Decoded::Incomplete(needs)) => assert!(needs > cut && needs <= bytes.len().max(2)),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn every_packet_has_its_bytes() {
    both_ways(
        b"\x10\x28\x00\x04MQTT\x04\xee\x00\x3c\x00\x02d1\x00\x05a/b/c\x00\x03bye\x00\x04user\x00\x06secret",
        |packet| {
            let will = Will { topic: "a/b/c", payload: b"bye", qos: Qos::One, retain: true };
            let want = Connect {
                clean_session: true,
                keep_alive: 60,
                client_id: "d1",
                will: Some(will),
                username: Some("user"),
                password: Some(b"secret"),
            };
            assert_eq!(*packet, Packet::Connect(want));
            assert!(!format!("{packet:?}").contains("secret"));
        },
    );
    both_ways(b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x00\x00\x02n1", |packet| {
        let Packet::Connect(connect) = packet else { panic!("{packet:?}") };
        assert_eq!((connect.keep_alive, connect.client_id, connect.will), (0, "n1", None));
        assert_eq!(
            (connect.clean_session, connect.username, connect.password),
            (false, None, None)
        );
    });
    both_ways(b"\x20\x02\x01\x00", |p| {
        assert_eq!(*p, Packet::ConnAck(true, ConnectCode::Accepted));
    });
    both_ways(b"\x20\x02\x00\x05", |p| {
        assert_eq!(*p, Packet::ConnAck(false, ConnectCode::NotAuthorized));
    });
    both_ways(b"\x3b\x0a\x00\x03a/b\x12\x34xyz", |p| {
        let want = Publish {
            dup: true,
            qos: Qos::One,
            retain: true,
            id: Some(id(0x1234)),
            topic: "a/b",
            payload: b"xyz",
        };
        assert_eq!(*p, Packet::Publish(want));
    });
    both_ways(b"\x30\x05\x00\x03a/b", |p| {
        let Packet::Publish(publish) = p else { panic!("{p:?}") };
        assert_eq!((publish.qos, publish.id, publish.payload), (Qos::Zero, None, &b""[..]));
    });
    both_ways(b"\x40\x02\x00\x01", |p| assert_eq!(*p, Packet::PubAck(id(1))));
    both_ways(b"\x50\x02\x00\x02", |p| assert_eq!(*p, Packet::PubRec(id(2))));
    both_ways(b"\x62\x02\x00\x03", |p| assert_eq!(*p, Packet::PubRel(id(3))));
    both_ways(b"\x70\x02\xff\xff", |p| assert_eq!(*p, Packet::PubComp(id(65535))));
    both_ways(b"\x82\x0c\x00\x07\x00\x02a#\x01\x00\x02b+\x02", |p| {
        let Packet::Subscribe(found, filters) = p else { panic!("{p:?}") };
        let filters: Vec<_> = filters.iter().collect();
        assert_eq!((*found, filters), (id(7), vec![("a#", Qos::One), ("b+", Qos::Two)]));
    });
    both_ways(b"\x90\x05\x00\x07\x01\x00\x80", |p| {
        assert_eq!(*p, Packet::SubAck(id(7), &[1, 0, 0x80]));
    });
    both_ways(b"\xa2\x09\x00\x08\x00\x02a#\x00\x01b", |p| {
        let Packet::Unsubscribe(found, filters) = p else { panic!("{p:?}") };
        let filters: Vec<_> = filters.iter().map(|(filter, _)| filter).collect();
        assert_eq!((*found, filters), (id(8), vec!["a#", "b"]));
    });
    both_ways(b"\xb0\x02\x00\x08", |p| assert_eq!(*p, Packet::UnsubAck(id(8))));
    both_ways(b"\xc0\x00", |p| assert_eq!(*p, Packet::PingReq));
    both_ways(b"\xd0\x00", |p| assert_eq!(*p, Packet::PingResp));
    both_ways(b"\xe0\x00", |p| assert_eq!(*p, Packet::Disconnect));
}

#[test]
fn what_breaks_the_standard_is_refused_with_its_reason() {
    let cases: &[(&[u8], DecodeError)] = &[
        (b"\x00\x00", DecodeError::Type(0)),
        (b"\xf0\x00", DecodeError::Type(15)),
        (b"GET / HTTP/1.1\r\n", DecodeError::Flags),
        (b"\x16\x03\x01\x02\x00", DecodeError::Flags),
        (b"\x80\x06\x00\x01\x00\x01a\x00", DecodeError::Flags),
        (b"\xc1\x00", DecodeError::Flags),
        (b"\x30\xff\xff\xff\xff\x01", DecodeError::Length),
        (b"\x36\x05\x00\x01a\x00\x01", DecodeError::Qos),
        (b"\x32\x05\x00\x01a\x00\x00", DecodeError::PacketId),
        (b"\x32\x03\x00\x01a", DecodeError::Truncated),
        (b"\x30\x02\x00\x05", DecodeError::Truncated),
        (b"\x30\x00", DecodeError::Truncated),
        (b"\x30\x04\x00\x02a\xff", DecodeError::Text),
        (b"\x30\x04\x00\x02a\x00", DecodeError::Text),
        (b"\x40\x02\x00\x00", DecodeError::PacketId),
        (b"\x40\x03\x00\x01x", DecodeError::Trailing),
        (b"\x40\x00", DecodeError::Truncated),
        (b"\xc0\x01x", DecodeError::Trailing),
        (b"\x82\x02\x00\x01", DecodeError::Truncated),
        (b"\x82\x05\x00\x01\x00\x00\x00", DecodeError::NoFilter),
        (b"\x82\x06\x00\x01\x00\x01a\x03", DecodeError::Qos),
        (b"\x82\x06\x00\x01\x00\x01a\x41", DecodeError::Qos),
        (b"\xa2\x02\x00\x01", DecodeError::Truncated),
        (b"\x90\x02\x00\x01", DecodeError::ReturnCode),
        (b"\x90\x03\x00\x01\x03", DecodeError::ReturnCode),
        (b"\x20\x02\x02\x00", DecodeError::ReturnCode),
        (b"\x20\x02\x00\x06", DecodeError::ReturnCode),
        (b"\x10\x0e\x00\x04mqtt\x04\x00\x00\x00\x00\x02n1", DecodeError::Protocol),
        (b"\x10\x10\x00\x06MQIsdp\x03\x00\x00\x00\x00\x02n1", DecodeError::Level(3)),
        (b"\x10\x0f\x00\x04MQTT\x05\x00\x00\x00\x00\x00\x02n1", DecodeError::Level(5)),
        (b"\x10\x0e\x00\x04MQTT\x04\x01\x00\x00\x00\x02n1", DecodeError::ConnectFlags),
        (b"\x10\x0e\x00\x04MQTT\x04\x20\x00\x00\x00\x02n1", DecodeError::ConnectFlags),
        (b"\x10\x0e\x00\x04MQTT\x04\x08\x00\x00\x00\x02n1", DecodeError::ConnectFlags),
        (b"\x10\x0e\x00\x04MQTT\x04\x1c\x00\x00\x00\x02n1", DecodeError::ConnectFlags),
        (b"\x10\x0e\x00\x04MQTT\x04\x40\x00\x00\x00\x02n1", DecodeError::ConnectFlags),
        (b"\x10\x0e\x00\x04MQTT\x04\x80\x00\x00\x00\x02n1", DecodeError::Truncated),
        (b"\x10\x0f\x00\x04MQTT\x04\x00\x00\x00\x00\x02n1x", DecodeError::Trailing),
    ];
    for (bytes, want) in cases {
        assert_eq!(decode(bytes, REMAINING_MAX), Err(*want), "{bytes:02x?}");
    }
}

#[test]
fn an_oversize_packet_is_refused_by_its_header() {
    let announced = b"\x30\x80\x80\x04";
    let want = DecodeError::Oversize { size: 65536, limit: 65535 };
    assert_eq!(decode(announced, 65535), Err(want));
    assert_eq!(decode(announced, 65536), Ok(Decoded::Incomplete(4 + 65536)));
}

#[test]
fn nothing_is_written_of_what_cannot_be_written() {
    let mut out = b"before".to_vec();
    let topic = "x".repeat(65536);
    let long = Publish {
        dup: false,
        qos: Qos::Zero,
        retain: false,
        id: None,
        topic: &topic,
        payload: b"",
    };
    assert_eq!(publish(&mut out, &long), Err(EncodeError::Field(65536)));
    assert_eq!(subscribe(&mut out, id(1), &[(&topic, Qos::One)]), Err(EncodeError::Field(65536)));
    assert_eq!(unsubscribe(&mut out, id(1), &[&topic]), Err(EncodeError::Field(65536)));
    assert_eq!(out, b"before");
}

fn text() -> impl Strategy<Value = String> {
    "[^\\x00]{0,40}"
}

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::Zero), Just(Qos::One), Just(Qos::Two)]
}

proptest! {
    #[test]
    fn a_publish_comes_back(
        topic in text(),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        (dup, retain, qos, n) in (any::<bool>(), any::<bool>(), qos(), 1_u16..),
    ) {
        let id = (qos != Qos::Zero).then(|| id(n));
        let message = Publish { dup, qos, retain, id, topic: &topic, payload: &payload };
        let bytes = encode(&Packet::Publish(message));
        prop_assert_eq!(whole(&bytes), Packet::Publish(message));
    }

    #[test]
    fn a_connect_comes_back(
        (client_id, keep_alive, clean_session) in (text(), any::<u16>(), any::<bool>()),
        username in prop::option::of(text()),
        password in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
        will in prop::option::of((text(), prop::collection::vec(any::<u8>(), 0..50), qos(), any::<bool>())),
    ) {
        let will = will.as_ref().map(|(topic, payload, qos, retain)| Will {
            topic, payload, qos: *qos, retain: *retain,
        });
        // The standard does not allow a password without a user name.
        let password = password.as_deref().filter(|_| username.is_some());
        let username = username.as_deref();
        let message =
            Connect { clean_session, keep_alive, client_id: &client_id, will, username, password };
        let bytes = encode(&Packet::Connect(message));
        prop_assert_eq!(whole(&bytes), Packet::Connect(message));
    }

    /// Whatever decodes was read within its bounds, and is written back to bytes that decode to
    /// the same packet. (Not to the same bytes: a length may be encoded longer than it must be.)
    #[test]
    fn what_decodes_encodes(
        first in any::<u8>(), mut bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let length = bytes.len().saturating_sub(1).min(127) as u8;
        if let Some(slot) = bytes.first_mut() {
            *slot = length;
        }
        bytes.insert(0, first);
        if let Ok(Decoded::Packet(packet, length)) = decode(&bytes, 1000) {
            prop_assert!(length <= bytes.len());
            let again = encode(&packet);
            prop_assert_eq!(whole(&again), packet);
        }
    }
}
