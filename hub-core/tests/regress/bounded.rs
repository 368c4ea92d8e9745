//! Settlements of callers were taken in however many waited.

use hub_core::device::{Answer, Input, Request};
use hub_core::envelope::Message;
use hub_core::error::ErrorKind;
use hub_core::frame::{Disposition, LockToken};
use hub_core::id::{CallId, SequenceNumber};
use hub_core::store::Version;

use crate::rig::{Rig, answers};

#[test]
fn settlements_of_callers_are_bounded() {
    let mut rig = Rig::with(|limits| limits.device_inbox_max = 4);
    let sending = rig.step(0, Input::Ask(CallId(1), Request::Send(Message::new("x"))));
    let until = rig.now.after(rig.limits.c2d_lock);
    let token = LockToken { sequence: SequenceNumber(9), version: Version(9), until };
    let mut throttled = 0;
    for call in 2..10 {
        let request = Request::Settle(token, Disposition::Complete);
        let fx = rig.step(0, Input::Ask(CallId(call), request));
        match answers(&fx.said, call)[..] {
            [] => {}
            [Answer::Failed(error)] if error.kind() == ErrorKind::Throttled => throttled += 1,
            _ => panic!("{:?}", fx.said),
        }
    }
    assert_eq!((throttled, rig.machines[0].waiting()), (5, 4));
    let said = rig.follow(0, sending);
    let ended: usize = (1..10).map(|call| answers(&said, call).len()).sum();
    assert_eq!(ended + throttled, 9);
}
