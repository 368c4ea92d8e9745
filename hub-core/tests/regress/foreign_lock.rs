//! A message that was locked elsewhere when its device came (by a node that has crashed, or by a
//! claim whose answer was lost) was not delivered when the lock ended: nobody looked again before
//! something else happened to the device, and the message expired in its queue.

use hub_core::device::{Input, Purpose, Request};
use hub_core::envelope::Message;
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
