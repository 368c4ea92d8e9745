//! A link that ended while its connect was being read or written stayed connected for ever, and a
//! caller whose connect was taken back was never answered.

use hub_core::device::{Answer, Input};
use hub_core::error::DisconnectCause;
use hub_core::hello::SessionMode;
use hub_core::id::{CallId, LinkId};

use crate::rig::{Rig, answers};

const LOST: DisconnectCause = DisconnectCause::ConnectionLost;

#[test]
fn a_link_that_ends_before_its_session_is_written_is_refused() {
    let mut rig = Rig::new();
    let arrival = rig.arrival(SessionMode::Persistent);
    let reading = rig.step(0, Input::Connect(CallId(1), LinkId(1), arrival));
    assert!(!reading.reads.is_empty());
    rig.step(0, Input::Leave(LinkId(1), LOST));
    let said = rig.follow(0, reading);
    assert!(matches!(answers(&said, 1)[..], [Answer::Refused(_)]), "{said:?}");
    assert!(rig.machines[0].link().is_none() && rig.machines[0].is_idle());
    assert_eq!(rig.session().node, None);
}

#[test]
fn a_link_that_ends_while_its_session_is_written_is_disconnected() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    let arrival = rig.arrival(SessionMode::Persistent);
    let writing = rig.step(0, Input::Connect(CallId(2), LinkId(2), arrival));
    assert!(writing.change.is_some());
    rig.step(0, Input::Leave(LinkId(2), LOST));
    let said = rig.follow(0, writing);
    assert_eq!(answers(&said, 2).len(), 1);
    assert!(rig.machines[0].link().is_none() && rig.machines[0].is_idle());
    assert_eq!((rig.session().node, rig.session().epoch.0), (None, 2));
}

#[test]
fn a_link_that_ends_before_its_connect_is_looked_at_is_refused() {
    let mut rig = Rig::new();
    let arrival = rig.arrival(SessionMode::Persistent);
    let first = rig.step(0, Input::Connect(CallId(1), LinkId(1), arrival.clone()));
    rig.step(0, Input::Connect(CallId(2), LinkId(2), arrival));
    let left = rig.step(0, Input::Leave(LinkId(2), LOST));
    assert!(matches!(answers(&left.said, 2)[..], [Answer::Refused(_)]));
    let said = rig.follow(0, first);
    assert!(matches!(answers(&said, 1)[..], [Answer::Welcome(_)]));
    assert!(answers(&said, 2).is_empty());
}
