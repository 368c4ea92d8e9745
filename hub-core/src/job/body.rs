//! Jobs as the store keeps them: JSON objects with a format number. Times are milliseconds.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::spec::Work;
use super::state::{End, Finding, Job, Phase};
use crate::id::JobId;
use crate::method::MethodCall;
use crate::time::Timestamp;

const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Body {
    v: u8,
    id: String,
    work: StoredWork,
    condition: String,
    created: u64,
    start: u64,
    max_execution: u64,
    phase: StoredPhase,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum StoredWork {
    UpdateTwin { twin: Value },
    CallMethod { name: String, payload: String, response: u64, connect: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase")]
enum StoredPhase {
    Queued,
    Running {
        started: u64,
        found: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    Completed {
        started: u64,
        ended: u64,
    },
    Failed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<u64>,
        ended: u64,
        why: String,
    },
    Cancelled {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<u64>,
        ended: u64,
    },
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Job {
    /// The body for the store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let work = match &self.work {
            Work::UpdateTwin(twin) => StoredWork::UpdateTwin { twin: twin.clone() },
            Work::CallMethod(call) => StoredWork::CallMethod {
                name: call.name.to_string(),
                payload: String::from_utf8_lossy(&call.payload).into_owned(),
                response: millis(call.response_timeout),
                connect: millis(call.connect_timeout),
            },
        };
        let phase = match &self.phase {
            Phase::Queued => StoredPhase::Queued,
            Phase::Running { started, finding } => StoredPhase::Running {
                started: started.as_millis(),
                found: *finding == Finding::Complete,
                next: match finding {
                    Finding::Before(next) => next.clone(),
                    Finding::Complete => None,
                },
            },
            Phase::Ended { started, ended, end } => {
                let (started, ended) = (started.map(Timestamp::as_millis), ended.as_millis());
                match end {
                    End::Completed => {
                        StoredPhase::Completed { started: started.unwrap_or(ended), ended }
                    }
                    End::Failed(why) => StoredPhase::Failed { started, ended, why: why.clone() },
                    End::Cancelled => StoredPhase::Cancelled { started, ended },
                }
            }
        };
        let body = Body {
            v: FORMAT,
            id: self.id.as_str().to_owned(),
            work,
            condition: self.condition.clone(),
            created: self.created.as_millis(),
            start: self.start.as_millis(),
            max_execution: millis(self.max_execution),
            phase,
        };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads a body from the store. `None` if it is none of this format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        let time = Timestamp::from_millis;
        let phase = match body.phase {
            StoredPhase::Queued => Phase::Queued,
            StoredPhase::Running { started, found, next } => Phase::Running {
                started: time(started),
                finding: if found { Finding::Complete } else { Finding::Before(next) },
            },
            StoredPhase::Completed { started, ended } => Phase::Ended {
                started: Some(time(started)),
                ended: time(ended),
                end: End::Completed,
            },
            StoredPhase::Failed { started, ended, why } => Phase::Ended {
                started: started.map(time),
                ended: time(ended),
                end: End::Failed(why),
            },
            StoredPhase::Cancelled { started, ended } => {
                Phase::Ended { started: started.map(time), ended: time(ended), end: End::Cancelled }
            }
        };
        Some(Self {
            id: JobId::new(&body.id).ok()?,
            work: match body.work {
                StoredWork::UpdateTwin { twin } => Work::UpdateTwin(twin),
                StoredWork::CallMethod { name, payload, response, connect } => Work::CallMethod(
                    MethodCall::new(&name)
                        .with_payload(payload)
                        .with_response_timeout(Duration::from_millis(response))
                        .when_online_within(Duration::from_millis(connect)),
                ),
            },
            condition: body.condition,
            created: time(body.created),
            start: time(body.start),
            max_execution: Duration::from_millis(body.max_execution),
            phase,
        })
    }
}
