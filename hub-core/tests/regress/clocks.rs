//! A message sent, given back or let go at a node whose clock is ahead was not visible yet to the
//! node that was told of it, which then looked again only after a long while.

use std::time::Duration;

use hub_core::device::{Input, Request};
use hub_core::envelope::Message;
use hub_core::frame::Disposition;
use hub_core::id::CallId;

use crate::rig::{Rig, answers, offers};

/// Something at a node whose clock is ahead.
fn ahead(rig: &mut Rig, call: u64, request: Request) -> Vec<hub_core::device::Said> {
    let now = rig.now;
    rig.later(Duration::from_millis(400));
    let said = rig.feed(1, Input::Ask(CallId(call), request));
    rig.now = now;
    said
}

#[test]
fn a_message_sent_at_a_clock_ahead_is_delivered_when_the_device_s_node_is_told() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    ahead(&mut rig, 1, Request::Send(Message::new("x")));
    let said = rig.feed(0, Input::Changed);
    assert_eq!(offers(&said, 1).len(), 1, "{said:?}");
}

#[test]
fn a_message_given_back_at_a_clock_ahead_is_delivered_when_the_device_s_node_is_told() {
    let mut rig = Rig::new();
    rig.feed(1, Input::Ask(CallId(1), Request::Send(Message::new("x"))));
    let said = ahead(&mut rig, 2, Request::Receive(60_000));
    let [hub_core::device::Answer::Received(Some(delivery))] = answers(&said, 2)[..] else {
        panic!("{said:?}")
    };
    let token = delivery.token;
    rig.connect(0, 1);
    ahead(&mut rig, 3, Request::Settle(token, Disposition::Abandon));
    let said = rig.feed(0, Input::Changed);
    assert_eq!(offers(&said, 1).len(), 1, "{said:?}");
}
