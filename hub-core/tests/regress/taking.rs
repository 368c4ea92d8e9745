//! Claims and their answers. A machine that waited for a claim could be dropped, and the answer then
//! let its successor claim twice at once, beyond the window of its link. A purge whose second claim failed was never answered, and a receive that
//! met a dead message first locked the next one for another time than was asked for.

use std::time::Duration;

use hub_core::device::{Answer, Input, Purpose, Request};
use hub_core::envelope::Message;
use hub_core::error::DisconnectCause;
use hub_core::frame::{Guarantee, Inbound, Interest};
use hub_core::hello::SessionMode;
use hub_core::id::{CallId, LinkId, Tag};

use crate::rig::{Rig, answers};

#[test]
fn a_purge_whose_next_claim_fails_is_answered() {
    let mut rig = Rig::new();
    rig.feed(0, Input::Ask(CallId(1), Request::Send(Message::new("x"))));
    let purge = rig.step(0, Input::Ask(CallId(2), Request::Purge));
    let (purpose, limit) = (purge.claims[0].0, purge.claims[0].2.limit);
    let items = rig.claim(purge.claims[0].clone());
    // Another purge claims the same before this one is written.
    let other = rig.step(1, Input::Ask(CallId(3), Request::Purge));
    rig.claim(other.claims[0].clone());
    let mut writing = rig.step(0, Input::Claimed(purpose, limit, items));
    let conflict = rig.commit(writing.change.take().unwrap());
    let again = rig.step(0, Input::Outcome(conflict));
    assert_eq!(again.claims.len(), 1);
    let said = rig.feed(0, Input::ClaimFailed(Purpose::Job));
    assert!(matches!(answers(&said, 2)[..], [Answer::Failed(_)]), "{said:?}");
    assert!(rig.machines[0].is_idle());
}

#[test]
fn a_receive_keeps_its_lock_beyond_a_dead_message() {
    let mut rig = Rig::new();
    let expiry = rig.now.after(Duration::from_secs(1));
    let short = Message::new("x").with_expiry(expiry);
    rig.feed(0, Input::Ask(CallId(1), Request::Send(short)));
    rig.feed(0, Input::Ask(CallId(2), Request::Send(Message::new("y"))));
    rig.later(Duration::from_secs(2));
    let said = rig.feed(0, Input::Ask(CallId(3), Request::Receive(5_000)));
    let [Answer::Received(Some(delivery))] = answers(&said, 3)[..] else { panic!("{said:?}") };
    assert_eq!(&delivery.message.body[..], b"y");
    assert_eq!(delivery.token.until, rig.now.after(Duration::from_secs(5)));
}

#[test]
fn a_machine_is_not_dropped_while_a_claim_is_on_its_way() {
    let mut rig = Rig::new();
    let arrival = rig.arrival(SessionMode::Clean);
    rig.feed(0, Input::Connect(CallId(1), LinkId(1), arrival));
    let messages = vec![(Interest::Messages, Guarantee::AtLeastOnce)];
    let frame = Inbound::Subscribe(Tag(1), messages);
    let claiming = rig.step(0, Input::Frame(LinkId(1), frame));
    assert_eq!(claiming.claims.len(), 1);
    rig.feed(0, Input::Leave(LinkId(1), DisconnectCause::Clean));
    assert!(!rig.machines[0].is_idle());
    rig.follow(0, claiming);
    assert!(rig.machines[0].is_idle());
}
