//! One device of a job, once it is taken.

use std::sync::Arc;

use crate::engine::hub::Hub;
use crate::envelope::EventSource;
use crate::error::{ErrorKind, HubError};
use crate::job::{Cause, Done, Failure, Job, Part, Step, Work, ended, event, retried, twin_update};
use crate::method::MethodCall;
use crate::query::Fields;
use crate::store::{Change, Item, ItemRef, Outcome};
use serde_json::Value;

pub(super) struct Worker {
    pub(super) hub: Hub,
    pub(super) job: Arc<Job>,
}

impl Worker {
    /// Does the part, and notes what became of it. When that cannot be noted the part is taken again,
    /// by whomever.
    pub(super) async fn work(&self, item: Item) {
        let Some(part) = Part::decode(&item.body) else {
            tracing::warn!(job = %self.job.id, "a device of a job cannot be read");
            // A newer node may be able to. When the job's time is over nobody waits for that.
            if self.job.is_overdue(self.hub.now()) {
                let given_up = Change::new().settle(&item.at);
                if let Err(error) = self.hub.jobs().commit(given_up).await {
                    tracing::debug!(job = %self.job.id, %error, "not given up");
                }
            }
            return;
        };
        if let Err(error) = self.try_work(item, &part).await {
            tracing::debug!(job = %self.job.id, device = %part.device, %error, "not noted");
        }
    }

    async fn try_work(&self, item: Item, part: &Part) -> Result<(), HubError> {
        match Step::of(&self.job, &item, part, self.hub.now()) {
            Step::Fail(failure) => self.end(&item, part, Err(failure)).await,
            Step::Work => match &self.job.work {
                Work::UpdateTwin(document) => self.update(&item, part, document).await,
                Work::CallMethod(call) => self.call(item, part, call.clone()).await,
            },
        }
    }

    /// Writes the twin and notes so, in one change.
    async fn update(&self, item: &Item, part: &Part, document: &Value) -> Result<(), HubError> {
        let (patch, etag) = match twin_update(document, self.hub.limits()) {
            Ok(update) => update,
            Err(error) => return self.refused(item, part, &error).await,
        };
        let also = self.ended(item, part, Ok(Done::Updated)).await;
        match self.hub.patch_twin_with(&part.device, patch, etag, also).await {
            Ok(_) => Ok(()),
            // If it happened all the same, the part is no longer where it was.
            Err(error) => self.refused(item, part, &error).await,
        }
    }

    /// Notes that the method is called, calls it, and notes what came of it.
    async fn call(&self, item: Item, part: &Part, call: MethodCall) -> Result<(), HubError> {
        match self.hub.registry().get(&part.device).await {
            // Nothing is written for a device that is not there but when it is tried again.
            Ok(found) if found.session.node.is_none() && call.connect_timeout.is_zero() => {
                let error = HubError::new(ErrorKind::DeviceNotOnline, "the device is not online");
                return self.refused(&item, part, &error).await;
            }
            Ok(_) => {}
            Err(error) => return self.refused(&item, part, &error).await,
        }
        let dispatch = Step::dispatch(&item, item.visible);
        let Outcome::Committed(issued) = self.hub.commit(&part.device, dispatch).await? else {
            // Somebody else has it.
            return Ok(());
        };
        let at = ItemRef::new(item.at.queue().clone(), item.at.sequence(), issued.version);
        let item = Item { at, ..item };
        match self.hub.invoke(&part.device, call).await {
            Ok(reply) => self.end(&item, part, Ok(Done::Answered(reply))).await,
            Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unavailable) => {
                let failure = Failure::new(Cause::OutcomeUnknown, error.message());
                self.end(&item, part, Err(failure)).await
            }
            Err(error) => self.refused(&item, part, &error).await,
        }
    }

    /// Puts the part off, or ends it if the refusal is for good.
    async fn refused(&self, item: &Item, part: &Part, error: &HubError) -> Result<(), HubError> {
        let now = self.hub.now();
        let again = now.after(self.hub.limits().job_retry_every);
        // Not later than the job ends: then its failure is noted at once.
        let again = again.min(self.job.deadline().unwrap_or(again));
        match retried(&self.job.id, item, part, error, now, again) {
            // On a conflict somebody else has it.
            Some(change) => self.hub.commit(&part.device, change).await.map(drop),
            None => self.end(item, part, Err(Failure::from(error))).await,
        }
    }

    async fn end(
        &self,
        item: &Item,
        part: &Part,
        result: Result<Done, Failure>,
    ) -> Result<(), HubError> {
        let change = self.ended(item, part, result).await;
        // On a conflict somebody else has it.
        self.hub.commit(&part.device, change).await.map(drop)
    }

    /// The change that ends the part, with the event that tells of it.
    async fn ended(&self, item: &Item, part: &Part, result: Result<Done, Failure>) -> Change {
        let core = self.hub.core();
        let (part, change) = ended(&self.job.id, item, part, result, self.hub.now());
        let routing = core.router.table();
        let source = EventSource::JobLifecycle;
        let twin = if routing.wants(source) && routing.needs_twin(source) {
            // Without it, conditions on it are undefined.
            self.hub.registry().twin(&part.device).await.ok().map(|state| state.twin)
        } else {
            None
        };
        let twin = twin.as_ref().map(|twin| -> &dyn Fields { twin });
        change.and(event(&routing, core.setup.partitions, &self.job, &part, twin))
    }
}
