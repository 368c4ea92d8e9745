//! Jobs as back ends read them.

use hub_core::engine::JobState;
use hub_core::job::{Statistics, Work};
use hub_core::method::MethodCall;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::identity::Text;

/// A job with its statistics.
pub(crate) struct JobJson<'a>(pub(crate) &'a JobState);

impl Serialize for JobJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let JobState { job, statistics } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("jobId", job.id.as_str())?;
        map.serialize_entry("queryCondition", &job.condition)?;
        map.serialize_entry("createdTime", &Text(job.created))?;
        map.serialize_entry("startTime", &Text(job.started().unwrap_or(job.start)))?;
        if let Some(ended) = job.ended() {
            map.serialize_entry("endTime", &Text(ended))?;
        }
        map.serialize_entry("maxExecutionTimeInSeconds", &job.max_execution.as_secs())?;
        map.serialize_entry("type", job.work.kind().name())?;
        match &job.work {
            Work::UpdateTwin(twin) => map.serialize_entry("updateTwin", twin)?,
            Work::CallMethod(call) => {
                map.serialize_entry("cloudToDeviceMethod", &CallJson(call))?
            }
            _ => {}
        }
        map.serialize_entry("status", job.status().name())?;
        if let Some(why) = job.failure() {
            map.serialize_entry("failureReason", why)?;
            map.serialize_entry("statusMessage", why)?;
        }
        map.serialize_entry("deviceJobStatistics", &StatisticsJson(statistics))?;
        map.end()
    }
}

struct CallJson<'a>(&'a MethodCall);

impl Serialize for CallJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let call = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("methodName", call.name())?;
        // Checked when the job was asked for.
        let payload = std::str::from_utf8(call.payload()).unwrap_or("null").to_owned();
        map.serialize_entry("payload", &RawValue::from_string(payload).ok())?;
        if !call.response_timeout().is_zero() {
            map.serialize_entry("responseTimeoutInSeconds", &call.response_timeout().as_secs())?;
        }
        map.serialize_entry("connectTimeoutInSeconds", &call.connect_timeout().as_secs())?;
        map.end()
    }
}

struct StatisticsJson<'a>(&'a Statistics);

impl Serialize for StatisticsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Statistics { devices, failed, succeeded, running, pending } = self.0;
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("deviceCount", devices)?;
        map.serialize_entry("failedCount", failed)?;
        map.serialize_entry("succeededCount", succeeded)?;
        map.serialize_entry("runningCount", running)?;
        map.serialize_entry("pendingCount", pending)?;
        map.end()
    }
}
