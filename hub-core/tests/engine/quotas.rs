//! Quotas: who waits, who is refused, and that nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use hub_core::Hub;
use hub_core::engine::{Action, Actor, ManualClock};
use hub_core::envelope::EventBatch;
use hub_core::error::{ErrorKind, HubError};
use hub_core::frame::{Inbound, Interest, Outbound};
use hub_core::hello::Refusal;
use hub_core::id::Tag;
use hub_core::quota::{Operation, Quotas, Rate};
use hub_core::security::Principal;

use crate::hooks::Guard;
use crate::store::TestStore;
use crate::world::{
    START, address, bodies, connect, depth, events, hello, limits, next, publish, register, soon,
    subscribe, until, waits,
};

const SECOND: Duration = Duration::from_secs(1);

/// A hub with quotas and the device `d1`, and its clock.
async fn limited(quotas: Quotas) -> (Hub, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(START));
    let (store, _) = TestStore::new();
    let builder = Hub::builder(store).clock(clock.clone()).partitions(1).quotas(quotas);
    let hub = builder.start().unwrap();
    register(&hub, "d1").await;
    (hub, clock)
}

fn throttled(said: &Outbound, tag: u64) -> Duration {
    match said {
        Outbound::Refused(Tag(found), error) if *found == tag => {
            assert_eq!(error.kind(), ErrorKind::Throttled);
            error.retry_after().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn refusals(hub: &Hub) -> u64 {
    let all = hub.resources();
    all.iter().find(|found| found.name == "quota_waiting").unwrap().refusals.unwrap()
}

/// Telemetry beyond the rate waits, its link is not read meanwhile, and what comes behind keeps its
/// order.
#[tokio::test]
async fn a_device_that_sends_too_fast_is_not_read() {
    let rate = Rate::per_second(1).with_burst(2);
    let quotas = Quotas::default().per_device(Operation::TelemetrySend, rate);
    let (hub, clock) = limited(quotas).await;
    let mut link = connect(&hub, "d1").await;
    for tag in 1..=2 {
        publish(&mut link, tag, b"at once");
        assert!(link.up.has_room());
        assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(tag)));
    }
    publish(&mut link, 3, b"a second later");
    assert!(!link.up.has_room());
    // What was read already comes behind it, also what is not counted.
    link.up.send(Inbound::GetTwin(Tag(4)));
    publish(&mut link, 5, b"two seconds later");
    assert!(waits(link.up.ready()).await);
    assert!(link.down.try_next().is_none());
    until(|| depth(&hub, "quota_waiting") == 1).await;
    // Another device does not notice.
    register(&hub, "d2").await;
    let mut other = connect(&hub, "d2").await;
    publish(&mut other, 1, b"other");
    assert_eq!(next(&mut other).await, Outbound::Receipt(Tag(1)));

    clock.advance(SECOND);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(3)));
    // Nobody listens for twin answers, so this is its answer.
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(4)));
    until(|| depth(&hub, "quota_waiting") == 1).await;
    assert!(!link.up.has_room());
    clock.advance(SECOND);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(5)));
    soon(link.up.ready()).await;
    assert_eq!(refusals(&hub), 0);
    let wanted: [&[u8]; 5] =
        [b"at once", b"at once", b"other", b"a second later", b"two seconds later"];
    assert_eq!(bodies(&hub).await, wanted);
}

/// What would wait too long waits for the longest time there is, and is refused then if it still has no
/// turn. Nothing of it is stored, and it costs nothing.
#[tokio::test]
async fn telemetry_is_refused_after_the_longest_wait() {
    let quotas = Quotas::default()
        .per_device(Operation::TelemetrySend, Rate::per_minute(1))
        .longest_wait(10 * SECOND);
    let (hub, clock) = limited(quotas).await;
    let mut link = connect(&hub, "d1").await;
    publish(&mut link, 1, b"one");
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    publish(&mut link, 2, b"too early");
    assert!(waits(link.down.next()).await);
    until(|| depth(&hub, "quota_waiting") == 1).await;
    clock.advance(10 * SECOND);
    assert_eq!(throttled(&next(&mut link).await, 2), 50 * SECOND);
    soon(link.up.ready()).await;
    assert_eq!(refusals(&hub), 1);
    // It has its turn when it comes while it waits.
    clock.advance(45 * SECOND);
    publish(&mut link, 3, b"early");
    assert!(waits(link.down.next()).await);
    clock.advance(5 * SECOND);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(3)));
    assert_eq!(bodies(&hub).await, [&b"one"[..], b"early"]);
    assert_eq!(refusals(&hub), 1);
}

/// What came before a refusal was told is refused with it, at once: its device sends all of it again, and
/// a later one that passed would be there before an earlier one.
#[tokio::test]
async fn with_refused_telemetry_goes_what_came_behind_it() {
    let quotas = Quotas::default()
        .per_device(Operation::TelemetrySend, Rate::per_second(10))
        .longest_wait(10 * SECOND);
    let (hub, clock) = limited(quotas).await;
    let mut link = connect(&hub, "d1").await;
    let many = events(&link, &[&b"x"[..]; 300]);
    link.up.send(Inbound::Telemetry(Tag(1), many));
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    for tag in 2..=4 {
        let one = events(&link, &[&b"y"[..]]);
        link.up.send(Inbound::Telemetry(Tag(tag), one));
    }
    assert!(waits(link.down.next()).await);
    until(|| depth(&hub, "quota_waiting") >= 1).await;
    clock.advance(10 * SECOND);
    for tag in 2..=4 {
        throttled(&next(&mut link).await, tag);
    }
    soon(link.up.ready()).await;
    clock.advance(30 * SECOND);
    assert!(waits(link.down.next()).await);
    assert_eq!(bodies(&hub).await.len(), 300);
}

/// A batch that is larger than a burst has its turn, and is paid for afterwards.
#[tokio::test]
async fn a_large_batch_goes_whole() {
    let quotas = Quotas::default().per_device(Operation::TelemetrySend, Rate::per_second(10));
    let (hub, clock) = limited(quotas).await;
    let mut link = connect(&hub, "d1").await;
    let many = events(&link, &[&b"x"[..]; 50]);
    link.up.send(Inbound::Telemetry(Tag(1), many));
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    publish(&mut link, 2, b"y");
    assert!(waits(link.down.next()).await);
    // 40 more than a burst, and one for itself.
    clock.advance(4 * SECOND);
    assert!(waits(link.down.next()).await);
    clock.advance(Duration::from_millis(100));
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(2)));
}

/// Requests that have an answer wait in their order. What would wait longer than it may is refused, and
/// told so in that order.
#[tokio::test]
async fn twin_requests_of_a_device_wait_or_are_refused() {
    let quotas = Quotas::default()
        .per_device(Operation::TwinRead, Rate::per_second(1))
        .per_device(Operation::TwinUpdate, Rate::per_second(1))
        .longest_wait(2 * SECOND);
    let (hub, clock) = limited(quotas).await;
    let mut link = connect(&hub, "d1").await;
    subscribe(&mut link, 1, Interest::TwinResponses);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    for tag in 2..=5 {
        let report = format!("{{\"n\":{tag}}}");
        link.up.send(Inbound::Report(Tag(tag), report.into(), None));
    }
    // Its line is empty. It comes behind all the same.
    link.up.send(Inbound::GetTwin(Tag(6)));
    assert!(matches!(next(&mut link).await, Outbound::Reported(Tag(2), _)));
    for tag in 3..=4 {
        assert!(waits(link.down.next()).await);
        clock.advance(SECOND);
        assert!(matches!(next(&mut link).await, Outbound::Reported(Tag(found), _) if found == tag));
    }
    assert_eq!(throttled(&next(&mut link).await, 5), 3 * SECOND);
    assert!(matches!(next(&mut link).await, Outbound::Twin(Tag(6), _)));
    soon(link.up.ready()).await;
    let twin = hub.registry().twin(&address("d1")).await.unwrap().twin;
    assert_eq!(twin.reported_version(), 4);
}

#[tokio::test]
async fn a_twin_request_without_a_turn_is_refused_at_once() {
    let quotas =
        Quotas::default().per_device(Operation::TwinRead, Rate::per_minute(1)).longest_wait(SECOND);
    let (hub, _) = limited(quotas).await;
    let mut link = connect(&hub, "d1").await;
    subscribe(&mut link, 1, Interest::TwinResponses);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    link.up.send(Inbound::GetTwin(Tag(2)));
    assert!(matches!(next(&mut link).await, Outbound::Twin(Tag(2), _)));
    link.up.send(Inbound::GetTwin(Tag(3)));
    assert_eq!(throttled(&next(&mut link).await, 3), 60 * SECOND);
    // Telemetry has a line of its own.
    soon(link.up.ready()).await;
    publish(&mut link, 4, b"x");
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(4)));
    assert_eq!(refusals(&hub), 1);
}

/// A peer is told when to come again; it is not counted before it has proved who it is.
#[tokio::test]
async fn connects_wait_or_are_refused() {
    let quotas = Quotas::default()
        .per_device(Operation::Connect, Rate::per_minute(2))
        .longest_wait(30 * SECOND);
    let (hub, clock) = limited(quotas).await;
    for _ in 0..5 {
        assert!(matches!(hub.connect(hello("nobody")).await, Err(Refusal::Unknown(_))));
    }
    drop(connect(&hub, "d1").await);
    drop(connect(&hub, "d1").await);
    let waiting = {
        let hub = hub.clone();
        tokio::spawn(async move { hub.connect(hello("d1")).await.map(drop) })
    };
    until(|| depth(&hub, "quota_waiting") == 1).await;
    assert_eq!(hub.connect(hello("d1")).await.unwrap_err(), Refusal::Throttled(60 * SECOND));
    clock.advance(30 * SECOND);
    soon(waiting).await.unwrap().unwrap();
    until(|| hub.connections() == 0).await;
}

/// What a back end does is counted once for each time it is allowed.
#[tokio::test]
async fn back_ends_wait_or_are_refused() {
    let quotas = Quotas::default()
        .per_hub(Operation::Query, Rate::per_second(1))
        .per_hub(Operation::DirectMethod, Rate::per_second(10))
        .per_device(Operation::MessageSend, Rate::per_minute(1))
        .longest_wait(SECOND);
    let (hub, clock) = limited(quotas).await;
    let (principal, d1, d2) = (Principal::in_process(), address("d1"), address("d2"));
    let back_end = Actor::Service(&principal);
    let asks = |action| hub.authorize(back_end, action);
    asks(Action::QueryTwins).await.unwrap();
    let mut second = Box::pin(asks(Action::QueryTwins));
    assert!(futures::poll!(&mut second).is_pending());
    let third = asks(Action::QueryTwins).await.unwrap_err();
    assert_eq!((third.kind(), third.retry_after()), (ErrorKind::Throttled, Some(2 * SECOND)));
    let wanted = "The request has been throttled. Wait 2 seconds and try again. \
                  Operation type: Query";
    assert_eq!(third.message(), wanted);
    clock.advance(SECOND);
    soon(second).await.unwrap();
    // Each device by itself, and what is not limited not at all.
    asks(Action::SendMessage(&d1)).await.unwrap();
    assert_eq!(asks(Action::SendMessage(&d1)).await.unwrap_err().kind(), ErrorKind::Throttled);
    asks(Action::SendMessage(&d2)).await.unwrap();
    for _ in 0..100 {
        asks(Action::ReadTwin(&d1)).await.unwrap();
    }
    // Methods by the 4 KB: the first is four of ten, and so is the second.
    let call = |bytes| hub.authorize_bytes(back_end, Action::InvokeMethod(&d1, "x"), bytes);
    call(4 * 4096).await.unwrap();
    call(3 * 4096 + 1).await.unwrap();
    let mut waits = Box::pin(call(3 * 4096));
    assert!(futures::poll!(&mut waits).is_pending());
    // The application's own calls are not counted.
    for _ in 0..3 {
        hub.query("SELECT * FROM devices", None, None).await.unwrap();
    }
    // Nor is what a device is asked to be allowed: it is counted where it is done.
    let device = Actor::Device(&d1);
    for _ in 0..3 {
        hub.authorize(device, Action::QueryTwins).await.unwrap();
    }
}

/// Devices that come without a link.
#[tokio::test]
async fn requests_of_devices_wait_or_are_refused() {
    let quotas = Quotas::default()
        .per_device(Operation::TelemetrySend, Rate::per_second(2))
        .per_device(Operation::MessageReceive, Rate::per_minute(1))
        .longest_wait(SECOND);
    let (hub, clock) = limited(quotas).await;
    let d1 = address("d1");
    let link = connect(&hub, "d1").await;
    let mut batch = EventBatch::new();
    let fill = |batch: &mut EventBatch, count| {
        for _ in 0..count {
            batch.push(link.up.stamp(), [], b"x", 1000).unwrap();
        }
    };
    fill(&mut batch, 2);
    hub.publish(&d1, &mut batch).await.unwrap();
    fill(&mut batch, 2);
    let mut waits = Box::pin(hub.publish(&d1, &mut batch));
    assert!(futures::poll!(&mut waits).is_pending());
    clock.advance(SECOND);
    soon(waits).await.unwrap();
    assert!(batch.is_empty());
    // Refused, it stays with whoever brought it.
    fill(&mut batch, 5);
    soon(async {
        let mut waits = Box::pin(hub.publish(&d1, &mut batch));
        assert!(futures::poll!(&mut waits).is_pending());
        clock.advance(SECOND);
        waits.await.unwrap();
    })
    .await;
    fill(&mut batch, 1);
    let refused = hub.publish(&d1, &mut batch).await.unwrap_err();
    assert_eq!((refused.kind(), batch.len()), (ErrorKind::Throttled, 1));
    assert_eq!(bodies(&hub).await.len(), 9);

    hub.receive(&d1, SECOND).await.unwrap();
    let again = hub.receive(&d1, SECOND).await.map_err(|error: HubError| error.kind());
    assert_eq!(again, Err(ErrorKind::Throttled));
}

/// The messages of the day are counted by the 4 KB; beyond them telemetry is held back, then refused,
/// and at midnight all begins anew.
#[tokio::test]
async fn the_day_has_so_many_messages() {
    let quotas = Quotas::default().messages_per_day(4).longest_wait(SECOND);
    let (hub, clock) = limited(quotas).await;
    let mut link = connect(&hub, "d1").await;
    publish(&mut link, 1, &[b'x'; 5000]);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    assert_eq!(depth(&hub, "quota_messages"), 2);
    let principal = Principal::in_process();
    let (back_end, d1) = (Actor::Service(&principal), address("d1"));
    hub.authorize_bytes(back_end, Action::SendMessage(&d1), 4097).await.unwrap();
    let refused = hub.authorize(back_end, Action::ReadTwin(&d1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
    let midnight = Duration::from_millis(86_400_000 - START.as_millis() % 86_400_000);
    assert_eq!(refused.retry_after(), Some(midnight));
    // What is not metered goes on.
    hub.authorize(back_end, Action::ReadRegistry).await.unwrap();
    publish(&mut link, 2, b"x");
    assert!(waits(link.down.next()).await);
    until(|| depth(&hub, "quota_waiting") == 1).await;
    clock.advance(SECOND);
    let Outbound::Refused(Tag(2), error) = next(&mut link).await else { panic!("not refused") };
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    clock.advance(midnight);
    soon(link.up.ready()).await;
    publish(&mut link, 3, b"x");
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(3)));
    assert_eq!(depth(&hub, "quota_messages"), 1);
    let day = hub.resources().into_iter().find(|found| found.name == "quota_messages").unwrap();
    assert_eq!(day.capacity, Some(4));
}

/// The application decides first: what it denies costs nothing.
#[tokio::test]
async fn what_is_denied_is_not_counted() {
    let clock = Arc::new(ManualClock::new(START));
    let (store, _) = TestStore::new();
    let quotas = Quotas::default()
        .per_device(Operation::TelemetrySend, Rate::per_second(1))
        .per_device(Operation::TwinRead, Rate::per_second(1));
    let guard = Guard::default().deny("publish");
    let builder = Hub::builder(store).clock(clock.clone()).quotas(quotas);
    let hub = builder.authorizer(guard).partitions(1).start().unwrap();
    register(&hub, "d1").await;
    let mut link = connect(&hub, "d1").await;
    for tag in 1..=3 {
        publish(&mut link, tag, b"x");
        let said = next(&mut link).await;
        let denied =
            matches!(&said, Outbound::Refused(_, error) if error.kind() == ErrorKind::Forbidden);
        assert!(denied, "{said:?}");
    }
    for tag in 4..=5 {
        link.up.send(Inbound::GetTwin(Tag(tag)));
    }
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(4)));
    until(|| depth(&hub, "quota_waiting") == 1).await;
    assert!(!link.up.has_room());
    clock.advance(SECOND);
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(5)));
    soon(link.up.ready()).await;
}

/// Whoever waits for a turn and goes takes nothing with it but its place.
#[tokio::test]
async fn who_goes_while_it_waits_leaves_nothing_behind() {
    let quotas = Quotas::default()
        .per_device(Operation::TelemetrySend, Rate::per_second(1))
        .per_hub(Operation::Query, Rate::per_second(1));
    let (hub, clock) = limited(quotas).await;
    let principal = Principal::in_process();
    let back_end = Actor::Service(&principal);
    hub.authorize(back_end, Action::QueryTwins).await.unwrap();
    let mut query = Box::pin(hub.authorize(back_end, Action::QueryTwins));
    assert!(futures::poll!(&mut query).is_pending());
    drop(query);
    let mut link = connect(&hub, "d1").await;
    publish(&mut link, 1, b"one");
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    publish(&mut link, 2, b"two");
    until(|| depth(&hub, "quota_waiting") == 1).await;
    // The peer has gone, and what it said is done all the same.
    drop(link);
    clock.advance(SECOND);
    until(|| depth(&hub, "quota_waiting") == 0).await;
    let look = async {
        while bodies(&hub).await.len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    soon(look).await;
}

/// A hub that stops keeps nobody waiting, and nothing of itself.
#[tokio::test]
async fn nobody_waits_for_a_turn_at_a_hub_that_stops() {
    let quotas = Quotas::default()
        .per_device(Operation::TelemetrySend, Rate::per_second(1))
        .per_hub(Operation::Query, Rate::per_second(1));
    let (hub, _) = limited(quotas).await;
    let mut link = connect(&hub, "d1").await;
    publish(&mut link, 1, b"one");
    assert_eq!(next(&mut link).await, Outbound::Receipt(Tag(1)));
    publish(&mut link, 2, b"two");
    let query = tokio::spawn({
        let hub = hub.clone();
        async move {
            let principal = Principal::in_process();
            let back_end = Actor::Service(&principal);
            hub.authorize(back_end, Action::QueryTwins).await.unwrap();
            hub.authorize(back_end, Action::QueryTwins).await
        }
    });
    until(|| depth(&hub, "quota_waiting") == 2).await;
    let stopping = {
        let hub = hub.clone();
        tokio::spawn(async move { hub.shutdown(Duration::from_secs(30)).await })
    };
    assert_eq!(soon(query).await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    while !matches!(next(&mut link).await, Outbound::Close(_)) {}
    drop(link);
    let report = soon(stopping).await.unwrap();
    assert!(report.drained);
    until(|| depth(&hub, "quota_waiting") == 0).await;
    assert_eq!(bodies(&hub).await, [b"one"]);
}

/// Calls whose callers wait for their devices are bounded together, and others are not concerned.
#[tokio::test]
async fn patient_calls_are_bounded() {
    use hub_core::method::{Dispatched, MethodCall};
    let (hub, _) = crate::world::bounded(limits(|limits| limits.methods_patient_max = 1)).await;
    let d1 = address("d1");
    let patient = || MethodCall::new("x").when_online_within(300 * SECOND);
    let waiting = {
        let (hub, d1) = (hub.clone(), d1.clone());
        tokio::spawn(async move { hub.invoke(&d1, patient()).await })
    };
    until(|| depth(&hub, "patient_calls") == 1).await;
    let refused = hub.invoke(&d1, patient()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Throttled);
    assert_eq!(Dispatched::of(&refused), Dispatched::Never);
    let impatient = hub.invoke(&d1, MethodCall::new("x")).await.unwrap_err();
    assert_eq!(impatient.kind(), ErrorKind::DeviceNotOnline);
    let calls = hub.resources().into_iter().find(|found| found.name == "patient_calls").unwrap();
    assert_eq!((calls.capacity, calls.refusals), (Some(1), Some(1)));
    waiting.abort();
    let _ = waiting.await;
    assert_eq!(depth(&hub, "patient_calls"), 0);
}
