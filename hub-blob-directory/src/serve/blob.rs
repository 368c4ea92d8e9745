//! One request, once it is known which blob it is for and what it may.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hub_core::blob::BlobName;

use super::problem::Problem;
use super::{Answer, body, empty};
use crate::directory::Inner;
use crate::disk::{NotPut, Stored};
use crate::query::Query;
use crate::sas::Rights;

pub(super) struct Call {
    pub(super) inner: Arc<Inner>,
    pub(super) blob: BlobName,
    pub(super) query: String,
    pub(super) rights: Rights,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
}

impl Call {
    pub(super) fn query(&self) -> Query<'_> {
        Query(&self.query)
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Result<Option<&str>, Problem> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        value.to_str().map(|text| Some(text.trim())).map_err(|_| Problem::header_value(name))
    }

    pub(super) async fn answer(self, mut body: Body) -> Answer {
        let comp = self.query().get("comp").map(std::borrow::Cow::into_owned);
        // Taken for an upload, it would leave an empty file and say that all is well.
        if self.headers.contains_key("x-ms-copy-source") {
            let message = "files are not copied from other addresses";
            return Err(Problem::new(400, "UnsupportedHeader", message));
        }
        let wanted = match (&self.method, comp.as_deref()) {
            (method, None) if *method == Method::GET || *method == Method::HEAD => {
                return self.read().await;
            }
            (method, None) if *method == Method::DELETE => return self.delete().await,
            (method, None) if *method == Method::PUT => self.put_blob(&mut body).await,
            (method, Some("block")) if *method == Method::PUT => self.put_block(&mut body).await,
            (method, Some("blocklist")) if *method == Method::PUT => {
                self.put_block_list(&mut body).await
            }
            (method, Some(_)) if super::writes(method) || *method == Method::GET => {
                Err(Problem::query_value("comp"))
            }
            _ => Err(Problem::verb()),
        };
        if let Err(problem) = &wanted
            && problem.status() != StatusCode::REQUEST_TIMEOUT
        {
            body::drain(&mut body).await;
        }
        wanted
    }

    /// Whether the signature allows it.
    pub(super) fn require(&self, allowed: bool) -> Result<(), Problem> {
        let message = "the signature does not allow this";
        let refused = || Problem::new(403, "AuthorizationPermissionMismatch", message);
        if allowed { Ok(()) } else { Err(refused()) }
    }

    async fn delete(self) -> Answer {
        self.require(self.rights.delete)?;
        let conditions = super::conditions::Conditions::parse(&self.headers)?;
        let (inner, blob) = (self.inner, self.blob);
        let found = blocking(move || {
            inner.disk.delete(&blob, |there| match there {
                Some(_) => conditions.for_writing(there),
                None => Ok(()),
            })
        });
        if !found.await?? {
            return Err(Problem::not_found());
        }
        Ok(empty(StatusCode::ACCEPTED))
    }
}

impl From<NotPut<Problem>> for Problem {
    fn from(not: NotPut<Problem>) -> Self {
        match not {
            NotPut::Condition(problem) => problem,
            NotPut::Occupied => {
                let message = "the blob's name is one of a folder, or leads through a blob";
                Problem::new(409, "ResourceTypeMismatch", message)
            }
            NotPut::Io(error) => error.into(),
        }
    }
}

/// Runs what blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let gone = |_| Problem::new(500, "InternalError", "the work was given up");
    tokio::task::spawn_blocking(work).await.map_err(gone)
}

/// Names the version of a blob.
pub(super) fn set_version(headers: &mut HeaderMap, blob: &Stored) {
    set(headers, ETAG, &blob.tag.to_string());
    set(headers, LAST_MODIFIED, &httpdate::fmt_http_date(blob.modified));
}

/// Sets a header. A value that no header can have is left out: none of ours is such.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// What was written: version and status.
pub(super) fn created(blob: &Stored) -> Response {
    let mut response = empty(StatusCode::CREATED);
    set_version(response.headers_mut(), blob);
    encrypted(response.headers_mut());
    response
}

/// Whether the disk is encrypted is not known here.
pub(super) fn encrypted(headers: &mut HeaderMap) {
    let name = HeaderName::from_static("x-ms-request-server-encrypted");
    headers.insert(name, HeaderValue::from_static("false"));
}
