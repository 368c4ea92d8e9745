//! The part of Azure Blob Storage's REST API that its SDKs upload and download with.
//!
//! | request | what |
//! |---|---|
//! | `PUT /{container}/{blob}`, `x-ms-blob-type: BlockBlob` | Put Blob |
//! | `PUT …?comp=block&blockid={id}` | Put Block |
//! | `PUT …?comp=blocklist` | Put Block List |
//! | `GET`, `HEAD` | Get Blob, with a range; Get Blob Properties |
//! | `DELETE` | Delete Blob |
//!
//! Every request is let in by the signature in its query, and by nothing else. Parameters of the query
//! may stand in any order, headers that are not known are ignored, and every version is served alike.

mod blob;
mod block_list;
mod body;
mod conditions;
mod problem;
mod range;
mod read;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method};
use hub_core::blob::BlobName;

use self::blob::Call;
use self::problem::Problem;
use crate::directory::Inner;
use crate::query::{Query, container_and_blob};
use crate::sas::Resource;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
const VERSION: HeaderName = HeaderName::from_static("x-ms-version");

/// The version that is answered to whoever names none.
const VERSION_DEFAULT: HeaderValue = HeaderValue::from_static("2020-12-06");

/// What a request comes to.
type Answer = Result<Response, Problem>;

/// The routes of one container.
pub(crate) fn router(inner: Arc<Inner>) -> Router {
    let path = format!("/{}/{{*blob}}", inner.account.container);
    let handler = move |request: Request| {
        let inner = inner.clone();
        async move { handle(inner, request).await }
    };
    Router::new().route(&path, axum::routing::any(handler))
}

async fn handle(inner: Arc<Inner>, request: Request) -> Response {
    let id = inner.next_request();
    let version = request.headers().get(VERSION).cloned().unwrap_or(VERSION_DEFAULT);
    let client = request.headers().get(CLIENT_REQUEST_ID).cloned();
    let mut response = match answer(inner, request).await {
        Ok(response) => response,
        Err(problem) => {
            let (status, code) = (problem.status().as_u16(), problem.code());
            tracing::debug!(request = id, status, code, "a request for a file was refused");
            problem.into_response(&id)
        }
    };
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(VERSION, version);
    headers.extend(client.map(|id| (CLIENT_REQUEST_ID, id)));
    response
}

async fn answer(inner: Arc<Inner>, request: Request) -> Answer {
    let (parts, mut body) = request.into_parts();
    match admit(inner, &parts) {
        Ok(call) => call.answer(body).await,
        Err(problem) => {
            body::drain(&mut body).await;
            Err(problem)
        }
    }
}

/// Finds out which blob is meant, and what the signature allows.
fn admit(inner: Arc<Inner>, parts: &http::request::Parts) -> Result<Call, Problem> {
    let uri = || Problem::new(400, "InvalidUri", "the path is not of the form /container/blob");
    let (container, blob) = container_and_blob(parts.uri.path()).ok_or_else(uri)?;
    if container != inner.account.container.as_str() {
        let message = "the specified container does not exist";
        return Err(Problem::new(404, "ContainerNotFound", message));
    }
    let blob = BlobName::parse(&blob)
        .map_err(|error| Problem::new(400, "InvalidResourceName", error.to_string()))?;
    let query = parts.uri.query().unwrap_or("").to_owned();
    let rights =
        inner.account.verify(Query(&query), Resource::Blob(blob.as_str()), inner.clock.now())?;
    Ok(Call {
        inner,
        blob,
        query,
        rights,
        method: parts.method.clone(),
        headers: parts.headers.clone(),
    })
}

/// An answer with this status and nothing in it.
fn empty(status: http::StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Whether a method is one of those that write.
fn writes(method: &Method) -> bool {
    *method == Method::PUT || *method == Method::DELETE
}
