//! Messages both ways: parts, credit, windows, settlement.

use super::super::*;
use super::rig::{FALSE, NULL, Rig, TRUE, frame, text, uint};

#[test]
fn messages_come_in_parts_and_within_credit() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, false);
    rig.endpoint.accept(key, 1000, false, &mut rig.turn);
    rig.endpoint.grant(key, 2, &mut rig.turn);
    rig.heard();
    rig.transfer(0, 7, true, b"one ");
    rig.transfer(0, 7, true, b"two ");
    assert!(rig.happened().is_empty());
    rig.transfer(0, 7, false, b"three");
    let payload = b"one two three".to_vec();
    let message = Happening::Message { link: key, delivery: 7, settled: false, payload };
    assert_eq!(rig.happened(), [message]);
    assert_eq!(rig.endpoint.credit(key), 1);
    rig.endpoint.settle(key, (7, 7), Outcome::Accepted, &mut rig.turn);
    assert_eq!(rig.heard(), "accepted-7-7");
    // One that is taken back was none, but it has cost its credit.
    rig.transfer(0, 8, true, b"x");
    let fields: [&[u8]; 10] = [&uint(0), &uint(8), NULL, NULL, NULL, FALSE, NULL, NULL, NULL, TRUE];
    rig.says(&frame(1, 0x14, &fields, b""));
    assert_eq!((rig.happened().len(), rig.endpoint.credit(key)), (0, 0));
    assert_eq!(rig.heard(), "flow");
    rig.transfer(0, 9, false, b"too much");
    assert_eq!(rig.heard(), "detach-0(amqp:link:transfer-limit-exceeded)");
    assert_eq!(rig.happened(), [Happening::Gone(key)]);
}

#[test]
fn a_large_message_ends_its_link() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, false);
    rig.endpoint.accept(key, 600, false, &mut rig.turn);
    rig.endpoint.grant(key, 9, &mut rig.turn);
    rig.transfer(0, 0, true, &[0; 500]);
    rig.transfer(0, 0, true, &[0; 100]);
    rig.heard();
    rig.transfer(0, 0, true, &[0; 1]);
    assert_eq!(rig.heard(), "detach-0(amqp:link:message-size-exceeded)");
}

#[test]
fn unfinished_messages_are_bounded_over_all_links() {
    let mut rig = Rig::open(8);
    let keys: Vec<LinkKey> = (0..4).map(|handle| rig.attach(handle, false)).collect();
    for key in &keys {
        rig.endpoint.accept(*key, 1000, false, &mut rig.turn);
        rig.endpoint.grant(*key, 9, &mut rig.turn);
    }
    rig.heard();
    for handle in 0..4 {
        rig.transfer(handle, handle, true, &[0; 500]);
    }
    assert_eq!(rig.heard(), "flow");
    rig.transfer(0, 0, true, &[0; 1]);
    assert_eq!(rig.heard(), "detach-0(amqp:resource-limit-exceeded)");
    // Its bytes are free again.
    rig.transfer(1, 1, true, &[0; 450]);
    assert_eq!(rig.heard(), "");
}

#[test]
fn a_session_has_a_window_and_a_connection_has_so_many_links() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, false);
    rig.endpoint.accept(key, 10_000, false, &mut rig.turn);
    rig.endpoint.grant(key, 9, &mut rig.turn);
    rig.heard();
    // The window is widened when half of it is used up.
    for part in 0..20 {
        rig.transfer(0, 0, true, b"x");
        assert_eq!(rig.heard(), if part % 4 == 3 { "flow" } else { "" }, "{part}");
    }
    for handle in 1..4 {
        rig.attach(handle, true);
    }
    let many = frame(2, 0x11, &[NULL, &uint(0), &uint(1), &uint(1)], b"");
    rig.says(&many);
    let fields: [&[u8]; 3] = [&text("link"), &uint(0), TRUE];
    rig.says(&frame(2, 0x12, &fields, b""));
    assert_eq!(rig.heard(), "begin end(amqp:resource-limit-exceeded)");
}

#[test]
fn what_is_sent_keeps_to_credit_window_and_frame_size() {
    let mut rig = Rig::open(3);
    let key = rig.attach(2, true);
    rig.endpoint.accept(key, 0, false, &mut rig.turn);
    assert!(!rig.endpoint.can_send(key));
    assert_eq!(rig.endpoint.send(key, b"x", true, &mut rig.turn), None);
    rig.flow(2, 0, 3, 0, 3);
    assert_eq!(rig.happened(), [Happening::Sendable(key)]);
    rig.heard();
    assert_eq!(rig.endpoint.send(key, b"first", false, &mut rig.turn), Some(0));
    // 600 bytes a frame at most: three parts, of which the window has room for two.
    assert_eq!(rig.endpoint.send(key, &[0; 1400], true, &mut rig.turn), Some(1));
    assert_eq!(rig.heard(), "transfer-2-0-5 transfer-2-1-520+ transfer-2-1-520+");
    assert!(!rig.endpoint.can_send(key));
    // The peer has taken all three, and the rest follows before anything else may.
    rig.flow(2, 3, 3, 2, 1);
    assert_eq!(rig.heard(), "transfer-2-1-360");
    assert!(rig.endpoint.can_send(key));
    rig.endpoint.send(key, b"last", true, &mut rig.turn);
    assert_eq!(rig.heard(), "transfer-2-2-4");
    assert!(!rig.endpoint.can_send(key), "the credit is used up");
}

#[test]
fn numbers_go_round() {
    let mut rig = Rig::open(3);
    let key = rig.attach(0, true);
    rig.endpoint.accept(key, 0, true, &mut rig.turn);
    // As if four thousand million had been sent.
    if let Some(session) = rig.endpoint.sessions.get_mut(&1) {
        (session.next_outgoing_id, session.next_delivery) = (u32::MAX, u32::MAX);
    }
    if let Some(link) = rig.endpoint.links.get_mut(&key) {
        link.delivery_count = u32::MAX;
    }
    rig.flow(0, u32::MAX, 2, u32::MAX, 2);
    rig.heard();
    rig.endpoint.send(key, b"a", false, &mut rig.turn);
    rig.endpoint.send(key, b"b", false, &mut rig.turn);
    assert_eq!(rig.heard(), format!("transfer-0-{}-1 transfer-0-0-1", u32::MAX));
    // One is under way when the peer speaks again.
    rig.flow(0, 0, 2, 0, 2);
    assert_eq!(rig.endpoint.credit(key), 1);
    rig.happened();
    // Both are settled by one range across the end of the numbers.
    rig.says(&frame(1, 0x15, &[TRUE, &uint(u32::MAX), &uint(0), TRUE, b"\x00\x53\x24\x45"], b""));
    assert_eq!(rig.happened().len(), 2);
}

#[test]
fn credit_is_used_up_on_request() {
    let mut rig = Rig::open(8);
    let key = rig.attach(0, true);
    rig.endpoint.accept(key, 0, true, &mut rig.turn);
    let (n, w) = (uint(0), uint(8));
    let fields: [&[u8]; 9] =
        [&n, &w, &uint(10), &uint(8), &uint(0), &uint(0), &uint(7), NULL, TRUE];
    rig.says(&frame(1, 0x13, &fields, b""));
    assert_eq!(rig.happened(), [Happening::Sendable(key)]);
    assert!(rig.endpoint.is_draining(key));
    rig.heard();
    rig.endpoint.send(key, b"x", true, &mut rig.turn);
    rig.endpoint.drain(key, &mut rig.turn);
    assert_eq!(rig.heard(), "transfer-0-0-1 flow-0-0");
    assert!(!rig.endpoint.is_draining(key) && rig.endpoint.credit(key) == 0);
}

#[test]
fn a_flow_may_ask_for_an_answer() {
    let mut rig = Rig::open(8);
    let (n, w) = (uint(0), uint(8));
    let fields: [&[u8]; 10] = [&n, &w, &n, &w, NULL, NULL, NULL, NULL, FALSE, TRUE];
    rig.says(&frame(1, 0x13, &fields, b""));
    assert_eq!(rig.heard(), "flow");
    // Credit for a link on which the peer sends is no business of the hub's.
    let key = rig.attach(0, false);
    rig.endpoint.accept(key, 10, false, &mut rig.turn);
    rig.flow(0, 0, 8, 0, 100);
    assert_eq!((rig.endpoint.credit(key), rig.happened().len()), (0, 0));
}

#[test]
fn a_message_is_settled_once() {
    let mut rig = Rig::open(100);
    let key = rig.attach(0, true);
    rig.endpoint.accept(key, 0, false, &mut rig.turn);
    rig.flow(0, 0, 100, 0, 10);
    rig.happened();
    for _ in 0..4 {
        rig.endpoint.send(key, b"x", false, &mut rig.turn);
    }
    rig.endpoint.send(key, b"settled when sent", true, &mut rig.turn);
    let accepted: &[u8] = b"\x00\x53\x24\x45";
    let says = |rig: &mut Rig, first: u32, last: u32, settled: &[u8], state: &[u8]| {
        let fields: [&[u8]; 5] = [TRUE, &uint(first), &uint(last), settled, state];
        rig.says(&frame(1, 0x15, &fields, b""));
        let disposed = rig.happened().into_iter().map(|happening| match happening {
            Happening::Disposed { delivery, outcome, wants_answer, .. } => {
                (delivery, outcome, wants_answer)
            }
            other => panic!("{other:?}"),
        });
        disposed.collect::<Vec<_>>()
    };
    // Something that is no outcome says nothing.
    assert_eq!(says(&mut rig, 0, 0, FALSE, b"\x00\x53\x23\x45"), []);
    assert_eq!(says(&mut rig, 0, 0, TRUE, accepted), [(0, Disposed::Accepted, false)]);
    // One client says everything twice.
    assert_eq!(says(&mut rig, 0, 0, TRUE, accepted), []);
    assert_eq!(says(&mut rig, 1, 1, FALSE, b"\x00\x53\x26\x45"), [(1, Disposed::Released, true)]);
    // A range as wide as can be names only what there is.
    assert_eq!(
        says(&mut rig, 2, 1, TRUE, b"\x00\x53\x25\x45"),
        [(2, Disposed::Rejected, false), (3, Disposed::Rejected, false)]
    );
    assert_eq!(says(&mut rig, 4, 4, TRUE, accepted), []);
}
