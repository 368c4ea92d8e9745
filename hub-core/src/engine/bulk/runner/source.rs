//! The file that is imported, batch by batch.

use std::sync::Arc;

use super::Off;
use crate::blob::{BlobName, BlobReader, BlobStore};
use crate::bulk::{ImportPlace, Line, Lines};
use crate::limits::Limits;

/// Reads the lines of a file from a place on.
pub(super) struct Source {
    reader: Box<dyn BlobReader>,
    lines: Lines,
    place: ImportPlace,
    ended: bool,
    batch_max: usize,
    bytes_max: usize,
}

/// Lines to be carried out together, and where the next ones begin.
pub(super) struct Batch {
    pub(super) lines: Vec<Line>,
    pub(super) then: ImportPlace,
}

impl Source {
    /// Opens the file where a job is in it. `None`: at its beginning.
    pub(super) async fn open(
        blobs: &Arc<dyn BlobStore>,
        blob: &BlobName,
        place: Option<&ImportPlace>,
        limits: &Limits,
    ) -> Result<Self, Off> {
        let info = blobs.stat(blob).await?;
        let info = info.ok_or_else(|| Off::Failed(format!("there is no file {blob} to import")))?;
        let fresh = ImportPlace { offset: 0, lines: 0, size: info.size, modified: info.modified };
        let place = place.cloned().unwrap_or_else(|| fresh.clone());
        if (place.size, place.modified) != (fresh.size, fresh.modified) {
            return Err(Off::Failed(format!("the file {blob} was changed while it was imported")));
        }
        let reader = blobs.read(blob, Some(place.offset..place.size)).await?;
        let lines = Lines::from(place.offset, place.lines, limits.import_line_bytes_max);
        Ok(Self {
            reader,
            lines,
            place,
            ended: false,
            batch_max: limits.import_batch_max.max(1),
            bytes_max: limits.import_line_bytes_max,
        })
    }

    /// The next lines: so many, or as many as have the bytes of one of the longest. `None` at the end
    /// of the file.
    pub(super) async fn next_batch(&mut self) -> Result<Option<Batch>, Off> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < self.batch_max && bytes < self.bytes_max {
            let line = if self.ended { self.lines.last_line() } else { self.lines.next_line() };
            match line {
                Some(line) => {
                    bytes += line.text.as_ref().map_or(0, bytes::Bytes::len);
                    (self.place.offset, self.place.lines) = (line.next, line.number);
                    lines.push(line);
                }
                None if self.ended => break,
                None => match self.reader.next().await? {
                    Some(piece) => self.lines.push(&piece),
                    None => self.ended = true,
                },
            }
        }
        let batch = Batch { lines, then: self.place.clone() };
        Ok((!batch.lines.is_empty()).then_some(batch))
    }
}
