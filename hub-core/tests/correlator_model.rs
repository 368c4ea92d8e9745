//! Calls in flight against a map: every call that is begun ends exactly once, in the way and at the
//! time that the table of `Correlator` says.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use hub_core::error::{ErrorKind, HubError};
use hub_core::frame::MethodRef;
use hub_core::id::{CallId, Epoch};
use hub_core::limits::Limits;
use hub_core::method::{Correlator, Dispatch, Ended, MethodCall, MethodReply};
use hub_core::time::Timestamp;
use proptest::prelude::*;

/// What happens.
#[derive(Debug, Clone)]
enum Act {
    Begin {
        connect: u64,
        response: u64,
        listening: bool,
    },
    /// The device listens, so much later than anything before.
    Listening {
        late: u64,
    },
    Reply {
        which: prop::sample::Index,
        payload: &'static str,
    },
    /// An answer to a call that this link was not given.
    Foreign {
        number: u64,
    },
    LinkLost,
    Cancel {
        which: prop::sample::Index,
    },
    Wait {
        millis: u64,
    },
}

const HUGE: &str = "\"0123456789012345678901234567890123456789\"";

fn act() -> impl Strategy<Value = Act> {
    let payload = prop::sample::select(vec!["", "1", "{\"a\":[]}", "{", HUGE]);
    prop_oneof![
        6 => (0..4_u64, 1..4_u64, any::<bool>()).prop_map(|(connect, response, listening)| {
            Act::Begin { connect, response, listening }
        }),
        2 => prop_oneof![Just(0), 0..4_u64].prop_map(|late| Act::Listening { late }),
        4 => (any::<prop::sample::Index>(), payload)
            .prop_map(|(which, payload)| Act::Reply { which, payload }),
        1 => (0..200_u64).prop_map(|number| Act::Foreign { number }),
        1 => Just(Act::LinkLost),
        2 => any::<prop::sample::Index>().prop_map(|which| Act::Cancel { which }),
        3 => (1..3_u64).prop_map(|millis| Act::Wait { millis }),
    ]
}

/// A call that has not ended.
#[derive(Debug, Clone, PartialEq)]
enum Open {
    /// For a listener, until then; and how long it may take once it is dispatched.
    Waits { until: u64, response: u64, order: u64 },
    /// For its answer, until then.
    Flies { until: u64, reference: MethodRef },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Answered(i32, String),
    Failed(String),
}

fn end(ended: &Ended) -> (u64, End) {
    let end = match &ended.result {
        Ok(MethodReply { status, payload }) => {
            End::Answered(*status, String::from_utf8(payload.to_vec()).unwrap())
        }
        Err(error) => failed(error),
    };
    (ended.caller.0, end)
}

fn failed(error: &HubError) -> End {
    kind(error.kind())
}

fn kind(kind: ErrorKind) -> End {
    End::Failed(format!("{kind:?}"))
}

#[derive(Debug)]
struct Run {
    real: Correlator,
    open: BTreeMap<u64, Open>,
    ended: BTreeSet<u64>,
    begun: u64,
    now: u64,
    epoch: u64,
}

impl Run {
    fn new() -> Self {
        let (mut real, epoch) = (Correlator::default(), 1);
        real.linked(Epoch(epoch));
        let (open, ended) = (BTreeMap::new(), BTreeSet::new());
        Self { real, open, ended, begun: 0, now: 0, epoch }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn ends(&mut self, real: Vec<Ended>, mut model: Vec<(u64, End)>) {
        let mut real: Vec<_> = real.iter().map(end).collect();
        real.sort();
        model.sort();
        assert_eq!(real, model);
        for (call, _) in real {
            self.open.remove(&call);
            assert!(self.ended.insert(call), "call {call} ended twice");
        }
    }

    fn flies(&mut self, call: u64, response: u64, dispatch: &Dispatch) {
        let (until, reference) = (self.now + response, dispatch.reference);
        let used =
            |open: &Open| matches!(open, Open::Flies { reference: r, .. } if *r == reference);
        assert!(!self.open.values().any(used), "{reference:?} is in use");
        self.open.insert(call, Open::Flies { until, reference });
    }

    fn act(&mut self, act: &Act, limits: &Limits) {
        match act {
            Act::Begin { connect, response, listening } => {
                self.begin(*connect, *response, *listening, limits);
            }
            Act::Listening { late } => {
                // A timer may be late: the device comes first, whatever time it is.
                self.now += late;
                let (mut waits, mut over) = (Vec::new(), Vec::new());
                for (call, open) in &self.open {
                    match open {
                        Open::Waits { until, .. } if *until <= self.now => {
                            over.push((*call, kind(ErrorKind::DeviceNotOnline)));
                        }
                        Open::Waits { response, order, .. } => {
                            waits.push((*order, *call, *response));
                        }
                        Open::Flies { .. } => {}
                    }
                }
                waits.sort_unstable();
                let (dispatched, ended) = self.real.listening(self.at());
                self.ends(ended, over);
                assert_eq!(dispatched.len(), waits.len());
                for ((_, call, response), dispatch) in waits.into_iter().zip(&dispatched) {
                    self.flies(call, response, dispatch);
                }
            }
            Act::Reply { which, payload } => {
                let flying: Vec<_> = self
                    .open
                    .iter()
                    .filter_map(|(call, open)| match open {
                        Open::Flies { reference, .. } => Some((*call, *reference)),
                        Open::Waits { .. } => None,
                    })
                    .collect();
                if flying.is_empty() {
                    return;
                }
                let (call, reference) = *which.get(&flying);
                let ended =
                    self.real.reply(reference, 200, Bytes::from_static(payload.as_bytes()), limits);
                let right = match *payload {
                    "" => End::Answered(200, "null".to_owned()),
                    HUGE | "{" => kind(ErrorKind::BadDeviceResponse),
                    other => End::Answered(200, other.to_owned()),
                };
                self.ends(ended.into_iter().collect(), vec![(call, right)]);
                // A second answer ends nothing.
                let again = self.real.reply(reference, 200, Bytes::new(), limits);
                assert_eq!(again, None);
            }
            Act::Foreign { number } => {
                // Of an epoch that has passed.
                let reference = MethodRef(self.epoch.saturating_sub(2) << 32 | number);
                let known = |open: &Open| matches!(open, Open::Flies { reference: r, .. } if *r == reference);
                if !self.open.values().any(known) {
                    assert_eq!(self.real.reply(reference, 200, Bytes::new(), limits), None);
                }
            }
            Act::LinkLost => {
                let flying =
                    self.open.iter().filter(|(_, open)| matches!(open, Open::Flies { .. }));
                let lost = flying.map(|(call, _)| (*call, kind(ErrorKind::DeviceDisconnected)));
                let lost = lost.collect();
                let ended = self.real.link_lost();
                self.ends(ended, lost);
                self.epoch += 1;
                self.real.linked(Epoch(self.epoch));
            }
            Act::Cancel { which } => {
                let calls: Vec<_> = self.open.keys().copied().collect();
                if !calls.is_empty() {
                    let call = *which.get(&calls);
                    self.open.remove(&call);
                    self.real.cancel(CallId(call));
                }
            }
            Act::Wait { millis } => {
                self.now += millis;
                let over = self.open.iter().filter_map(|(call, open)| match open {
                    Open::Waits { until, .. } if *until <= self.now => {
                        Some((*call, kind(ErrorKind::DeviceNotOnline)))
                    }
                    Open::Flies { until, .. } if *until <= self.now => {
                        Some((*call, kind(ErrorKind::MethodTimeout)))
                    }
                    _ => None,
                });
                let over = over.collect();
                let ended = self.real.tick(self.at());
                self.ends(ended, over);
            }
        }
    }

    fn begin(&mut self, connect: u64, response: u64, listening: bool, limits: &Limits) {
        self.begun += 1;
        let call = self.begun;
        let method = MethodCall::new("m")
            .when_online_within(Duration::from_millis(connect))
            .with_response_timeout(Duration::from_millis(response));
        let full = self.open.len() >= limits.methods_in_flight_max;
        let begun = self.real.begin(CallId(call), method, listening, self.at(), limits);
        match begun {
            Ok(Some(dispatch)) => {
                assert!(listening && !full);
                self.flies(call, response, &dispatch);
            }
            Ok(None) => {
                assert!(!listening && !full && connect > 0);
                let until = self.now + connect;
                self.open.insert(call, Open::Waits { until, response, order: call });
            }
            Err(ended) => {
                let right = match (full, listening, connect) {
                    (true, ..) => ErrorKind::TooManyMethods,
                    (false, false, 0) => ErrorKind::DeviceNotOnline,
                    other => unreachable!("{other:?} ends with {ended:?}"),
                };
                self.ends(vec![ended], vec![(call, kind(right))]);
            }
        }
    }

    fn check(&self) {
        let until = self.open.values().map(|open| match open {
            Open::Waits { until, .. } | Open::Flies { until, .. } => Timestamp::from_millis(*until),
        });
        assert_eq!(self.real.deadline(), until.min());
        assert_eq!(self.real.is_idle(), self.open.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_begun_call_ends_exactly_once(acts in prop::collection::vec(act(), 1..80)) {
        let mut limits = Limits::default();
        limits.methods_in_flight_max = 5;
        limits.method_payload_bytes_max = 40;
        let mut run = Run::new();
        for act in &acts {
            run.act(act, &limits);
            run.check();
        }
        // Whatever is open ends with time, and then nothing ends any more.
        run.act(&Act::Wait { millis: 100 }, &limits);
        run.check();
        assert!(run.open.is_empty());
        assert_eq!(run.real.tick(Timestamp::MAX), vec![]);
    }
}
