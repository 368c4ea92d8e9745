//! Errors as Azure Storage answers them: a status, a code in a header, and both in XML.

use std::borrow::Cow;
use std::io;

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::sas::Denied;

pub(super) const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.into(), header: None }
    }

    pub(super) fn header_value(name: &str) -> Self {
        Self::new(400, "InvalidHeaderValue", format!("the header {name} has no valid value"))
    }

    pub(super) fn query_value(name: &str) -> Self {
        let message = format!("the query parameter {name} has no valid value");
        Self::new(400, "InvalidQueryParameterValue", message)
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "BlobNotFound", "the specified blob does not exist")
    }

    pub(super) fn too_large(max: u64) -> Self {
        let message = format!("the body is larger than {max} bytes");
        Self::new(413, "RequestBodyTooLarge", message)
    }

    pub(super) fn busy() -> Self {
        let mut problem = Self::new(503, "ServerBusy", "as many requests run as may; try again");
        problem.header = Some((RETRY_AFTER, HeaderValue::from_static("1")));
        problem
    }

    pub(super) fn verb() -> Self {
        let mut problem = Self::new(405, "UnsupportedHttpVerb", "the resource has no such method");
        problem.header = Some((ALLOW, HeaderValue::from_static("GET, HEAD, PUT, DELETE")));
        problem
    }

    pub(super) fn range(size: u64) -> Self {
        let mut problem = Self::new(416, "InvalidRange", "the range is not one of the blob");
        let value = HeaderValue::try_from(format!("bytes */{size}")).ok();
        problem.header = value.map(|value| (http::header::CONTENT_RANGE, value));
        problem
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn into_response(self, request: &str) -> Response {
        // A condition that a reader's copy meets is an answer without a body.
        let body = if self.status == StatusCode::NOT_MODIFIED {
            Body::empty()
        } else {
            Body::from(format!(
                "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{}</Code>\
                 <Message>{}\nRequestId:{request}</Message></Error>",
                self.code,
                quick_xml::escape::escape(&*self.message)
            ))
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        headers.insert(ERROR_CODE, HeaderValue::from_static(self.code));
        headers.extend(self.header);
        response
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let (status, code) = match denied {
            Denied::Missing => (401, "NoAuthenticationInformation"),
            _ => (403, "AuthenticationFailed"),
        };
        Self::new(status, code, denied.to_string())
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                tracing::error!(%error, "the directory of files has no room");
                Self::new(507, "InsufficientAccountStorage", "there is no room for the blob")
            }
            _ => {
                tracing::error!(%error, "the directory of files failed");
                Self::new(500, "InternalError", "the directory of files failed")
            }
        }
    }
}
