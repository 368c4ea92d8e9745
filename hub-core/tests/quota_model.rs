//! Quotas against a bucket of tokens that is filled by hand, millisecond by millisecond.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use hub_core::id::Address;
use hub_core::quota::{Ledger, Operation, Quotas, Rate, Reason, Verdict, Work};
use hub_core::time::Timestamp;
use proptest::prelude::*;

/// Tokens, of which each is `per` parts, so that `count` parts come each millisecond.
#[derive(Debug, Clone)]
struct Tokens {
    parts: i128,
    rate: Rate,
    at: u64,
}

impl Tokens {
    fn new(rate: Rate, at: u64) -> Self {
        let full = i128::from(rate.burst()) * Self::per(rate);
        Self { parts: full, rate, at }
    }

    fn per(rate: Rate) -> i128 {
        i128::try_from(rate.per().as_millis()).unwrap()
    }

    /// One millisecond: what does not fit runs over.
    fn tick(&mut self) {
        let full = i128::from(self.rate.burst()) * Self::per(self.rate);
        self.parts = full.min(self.parts + i128::from(self.rate.count()));
        self.at += 1;
    }

    fn to(&mut self, at: u64) {
        while self.at < at {
            self.tick();
        }
    }

    /// How many milliseconds until so many tokens are there.
    fn wait(&self, count: u32) -> u64 {
        let mut later = self.clone();
        let wanted = i128::from(count.min(self.rate.burst())) * Self::per(self.rate);
        while later.parts < wanted {
            later.tick();
        }
        later.at - self.at
    }

    fn take(&mut self, count: u32) {
        self.parts -= i128::from(count) * Self::per(self.rate);
    }
}

fn rate() -> impl Strategy<Value = Rate> {
    (1..12_u32, 1..40_u64, 1..8_u32).prop_map(|(count, per, burst)| {
        Rate::new(count, Duration::from_millis(per)).with_burst(burst)
    })
}

/// Who, how much, how long after the last.
fn act() -> impl Strategy<Value = (usize, u32, u64)> {
    (0..3_usize, prop_oneof![4 => 1..4_u32, 1 => 4..20_u32], prop_oneof![0..3_u64, 0..60_u64])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Each verdict is that of the tokens, whatever the rates, and of two quotas that of the slower.
    #[test]
    fn verdicts_are_those_of_tokens(
        of_hub in prop::option::of(rate()),
        of_device in prop::option::of(rate()),
        longest in 0..100_u64,
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let operation = Operation::TwinUpdate;
        let mut quotas = Quotas::default().longest_wait(Duration::from_millis(longest));
        quotas = of_hub.into_iter().fold(quotas, |quotas, rate| quotas.per_hub(operation, rate));
        quotas = of_device.into_iter().fold(quotas, |quotas, rate| quotas.per_device(operation, rate));
        let mut now = 1_000_000;
        let mut ledger = Ledger::new(quotas, 100);
        let mut hub = of_hub.map(|rate| Tokens::new(rate, now));
        let mut devices: BTreeMap<usize, Tokens> = BTreeMap::new();
        if let Some(rate) = of_device {
            devices.extend((0..3).map(|device| (device, Tokens::new(rate, now))));
        }
        for (device, count, later) in acts {
            now += later;
            hub.iter_mut().chain(devices.values_mut()).for_each(|tokens| tokens.to(now));
            let hub_wait = hub.as_ref().map_or(0, |tokens| tokens.wait(count));
            let device_wait = devices.get(&device).map_or(0, |tokens| tokens.wait(count));
            let wait = hub_wait.max(device_wait);
            let address = Address::parse(&format!("d{device}")).unwrap();
            let work = Work { operation, device: Some(&address), count, blocks: 1 };
            let verdict = ledger.take(work, Timestamp::from_millis(now));
            if wait > longest {
                let Verdict::Refused(refused) = verdict else { panic!("{verdict:?}, not {wait}") };
                prop_assert_eq!(refused.retry_after, Duration::from_millis(wait));
                let slower = if device_wait > hub_wait { Reason::Device } else { Reason::Hub };
                prop_assert_eq!(refused.reason, slower);
                continue;
            }
            let right = match wait {
                0 => Verdict::Now,
                wait => Verdict::After(Duration::from_millis(wait)),
            };
            prop_assert_eq!(verdict, right);
            hub.iter_mut().chain(devices.get_mut(&device)).for_each(|tokens| tokens.take(count));
        }
    }

    /// What goes on in any span of time is at most the burst, what the rate gives in that time, and
    /// the part of its last operation that is larger than a burst. The span is up to a millisecond
    /// longer than it looks: who waits goes on at the next whole one, and whoever comes behind does
    /// not wait for that.
    #[test]
    fn no_span_of_time_has_more_than_its_share(
        rate in rate(),
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let quotas = Quotas::default()
            .per_hub(Operation::TelemetrySend, rate)
            .longest_wait(Duration::from_secs(60));
        let mut ledger = Ledger::new(quotas, 100);
        let (mut now, mut went) = (5_000, Vec::new());
        for (_, count, later) in acts {
            now += later;
            let work = Work { operation: Operation::TelemetrySend, device: None, count, blocks: 1 };
            match ledger.take(work, Timestamp::from_millis(now)) {
                Verdict::Now => went.push((now, count)),
                Verdict::After(wait) => {
                    went.push((now + u64::try_from(wait.as_millis()).unwrap(), count));
                }
                Verdict::Refused(_) => {}
            }
        }
        prop_assert!(went.is_sorted_by_key(|(at, _)| *at), "the line keeps its order");
        let per = u128::from(u64::try_from(rate.per().as_millis()).unwrap());
        for (first, (from, _)) in went.iter().enumerate() {
            let mut sum = 0_u128;
            for (to, count) in &went[first..] {
                sum += u128::from(*count);
                let burst = u128::from(rate.burst().max(*count));
                let given = u128::from(rate.count()) * u128::from(to - from + 1);
                prop_assert!(sum * per <= burst * per + given, "{sum} from {from} to {to}");
            }
        }
    }
}
