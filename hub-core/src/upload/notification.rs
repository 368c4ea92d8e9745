//! What back ends are told of an upload.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::blob::BlobName;
use crate::time::Timestamp;

/// A device has uploaded a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNotification {
    /// The blob. Its first segment is the device.
    pub blob: BlobName,
    /// The blob's URL, without any right to it.
    pub url: String,
    /// How many bytes it had when the device said that it was done.
    pub size: u64,
    /// When it was last written, by the store's clock.
    pub modified: Timestamp,
    /// When the device said that it was done.
    pub enqueued: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    v: u8,
    blob: Cow<'a, str>,
    url: Cow<'a, str>,
    size: u64,
    modified: u64,
    enqueued: u64,
}

const FORMAT: u8 = 1;

impl FileNotification {
    /// The body of its queue item: JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let body = Body {
            v: FORMAT,
            blob: self.blob.as_str().into(),
            url: self.url.as_str().into(),
            size: self.size,
            modified: self.modified.as_millis(),
            enqueued: self.enqueued.as_millis(),
        };
        // Writing text and numbers to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Reads a body. `None` if it is none of this format.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: Body<'_> = serde_json::from_slice(body).ok()?;
        (body.v == FORMAT).then_some(())?;
        Some(Self {
            blob: BlobName::parse(&body.blob).ok()?,
            url: body.url.into_owned(),
            size: body.size,
            modified: Timestamp::from_millis(body.modified),
            enqueued: Timestamp::from_millis(body.enqueued),
        })
    }

    /// The id of the device, as text.
    #[must_use]
    pub fn device_str(&self) -> &str {
        self.blob.device_str()
    }
}
