//! A message that was locked elsewhere when its device came (by a node that has crashed, or by a
//! claim whose answer was lost) was not delivered when the lock ended: nobody looked again before
//! something else happened to the device, and the message expired in its queue.

use hub_core::device::{Input, Purpose, Request};
use hub_core::envelope::Message;
use hub_core::frame::{Disposition, Inbound};
use hub_core::id::{CallId, LinkId};

use crate::rig::{Rig, offers};

#[test]
fn what_a_crashed_node_had_locked_is_delivered_when_the_lock_ends() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    let said = rig.feed(0, Input::Ask(CallId(1), Request::Send(Message::new("x"))));
    let sequence = offers(&said, 1)[0].token.sequence;
    // Node 0 is gone without a word; the device comes to node 1.
    let said = rig.connect(1, 1);
    assert!(offers(&said, 1).is_empty());
    let again = rig.machines[1].deadline().unwrap();
    assert!(again <= rig.now.after(rig.limits.c2d_lock), "it looks again at {again}");
    rig.later(rig.limits.c2d_lock);
    let said = rig.tick(1);
    assert_eq!(offers(&said, 1)[0].token.sequence, sequence);
}

#[test]
fn an_idle_queue_is_looked_at_now_and_then_and_not_more_often_the_more_was_in_it() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    for call in 0..20 {
        rig.later(std::time::Duration::from_secs(1));
        let said = rig.feed(0, Input::Ask(CallId(call), Request::Send(Message::new("x"))));
        let token = offers(&said, 1)[0].token;
        let settle = Inbound::Settle(None, token, Disposition::Complete);
        rig.feed(0, Input::Frame(LinkId(1), settle));
    }
    let every = rig.limits.c2d_poll_every;
    for _ in 0..3 {
        let next = rig.machines[0].deadline().unwrap();
        assert_eq!(next.since(rig.now), every);
        rig.now = next;
        rig.tick(0);
    }
}

#[test]
fn two_locks_of_receivers_are_both_remembered() {
    let mut rig = Rig::new();
    for call in 0..2 {
        rig.feed(0, Input::Ask(CallId(call), Request::Send(Message::new("x"))));
    }
    for (call, lock) in [(2, 1_000), (3, 2_000)] {
        rig.feed(0, Input::Ask(CallId(call), Request::Receive(lock)));
    }
    assert!(offers(&rig.connect(0, 1), 1).is_empty());
    for after in [1_000, 1_000] {
        rig.later(std::time::Duration::from_millis(after));
        let said = rig.tick(0);
        assert_eq!(offers(&said, 1).len(), 1);
    }
}

#[test]
fn what_a_lost_answer_had_locked_is_delivered_when_the_lock_ends() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    let send = Input::Ask(CallId(1), Request::Send(Message::new("x")));
    let mut sending = rig.step(0, send);
    let outcome = rig.commit(sending.change.take().unwrap());
    // The claim has its effect, and nobody hears of it.
    let mut claiming = rig.step(0, Input::Outcome(outcome));
    rig.claim(claiming.claims.pop().unwrap());
    rig.feed(0, Input::ClaimFailed(Purpose::Offer(LinkId(1))));
    let mut seen = Vec::new();
    for _ in 0..2 {
        rig.now = rig.machines[0].deadline().unwrap();
        seen.extend(rig.tick(0));
    }
    assert_eq!(offers(&seen, 1).len(), 1, "by {}", rig.now);
}
