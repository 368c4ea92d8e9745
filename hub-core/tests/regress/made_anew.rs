//! The epochs of a device that was deleted and made anew begin again. A link of the deleted one, on
//! a node that had not heard of it, ended the session of the new one when it went.

use hub_core::device::{Input, Request, Said};
use hub_core::envelope::Message;
use hub_core::error::{CloseReason, DisconnectCause};
use hub_core::frame::{Inbound, Interest};
use hub_core::id::{CallId, LinkId, Tag};
use hub_core::registry::Status;

use crate::rig::Rig;

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    rig.delete();
    rig.register(Status::Enabled);
    rig.connect(1, 1);
    assert_eq!(rig.session().epoch, rig.machines[0].link().unwrap().1);
    rig
}

#[test]
fn a_link_of_the_deleted_device_does_not_end_the_session_of_the_new_one() {
    let mut rig = rig();
    let before = rig.session();
    rig.feed(0, Input::Leave(LinkId(1), DisconnectCause::Clean));
    assert_eq!(rig.session(), before);
}

#[test]
fn a_link_of_the_deleted_device_does_not_change_the_subscriptions_of_the_new_one() {
    let mut rig = rig();
    let before = rig.session();
    let frame = Inbound::Unsubscribe(Tag(9), vec![Interest::Messages]);
    let said = rig.feed(0, Input::Frame(LinkId(1), frame));
    assert_eq!(rig.session(), before);
    assert!(said.contains(&Said::Close(LinkId(1), CloseReason::TakenOver)), "{said:?}");
}

#[test]
fn a_subscription_of_a_deleted_device_is_no_silence() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    rig.feed(0, Input::Ask(CallId(1), Request::Send(Message::new("x"))));
    rig.delete();
    // Somebody else's failed guard makes the machine read again.
    rig.feed(0, Input::Ask(CallId(2), Request::Send(Message::new("x"))));
    let frame = Inbound::Unsubscribe(Tag(9), vec![Interest::Messages]);
    let said = rig.feed(0, Input::Frame(LinkId(1), frame));
    assert!(said.contains(&Said::Close(LinkId(1), CloseReason::TakenOver)), "{said:?}");
}
