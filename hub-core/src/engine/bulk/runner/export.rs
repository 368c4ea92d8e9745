//! An export into a file.

use super::{Off, Runner, passes};
use crate::bulk::{JobFile, Progress, RegistryEnd};
use crate::engine::bulk::export::{ExportOptions, Exporter};
use crate::store::Change;

/// How many bytes of lines are gathered before they are written.
const PIECE: usize = 256 * 1024;

impl Runner {
    /// Writes the file from its beginning: one that was begun earlier is not there.
    pub(super) async fn export(&mut self, output: &JobFile, exclude_keys: bool) -> Result<(), Off> {
        let options =
            if exclude_keys { ExportOptions::without_keys() } else { ExportOptions::default() };
        let mut pages = Exporter::new(options);
        let mut writer = self.blobs.write(&output.blob).await?;
        let (mut lines, mut written) = (Vec::new(), 0_u64);
        loop {
            self.turn().await?;
            let page = match pages.next_page(&self.hub).await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(error) if passes(&error) => {
                    tracing::debug!(job = %self.job.id, %error, "the export has to wait");
                    self.pause().await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for record in page {
                record.write_line(&mut lines);
                written += 1;
                if lines.len() >= PIECE {
                    writer.write(std::mem::take(&mut lines).into()).await?;
                }
            }
            let progress =
                Progress { percent: pages.percent(), succeeded: written, ..Progress::default() };
            if progress != *self.job.progress() || self.is_half_over() {
                self.advance(progress, Change::new()).await?;
            }
        }
        writer.write(lines.into()).await?;
        // The last look before the file is there: a job that was cancelled leaves none.
        let progress = Progress { percent: 99, succeeded: written, ..Progress::default() };
        self.advance(progress, Change::new()).await?;
        writer.finish().await?;
        self.end(RegistryEnd::Completed).await
    }
}
