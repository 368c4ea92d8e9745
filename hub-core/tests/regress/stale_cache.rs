//! What a machine had cached refused questions that the store would have granted: a device created,
//! enabled or patched through another node was unknown, disabled or out of date for ever. A cache
//! must cost one more read, never a wrong answer.

use hub_core::device::{Answer, Input, Request};
use hub_core::envelope::Message;
use hub_core::error::ErrorKind;
use hub_core::frame::{Inbound, Outbound};
use hub_core::hello::SessionMode;
use hub_core::id::{CallId, LinkId, Tag};
use hub_core::method::MethodCall;
use hub_core::registry::Status;
use hub_core::twin::ServicePatch;

use crate::rig::{Rig, answers, told};

fn kind(answer: &Answer) -> Option<ErrorKind> {
    match answer {
        Answer::Failed(error) => Some(error.kind()),
        _ => None,
    }
}

fn ask(rig: &mut Rig, machine: usize, call: u64, request: Request) -> Answer {
    let said = rig.feed(machine, Input::Ask(CallId(call), request));
    let answers = answers(&said, call);
    assert_eq!(answers.len(), 1, "{said:?}");
    answers[0].clone()
}

fn patch(rig: &Rig, text: &str, etag: Option<String>) -> Request {
    Request::PatchTwin(ServicePatch::parse(text.as_bytes(), &rig.limits).unwrap(), etag)
}

#[test]
fn a_device_that_was_unknown_is_found_once_it_is_registered() {
    let mut rig = Rig::bare(|_| {});
    let send = || Request::Send(Message::new("x"));
    assert_eq!(kind(&ask(&mut rig, 0, 1, send())), Some(ErrorKind::DeviceNotFound));
    rig.register(Status::Enabled);
    assert_eq!(kind(&ask(&mut rig, 0, 2, send())), None);
}

#[test]
fn a_device_that_was_disabled_connects_once_it_is_enabled() {
    let mut rig = Rig::bare(|_| {});
    rig.register(Status::Disabled);
    let connect = |rig: &mut Rig, call: u64| {
        let arrival = rig.arrival(SessionMode::Clean);
        let said = rig.feed(0, Input::Connect(CallId(call), LinkId(call), arrival));
        matches!(answers(&said, call)[..], [Answer::Welcome(_)])
    };
    assert!(!connect(&mut rig, 1));
    let invoke = || Request::Invoke(MethodCall::new("m"));
    assert_eq!(kind(&ask(&mut rig, 0, 8, invoke())), Some(ErrorKind::DeviceNotFound));
    rig.register(Status::Enabled);
    assert_eq!(kind(&ask(&mut rig, 0, 9, invoke())), Some(ErrorKind::DeviceNotOnline));
    assert!(connect(&mut rig, 2));
}

#[test]
fn a_condition_is_judged_on_what_is_stored() {
    let mut rig = Rig::new();
    let request = patch(&rig, r#"{"tags":{"a":1}}"#, None);
    let Answer::Twin(_) = ask(&mut rig, 0, 1, request) else { panic!("refused") };
    let request = patch(&rig, r#"{"tags":{"a":2}}"#, None);
    let Answer::Twin(newer) = ask(&mut rig, 1, 2, request) else { panic!("refused") };
    let request = patch(&rig, r#"{"tags":{"a":3}}"#, Some(newer.etag()));
    let answer = ask(&mut rig, 0, 3, request);
    assert!(matches!(answer, Answer::Twin(_)), "{answer:?}");
    // One that does not hold is still refused.
    let request = patch(&rig, r#"{"tags":{"a":4}}"#, Some(newer.etag()));
    assert_eq!(kind(&ask(&mut rig, 1, 4, request)), Some(ErrorKind::PreconditionFailed));
}

#[test]
fn a_device_sees_the_twin_that_is_stored() {
    let mut rig = Rig::new();
    rig.connect(0, 1);
    rig.feed(0, Input::Frame(LinkId(1), Inbound::GetTwin(Tag(1))));
    let request = patch(&rig, r#"{"properties":{"desired":{"a":1}}}"#, None);
    ask(&mut rig, 1, 1, request);
    let said = rig.feed(0, Input::Frame(LinkId(1), Inbound::GetTwin(Tag(2))));
    let view = rig.twin().device_view();
    assert_eq!(told(&said, 1), [&Outbound::Twin(Tag(2), view)]);
}

#[test]
fn an_empty_patch_is_answered_with_the_twin_that_is_stored() {
    let mut rig = Rig::new();
    let request = patch(&rig, r#"{"tags":{"a":1}}"#, None);
    ask(&mut rig, 0, 1, request);
    let request = patch(&rig, r#"{"tags":{"a":2}}"#, None);
    ask(&mut rig, 1, 2, request);
    let request = patch(&rig, "{}", None);
    let Answer::Twin(twin) = ask(&mut rig, 0, 3, request) else { panic!("refused") };
    assert_eq!(*twin, rig.twin());
}
