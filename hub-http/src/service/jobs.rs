//! Jobs over many devices.

use std::time::Duration;

use http::StatusCode;
use hub_core::engine::{Action, JobFilter, JobState};
use hub_core::id::JobId;
use hub_core::job::{JobKind, JobSpec, JobStatus, Work};
use hub_core::method::MethodCall;
use hub_core::security::Right;
use hub_core::time::Timestamp;
use serde_json::Value;

use crate::call::Call;
use crate::json::identity::Object;
use crate::json::job::JobJson;
use crate::problem::{Code, Problem};
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, header, query};

/// How many jobs a page has at most.
const SIZE: &str = "x-ms-max-item-count";
/// Where a list goes on.
const CONTINUATION: &str = "x-ms-continuation";

const LIST: &[Parameter] = &[
    query("jobType", "Only jobs of this type: `scheduleUpdateTwin` or `scheduleDeviceMethod`."),
    query(
        "jobStatus",
        "Only jobs in this state: `queued`, `running`, `completed`, `failed`, `cancelled`.",
    ),
    header(SIZE, "How many jobs at most; 100 if absent, never more than 1000."),
    header(CONTINUATION, "Where to go on: what this header of the page before said."),
];

const JOB: &[(u16, &str, Content)] = &[(200, "The job.", Content::Json("Job"))];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Get,
        "/jobs/v2/query",
        "listJobs",
        "Lists jobs, page by page, in the order of their ids. The header `x-ms-continuation` is there \
         when there are more.",
        |call| Box::pin(list(call)),
    )
    .service(Right::ServiceConnect)
    .with(LIST)
    .gives(&[(200, "The jobs of the page.", Content::List("Job"))]),
    Route::new(
        Verb::Put,
        "/jobs/v2/{jobId}",
        "createJob",
        "Asks for a job: to write the twins of many devices, or to call a direct method of each.",
        |call| Box::pin(create(call)),
    )
    .service(Right::ServiceConnect)
    .takes(Content::Json("JobRequest"))
    .gives(JOB),
    Route::new(
        Verb::Get,
        "/jobs/v2/{jobId}",
        "getJob",
        "Reads a job and how far it has come.",
        |call| Box::pin(get(call)),
    )
    .service(Right::ServiceConnect)
    .gives(JOB),
    Route::new(
        Verb::Post,
        "/jobs/v2/{jobId}/cancel",
        "cancelJob",
        "Cancels a job: no further device is begun. One that is over stays as it is.",
        |call| Box::pin(cancel(call)),
    )
    .service(Right::ServiceConnect)
    .gives(JOB),
];

fn id(call: &Call) -> Result<JobId, Problem> {
    let text =
        call.values.get("jobId").ok_or_else(|| Problem::internal("a route lacks a variable"))?;
    JobId::new(text).map_err(|error| Problem::argument(error.to_string()))
}

fn answer(state: &JobState) -> Answer {
    Ok(respond::json(StatusCode::OK, &JobJson(state)))
}

async fn create(mut call: Call) -> Answer {
    let id = id(&call)?;
    let limits = call.limits();
    // Escapes of JSON make six bytes of a character, or twelve.
    let twin = limits.tags_bytes_max.saturating_add(limits.desired_bytes_max).saturating_mul(4);
    let condition = limits.query_text_max.saturating_mul(12);
    let bytes_max = limits.method_payload_bytes_max.max(twin).saturating_add(condition);
    let body = call.read_body(bytes_max.saturating_add(4096)).await?;
    let document: Value = serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
    let spec = spec(&call, id, Object::of(&document, "the body")?)?;
    call.allow(Action::WriteJob(&spec.id)).await?;
    answer(&call.hub().jobs().create(spec).await?)
}

/// The job that a request asks for.
fn spec(call: &Call, id: JobId, request: Object<'_>) -> Result<JobSpec, Problem> {
    let needed =
        |name: &'static str| Problem::new(Code::ARGUMENT_NULL, format!("{name} is missing"));
    if request.text("jobId")?.is_some_and(|given| given != id.as_str()) {
        return Err(Problem::argument("the body is about another job than the path"));
    }
    let kind = request.text("type")?.ok_or_else(|| needed("type"))?;
    let kind = kind_of(kind).ok_or_else(|| Problem::argument("type is unknown"))?;
    let work = match kind {
        JobKind::UpdateTwin => {
            let twin = request.get("updateTwin").ok_or_else(|| needed("updateTwin"))?;
            Object::of(twin, "updateTwin")?;
            Work::UpdateTwin(twin.clone())
        }
        JobKind::CallMethod => {
            let method = request
                .object("cloudToDeviceMethod")?
                .ok_or_else(|| needed("cloudToDeviceMethod"))?;
            Work::CallMethod(method_call(call, method)?)
        }
        _ => return Err(Problem::internal("a job of an unknown kind")),
    };
    let condition = request.text("queryCondition")?.ok_or_else(|| needed("queryCondition"))?;
    let mut spec = JobSpec::new(id, work, condition);
    if let Some(text) = request.text("startTime")?.filter(|text| !text.is_empty()) {
        let start = Timestamp::parse(text)
            .ok_or_else(|| Problem::argument("startTime is not a time of ISO 8601"))?;
        spec = spec.starting(start);
    }
    if let Some(seconds) = seconds(request, "maxExecutionTimeInSeconds")? {
        spec = spec.lasting(seconds);
    }
    Ok(spec)
}

fn seconds(document: Object<'_>, name: &str) -> Result<Option<Duration>, Problem> {
    match document.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
            None => Err(Problem::argument(format!("{name} is not a whole number of seconds"))),
        },
    }
}

fn method_call(call: &Call, method: Object<'_>) -> Result<MethodCall, Problem> {
    let limits = call.limits();
    let name = method
        .text("methodName")?
        .ok_or_else(|| Problem::new(Code::ARGUMENT_NULL, "methodName is missing"))?;
    let mut request = MethodCall::new(name);
    if let Some(payload) = method.get("payload") {
        request = request.with_payload(payload.to_string());
    }
    for (name, min, max) in [
        (
            "responseTimeoutInSeconds",
            limits.method_response_timeout_min,
            limits.method_response_timeout_max,
        ),
        ("connectTimeoutInSeconds", Duration::ZERO, limits.method_connect_timeout_max),
    ] {
        let Some(wait) = seconds(method, name)? else { continue };
        if !(min..=max).contains(&wait) {
            let (min, max) = (min.as_secs(), max.as_secs());
            return Err(Problem::argument(format!("{name} must be within [{min}; {max}].")));
        }
        request = match name {
            "connectTimeoutInSeconds" => request.when_online_within(wait),
            _ => request.with_response_timeout(wait),
        };
    }
    Ok(request)
}

/// Also as a preview of the service spelled them.
fn kind_of(word: &str) -> Option<JobKind> {
    let old = [
        ("scheduleTwinUpdate", JobKind::UpdateTwin),
        ("scheduleDirectRequest", JobKind::CallMethod),
    ];
    let names = JobKind::ALL.into_iter().map(|kind| (kind.name(), kind)).chain(old);
    names.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, kind)| kind)
}

/// Also by the words for the same that clients know.
fn status_of(word: &str) -> Option<JobStatus> {
    let same = [("enqueued", JobStatus::Queued), ("scheduled", JobStatus::Queued)];
    let names = JobStatus::ALL.into_iter().map(|status| (status.name(), status)).chain(same);
    names.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, status)| status)
}

async fn get(call: Call) -> Answer {
    let id = id(&call)?;
    call.allow(Action::ReadJobs).await?;
    answer(&call.hub().jobs().get(&id).await?)
}

async fn cancel(call: Call) -> Answer {
    let id = id(&call)?;
    call.allow(Action::WriteJob(&id)).await?;
    answer(&call.hub().jobs().cancel(&id).await?)
}

async fn list(call: Call) -> Answer {
    let word = |name: &str| call.query().get(name).filter(|word| !word.is_empty());
    let unknown = |name: &str| Problem::argument(format!("{name} is unknown"));
    let kind = word("jobType").map(|word| kind_of(&word).ok_or_else(|| unknown("jobType")));
    let status = word("jobStatus").map(|word| status_of(&word).ok_or_else(|| unknown("jobStatus")));
    let filter = JobFilter { kind: kind.transpose()?, status: status.transpose()? };
    let size = match call.header(SIZE)? {
        None | Some("" | "-1") => None,
        Some(text) => {
            Some(text.parse::<u32>().ok().filter(|size| *size > 0).ok_or_else(|| {
                Problem::argument(format!("{SIZE} is not a whole number from 1 on"))
            })?)
        }
    };
    let after = call.header(CONTINUATION)?.filter(|text| !text.is_empty());
    let after = after.map(JobId::new).transpose();
    let after =
        after.map_err(|_| Problem::argument("the continuation does not belong to this list"))?;
    call.allow(Action::ReadJobs).await?;
    let page = call.hub().jobs().list(filter, size, after.as_ref()).await?;
    let documents: Vec<JobJson<'_>> = page.jobs.iter().map(JobJson).collect();
    let mut response = respond::json(StatusCode::OK, &documents);
    respond::set(response.headers_mut(), "x-ms-item-type", "JobResponse");
    if let Some(next) = page.continuation {
        respond::set(response.headers_mut(), CONTINUATION, next.as_str());
    }
    Ok(response)
}
