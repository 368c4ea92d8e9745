use std::time::Duration;

use serde_json::json;

use super::*;
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, SequenceNumber};
use crate::limits::Limits;
use crate::method::{MethodCall, MethodReply};
use crate::store::{Item, ItemRef, Marks, Version};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

fn spec() -> JobSpec {
    let call = MethodCall::new("m").with_payload("[1.50]");
    let work = Work::CallMethod(call.with_response_timeout(Duration::from_secs(7)));
    JobSpec::new(JobId::new("j").unwrap(), work, "*").starting(later(10))
}

fn queued() -> Job {
    Job::new(spec(), NOW, &Limits::default()).unwrap()
}

fn running() -> Job {
    queued().start(later(10)).unwrap()
}

fn complete() -> Job {
    running().found([], None, later(11)).unwrap().0
}

fn item(part: &Part) -> Item {
    let at = ItemRef::new(Shelf::Todo.of(&queued().id), SequenceNumber(1), Version(1));
    let (visible, deadline, marks) = (later(60), Timestamp::MAX, Marks::default());
    Item { at, visible, deadline, claims: 1, marks, body: part.encode() }
}

fn part() -> Part {
    Part::new(Address::parse("d1").unwrap(), NOW)
}

#[test]
fn jobs_come_back_from_the_store_as_they_were() {
    let twin = json!({"etag": "*", "tags": {"a": [1, true]}});
    let update = JobSpec::new(JobId::new("u").unwrap(), Work::UpdateTwin(twin), "tags.a = 1");
    let (some, _) = running().found([], Some("place".to_owned()), NOW).unwrap();
    for job in [
        Job::new(update, NOW, &Limits::default()).unwrap(),
        queued(),
        running(),
        some,
        complete(),
        complete().complete(0, later(12)).unwrap(),
        queued().fail("why", later(1)).unwrap(),
        running().fail("why", later(12)).unwrap(),
        queued().cancel(later(1)).unwrap(),
        running().cancel(later(12)).unwrap(),
    ] {
        assert_eq!(Job::decode(&job.encode()), Some(job));
    }
    for bad in ["", "{}", "null", r#"{"v":2}"#] {
        assert_eq!(Job::decode(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn parts_come_back_from_the_store_as_they_were() {
    let reply = MethodReply { status: -1, payload: r#"{"a":1.50}"#.into() };
    let failure = Failure::new(Cause::OutcomeUnknown, "why");
    for result in
        [None, Some(Ok(Done::Updated)), Some(Ok(Done::Answered(reply))), Some(Err(failure))]
    {
        let part = Part { started: Some(later(1)), updated: later(2), result, ..part() };
        assert_eq!(Part::decode(&part.encode()), Some(part));
    }
    assert_eq!(Part::decode(&part().encode()), Some(part()));
    assert_eq!(Part::decode(b"{}"), None);
}

#[test]
fn a_job_goes_one_way() {
    assert_eq!(queued().start(later(9)), None);
    assert_eq!(queued().status(), JobStatus::Queued);
    assert_eq!(queued().complete(0, later(20)), None);
    assert_eq!(queued().found([], None, NOW), None);
    assert_eq!(running().start(later(20)), None);
    assert_eq!(running().complete(0, later(20)), None, "not all devices are found");
    assert_eq!(complete().complete(1, later(20)), None);
    assert_eq!(complete().found([], None, NOW), None, "they are found once");
    let ended = [
        complete().complete(0, later(20)).unwrap(),
        complete().cancel(later(20)).unwrap(),
        complete().fail("why", later(20)).unwrap(),
    ];
    for job in ended {
        assert_eq!((job.started(), job.ended()), (Some(later(10)), Some(later(20))));
        assert_eq!((job.cancel(NOW), job.fail("again", NOW), job.start(NOW)), (None, None, None));
        assert_eq!((job.complete(0, NOW), job.found([], None, NOW)), (None, None));
        let limits = Limits::default();
        assert!(!job.is_expired(later(20), &limits));
        assert!(job.is_expired(later(20).after(limits.jobs_retention), &limits));
    }
}

#[test]
fn a_start_in_the_past_is_now_and_time_runs_from_the_start() {
    let early = Job::new(spec().starting(Timestamp::ZERO), NOW, &Limits::default()).unwrap();
    assert_eq!(early.start, NOW);
    assert_eq!(queued().deadline(), None);
    let hour = Limits::default().job_execution_default;
    assert_eq!(running().deadline(), Some(later(10).after(hour)));
    assert!(!running().is_overdue(later(10)));
    assert!(running().is_overdue(later(10).after(hour)));
}

#[test]
fn what_was_dispatched_is_not_begun_again() {
    let (job, part) = (complete(), part());
    let mut item = item(&part);
    assert_eq!(Step::of(&job, &item, &part, later(20)), Step::Work);
    item.marks = Marks::new(&[1]).unwrap();
    for now in [later(20), later(100_000)] {
        let Step::Fail(failure) = Step::of(&job, &item, &part, now) else { panic!("it works") };
        assert_eq!(failure.cause, Cause::OutcomeUnknown);
    }
}

#[test]
fn when_the_time_is_over_a_part_fails_for_what_it_waited_for() {
    let (job, part) = (complete(), part());
    let cause = |part: &Part| match Step::of(&job, &item(part), part, later(100_000)) {
        Step::Fail(failure) => failure.cause,
        Step::Work => panic!("it works"),
    };
    assert_eq!(cause(&part), Cause::JobTimedOut);
    let offline = Failure::new(Cause::DeviceNotOnline, "off");
    let waits = Part { result: Some(Err(offline)), ..part.clone() };
    assert_eq!(cause(&waits), Cause::DeviceNotOnline);
}

#[test]
fn only_what_passes_is_tried_again() {
    for (kind, again) in [
        (ErrorKind::DeviceNotOnline, true),
        (ErrorKind::TooManyMethods, true),
        (ErrorKind::Throttled, true),
        (ErrorKind::Busy, true),
        (ErrorKind::Unavailable, true),
        (ErrorKind::MethodTimeout, false),
        (ErrorKind::DeviceDisconnected, false),
        (ErrorKind::DeviceNotFound, false),
        (ErrorKind::PreconditionFailed, false),
        (ErrorKind::TwinTooLarge, false),
        (ErrorKind::Internal, false),
    ] {
        let error = HubError::new(kind, "why");
        let (part, id) = (part(), queued().id);
        let change = retried(&id, &item(&part), &part, &error, NOW, later(10));
        assert_eq!(change.is_some(), again, "{kind:?}");
    }
}

#[test]
fn a_part_that_failed_at_last_has_no_outcome_and_an_error() {
    let job = complete();
    let (done, _) = ended(
        &job.id,
        &item(&part()),
        &part(),
        Err(Failure::new(Cause::GatewayTimeout, "late")),
        later(30),
    );
    let shown = serde_json::Value::Object(row(&job, &done, PartStatus::Failed));
    let want = json!({
        "deviceId": "d1", "jobId": "j", "jobType": "scheduleDeviceMethod", "status": "failed",
        "startTimeUtc": later(30).to_string(), "endTimeUtc": later(30).to_string(),
        "createdDateTimeUtc": NOW.to_string(), "lastUpdatedDateTimeUtc": later(30).to_string(),
        "outcome": null, "error": {"code": "GatewayTimeout", "description": "late"},
    });
    assert_eq!(shown, want);
}

#[test]
fn statistics_count_each_device_once() {
    let running = Statistics::new(5, 2, 3, 1, 4, false);
    let want = Statistics { devices: 11, failed: 1, succeeded: 3, running: 4, pending: 3 };
    assert_eq!(running, want);
    let cancelled = Statistics::new(5, 2, 3, 1, 0, true);
    assert_eq!((cancelled.devices, cancelled.running, cancelled.pending), (11, 0, 0));
}

#[test]
fn a_state_of_a_part_is_where_it_lies() {
    let job = complete();
    let over = job.cancel(later(20)).unwrap();
    let taken = item(&part());
    let free = Item { claims: 0, ..taken.clone() };
    for (job, shelf, item, want) in [
        (&job, Shelf::Todo, &free, PartStatus::Pending),
        (&job, Shelf::Todo, &taken, PartStatus::Running),
        (&job, Shelf::Waiting, &free, PartStatus::Scheduled),
        (&over, Shelf::Todo, &taken, PartStatus::Running),
        (&over, Shelf::Todo, &free, PartStatus::Canceled),
        (&over, Shelf::Waiting, &free, PartStatus::Canceled),
        (&over, Shelf::Succeeded, &free, PartStatus::Completed),
        (&over, Shelf::Failed, &free, PartStatus::Failed),
    ] {
        assert_eq!(status(job, shelf, item, later(20)), want, "{shelf:?}");
    }
}
