//! Put Blob and Put Block.

use std::collections::BTreeMap;

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CONTENT_LENGTH, HeaderName};
use tokio::sync::OwnedSemaphorePermit;

use super::blob::{Call, blocking, created, encrypted, set};
use super::body::{Checksums, Received, receive};
use super::conditions::Conditions;
use super::problem::Problem;
use super::{Answer, empty};
use crate::disk::{NotStaged, StageLimits};
use crate::properties::{HEADERS, Properties};

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const CONTENT_CRC64: HeaderName = HeaderName::from_static("x-ms-content-crc64");

/// Most bytes of a blob's metadata, names and values.
const METADATA_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of a block's id, decoded.
const BLOCK_ID_BYTES_MAX: usize = 64;

/// What the client says its bytes come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) md5: Option<[u8; 16]>,
    pub(super) crc64: Option<[u8; 8]>,
}

impl Announced {
    pub(super) fn check(&self, sums: &Checksums) -> Result<(), Problem> {
        if self.md5.is_some() && self.md5 != sums.md5 {
            let message = "the MD5 in the header is not the one of the body";
            return Err(Problem::new(400, "Md5Mismatch", message));
        }
        if self.crc64.is_some_and(|crc64| crc64 != sums.crc64) {
            let message = "the CRC64 in the header is not the one of the body";
            return Err(Problem::new(400, "Crc64Mismatch", message));
        }
        Ok(())
    }
}

impl Call {
    /// The length that the client announced, at most so many bytes.
    pub(super) fn length(&self, max: u64) -> Result<u64, Problem> {
        let Some(text) = self.header(CONTENT_LENGTH.as_str())? else {
            let message = "the length of the body must be announced";
            return Err(Problem::new(411, "MissingContentLengthHeader", message));
        };
        let length = text.parse().map_err(|_| Problem::header_value("Content-Length"))?;
        if length > max { Err(Problem::too_large(max)) } else { Ok(length) }
    }

    pub(super) fn announced(&self) -> Result<Announced, Problem> {
        let crc64 = decoded(self.header(CONTENT_CRC64.as_str())?);
        Ok(Announced {
            md5: self.md5(CONTENT_MD5.as_str())?,
            crc64: crc64.map_err(|()| Problem::header_value(CONTENT_CRC64.as_str()))?,
        })
    }

    pub(super) fn md5(&self, name: &str) -> Result<Option<[u8; 16]>, Problem> {
        let md5 = decoded(self.header(name)?);
        md5.map_err(|()| Problem::new(400, "InvalidMd5", format!("{name} is no MD5 in base64")))
    }

    /// The conditions of a write. Who may only create is held to that.
    pub(super) fn write_conditions(&self) -> Result<Conditions, Problem> {
        self.require(self.rights.write || self.rights.create)?;
        let conditions = Conditions::parse(&self.headers)?;
        Ok(if self.rights.write { conditions } else { conditions.exclusive() })
    }

    /// A place among the writes that run at once.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.inner.writes.clone().try_acquire_owned().map_err(|_| Problem::busy())
    }

    /// What the client wants to be known of the blob. `Content-Type` is the blob's own with Put
    /// Blob, and that of the list with Put Block List.
    pub(super) fn properties(&self, of_the_body: bool) -> Result<Properties, Problem> {
        let mut headers = BTreeMap::new();
        for name in HEADERS {
            let given = match self.header(&format!("x-ms-blob-{name}"))? {
                None if of_the_body && name != "cache-control" && name != "content-disposition" => {
                    self.header(name)?
                }
                given => given,
            };
            headers.extend(given.map(|value| (name.to_owned(), value.to_owned())));
        }
        let mut metadata = BTreeMap::new();
        let mut bytes = 0;
        for name in self.headers.keys() {
            let Some(own) = name.as_str().strip_prefix("x-ms-meta-") else { continue };
            let value = self.header(name.as_str())?.unwrap_or("");
            bytes += own.len() + value.len();
            metadata.insert(own.to_owned(), value.to_owned());
        }
        if bytes > METADATA_BYTES_MAX {
            let message = format!("the metadata has more than {METADATA_BYTES_MAX} bytes");
            return Err(Problem::new(400, "MetadataTooLarge", message));
        }
        Ok(Properties { headers, metadata, md5: None })
    }

    /// Receives the body, within the time that a request may take.
    async fn receive(&self, body: &mut Body, length: u64, md5: bool) -> Result<Received, Problem> {
        let within = self.inner.config.request_timeout;
        let receiving = receive(&self.inner, body, length, md5);
        let late = |_| Problem::new(408, "RequestTimeout", "the body did not come in time");
        tokio::time::timeout(within, receiving).await.map_err(late)?
    }

    pub(super) async fn put_blob(&self, body: &mut Body) -> Answer {
        let conditions = self.write_conditions()?;
        match self.header("x-ms-blob-type")? {
            Some("BlockBlob") => {}
            Some(_) => {
                let message = "only block blobs are served";
                return Err(Problem::new(400, "InvalidHeaderValue", message));
            }
            None => {
                let message = "the header x-ms-blob-type is missing";
                return Err(Problem::new(400, "MissingRequiredHeader", message));
            }
        }
        let length = self.length(self.inner.config.blob_bytes_max)?;
        let announced = self.announced()?;
        let wanted = self.md5("x-ms-blob-content-md5")?;
        let mut properties = self.properties(true)?;
        // The client need not send what cannot be written anyway.
        let (inner, blob, early) = (self.inner.clone(), self.blob.clone(), conditions.clone());
        blocking(move || early.for_writing(inner.disk.open_blob(&blob)?.as_ref())).await??;
        let place = self.place()?;
        let received = self.receive(body, length, true).await?;
        announced.check(&received.checksums)?;
        Announced { md5: wanted, crc64: None }.check(&received.checksums)?;
        let md5 = received.checksums.md5.map(|md5| BASE64_STANDARD.encode(md5));
        properties.md5.clone_from(&md5);
        let (inner, blob) = (self.inner.clone(), self.blob.clone());
        let stored = blocking(move || {
            // Held until it is written, also if nobody waits for that any more.
            let _place = place;
            let exclusive = conditions.is_exclusive();
            let put =
                inner.disk.put(&blob, received.new, &properties, &[], exclusive, |there| {
                    conditions.for_writing(there)
                })?;
            inner.disk.drop_staged(&blob)?;
            Ok::<_, Problem>(put)
        });
        let mut response = created(&stored.await??);
        let headers = response.headers_mut();
        set(headers, CONTENT_MD5, &md5.unwrap_or_default());
        set(headers, CONTENT_CRC64, &BASE64_STANDARD.encode(received.checksums.crc64));
        Ok(response)
    }

    pub(super) async fn put_block(&self, body: &mut Body) -> Answer {
        self.require(self.rights.write || self.rights.create)?;
        let id = self.block_id()?;
        let config = &self.inner.config;
        let length = self.length(config.block_bytes_max)?;
        let announced = self.announced()?;
        let limits =
            StageLimits { blocks_max: config.staged_blocks_max, bytes_max: config.blob_bytes_max };
        // The client need not send what has no room anyway. What counts is looked for again when the
        // block is staged: by then others may have come.
        let (inner, blob) = (self.inner.clone(), self.blob.clone());
        let staged = blocking(move || inner.disk.staged(&blob)).await??;
        if staged.blocks >= limits.blocks_max {
            return Err(self.not_staged(NotStaged::Blocks));
        }
        if staged.bytes.saturating_add(length) > limits.bytes_max {
            return Err(self.not_staged(NotStaged::Bytes));
        }
        let place = self.place()?;
        let received = self.receive(body, length, announced.md5.is_some()).await?;
        announced.check(&received.checksums)?;
        let (inner, blob) = (self.inner.clone(), self.blob.clone());
        let staged = blocking(move || {
            let _place = place;
            inner.disk.stage(&blob, &id, received.new, limits)
        });
        staged.await?.map_err(|not| self.not_staged(not))?;
        let mut response = empty(http::StatusCode::CREATED);
        let headers = response.headers_mut();
        match received.checksums.md5 {
            Some(md5) => set(headers, CONTENT_MD5, &BASE64_STANDARD.encode(md5)),
            None => set(headers, CONTENT_CRC64, &BASE64_STANDARD.encode(received.checksums.crc64)),
        }
        encrypted(headers);
        Ok(response)
    }

    fn not_staged(&self, not: NotStaged) -> Problem {
        let config = &self.inner.config;
        match not {
            NotStaged::Blocks => {
                let message = format!("{} blocks wait for a list", config.staged_blocks_max);
                Problem::new(409, "BlockCountExceedsLimit", message)
            }
            NotStaged::Bytes => Problem::too_large(config.blob_bytes_max),
            NotStaged::Io(error) => error.into(),
        }
    }

    fn block_id(&self) -> Result<Vec<u8>, Problem> {
        let Some(text) = self.query().get("blockid") else {
            let message = "the query parameter blockid is missing";
            return Err(Problem::new(400, "MissingRequiredQueryParameter", message));
        };
        block_id(&text).ok_or_else(|| Problem::query_value("blockid"))
    }
}

/// The bytes of a block's id: base64 of 1 to 64 bytes.
pub(super) fn block_id(text: &str) -> Option<Vec<u8>> {
    let id = BASE64_STANDARD.decode(text).ok()?;
    (1..=BLOCK_ID_BYTES_MAX).contains(&id.len()).then_some(id)
}

/// So many bytes in base64, if there is something.
fn decoded<const N: usize>(text: Option<&str>) -> Result<Option<[u8; N]>, ()> {
    let Some(text) = text else { return Ok(None) };
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| ())?;
    bytes.try_into().map(Some).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_base64_of_one_to_64_bytes() {
        assert_eq!(block_id("YQ=="), Some(b"a".to_vec()));
        assert_eq!(block_id(&BASE64_STANDARD.encode([1; 64])), Some(vec![1; 64]));
        for bad in ["", "=", "a", "Y Q", &BASE64_STANDARD.encode([1; 65])] {
            assert_eq!(block_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn checksums_are_those_that_azure_computes() {
        let mut sums = super::super::body::Summing::new(true);
        sums.update(b"123456");
        sums.update(b"789");
        let sums = sums.finish();
        // The check value of CRC-64/NVME, and of MD5 for the same text.
        assert_eq!(u64::from_le_bytes(sums.crc64), 0xae8b_1486_0a79_9888);
        let md5 = BASE64_STANDARD.encode(sums.md5.unwrap());
        assert_eq!(md5, "JfnnlDI7RTiF9RgfG2JNCw==");
    }
}
