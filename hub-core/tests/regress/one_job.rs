//! What belongs to one job was carried over to the next: feedback stayed muted after a message whose
//! settlement was lost, and conflicts of one job were counted against another. And a link that left
//! under many conflicts stayed connected in the store.

use hub_core::device::{Answer, Effects, Input, Request};
use hub_core::envelope::{Ack, Message};
use hub_core::error::DisconnectCause;
use hub_core::frame::{Disposition, LockToken};
use hub_core::id::{CallId, LinkId};
use hub_core::store::{Ask, Change, ItemRef, Outcome, QueueId, Record};
use hub_core::twin::ServicePatch;

use crate::rig::{Rig, answers};

fn receive(rig: &mut Rig, call: u64) -> LockToken {
    let said = rig.feed(0, Input::Ask(CallId(call), Request::Receive(60_000)));
    let [Answer::Received(Some(delivery))] = answers(&said, call)[..] else { panic!("{said:?}") };
    delivery.token
}

fn complete(call: u64, token: LockToken) -> Input {
    Input::Ask(CallId(call), Request::Settle(token, Disposition::Complete))
}

fn write(rig: &mut Rig, fx: &mut Effects) -> Outcome {
    rig.commit(fx.change.take().unwrap())
}

#[test]
fn feedback_is_muted_for_the_message_that_had_no_room_only() {
    let mut rig = Rig::with(|limits| limits.feedback_depth_max = 1);
    let pending = QueueId::feedback_pending(&rig.address.device_id());
    for call in 0..3 {
        let message = Message::new("x").with_ack(Ack::Full);
        rig.feed(0, Input::Ask(CallId(call), Request::Send(message)));
    }
    let tokens: Vec<_> = (10..13).map(|call| receive(&mut rig, call)).collect();
    rig.feed(0, complete(20, tokens[0]));
    // The second finds no room for its record, and before it is settled without one, is gone.
    let mut settling = rig.step(0, complete(21, tokens[1]));
    settling = {
        assert!(settling.change.is_none());
        let records = settling.reads.iter().map(|ask| rig.read(ask.clone())).collect();
        rig.step(0, Input::Loaded(records))
    };
    let outcome = write(&mut rig, &mut settling);
    assert_eq!(outcome, Outcome::Full(pending.clone()));
    let reading = rig.step(0, Input::Outcome(outcome));
    let records = reading.reads.iter().map(|ask| rig.read(ask.clone())).collect();
    let mut muted = rig.step(0, Input::Loaded(records));
    let at = ItemRef::new(QueueId::mailbox(&rig.address), tokens[1].sequence, tokens[1].version);
    rig.commit(Change::new().settle(&at));
    let outcome = write(&mut rig, &mut muted);
    assert_eq!(outcome, Outcome::Conflict);
    rig.feed(0, Input::Outcome(outcome));
    // The third has room again.
    let Some(Record::Items(items)) = rig.read(Ask::Items(pending.clone(), Default::default(), 9))
    else {
        panic!("no list")
    };
    rig.commit(Change::new().settle(&items[0].at));
    rig.feed(0, complete(22, tokens[2]));
    assert_eq!(rig.read(Ask::Depth(pending)), Some(Record::Depth(1)));
}

#[test]
fn a_link_leaves_however_often_others_write_first() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    let mut leaving = rig.step(0, Input::Leave(LinkId(1), DisconnectCause::Clean));
    for _ in 0..20 {
        assert!(leaving.change.is_some(), "it gave up");
        let reading = rig.step(0, Input::Outcome(Outcome::Conflict));
        let records = reading.reads.iter().map(|ask| rig.read(ask.clone())).collect();
        leaving = rig.step(0, Input::Loaded(records));
    }
    rig.follow(0, leaving);
    assert_eq!(rig.session().node, None);
}

#[test]
fn conflicts_are_counted_for_each_job() {
    let mut rig = Rig::with(|limits| limits.conflict_rounds_max = 2);
    let patch = || {
        let patch = ServicePatch::parse(br#"{"tags":{"a":1}}"#, &rig.limits).unwrap();
        Request::PatchTwin(patch, None)
    };
    let (one, two) = (patch(), patch());
    for (call, request) in [(1, one), (2, two)] {
        let mut fx = rig.step(0, Input::Ask(CallId(call), request));
        // Two conflicts each, and then a refusal that writes nothing.
        for _ in 0..2 {
            fx = load(&mut rig, fx);
            assert!(fx.change.is_some(), "call {call} gave up");
            fx = rig.step(0, Input::Outcome(Outcome::Conflict));
        }
        let records = fx.reads.iter().map(|_| None).collect();
        let said = rig.step(0, Input::Loaded(records)).said;
        assert!(matches!(answers(&said, call)[..], [Answer::Failed(_)]));
    }
}

fn load(rig: &mut Rig, fx: Effects) -> Effects {
    if fx.reads.is_empty() {
        return fx;
    }
    let records = fx.reads.iter().map(|ask| rig.read(ask.clone())).collect();
    let next = rig.step(0, Input::Loaded(records));
    load(rig, next)
}
