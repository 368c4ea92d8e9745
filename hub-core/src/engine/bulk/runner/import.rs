//! An import from a file.

use std::collections::HashMap;

use super::source::{Batch, Source};
use super::{Off, Runner, passes};
use crate::bulk::{
    DeviceRecord, ImportPlace, JobFile, JobQueue, Line, Mark, Progress, RecordError, RegistryEnd,
    Step, number_of, refused_line, warning_line,
};
use crate::engine::bulk::apply::{Apply, Imported};
use crate::engine::bulk::waves::in_waves;
use crate::error::HubError;
use crate::id::SequenceNumber;
use crate::store::{Ask, Change, Record};

/// How many items of a queue are read at once.
const PAGE: u32 = 200;

/// A line that is to be carried out.
struct Todo {
    number: u64,
    record: DeviceRecord,
    done: Option<Step>,
}

/// What became of a line.
enum Ended {
    Done,
    /// What the log says of it; whether it was refused.
    Logged(String, bool),
    /// Nothing yet: it is to be tried again.
    Passing(HubError),
}

impl Runner {
    /// Carries out the lines of the file from where the job is in it.
    pub(super) async fn import(&mut self, input: &JobFile, log: &JobFile) -> Result<(), Off> {
        let place = self.job.progress().place.clone();
        let limits = self.hub.limits();
        let mut source = Source::open(&self.blobs, &input.blob, place.as_ref(), limits).await?;
        while let Some(batch) = source.next_batch().await? {
            self.batch(batch).await?;
        }
        self.write_log(log).await?;
        self.end(RegistryEnd::Completed).await
    }

    /// Carries out the lines of a batch, and notes that they are done. Lines that met what passes are
    /// tried again.
    async fn batch(&mut self, batch: Batch) -> Result<(), Off> {
        loop {
            self.turn().await?;
            match self.try_batch(&batch).await? {
                None => return Ok(()),
                Some(error) => {
                    tracing::debug!(job = %self.job.id, %error, "the import has to wait");
                    self.pause().await;
                    // Perhaps it is lost: that the next write would tell. Until then it is kept.
                    self.advance(self.job.progress().clone(), Change::new()).await?;
                }
            }
        }
    }

    async fn try_batch(&mut self, batch: &Batch) -> Result<Option<HubError>, Off> {
        let done = self.marks().await?;
        let (mut logged, mut refused, mut count) = (Vec::new(), 0_u64, 0_u64);
        let mut todo = Vec::new();
        for Line { number, text, .. } in &batch.lines {
            count += 1;
            let record = match text {
                Ok(text) => DeviceRecord::parse(text).map_err(|error| (subject(text), error)),
                Err(_) => {
                    let most = self.hub.limits().import_line_bytes_max;
                    Err((Subject::default(), RecordError::TooLong(most)))
                }
            };
            match (record, done.get(number)) {
                (_, Some(Step::Whole)) => {}
                (Ok(record), done) => {
                    todo.push(Todo { number: *number, record, done: done.copied() });
                }
                (Err((subject, error)), _) => {
                    let Subject { device, module } = subject;
                    let why = format!("line {number}: {error}");
                    let (device, module) = (device.as_deref(), module.as_deref());
                    logged.push((*number, refused_line(device, module, error.number(), &why)));
                    refused += 1;
                }
            }
        }
        let at_once = self.hub.limits().import_at_once_max;
        let this = &*self;
        let ended = in_waves(
            todo,
            at_once,
            |todo| &todo.record,
            |todo| async move { (todo.number, this.line(&todo).await) },
        );
        for (number, ended) in ended.await {
            match ended {
                Ended::Done => {}
                Ended::Logged(line, was_refused) => {
                    logged.push((number, line));
                    refused += u64::from(was_refused);
                }
                Ended::Passing(error) => return Ok(Some(error)),
            }
        }
        logged.sort();
        self.ended(batch.then.clone(), logged, count - refused, refused).await.map(|()| None)
    }

    /// Notes that the batch is done: the marks go, and what is to be said of its lines is kept.
    async fn ended(
        &mut self,
        then: ImportPlace,
        logged: Vec<(u64, String)>,
        succeeded: u64,
        failed: u64,
    ) -> Result<(), Off> {
        let before = self.job.progress();
        let percent = then.offset.saturating_mul(100).checked_div(then.size).unwrap_or(100);
        let progress = Progress {
            percent: u8::try_from(percent.min(99)).unwrap_or(99),
            succeeded: before.succeeded + succeeded,
            failed: before.failed + failed,
            place: Some(then),
        };
        let id = self.job.id.clone();
        let also = logged
            .into_iter()
            .fold(Change::new().clear(JobQueue::Marks.of(&id)), |change, (_, line)| {
                change.push(JobQueue::Refused.push(&id, line.into()))
            });
        self.advance(progress, also).await
    }

    /// Carries out one line, and marks it in the change that does.
    async fn line(&self, todo: &Todo) -> Ended {
        let Todo { number, record, done } = todo;
        let mark = |step| {
            let mark = Mark { line: *number, step };
            // Whoever has taken the job since has written its document.
            Change::new().require(&self.at).push(JobQueue::Marks.push(&self.job.id, mark.encode()))
        };
        let result = Apply { hub: &self.hub }.record(record, *done, mark).await;
        let address = record.address();
        let (device, module) = (Some(address.device_str()), address.module_str());
        match result {
            Ok(Imported { without_twin: None }) => Ended::Done,
            Ok(Imported { without_twin: Some(error) }) | Err(error) if passes(&error) => {
                Ended::Passing(error)
            }
            Ok(Imported { without_twin: Some(error) }) => {
                Ended::Logged(warning_line(device, module, error.message()), false)
            }
            Err(error) => {
                let number = number_of(error.kind());
                Ended::Logged(refused_line(device, module, number, error.message()), true)
            }
        }
    }

    /// Which lines of the batch under way are done already.
    async fn marks(&self) -> Result<HashMap<u64, Step>, Off> {
        let mut done: HashMap<u64, Step> = HashMap::new();
        let mut after = SequenceNumber::default();
        loop {
            let items = self.items(JobQueue::Marks, after).await?;
            let Some((last, _)) = items.last() else { return Ok(done) };
            after = *last;
            for mark in items.iter().filter_map(|(_, body)| Mark::decode(body)) {
                let step = done.entry(mark.line).or_insert(mark.step);
                *step = mark.step.max(*step);
            }
        }
    }

    async fn items(
        &self,
        queue: JobQueue,
        after: SequenceNumber,
    ) -> Result<Vec<(SequenceNumber, bytes::Bytes)>, Off> {
        let ask = Ask::Items(queue.of(&self.job.id), after, PAGE);
        let found = self.hub.core().store.read(&[ask]).await.map_err(HubError::from)?;
        let Some(Some(Record::Items(items))) = found.into_iter().next() else {
            return Ok(Vec::new());
        };
        Ok(items.into_iter().map(|item| (item.at.sequence(), item.body)).collect())
    }

    /// Writes the log of what was refused. Where there is nothing to say, an older log goes.
    async fn write_log(&mut self, log: &JobFile) -> Result<(), Off> {
        let mut writer = None;
        let mut after = SequenceNumber::default();
        loop {
            self.turn().await?;
            let items = self.items(JobQueue::Refused, after).await?;
            let Some((last, _)) = items.last() else { break };
            after = *last;
            let mut lines = Vec::new();
            for (_, line) in &items {
                lines.extend_from_slice(line);
                lines.extend_from_slice(b"\r\n");
            }
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert(self.blobs.write(&log.blob).await?),
            };
            writer.write(lines.into()).await?;
            if self.is_half_over() {
                self.advance(self.job.progress().clone(), Change::new()).await?;
            }
        }
        // The last look before the file changes: a job that was cancelled leaves it as it is.
        self.advance(self.job.progress().clone(), Change::new()).await?;
        match writer {
            Some(writer) => writer.finish().await?,
            None => {
                self.blobs.delete(&log.blob).await?;
            }
        }
        Ok(())
    }
}

/// Whose line it is, as far as that can be told of one that is no record.
#[derive(Default)]
struct Subject {
    device: Option<String>,
    module: Option<String>,
}

fn subject(text: &[u8]) -> Subject {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(text) else {
        return Subject::default();
    };
    let object = crate::bulk::Object(&members);
    let text = |name| object.text(name).ok().flatten().map(str::to_owned);
    Subject { device: text("id"), module: text("moduleId") }
}
