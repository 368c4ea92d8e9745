//! Reading a blob piece by piece, in the hub's own process.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hub_core::blob::{BlobError, BlobReader};

/// Most bytes of a piece.
const PIECE: usize = 256 * 1024;

/// The first piece of a range; empty at the end of the file.
pub(crate) fn read_at(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    use std::os::unix::fs::FileExt as _;
    let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    let mut buffer = vec![0; wanted.min(PIECE)];
    loop {
        match file.read_at(&mut buffer, range.start) {
            Ok(read) => {
                buffer.truncate(read);
                return Ok(buffer.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A blob that was opened for reading. It stays the version that it was, whatever is written.
pub(crate) struct Reader {
    file: Arc<File>,
    range: Range<u64>,
}

impl Reader {
    pub(crate) fn new(file: File, range: Range<u64>) -> Self {
        Self { file: Arc::new(file), range }
    }
}

#[async_trait]
impl BlobReader for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let failed = |error: io::Error| BlobError::unavailable("read", error);
        if self.range.is_empty() {
            return Ok(None);
        }
        let (file, range) = (self.file.clone(), self.range.clone());
        let piece = tokio::task::spawn_blocking(move || read_at(&file, &range))
            .await
            .map_err(|error| failed(io::Error::other(error)))?
            .map_err(failed)?;
        if piece.is_empty() {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        self.range.start += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        Ok(Some(piece))
    }
}
