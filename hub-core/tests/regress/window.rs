//! The late answer to a settlement freed the place of a newer claim of the same message, so that
//! more was out on a link than its window.

use hub_core::device::{Input, Request};
use hub_core::envelope::Message;
use hub_core::frame::{Disposition, Inbound};
use hub_core::id::{CallId, LinkId, Tag};

use crate::rig::{Rig, offers, told};

#[test]
fn a_late_answer_to_an_abandon_does_not_free_the_place_of_the_claim_after_it() {
    let mut rig = Rig::with(|limits| limits.offer_window = 2);
    rig.connect(0, 1);
    let mut tokens = Vec::new();
    for call in 0..3 {
        let said = rig.feed(0, Input::Ask(CallId(call), Request::Send(Message::new("x"))));
        tokens.extend(offers(&said, 1).iter().map(|delivery| delivery.token));
    }
    let [first, second] = tokens[..] else { panic!("{tokens:?}") };
    let settle = |tag, token, disposition| {
        Input::Frame(LinkId(1), Inbound::Settle(Some(Tag(tag)), token, disposition))
    };
    let mut completing = rig.step(0, settle(1, second, Disposition::Complete));
    rig.step(0, settle(2, first, Disposition::Abandon));
    let outcome = rig.commit(completing.change.take().unwrap());
    // The abandon is committed, and its answer is late; the free place is filled meanwhile.
    let mut abandoning = rig.step(0, Input::Outcome(outcome));
    let outcome = rig.commit(abandoning.change.take().unwrap());
    let said = rig.follow(0, abandoning);
    let again = offers(&said, 1)[0].token;
    assert_eq!(again.sequence, first.sequence);
    assert_eq!(rig.machines[0].offers(), 2);
    rig.feed(0, Input::Outcome(outcome));
    assert_eq!(rig.machines[0].offers(), 2);
    // A settlement by the older claim is refused, and frees nothing either.
    let said = rig.feed(0, settle(3, first, Disposition::Complete));
    assert_eq!((told(&said, 1).len(), rig.machines[0].offers()), (1, 2));
}
