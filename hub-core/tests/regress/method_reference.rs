//! Method references began again with every link, so that an answer to a call of an earlier link,
//! sent over a later one, ended another call with the wrong content.

use hub_core::device::{Answer, Input, Request};
use hub_core::frame::{Inbound, MethodRef, Outbound};
use hub_core::id::{CallId, LinkId};
use hub_core::method::MethodCall;

use crate::rig::{Rig, answers, told};

fn invoke(rig: &mut Rig, machine: usize, call: u64, link: u64) -> MethodRef {
    let method = MethodCall::new("m").checked(&rig.limits).unwrap();
    let said = rig.feed(machine, Input::Ask(CallId(call), Request::Invoke(method)));
    match told(&said, link)[..] {
        [Outbound::Call(reference, ..)] => *reference,
        _ => panic!("{said:?}"),
    }
}

#[test]
fn an_answer_to_a_call_of_an_earlier_link_ends_no_other_call() {
    for other in [0, 1] {
        let mut rig = Rig::new();
        rig.connect(0, 1);
        let first = invoke(&mut rig, 0, 1, 1);
        rig.connect(other, 2);
        let second = invoke(&mut rig, other, 2, 2);
        let reply = |reference, text: &'static str| {
            Input::Frame(LinkId(2), Inbound::Reply(reference, 200, text.into()))
        };
        let said = rig.feed(other, reply(first, "1"));
        assert!(answers(&said, 2).is_empty(), "{said:?}");
        let said = rig.feed(other, reply(second, "2"));
        let [Answer::Method(reply)] = answers(&said, 2)[..] else { panic!("{said:?}") };
        assert_eq!(&reply.payload[..], b"2");
    }
}
