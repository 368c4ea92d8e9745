use std::time::Duration;

use super::*;
use crate::id::Address;
use crate::time::Timestamp;

const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn work(operation: Operation, device: Option<&Address>, count: u32) -> Work<'_> {
    Work { operation, device, count, blocks: u64::from(count) }
}

fn refused(reason: Reason, retry_after: Duration) -> Verdict {
    Verdict::Refused(Refused { reason, retry_after })
}

#[test]
fn a_burst_goes_at_once_and_the_rest_in_line() {
    let quotas = Quotas::default()
        .per_hub(Operation::Query, Rate::per_second(4).with_burst(2))
        .longest_wait(ms(600));
    let mut ledger = Ledger::new(quotas, 10);
    let mut query = |at| ledger.take(work(Operation::Query, None, 1), at);
    assert_eq!(query(T0), Verdict::Now);
    assert_eq!(query(T0), Verdict::Now);
    assert_eq!(query(T0), Verdict::After(ms(250)));
    assert_eq!(query(T0), Verdict::After(ms(500)));
    assert_eq!(query(T0), refused(Reason::Hub, ms(750)));
    // What was refused took no place.
    assert_eq!(query(T0.after(ms(250))), Verdict::After(ms(500)));
    // Other operations have lines of their own.
    assert_eq!(ledger.take(work(Operation::Job, None, 1), T0), Verdict::Now);
}

#[test]
fn a_device_waits_for_itself_and_for_all() {
    let quotas = Quotas::default()
        .per_device(Operation::TwinRead, Rate::per_second(1))
        .per_hub(Operation::TwinRead, Rate::per_second(2))
        .longest_wait(Duration::ZERO);
    let mut ledger = Ledger::new(quotas, 10);
    let (a, b, c) = (address("a"), address("b"), address("c"));
    let mut read = |of: &Address| ledger.take(work(Operation::TwinRead, Some(of), 1), T0);
    assert_eq!(read(&a), Verdict::Now);
    // Its module is the same device. Refused, it takes nothing of the others' room.
    assert_eq!(read(&address("a/m")), refused(Reason::Device, ms(1000)));
    assert_eq!(read(&b), Verdict::Now);
    assert_eq!(read(&c), refused(Reason::Hub, ms(500)));
    assert_eq!(read(&a), refused(Reason::Device, ms(1000)));
}

#[test]
fn what_is_larger_than_a_burst_has_its_turn_too() {
    let rate = Rate::per_second(10).with_burst(5);
    let mut bucket = Bucket::default();
    assert_eq!(bucket.wait(rate, 100, T0), Duration::ZERO);
    bucket.charge(rate, 100, T0);
    // 95 are owed beyond the burst.
    assert_eq!(bucket.wait(rate, 1, T0), ms(9_600));
    assert_eq!(bucket.wait(rate, 1000, T0), ms(10_000));
    assert!(!bucket.is_free(rate, T0.after(ms(9_999))));
    assert!(bucket.is_free(rate, T0.after(ms(10_000))));
}

#[test]
fn a_clock_that_is_set_back_neither_gives_nor_takes() {
    let rate = Rate::per_second(1);
    let mut bucket = Bucket::default();
    bucket.charge(rate, 1, T0);
    let earlier = T0.before(Duration::from_secs(3600));
    assert_eq!(bucket.wait(rate, 1, earlier), ms(1000));
    bucket.charge(rate, 1, earlier);
    assert_eq!(bucket.wait(rate, 1, earlier.after(ms(500))), ms(1500));
}

#[test]
fn the_longest_rates_do_not_overflow() {
    let rate = Rate::new(u32::MAX, Duration::MAX).with_burst(u32::MAX);
    let mut bucket = Bucket::default();
    for _ in 0..100 {
        bucket.charge(rate, u32::MAX, T0);
    }
    assert!(bucket.wait(rate, 1, T0) > Duration::from_secs(24 * 3600));
    assert!(bucket.is_free(rate, Timestamp::MAX));
    let none = Rate::new(0, Duration::ZERO).with_burst(0);
    assert_eq!((none.count(), none.per(), none.burst()), (1, ms(1), 1));
}

#[test]
fn devices_that_owe_nothing_are_forgotten() {
    let quotas = Quotas::default()
        .per_device(Operation::TelemetrySend, Rate::per_second(1))
        .longest_wait(Duration::ZERO);
    let mut ledger = Ledger::new(quotas.clone(), 3);
    let mut send =
        |name: &str, at| ledger.take(work(Operation::TelemetrySend, Some(&address(name)), 1), at);
    for name in ["a", "b", "c"] {
        assert_eq!(send(name, T0), Verdict::Now);
        assert!(matches!(send(name, T0), Verdict::Refused(_)));
    }
    // No room: what it does is not counted for itself.
    assert_eq!((send("d", T0), send("d", T0)), (Verdict::Now, Verdict::Now));
    let later = T0.after(ms(1000));
    assert_eq!(send("d", later), Verdict::Now);
    assert!(matches!(send("d", later), Verdict::Refused(_)));
    assert_eq!((ledger.devices(), ledger.untracked()), (1, 2));

    let mut ledger = Ledger::new(quotas, 100_000);
    for number in 0..50_000_u64 {
        let at = T0.after(ms(number));
        let device = address(&format!("d{number}"));
        ledger.take(work(Operation::TelemetrySend, Some(&device), 1), at);
    }
    // A second's worth of them owe something; at most twice as many, and the least, are kept.
    assert!(ledger.devices() <= 2 * 1024, "{}", ledger.devices());
}

#[test]
fn a_day_has_so_many_messages_and_ends_at_midnight() {
    let quotas = Quotas::default().messages_per_day(5);
    let mut ledger = Ledger::new(quotas, 10);
    let day = Timestamp::parse("2026-03-01T23:59:58Z").unwrap();
    let mut send = |blocks, at| {
        let work = Work { operation: Operation::MessageSend, device: None, count: 1, blocks };
        ledger.take(work, at)
    };
    assert_eq!(send(4, day), Verdict::Now);
    // The last may be larger than what is left.
    assert_eq!(send(3, day), Verdict::Now);
    assert_eq!(send(1, day), refused(Reason::Daily, ms(2000)));
    let midnight = day.after(ms(2000));
    assert_eq!(send(1, midnight), Verdict::Now);
    assert_eq!((ledger.used_today(day), ledger.used_today(midnight)), (0, 1));
    assert_eq!(ledger.take(work(Operation::Registry, None, 1), day), Verdict::Now);
    assert_eq!(ledger.used_today(midnight), 1);
}

#[test]
fn messages_are_metered_by_4_kb() {
    for (bytes, messages) in [(0, 1), (1, 1), (4096, 1), (4097, 2), (262_144, 64)] {
        assert_eq!(blocks(bytes), messages, "{bytes}");
    }
}

#[test]
fn azures_rates_are_those_of_its_table() {
    let one = Quotas::azure(Tier::S1, 1);
    let rate = |quotas: &Quotas, of| quotas.of_hub(of).map(|rate| (rate.count(), rate.per()));
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    assert_eq!(rate(&one, Operation::TelemetrySend), Some((100, second)));
    assert_eq!(rate(&one, Operation::MessageSend), Some((100, minute)));
    assert_eq!((one.daily(), one.of_device(Operation::TelemetrySend)), (Some(400_000), None));
    let many = Quotas::azure(Tier::S2, 20);
    assert_eq!(rate(&many, Operation::TelemetrySend), Some((2400, second)));
    assert_eq!(rate(&many, Operation::TwinRead), Some((200, second)));
    assert_eq!(rate(&many, Operation::Query), Some((400, minute)));
    // 24 MB a second, by the 4 KB.
    assert_eq!(rate(&Quotas::azure(Tier::S3, 1), Operation::DirectMethod), Some((6144, second)));
    assert!(Operation::ALL.iter().all(|of| one.of_hub(*of).is_some()));
    assert!(!Quotas::default().is_limited());
}
