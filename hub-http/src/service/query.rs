//! Twin queries.

use http::StatusCode;
use hub_core::engine::{Action, QueryPage, QueryRows};
use hub_core::security::Right;
use serde_json::Value;

use crate::call::Call;
use crate::json::identity::Object;
use crate::json::twin::TwinJson;
use crate::problem::{Code, Problem};
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, header};

/// How many rows a page has at most.
const SIZE: &str = "x-ms-max-item-count";
/// Where an answer goes on.
const CONTINUATION: &str = "x-ms-continuation";
/// What the rows are.
const ITEM_TYPE: &str = "x-ms-item-type";

const PAGE: &[Parameter] = &[
    header(SIZE, "How many rows at most; 100 if absent, never more than 1000."),
    header(CONTINUATION, "Where to go on: what this header of the page before said."),
];

pub(crate) static ROUTES: &[Route] = &[Route::new(
    Verb::Post,
    "/devices/query",
    "queryTwins",
    "Answers a twin query, page by page. The header `x-ms-continuation` is there when there are more \
     rows; `x-ms-item-type` says what they are: `Twin`, `Raw` or `DeviceJob`.",
    |call| Box::pin(query(call)),
)
.service(Right::ServiceConnect)
.takes(Content::Json("QueryRequest"))
.with(PAGE)
.gives(&[(200, "The rows of the page.", Content::List("QueryRow"))])];

async fn query(mut call: Call) -> Answer {
    // Escapes of JSON make six bytes of a character, or twelve.
    let bytes_max = call.limits().query_text_max.saturating_mul(12).saturating_add(4096);
    let body = call.read_body(bytes_max).await?;
    let text = text(&body)?;
    let size = match call.header(SIZE)? {
        None | Some("" | "-1") => None,
        Some(text) => {
            Some(text.parse::<u32>().ok().filter(|size| *size > 0).ok_or_else(|| {
                Problem::argument(format!("{SIZE} is not a whole number from 1 on"))
            })?)
        }
    };
    let continuation = call.header(CONTINUATION)?.filter(|text| !text.is_empty());
    call.allow(Action::QueryTwins).await?;
    let QueryPage { rows, continuation } = call.hub().query(&text, size, continuation).await?;
    let (kind, mut response) = match &rows {
        QueryRows::Twins(twins) => {
            let documents: Vec<_> =
                twins.iter().map(|state| TwinJson(&state.registration, &state.twin)).collect();
            ("Twin", respond::json(StatusCode::OK, &documents))
        }
        QueryRows::Values(values) => ("Raw", respond::json(StatusCode::OK, values)),
        QueryRows::Jobs(jobs) => ("DeviceJob", respond::json(StatusCode::OK, jobs)),
        _ => return Err(Problem::internal("rows of an unknown kind")),
    };
    respond::set(response.headers_mut(), ITEM_TYPE, kind);
    if let Some(continuation) = continuation {
        respond::set(response.headers_mut(), CONTINUATION, &continuation);
    }
    Ok(response)
}

/// The query of a request.
fn text(body: &[u8]) -> Result<String, Problem> {
    let absent = || Problem::new(Code::ARGUMENT_NULL, "query is missing");
    if body.is_empty() {
        return Err(absent());
    }
    let document: Value = serde_json::from_slice(body).map_err(|error| Problem::json(&error))?;
    let text = Object::of(&document, "the body")?.text("query")?.ok_or_else(absent)?;
    Ok(text.to_owned())
}
