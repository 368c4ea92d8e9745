//! Calls in flight to one identity.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::abroad::{Holder, Patient};
use super::call::{MethodCall, MethodReply, is_json};
use crate::error::{ErrorKind, HubError};
use crate::frame::MethodRef;
use crate::id::{CallId, Epoch};
use crate::limits::Limits;
use crate::time::Timestamp;

/// A call to hand to the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// What the link knows it by.
    pub reference: MethodRef,
    /// The call.
    pub call: MethodCall,
}

/// A call that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Who waits for it.
    pub caller: CallId,
    /// How it ended. `DeviceNotOnline` was never dispatched; `MethodTimeout`, `DeviceDisconnected`
    /// and `BadDeviceResponse` were.
    pub result: Result<MethodReply, HubError>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    patient: Patient,
    waits: Waits,
}

/// Where a call waits for its device to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Until the device comes, wherever that is.
    Anywhere,
    /// For the connection that is here to listen: another node asked, and knows where else to look.
    Here,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Flying {
    caller: CallId,
    until: Timestamp,
}

/// Matches answers to calls. Knows nothing of stores or transports.
///
/// | event | what ends, and how |
/// |---|---|
/// | begun, listener there | dispatched |
/// | begun, no listener, no connect timeout | `DeviceNotOnline` |
/// | begun, no listener, connect timeout | waits; dispatched when a listener comes in time |
/// | connect timeout over | `DeviceNotOnline`, also if a listener comes at that very moment |
/// | answer with a known reference | the answer; `BadDeviceResponse` if it is not JSON |
/// | answer with another reference | nothing |
/// | response timeout over (counted from dispatch) | `MethodTimeout` |
/// | link lost | all dispatched on it: `DeviceDisconnected`; never dispatched again. What waits for this connection only: `DeviceNotOnline` |
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Correlator {
    waiting: VecDeque<Waiting>,
    flying: BTreeMap<MethodRef, Flying>,
    last: u64,
}

impl Correlator {
    /// A caller begins a call. Either it is dispatched, or it ended, or it waits.
    pub fn begin(
        &mut self,
        caller: CallId,
        call: MethodCall,
        listening: bool,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Option<Dispatch>, Ended> {
        let until = now.after(call.connect_timeout);
        let patient = Patient { caller, call, until, refused: None };
        self.begin_for(Waits::Anywhere, patient, listening, now, limits)
    }

    /// As [`Correlator::begin`], for a call that waits for the device in this way, and for so long.
    pub fn begin_for(
        &mut self,
        waits: Waits,
        patient: Patient,
        listening: bool,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Option<Dispatch>, Ended> {
        if self.count() >= limits.methods_in_flight_max {
            let error = HubError::new(ErrorKind::TooManyMethods, "too many methods in flight");
            return Err(Ended { caller: patient.caller, result: Err(error) });
        }
        if listening {
            return Ok(Some(self.dispatch(patient, now)));
        }
        if patient.until <= now {
            return Err(Ended { caller: patient.caller, result: Err(not_online()) });
        }
        self.waiting.push_back(Waiting { patient, waits });
        Ok(None)
    }

    fn dispatch(&mut self, patient: Patient, now: Timestamp) -> Dispatch {
        let Patient { caller, call, .. } = patient;
        self.last = self.last.saturating_add(1);
        let reference = MethodRef(self.last);
        let until = now.after(call.response_timeout);
        self.flying.insert(reference, Flying { caller, until });
        Dispatch { reference, call }
    }

    /// The device listens for methods now: what waited is dispatched, in order.
    ///
    /// What has waited too long ends first. Else it would depend on which comes first at the deadline,
    /// the device or [`Correlator::tick`], and a timer may be late.
    pub fn listening(&mut self, now: Timestamp) -> (Vec<Dispatch>, Vec<Ended>) {
        let ended = self.give_up(now);
        let waiting = std::mem::take(&mut self.waiting);
        let dispatched =
            waiting.into_iter().map(|waiting| self.dispatch(waiting.patient, now)).collect();
        (dispatched, ended)
    }

    /// Ends the calls that have waited for the device too long.
    fn give_up(&mut self, now: Timestamp) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.waiting.retain(|waiting| {
            let over = waiting.patient.until <= now;
            if over {
                let caller = waiting.patient.caller;
                ended.push(Ended { caller, result: Err(not_online()) });
            }
            !over
        });
        ended
    }

    /// Takes out the calls that wait for the device to come, now that this connection is there. Those
    /// that it has refused stay.
    pub fn take_patient(&mut self, holder: &Holder) -> Vec<Patient> {
        let goes = |waiting: &Waiting| {
            waiting.waits == Waits::Anywhere && waiting.patient.refused.as_deref() != Some(holder)
        };
        let (patient, stay) =
            std::mem::take(&mut self.waiting).into_iter().partition::<VecDeque<_>, _>(goes);
        self.waiting = stay;
        patient.into_iter().map(|waiting| waiting.patient).collect()
    }

    /// Whether calls wait for the device to come, wherever that is.
    #[must_use]
    pub fn has_patient(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.waits == Waits::Anywhere)
    }

    /// How many calls are begun.
    #[must_use]
    pub fn count(&self) -> usize {
        self.waiting.len() + self.flying.len()
    }

    /// The device answered. An unknown reference is late or made up, and ends nothing.
    pub fn reply(
        &mut self,
        reference: MethodRef,
        status: i32,
        payload: Bytes,
        limits: &Limits,
    ) -> Option<Ended> {
        let Flying { caller, .. } = self.flying.remove(&reference)?;
        let payload = if payload.is_empty() { Bytes::from_static(b"null") } else { payload };
        let result = if payload.len() > limits.method_payload_bytes_max {
            Err(HubError::new(ErrorKind::BadDeviceResponse, "the device's answer is too large"))
        } else if is_json(&payload) {
            Ok(MethodReply { status, payload })
        } else {
            Err(HubError::new(ErrorKind::BadDeviceResponse, "the device's answer is not JSON"))
        };
        Some(Ended { caller, result })
    }

    /// A link of this epoch is there. Its references are like those of no other link, so that an
    /// answer that comes over another one than its call ends nothing. Those of the identity's first
    /// link count from 1, as the cloud service's do on every link.
    pub fn linked(&mut self, epoch: Epoch) {
        self.last = epoch.0.saturating_sub(1) << 32;
    }

    /// The link is gone.
    pub fn link_lost(&mut self) -> Vec<Ended> {
        let lost = std::mem::take(&mut self.flying);
        let error = || {
            HubError::new(
                ErrorKind::DeviceDisconnected,
                "the device disconnected before it answered",
            )
        };
        let mut ended: Vec<_> = lost
            .into_values()
            .map(|flying| Ended { caller: flying.caller, result: Err(error()) })
            .collect();
        self.waiting.retain(|waiting| {
            let over = waiting.waits == Waits::Here;
            if over {
                let caller = waiting.patient.caller;
                ended.push(Ended { caller, result: Err(not_online()) });
            }
            !over
        });
        ended
    }

    /// The caller does not wait any more. An answer that still comes is dropped.
    pub fn cancel(&mut self, caller: CallId) {
        self.waiting.retain(|waiting| waiting.patient.caller != caller);
        self.flying.retain(|_, flying| flying.caller != caller);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Ended> {
        let mut ended = self.give_up(now);
        self.flying.retain(|_, flying| {
            let over = flying.until <= now;
            if over {
                ended.push(Ended { caller: flying.caller, result: Err(timed_out()) });
            }
            !over
        });
        ended
    }

    /// When to call [`Correlator::tick`] if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let waiting = self.waiting.iter().map(|waiting| waiting.patient.until);
        waiting.chain(self.flying.values().map(|flying| flying.until)).min()
    }

    /// Whether no call is begun.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.count() == 0
    }
}

pub(super) fn not_online() -> HubError {
    HubError::new(ErrorKind::DeviceNotOnline, "Timed out waiting for device to connect.")
}

pub(super) fn timed_out() -> HubError {
    HubError::new(ErrorKind::MethodTimeout, "Timed out waiting for the response from device.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use std::time::Duration;

    const T0: Timestamp = Timestamp::from_millis(1_000_000);

    fn call() -> MethodCall {
        MethodCall::new("reboot").checked(&Limits::default()).unwrap()
    }

    fn kind(ended: &Ended) -> Option<ErrorKind> {
        ended.result.as_ref().err().map(HubError::kind)
    }

    #[test]
    fn b14_without_connect_timeout_an_absent_listener_is_not_online_at_once() {
        let mut c = Correlator::default();
        let ended = c.begin(CallId(1), call(), false, T0, &Limits::default()).unwrap_err();
        assert_eq!(kind(&ended), Some(ErrorKind::DeviceNotOnline));
        assert!(c.is_idle());
    }

    #[test]
    fn b14_a_status_of_500_is_an_answer() {
        let mut c = Correlator::default();
        let d = c.begin(CallId(1), call(), true, T0, &Limits::default()).unwrap().unwrap();
        let ended = c.reply(d.reference, 500, Bytes::new(), &Limits::default()).unwrap();
        let reply = ended.result.unwrap();
        assert_eq!((reply.status, &reply.payload[..]), (500, &b"null"[..]));
        assert_eq!(c.reply(d.reference, 200, Bytes::new(), &Limits::default()), None);
    }

    #[test]
    fn a_waiting_call_is_dispatched_when_the_device_listens() {
        let mut c = Correlator::default();
        let patient = call().when_online_within(Duration::from_secs(10));
        assert_eq!(c.begin(CallId(1), patient, false, T0, &Limits::default()), Ok(None));
        assert_eq!(c.deadline(), Some(T0.after(Duration::from_secs(10))));
        let later = T0.after(Duration::from_secs(9));
        let (dispatched, over) = c.listening(later);
        assert_eq!((dispatched.len(), over), (1, vec![]));
        // The response timer starts at dispatch.
        assert_eq!(c.deadline(), Some(later.after(Duration::from_secs(30))));
        let ended = c.tick(later.after(Duration::from_secs(30)));
        assert_eq!(ended.iter().filter_map(kind).collect::<Vec<_>>(), [ErrorKind::MethodTimeout]);
    }

    /// Whether the device or the timer is first.
    #[test]
    fn a_device_that_comes_at_the_deadline_comes_too_late() {
        let ten = Duration::from_secs(10);
        for listens_first in [true, false] {
            let mut c = Correlator::default();
            let patient = call().when_online_within(ten);
            assert_eq!(c.begin(CallId(1), patient, false, T0, &Limits::default()), Ok(None));
            let mut ended = if listens_first { Vec::new() } else { c.tick(T0.after(ten)) };
            let (dispatched, over) = c.listening(T0.after(ten));
            ended.extend(over);
            assert_eq!(dispatched, []);
            assert_eq!(
                ended.iter().map(kind).collect::<Vec<_>>(),
                [Some(ErrorKind::DeviceNotOnline)]
            );
            assert!(c.is_idle());
        }
    }

    #[test]
    fn a_lost_link_ends_what_it_carried_and_nothing_else() {
        let mut c = Correlator::default();
        c.begin(CallId(1), call(), true, T0, &Limits::default()).unwrap();
        let patient = call().when_online_within(Duration::from_secs(10));
        c.begin(CallId(2), patient, false, T0, &Limits::default()).unwrap();
        let ended = c.link_lost();
        assert_eq!(ended.iter().map(|e| e.caller).collect::<Vec<_>>(), [CallId(1)]);
        assert_eq!(kind(&ended[0]), Some(ErrorKind::DeviceDisconnected));
        c.linked(Epoch(2));
        assert_eq!(c.listening(T0).0[0].reference, MethodRef(1 << 32 | 1));
    }

    #[test]
    fn who_waits_for_this_connection_only_ends_with_it() {
        let (limits, mut c) = (Limits::default(), Correlator::default());
        let patient = || call().when_online_within(Duration::from_secs(10));
        c.begin(CallId(1), patient(), false, T0, &limits).unwrap();
        let until = T0.after(Duration::from_secs(10));
        let here = Patient { caller: CallId(2), call: patient(), until, refused: None };
        c.begin_for(Waits::Here, here, false, T0, &limits).unwrap();
        let ended = c.link_lost();
        assert_eq!(ended.iter().map(|e| e.caller).collect::<Vec<_>>(), [CallId(2)]);
        assert_eq!(kind(&ended[0]), Some(ErrorKind::DeviceNotOnline));
        let holder = (NodeId::new("b").unwrap(), Epoch(1));
        let mut refused = c.take_patient(&holder);
        assert_eq!(
            refused.iter().map(|p| (p.caller, p.until)).collect::<Vec<_>>(),
            [(CallId(1), until)]
        );
        // Not to the same connection again, but to the next.
        let mut again = refused.remove(0);
        again.refused = Some(Box::new(holder.clone()));
        c.begin_for(Waits::Anywhere, again, false, T0, &limits).unwrap();
        assert_eq!(c.take_patient(&holder), []);
        assert!(c.has_patient());
        assert_eq!(c.take_patient(&(holder.0, Epoch(2))).len(), 1);
        assert!(c.is_idle() && !c.has_patient());
    }

    #[test]
    fn an_answer_that_is_no_json_is_a_bad_response() {
        let mut c = Correlator::default();
        let d = c.begin(CallId(1), call(), true, T0, &Limits::default()).unwrap().unwrap();
        let ended = c.reply(d.reference, 200, Bytes::from_static(b"{"), &Limits::default());
        assert_eq!(ended.as_ref().and_then(kind), Some(ErrorKind::BadDeviceResponse));
    }

    #[test]
    fn calls_in_flight_are_bounded() {
        let limits = Limits { methods_in_flight_max: 1, ..Limits::default() };
        let mut c = Correlator::default();
        c.begin(CallId(1), call(), true, T0, &limits).unwrap();
        let ended = c.begin(CallId(2), call(), true, T0, &limits).unwrap_err();
        assert_eq!(kind(&ended), Some(ErrorKind::TooManyMethods));
        c.cancel(CallId(1));
        assert!(c.begin(CallId(3), call(), true, T0, &limits).is_ok());
    }

    #[test]
    fn names_and_payloads_are_checked() {
        let limits = Limits::default();
        for bad in ["", " ", "a b", "a/b", "é", &"x".repeat(101)] {
            assert!(MethodCall::new(bad).checked(&limits).is_err(), "{bad:?}");
        }
        assert!(MethodCall::new("component*command").checked(&limits).is_ok());
        for c in (0..=127).map(char::from) {
            let plain = c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
            assert_eq!(MethodCall::new(&format!("a{c}")).checked(&limits).is_ok(), plain, "{c:?}");
        }
        assert!(MethodCall::new("m").with_payload("{").checked(&limits).is_err());
        assert_eq!(&MethodCall::new("m").with_payload("").payload[..], b"null");
    }
}
