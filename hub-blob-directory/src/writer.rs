//! Writing a blob piece by piece, in the hub's own process.

use std::io::{self, Write as _};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hub_core::blob::{BlobError, BlobName, BlobWriter};

use crate::directory::Inner;
use crate::disk::{NewFile, NotPut};
use crate::properties::Properties;

/// A blob that is being written, in a file of its own until it is finished.
pub(crate) struct Writer {
    inner: Arc<Inner>,
    blob: BlobName,
    /// Absent while it is written to, and after a failure.
    new: Option<NewFile>,
    size: u64,
}

impl Writer {
    pub(crate) fn new(inner: Arc<Inner>, blob: BlobName, new: NewFile) -> Self {
        Self { inner, blob, new: Some(new), size: 0 }
    }

    fn take(&mut self) -> Result<NewFile, BlobError> {
        let spent = || io::Error::other("an earlier write has failed or was given up");
        self.new.take().ok_or_else(|| failed(spent()))
    }
}

fn failed(error: io::Error) -> BlobError {
    BlobError::unavailable("write", error)
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| failed(io::Error::other(error))).flatten()
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        let mut new = self.take()?;
        let most = self.inner.config.blob_bytes_max;
        let size = self.size.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if size > most {
            let message = format!("the blob has more than {most} bytes");
            return Err(BlobError::refused("write", message));
        }
        let new = blocking(move || {
            new.file.write_all(&piece).map_err(failed)?;
            Ok(new)
        });
        self.new = Some(new.await?);
        self.size = size;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), BlobError> {
        let new = self.take()?;
        let (inner, blob) = (self.inner, self.blob);
        blocking(move || {
            let anything = |_: Option<&_>| Ok::<_, std::convert::Infallible>(());
            let put = inner.disk.put(&blob, new, &Properties::default(), &[], false, anything);
            put.map_err(|not| match not {
                NotPut::Condition(never) => match never {},
                NotPut::Occupied => BlobError::refused(
                    "write",
                    "the name is one of a folder, or leads through a blob",
                ),
                NotPut::Io(error) => failed(error),
            })?;
            inner.disk.drop_staged(&blob).map_err(failed)
        })
        .await
    }
}
