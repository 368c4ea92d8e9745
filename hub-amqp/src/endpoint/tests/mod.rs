//! Whole conversations with a machine that no socket is behind: beginning and ending connections,
//! sessions and links.

mod messages;
mod random;
mod rig;

use self::rig::{NULL, Rig, TRUE, frame, text, uint};
use super::*;
use crate::codec::Write as _;

#[test]
fn a_peer_may_come_with_and_without_a_security_layer() {
    Rig::open(8);
    for (mechanism, response) in [("MSSBCBS", None), ("ANONYMOUS", Some("")), ("EXTERNAL", None)] {
        let mut rig = Rig::new();
        rig.says(&SASL_HEADER);
        let mut init = Vec::new();
        init.symbol(mechanism);
        let mut answer = Vec::new();
        answer.binary(response.unwrap_or("").as_bytes());
        let mut bytes = frame(0, 0x41, &[&init, &answer], b"");
        bytes[5] = 1;
        rig.says(&bytes);
        rig.says(&AMQP_HEADER);
        rig.says(&frame(0, 0x10, &[&text("peer")], b""));
        assert_eq!(rig.heard(), "sasl-header sasl-40 sasl-44 header open", "{mechanism}");
    }
}

#[test]
fn a_name_and_a_token_wait_for_the_hub() {
    let mut rig = Rig::new();
    rig.says(&SASL_HEADER);
    let mut bytes = frame(0, 0x41, &[b"\xa3\x05PLAIN", b"\xa0\x05\0me\0t"], b"");
    bytes[5] = 1;
    // What is pipelined behind waits too.
    bytes.extend(AMQP_HEADER);
    rig.says(&bytes);
    let token = SaslChoice::Plain { name: "me".into(), token: "t".into() };
    assert_eq!(rig.happened(), [Happening::Sasl(token)]);
    assert_eq!(rig.endpoint.take(&AMQP_HEADER, &mut rig.turn), Taken::Nothing);
    rig.endpoint.sasl_decided(true, &mut rig.turn);
    rig.says(&AMQP_HEADER);
    assert_eq!(rig.heard(), "sasl-header sasl-40 sasl-44 header");
    let mut rig = Rig::new();
    rig.says(&SASL_HEADER);
    rig.says(&bytes);
    rig.happened();
    rig.endpoint.sasl_decided(false, &mut rig.turn);
    assert_eq!(rig.happened(), [Happening::Over(Over::Refused)]);
}

#[test]
fn another_protocol_is_told_what_is_spoken_here() {
    for bytes in [&b"GET / HTTP/1.1"[..], b"AMQP\x00\x00\x09\x01", b"\x10\x20\0\x04MQTT\x04"] {
        let mut rig = Rig::new();
        rig.says(bytes);
        assert_eq!(rig.heard(), "sasl-header");
        assert_eq!(rig.happened(), [Happening::Over(Over::Refused)]);
    }
}

#[test]
fn what_may_not_be_said_closes_the_connection() {
    let close = frame(0, 0x18, &[], b"");
    for (frame, want) in [
        (frame(0, 0x10, &[&text("again")], b""), "amqp:illegal-state"),
        (frame(1, 0x11, &[NULL, &uint(0), &uint(1), &uint(1)], b""), "amqp:illegal-state"),
        (frame(2, 0x11, &[b"\x60\0\x02", &uint(0), &uint(1), &uint(1)], b""), "amqp:illegal-state"),
        (frame(4, 0x11, &[NULL, &uint(0), &uint(1), &uint(1)], b""), "amqp:not-allowed"),
        (frame(2, 0x13, &[NULL, &uint(0), &uint(1), &uint(1)], b""), "amqp:illegal-state"),
        (frame(2, 0x14, &[&uint(0)], b""), "amqp:illegal-state"),
        (frame(2, 0x17, &[], b""), "amqp:illegal-state"),
        (frame(1, 0x14, &[], b""), "amqp:invalid-field"),
        (frame(1, 0x13, &[TRUE], b""), "amqp:invalid-field"),
        (frame(1, 0x29, &[], b""), "amqp:not-allowed"),
        (b"\0\0\x10\0\x02\0\0\0".to_vec(), "amqp:connection:framing-error"),
        (b"\0\0\0\x0a\x02\x00\0\0\xa1\xff".to_vec(), "amqp:decode-error"),
        (b"\0\0\0\x0a\x02\x01\0\0\0\0".to_vec(), "amqp:connection:framing-error"),
    ] {
        let mut rig = Rig::open(8);
        rig.says(&frame);
        assert_eq!(rig.heard(), format!("close({want})"), "{frame:02x?}");
        assert_eq!(rig.happened(), [Happening::Over(Over::Violation)]);
        // Nothing is heard after it.
        rig.says(&close);
        assert_eq!(rig.heard(), "");
    }
}

#[test]
fn a_link_is_asked_for_accepted_and_detached() {
    let mut rig = Rig::open(8);
    let key = rig.attach(3, true);
    let asked = rig.endpoint.asked(key).unwrap();
    assert_eq!(asked.source.unwrap().address, Some("a"));
    assert!(rig.endpoint.accept(key, 0, true, &mut rig.turn));
    assert!(rig.endpoint.asked(key).is_none());
    assert!(!rig.endpoint.accept(key, 0, true, &mut rig.turn));
    assert_eq!(rig.heard(), "attach-3");
    rig.says(&frame(1, 0x16, &[&uint(3), TRUE], b""));
    assert_eq!(rig.heard(), "detach-3");
    assert_eq!(rig.happened(), [Happening::Gone(key)]);
    // The handle is free again, and names another link.
    assert_ne!(rig.attach(3, true), key);
}

#[test]
fn a_link_may_be_refused_or_ended_by_the_hub() {
    let mut rig = Rig::open(8);
    let why = AmqpError::new(condition::NOT_FOUND, "nothing");
    let key = rig.attach(0, true);
    rig.endpoint.refuse(key, &why, &mut rig.turn);
    assert_eq!(rig.heard(), "attach-0-null detach-0(amqp:not-found)");
    // Its detach is an answer, and no news.
    rig.says(&frame(1, 0x16, &[&uint(0), TRUE], b""));
    assert_eq!((rig.heard().as_str(), rig.happened().len(), rig.endpoint.links()), ("", 0, 0));
    let key = rig.attach(0, false);
    rig.endpoint.accept(key, 100, false, &mut rig.turn);
    rig.endpoint.grant(key, 5, &mut rig.turn);
    rig.endpoint.detach(key, Some(&why), &mut rig.turn);
    assert_eq!(rig.heard(), "attach-0 flow-0-5 detach-0(amqp:not-found)");
    // What was on its way is dropped.
    rig.transfer(0, 0, false, b"late");
    assert_eq!((rig.heard().as_str(), rig.happened().len()), ("", 0));
}

#[test]
fn a_mistake_about_a_session_ends_the_session() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, true);
    rig.endpoint.accept(key, 0, true, &mut rig.turn);
    rig.heard();
    rig.flow(7, 0, 8, 0, 1);
    assert_eq!(rig.heard(), "end(amqp:session:unattached-handle)");
    assert_eq!(rig.happened(), [Happening::Gone(key)]);
    // Until the peer has ended it, what it says there is dropped; then the channel is free.
    rig.attach_nothing(1);
    rig.says(&frame(1, 0x17, &[], b""));
    rig.says(&frame(1, 0x11, &[NULL, &uint(0), &uint(1), &uint(1)], b""));
    assert_eq!(rig.heard(), "begin");
    let mut rig = Rig::open(8);
    rig.attach(2, true);
    rig.attach_nothing(2);
    assert_eq!(rig.heard(), "end(amqp:session:handle-in-use)");
    let mut rig = Rig::open(8);
    rig.attach_nothing(4);
    assert_eq!(rig.heard(), "end(amqp:not-allowed)");
}

#[test]
fn a_connection_is_closed_from_either_side() {
    let mut rig = Rig::open(8);
    rig.says(&frame(0, 0x18, &[], b""));
    assert_eq!(rig.heard(), "close");
    assert_eq!(rig.happened(), [Happening::Over(Over::Goodbye)]);
    let mut rig = Rig::open(8);
    let why = AmqpError::new(condition::FORCED, "stop");
    rig.endpoint.close(Some(&why), &mut rig.turn);
    assert_eq!(rig.heard(), "close(amqp:connection:forced)");
    assert!(rig.endpoint.is_closing() && rig.happened().is_empty());
    // What was on its way is dropped, also what would have been a mistake.
    rig.says(&frame(3, 0x14, &[&uint(0)], b""));
    rig.says(&frame(0, 0x18, &[], b""));
    assert_eq!(rig.happened(), [Happening::Over(Over::Answered)]);
}

#[test]
fn a_session_ends_with_its_links() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, true);
    rig.endpoint.accept(key, 0, true, &mut rig.turn);
    rig.heard();
    rig.says(&frame(1, 0x17, &[], b""));
    assert_eq!((rig.heard().as_str(), rig.happened()), ("end", vec![Happening::Gone(key)]));
    assert_eq!(rig.endpoint.links(), 0);
}
