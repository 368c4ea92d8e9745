//! Bringing events from the outbox to one endpoint.
//!
//! One node does it at a time: who does stands in the endpoint's [`Place`], a document that is
//! written again after each round with how far it came. The write is guarded, so a node whose
//! tenure ended without its knowing learns so before it can move anything. A batch is begun only
//! with enough tenure left for it to end; so no other node begins while it is under way, as long as
//! the clocks of the nodes differ by less than `Limits::endpoint_tenure` is longer than
//! `Limits::endpoint_timeout`.

use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::JoinHandle;

use super::router::Named;
use crate::endpoint::{Failure, FailureKind, Outgoing};
use crate::engine::hub::Hub;
use crate::engine::shutdown::Shutdown;
use crate::envelope::Event;
use crate::error::{ErrorKind, HubError};
use crate::id::{Partition, SequenceNumber};
use crate::route::outbox::{self, Addressed};
use crate::route::{Courier, EndpointStatus, Pace, Place, Tenure};
use crate::store::{Ask, Change, Entry, Outcome, Record, Version};
use crate::time::Timestamp;

/// How long a worker waits for a sign of new events before it looks by itself: events of other
/// nodes give no sign here.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long after a failed call of the store the next is tried.
const STORE_RETRY: Duration = Duration::from_millis(500);
/// How often it is written how far an endpoint came that gets nothing of what there is.
const PASSED_EVERY: Duration = Duration::from_secs(1);
/// How often an endpoint that another node works off is looked at, beside the end of its tenure.
const OTHERS_EVERY: Duration = Duration::from_secs(5);

/// Starts a worker for each endpoint.
pub(crate) fn start(hub: &Hub) -> Vec<JoinHandle<()>> {
    let endpoints = &hub.core().router.endpoints;
    let worker = |named: &Named| {
        let worker = Worker {
            hub: hub.without_owner(),
            named: named.clone(),
            stop: hub.shutdown_signal(),
            place: Place::default(),
            version: None,
            courier: Courier::new(Pace::from(hub.limits()), EndpointStatus::Unknown),
            dirty: false,
            written: Timestamp::ZERO,
        };
        tokio::spawn(worker.run())
    };
    endpoints.iter().map(worker).collect()
}

/// Why a worker has nothing to hold on to any more.
#[derive(Debug)]
enum Lost {
    /// Another node works the endpoint off.
    Tenure,
    /// The store does not answer.
    Store(HubError),
    /// The hub stops.
    Stopping,
}

impl From<HubError> for Lost {
    fn from(error: HubError) -> Self {
        Self::Store(error)
    }
}

struct Worker {
    hub: Hub,
    named: Named,
    stop: Shutdown,
    place: Place,
    /// The write of the place that was read or made last.
    version: Option<Version>,
    courier: Courier,
    /// Something was tried since the place was written.
    dirty: bool,
    /// When the place was written. What is only passed over is written now and then: to pass over
    /// it again costs nothing but reading.
    written: Timestamp,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let lost = match self.take_over().await {
                Ok(()) => self.work().await,
                Err(lost) => lost,
            };
            match lost {
                Lost::Stopping => return self.let_go().await,
                Lost::Tenure => tracing::debug!(endpoint = %self.named.name, "another node has it"),
                Lost::Store(error) => {
                    tracing::debug!(endpoint = %self.named.name, %error, "the store does not answer");
                    if self.sleep(STORE_RETRY).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.hub.now()
    }

    /// Waits until this node may work the endpoint off, and makes it so.
    async fn take_over(&mut self) -> Result<(), Lost> {
        loop {
            self.read().await?;
            let now = self.now();
            let Some(until) = self.place.taken_until(self.hub.node(), now) else {
                self.courier = Courier::new(Pace::from(self.hub.limits()), self.place.status);
                match self.keep().await {
                    Err(Lost::Tenure) => continue,
                    kept => return kept,
                }
            };
            let clock = self.hub.core().clock.clone();
            tokio::select! {
                () = clock.wait_until(until) => {}
                () = tokio::time::sleep(OTHERS_EVERY) => {}
                () = self.stop.requested() => return Err(Lost::Stopping),
            }
        }
    }

    async fn read(&mut self) -> Result<(), Lost> {
        let ask = Ask::Document(Place::key(&self.named.name));
        let records = self.hub.core().store.read(&[ask]).await.map_err(HubError::from)?;
        match records.into_iter().next().flatten() {
            Some(Record::Document(document)) => {
                self.version = Some(document.at.version());
                self.place = Place::decode(&document.body).ok_or_else(|| {
                    HubError::new(ErrorKind::Internal, "the place of an endpoint cannot be read")
                })?;
            }
            _ => (self.version, self.place) = (None, Place::default()),
        }
        Ok(())
    }

    /// Writes the place, with the tenure renewed.
    async fn keep(&mut self) -> Result<(), Lost> {
        let until = self.now().after(self.hub.limits().endpoint_tenure);
        self.place.tenure = Some(Tenure { node: self.hub.node().clone(), until });
        self.write().await
    }

    async fn write(&mut self) -> Result<(), Lost> {
        self.place.status = self.courier.status();
        let key = Place::key(&self.named.name);
        let change = Change::new().write(&key, self.version, self.place.encode());
        let shard = self.hub.inner.shards.first();
        let shard = shard.ok_or_else(|| HubError::new(ErrorKind::Internal, "there is no shard"))?;
        match shard.commit(change, self.hub.limits().call_timeout).await? {
            Outcome::Committed(issued) => {
                self.version = Some(issued.version);
                self.dirty = false;
                self.written = self.now();
                Ok(())
            }
            _ => Err(Lost::Tenure),
        }
    }

    /// Another node need not wait for the end of the tenure.
    async fn let_go(mut self) {
        if self.place.tenure.as_ref().is_some_and(|tenure| tenure.node == *self.hub.node()) {
            self.place.tenure = None;
            // In vain only if the tenure is lost already, or the store with it.
            let _ = self.write().await;
        }
    }

    /// Whether there is tenure enough for one batch to begin and end.
    fn is_secure(&self) -> bool {
        let ends = self.now().after(self.hub.limits().endpoint_timeout);
        self.place.tenure.as_ref().is_some_and(|tenure| tenure.until > ends)
    }

    /// Works the endpoint off until that ends.
    async fn work(&mut self) -> Lost {
        loop {
            match self.turn().await {
                Ok(()) => {}
                Err(lost) => return lost,
            }
        }
    }

    /// One round over the partitions, and a pause if there was nothing to do.
    async fn turn(&mut self) -> Result<(), Lost> {
        let router = &self.hub.inner.clone().core.router;
        let appended = router.appended.notified();
        tokio::pin!(appended);
        // Registered before the look, so that an append in between is not missed.
        appended.as_mut().enable();
        let mut busy = false;
        for partition in (0..self.hub.partitions()).map(Partition) {
            if self.courier.not_before() > self.now() {
                break;
            }
            if self.stop.is_requested() {
                return Err(Lost::Stopping);
            }
            if !self.is_secure() {
                self.keep().await?;
            }
            busy |= self.bring(partition).await?;
        }
        if self.dirty || (busy && self.now().since(self.written) >= PASSED_EVERY) {
            self.keep().await?;
        }
        let now = self.now();
        let again = self.courier.not_before();
        if again > now {
            // A place that is not written meanwhile would be another node's to take.
            return self.pause_until(again).await;
        }
        if busy {
            return Ok(());
        }
        tokio::select! {
            () = &mut appended => Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => Ok(()),
            () = self.stop.requested() => Err(Lost::Stopping),
        }
    }

    /// Waits while the endpoint is left alone, and keeps the tenure.
    async fn pause_until(&mut self, again: Timestamp) -> Result<(), Lost> {
        let clock = self.hub.core().clock.clone();
        while self.now() < again {
            if !self.is_secure() {
                self.keep().await?;
            }
            let renew = self.now().after(self.hub.limits().endpoint_tenure / 4);
            tokio::select! {
                () = clock.wait_until(again.min(renew)) => {}
                () = self.stop.requested() => return Err(Lost::Stopping),
            }
        }
        Ok(())
    }

    async fn sleep(&mut self, time: Duration) -> Result<(), Lost> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.stop.requested() => Err(Lost::Stopping),
        }
    }

    /// Takes some entries of a partition and brings those that are for the endpoint. Whether there
    /// was anything.
    async fn bring(&mut self, partition: Partition) -> Result<bool, Lost> {
        let limits = self.hub.limits();
        let Some(page) = NonZeroU32::new(limits.log_page_max.min(limits.endpoint_batch_max)) else {
            return Ok(false);
        };
        let from = self.place.position(partition);
        let log = outbox::partition(partition);
        let store = self.hub.core().store.clone();
        let entries = store.tail(log, from, page).await.map_err(HubError::from)?;
        let Some(first) = entries.first() else { return Ok(false) };
        if from > SequenceNumber(0) && first.sequence > from {
            let expired = first.sequence.0 - from.0;
            tracing::warn!(
                endpoint = %self.named.name, %partition, expired,
                "events were older than the log is kept before the endpoint took them"
            );
            self.place.expired = self.place.expired.saturating_add(expired);
            self.hub.core().meter.events_expired(&self.named.name, expired);
        }
        let (events, next) = self.pick(partition, &entries);
        let Some(next) = next else {
            // Of a newer node, most likely, that this one should let work: it is not passed over.
            let failure = Failure::new(FailureKind::Internal, "an entry is of no known format");
            self.failed(self.now(), failure);
            return Ok(true);
        };
        if events.is_empty() {
            self.place.advance(partition, next);
            return Ok(true);
        }
        self.deliver(partition, events, next).await;
        Ok(true)
    }

    /// The events among these entries that are for this endpoint, as many as may go at once, and the
    /// entry after the last that was looked at. Ends before one that cannot be read.
    fn pick(
        &self,
        partition: Partition,
        entries: &[Entry],
    ) -> (Vec<Event>, Option<SequenceNumber>) {
        let bytes_max = self.hub.limits().endpoint_batch_bytes_max;
        let (mut events, mut bytes) = (Vec::new(), 0_usize);
        let mut next = None;
        for entry in entries {
            match outbox::addressed(&entry.body, &self.named.name) {
                Addressed::Elsewhere => {}
                Addressed::Unreadable => break,
                Addressed::Here(body) => {
                    let here = Entry { sequence: entry.sequence, at: entry.at, body };
                    let Some(event) = Event::decode(partition, &here) else { break };
                    bytes = bytes.saturating_add(event.body.len());
                    if bytes > bytes_max && !events.is_empty() {
                        break;
                    }
                    events.push(event);
                }
            }
            next = Some(entry.sequence.next());
        }
        (events, next)
    }

    /// Hands events to the endpoint and notes what became of them.
    async fn deliver(&mut self, partition: Partition, events: Vec<Event>, next: SequenceNumber) {
        let sequences: Vec<SequenceNumber> = events.iter().map(|event| event.sequence).collect();
        let batch = Outgoing {
            hub: self.hub.routing().hub().into(),
            endpoint: self.named.name.clone(),
            partition,
            events,
            within: self.hub.limits().endpoint_round(),
        };
        let within = self.hub.limits().endpoint_timeout;
        // A bug in an endpoint must not end its worker: it would get nothing more until a restart.
        let delivery = AssertUnwindSafe(self.named.endpoint.deliver(&batch)).catch_unwind();
        let answer = match tokio::time::timeout(within, delivery).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Failure::new(FailureKind::Internal, "the endpoint panicked")),
            Err(_) => {
                Err(Failure::new(FailureKind::Timeout, "the endpoint did not answer in time"))
            }
        };
        self.note(partition, &sequences, next, answer);
    }

    fn note(
        &mut self,
        partition: Partition,
        sequences: &[SequenceNumber],
        next: SequenceNumber,
        answer: Result<(), Failure>,
    ) {
        let now = self.now();
        self.dirty = true;
        self.place.last_attempt = Some(now);
        let (taken, failure) = match answer {
            Ok(()) => (sequences.len(), None),
            // One that took all has not failed, whatever it says.
            Err(failure) if failure.taken >= sequences.len() => (sequences.len(), None),
            Err(failure) => (failure.taken, Some(failure)),
        };
        let dropped = failure.as_ref().is_some_and(|failure| failure.kind.is_of_one_event());
        if taken > 0 {
            let count = u64::try_from(taken).unwrap_or(u64::MAX);
            self.place.delivered = self.place.delivered.saturating_add(count);
            self.place.last_success = Some(now);
            self.hub.core().meter.delivered(&self.named.name, count);
        }
        if taken > 0 || dropped {
            self.healthy();
        }
        let Some(failure) = failure else {
            return self.place.advance(partition, next);
        };
        let done = sequences.get(taken).copied().unwrap_or(next);
        self.place.advance(partition, if dropped { done.next() } else { done });
        if dropped {
            tracing::warn!(
                endpoint = %self.named.name, %partition, sequence = done.0, error = %failure,
                "an event was dropped: the endpoint will never take it"
            );
            self.place.invalid = self.place.invalid.saturating_add(1);
            self.told(now, failure);
        } else {
            self.failed(now, failure);
        }
    }

    /// It is not to be tried for a while.
    fn failed(&mut self, now: Timestamp, failure: Failure) {
        self.failing(now, &failure);
        self.told(now, failure);
    }

    fn told(&mut self, now: Timestamp, failure: Failure) {
        self.dirty = true;
        self.hub.core().meter.delivery_failed(&self.named.name, failure.kind);
        self.place.last_error = Some((failure.kind, failure.message, now));
    }

    fn healthy(&mut self) {
        let before = self.courier.status();
        self.courier.succeeded();
        if matches!(before, EndpointStatus::Unhealthy | EndpointStatus::Dead) {
            tracing::info!(endpoint = %self.named.name, "the endpoint takes events again");
        }
    }

    fn failing(&mut self, now: Timestamp, failure: &Failure) {
        let before = self.courier.status();
        self.courier.failed(now, failure.retry_after);
        let after = self.courier.status();
        if before != after {
            tracing::warn!(
                endpoint = %self.named.name, status = after.name(), error = %failure,
                "the endpoint does not take events; they are kept for it"
            );
        }
    }
}
