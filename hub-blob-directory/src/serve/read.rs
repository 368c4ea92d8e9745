//! Get Blob and Get Blob Properties.

use std::fs::File;
use std::ops::Range;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use md5::{Digest as _, Md5};

use super::Answer;
use super::blob::{Call, blocking, set, set_version};
use super::conditions::Conditions;
use super::problem::Problem;
use super::range::resolve;
use crate::properties::Properties;
use crate::reader::read_at;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Largest range whose MD5 is computed for a client that asks for it. Azure's.
const RANGE_MD5_MAX: u64 = 4 * 1024 * 1024;

impl Call {
    pub(super) async fn read(&self) -> Answer {
        self.require(self.rights.read)?;
        let conditions = Conditions::parse(&self.headers)?;
        let (inner, blob) = (self.inner.clone(), self.blob.clone());
        let found = blocking(move || inner.disk.open_with_properties(&blob)).await??;
        let (stored, properties) = found.ok_or_else(Problem::not_found)?;
        conditions.for_reading(&stored)?;
        let head = self.method == Method::HEAD;
        let asked = match self.header("x-ms-range")? {
            None => self.header("range")?,
            given => given,
        };
        let range = match asked {
            // The properties are those of the blob, whatever part is asked for.
            Some(text) if !head => Some(resolve(text, stored.size)?),
            _ => None,
        };
        let bytes = range.clone().unwrap_or(0..stored.size);
        let length = bytes.end - bytes.start;
        let md5 = match &range {
            Some(range) if self.wants_md5()? => Some(self.range_md5(&stored.file, range).await?),
            _ => None,
        };
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        set_version(headers, &stored);
        describe(headers, &properties, range.is_some());
        set(headers, CONTENT_LENGTH, &length.to_string());
        if let Some(md5) = md5 {
            set(headers, CONTENT_MD5, &md5);
        }
        if let Some(Range { start, end }) = range {
            let whole = stored.size;
            set(headers, CONTENT_RANGE, &format!("bytes {start}-{}/{whole}", end - 1));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        if !head {
            *response.body_mut() = stream(stored.file, bytes);
        }
        Ok(response)
    }

    fn wants_md5(&self) -> Result<bool, Problem> {
        let wanted = self.header("x-ms-range-get-content-md5")?;
        Ok(wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case("true")))
    }

    async fn range_md5(&self, file: &File, range: &Range<u64>) -> Result<String, Problem> {
        if range.end - range.start > RANGE_MD5_MAX {
            let message = "the MD5 of a range is computed up to 4 MiB";
            return Err(Problem::new(400, "OutOfRangeInput", message));
        }
        let (file, mut range) = (file.try_clone()?, range.clone());
        let md5 = blocking(move || {
            let mut md5 = Md5::new();
            while !range.is_empty() {
                let piece = read_at(&file, &range)?;
                if piece.is_empty() {
                    break;
                }
                range.start += u64::try_from(piece.len()).unwrap_or(u64::MAX);
                md5.update(&piece);
            }
            Ok::<_, std::io::Error>(md5.finalize())
        });
        Ok(BASE64_STANDARD.encode(md5.await??))
    }
}

/// Says what is known of a blob.
fn describe(headers: &mut HeaderMap, properties: &Properties, part: bool) {
    let fixed = |text| HeaderValue::from_static(text);
    headers.insert(ACCEPT_RANGES, fixed("bytes"));
    headers.insert(HeaderName::from_static("x-ms-blob-type"), fixed("BlockBlob"));
    headers.insert(HeaderName::from_static("x-ms-lease-state"), fixed("available"));
    headers.insert(HeaderName::from_static("x-ms-lease-status"), fixed("unlocked"));
    headers.insert(HeaderName::from_static("x-ms-server-encrypted"), fixed("false"));
    headers.insert(CONTENT_TYPE, fixed("application/octet-stream"));
    // Devices say what type a blob has. A browser that is led here must not run it in the hub's name.
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, fixed("default-src 'none'; sandbox"));
    for (name, value) in &properties.headers {
        if let Ok(name) = HeaderName::try_from(name.as_str()) {
            set(headers, name, value);
        }
    }
    for (name, value) in &properties.metadata {
        if let Ok(name) = HeaderName::try_from(format!("x-ms-meta-{name}")) {
            set(headers, name, value);
        }
    }
    if let Some(md5) = &properties.md5 {
        let whole = HeaderName::from_static("x-ms-blob-content-md5");
        set(headers, if part { whole } else { CONTENT_MD5 }, md5);
    }
}

/// The bytes of a range, read as the client takes them.
fn stream(file: File, range: Range<u64>) -> Body {
    let pieces = futures::stream::try_unfold((file, range), |(file, mut range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let piece = read_at(&file, &range)?;
            if piece.is_empty() {
                // Somebody else cut the file: the client must not take it for whole.
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            }
            range.start += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            Ok((piece, (file, range)))
        });
        let (piece, rest): (Bytes, _) = read.await.map_err(std::io::Error::other)??;
        Ok::<_, std::io::Error>(Some((piece, rest)))
    });
    Body::from_stream(pieces)
}
