//! A link that was taken over on another node could still write reported properties, for as long as
//! its node had not heard of the takeover.

use hub_core::device::{Input, Said};
use hub_core::error::CloseReason;
use hub_core::frame::Inbound;
use hub_core::hello::SessionMode;
use hub_core::id::{CallId, LinkId, Tag};

use crate::rig::{Rig, told};

fn report(tag: u64) -> Inbound {
    Inbound::Report(Tag(tag), format!("{{\"k\":{tag}}}").into(), None)
}

#[test]
fn a_link_taken_over_elsewhere_does_not_write_the_twin() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    assert_eq!(told(&rig.feed(0, Input::Frame(LinkId(1), report(1))), 1).len(), 1);
    rig.connect(1, 1);
    let before = rig.twin();
    let said = rig.feed(0, Input::Frame(LinkId(1), report(2)));
    assert_eq!(rig.twin(), before);
    assert!(said.contains(&Said::Close(LinkId(1), CloseReason::TakenOver)), "{said:?}");
    assert!(told(&said, 1).is_empty(), "{said:?}");
}

#[test]
fn a_link_taken_over_here_while_its_report_waits_does_not_write_the_twin() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    let before = rig.twin();
    let arrival = rig.arrival(SessionMode::Persistent);
    let fx = rig.step(0, Input::Connect(CallId(7), LinkId(2), arrival));
    rig.step(0, Input::Frame(LinkId(1), report(1)));
    rig.follow(0, fx);
    assert_eq!(rig.twin(), before);
}

#[test]
fn what_a_link_reported_before_it_left_is_written() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    let fx = rig.step(0, Input::Frame(LinkId(1), report(1)));
    rig.step(0, Input::Frame(LinkId(1), report(2)));
    rig.step(0, Input::Leave(LinkId(1), hub_core::error::DisconnectCause::Clean));
    rig.follow(0, fx);
    assert_eq!(rig.twin().reported().to_value(), serde_json::json!({"k": 2}));
    assert_eq!(rig.session().node, None);
}
