//! Calls of a device whose connection another node holds, as the node sees them that was asked.

use std::collections::BTreeMap;

use super::call::{MethodCall, MethodReply};
use super::correlator::{Ended, not_online, timed_out};
use crate::error::{ErrorKind, HubError};
use crate::id::{CallId, Epoch, NodeId};
use crate::limits::Limits;
use crate::store::ItemRef;
use crate::time::Timestamp;

/// A call that waits for its device to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patient {
    /// Who waits for it.
    pub caller: CallId,
    /// The call.
    pub call: MethodCall,
    /// How long it waits for the device to come.
    pub until: Timestamp,
    /// The connection that it was sent to and that was not there.
    pub refused: Option<Box<Holder>>,
}

/// A connection, as the session of its device names it.
pub type Holder = (NodeId, Epoch);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    at: ItemRef,
    holder: Holder,
    /// When to take it back, if it has not been found out yet whether it was taken.
    recall: Option<Timestamp>,
    until: Timestamp,
    patient: Patient,
}

/// What became of a call that did not end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It ended.
    Ended(Ended),
    /// It was not dispatched there. To be tried again, elsewhere than there.
    Again(Patient),
    /// It is none of these.
    Unknown,
}

/// Calls in the inboxes of other nodes.
///
/// | event | what ends, and how |
/// |---|---|
/// | the answer of the other node | as there |
/// | the other node does not have the device | nothing: to be tried again, elsewhere |
/// | not taken in time, and taken back | as if the other node did not have the device |
/// | not taken in time, and too late to take back | nothing: it may have been dispatched |
/// | no answer until the end | `MethodTimeout` |
///
/// Taking back is guarded by the version the call's item was pushed with, which the other node's
/// claim changes. So a call that was taken back was never dispatched, and one that was claimed may
/// have been.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Abroad {
    calls: BTreeMap<CallId, Sent>,
}

impl Abroad {
    /// A call is in the inbox of another node.
    pub fn sent(
        &mut self,
        at: ItemRef,
        holder: Holder,
        patient: Patient,
        now: Timestamp,
        limits: &Limits,
    ) {
        let wait = limits.remote_dispatch_timeout;
        let answered = patient.until.max(now).after(patient.call.response_timeout);
        let sent = Sent {
            at,
            holder,
            recall: Some(now.after(wait)),
            // The other node ends it. This is for one that dies meanwhile.
            until: answered.after(wait).after(wait),
            patient,
        };
        self.calls.insert(sent.patient.caller, sent);
    }

    /// The other node has answered.
    pub fn answered(&mut self, caller: CallId, result: Result<MethodReply, HubError>) -> Answered {
        let Some(sent) = self.calls.remove(&caller) else { return Answered::Unknown };
        match result {
            Err(error) if error.kind() == ErrorKind::DeviceNotOnline => sent.not_there(),
            result => Answered::Ended(Ended { caller, result }),
        }
    }

    /// A call was taken back: it was never dispatched.
    pub fn recalled(&mut self, caller: CallId) -> Answered {
        match self.calls.remove(&caller) {
            Some(sent) => sent.not_there(),
            None => Answered::Unknown,
        }
    }

    /// Time has passed. What is to be taken back, and what has ended.
    pub fn tick(&mut self, now: Timestamp) -> (Vec<(CallId, ItemRef)>, Vec<Ended>) {
        let (mut recalls, mut ended) = (Vec::new(), Vec::new());
        self.calls.retain(|caller, sent| {
            if sent.until <= now {
                ended.push(Ended { caller: *caller, result: Err(timed_out()) });
                return false;
            }
            if sent.recall.take_if(|recall| *recall <= now).is_some() {
                recalls.push((*caller, sent.at.clone()));
            }
            true
        });
        (recalls, ended)
    }

    /// The caller does not wait any more. What to take back, as a kindness to the device.
    pub fn cancel(&mut self, caller: CallId) -> Option<ItemRef> {
        self.calls.remove(&caller).map(|sent| sent.at)
    }

    /// When to call [`Abroad::tick`] if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.calls
            .values()
            .map(|sent| sent.recall.map_or(sent.until, |at| at.min(sent.until)))
            .min()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

impl Sent {
    /// Tried again also when nothing of its patience is left: the device may have moved while the
    /// call was on its way.
    fn not_there(self) -> Answered {
        Answered::Again(Patient { refused: Some(Box::new(self.holder)), ..self.patient })
    }
}

/// The end of a call for a device that is not there.
#[must_use]
pub fn absent(caller: CallId) -> Ended {
    Ended { caller, result: Err(not_online()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::SequenceNumber;
    use crate::store::{QueueId, Version};

    const T0: Timestamp = Timestamp::from_millis(1_000_000);

    fn later(seconds: u64) -> Timestamp {
        T0.after(Duration::from_secs(seconds))
    }

    fn item() -> ItemRef {
        let node = NodeId::new("b").unwrap();
        ItemRef::new(QueueId::inbox(&node), SequenceNumber(1), Version(1))
    }

    fn holder() -> Holder {
        (NodeId::new("b").unwrap(), Epoch(3))
    }

    /// One call that waits for a device so many seconds, and 30 for its answer.
    fn one(patience: u64) -> Abroad {
        let limits = Limits::default();
        let call = MethodCall::new("m").checked(&limits).unwrap();
        let until = later(patience);
        let patient = Patient { caller: CallId(1), call, until, refused: None };
        let mut abroad = Abroad::default();
        abroad.sent(item(), holder(), patient, T0, &limits);
        abroad
    }

    fn kind(ended: &[Ended]) -> Vec<Option<ErrorKind>> {
        ended.iter().map(|ended| ended.result.as_ref().err().map(HubError::kind)).collect()
    }

    #[test]
    fn an_answer_ends_a_call_once() {
        let mut abroad = one(0);
        let reply = MethodReply { status: 200, payload: "1".into() };
        let ended = Ended { caller: CallId(1), result: Ok(reply.clone()) };
        let answered = abroad.answered(CallId(1), Ok(reply.clone()));
        assert_eq!(answered, Answered::Ended(ended));
        assert_eq!(abroad.answered(CallId(1), Ok(reply)), Answered::Unknown);
        assert!(abroad.is_empty());
    }

    #[test]
    fn what_is_not_taken_is_taken_back_once() {
        let mut abroad = one(0);
        assert_eq!(abroad.deadline(), Some(later(5)));
        assert_eq!(abroad.tick(later(4)), (vec![], vec![]));
        assert_eq!(abroad.tick(later(5)), (vec![(CallId(1), item())], vec![]));
        assert_eq!(abroad.tick(later(6)), (vec![], vec![]));
        let Answered::Again(patient) = abroad.recalled(CallId(1)) else {
            panic!("it did not end");
        };
        assert_eq!((patient.until, patient.refused), (T0, Some(Box::new(holder()))));
    }

    #[test]
    fn what_was_taken_and_never_answered_times_out() {
        let mut abroad = one(0);
        abroad.tick(later(5));
        assert_eq!(abroad.deadline(), Some(later(40)));
        let (recalls, ended) = abroad.tick(later(40));
        assert_eq!((recalls, kind(&ended)), (vec![], vec![Some(ErrorKind::MethodTimeout)]));
    }

    #[test]
    fn a_device_that_is_not_there_is_looked_for_elsewhere() {
        let mut abroad = one(20);
        let absent = HubError::new(ErrorKind::DeviceNotOnline, "x");
        let Answered::Again(patient) = abroad.answered(CallId(1), Err(absent)) else {
            panic!("it did not end");
        };
        assert_eq!((patient.until, patient.refused), (later(20), Some(Box::new(holder()))));
    }
}
