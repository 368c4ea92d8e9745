//! A call that was taken back while it waited was made all the same: a method was dispatched, a
//! message was locked for nobody.

use hub_core::device::{Input, Request};
use hub_core::envelope::Message;
use hub_core::id::CallId;
use hub_core::method::MethodCall;

use crate::rig::{Rig, answers, offers, told};

#[test]
fn a_method_that_is_taken_back_while_it_waits_is_not_dispatched() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    let method = MethodCall::new("m").checked(&rig.limits).unwrap();
    let reading = rig.step(0, Input::Changed);
    // The review has forgotten what was cached, so the call waits for the identity.
    rig.step(0, Input::Ask(CallId(1), Request::Invoke(method)));
    rig.step(0, Input::Cancel(CallId(1)));
    let said = rig.follow(0, reading);
    assert!(told(&said, 1).is_empty() && answers(&said, 1).is_empty(), "{said:?}");
}

#[test]
fn a_receive_that_is_taken_back_while_it_waits_locks_nothing() {
    let mut rig = Rig::new();
    rig.feed(0, Input::Ask(CallId(1), Request::Send(Message::new("x"))));
    let sending = rig.step(0, Input::Ask(CallId(2), Request::Send(Message::new("y"))));
    rig.step(0, Input::Ask(CallId(3), Request::Receive(60_000)));
    rig.step(0, Input::Cancel(CallId(3)));
    rig.follow(0, sending);
    assert_eq!(offers(&rig.connect(0, 1), 1).len(), 2);
}

#[test]
fn what_is_in_hand_is_not_taken_back() {
    let mut rig = Rig::new();
    let sending = rig.step(0, Input::Ask(CallId(1), Request::Send(Message::new("x"))));
    rig.step(0, Input::Cancel(CallId(1)));
    assert_eq!(answers(&rig.follow(0, sending), 1).len(), 1);
}
