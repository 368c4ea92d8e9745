//! What a back end does to one device: messages, methods, twins.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::oneshot;

use super::hub::Hub;
use super::meter::{Counted, Meter};
use super::throttle;
use crate::delivery::{MessageOutcome, Offered};
use crate::device::{Answer, Device, Request, Sent};
use crate::envelope::{EventBatch, Message, Stored};
use crate::error::{ErrorKind, HubError};
use crate::frame::{Delivery, Disposition, LockToken};
use crate::id::{Address, SequenceNumber};
use crate::method::{MethodCall, MethodReply};
use crate::quota::{self, Operation};
use crate::store::{Ask, Change, Outcome, QueueId, Record};
use crate::time::Timestamp;
use crate::twin::{DigitalPatch, ServicePatch, Twin};

/// A message that the hub has accepted. It is durable; awaiting this tells how its life ended.
///
/// The outcome is known to the node that sent the message if the message ends there, while the node
/// runs; feedback ([`Hub::feedback`]) is the durable way to learn it, over all nodes.
#[derive(Debug)]
pub struct SentMessage {
    /// Its place in the device's queue.
    pub sequence: SequenceNumber,
    /// When it expires.
    pub expiry: Timestamp,
    outcome: oneshot::Receiver<MessageOutcome>,
}

/// `None` if this node will not learn it. Of a message that ends at another node that is known some time
/// after it would have expired.
impl Future for SentMessage {
    type Output = Option<MessageOutcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(cx).map(Result::ok)
    }
}

/// A message as it lies in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Its place in the queue.
    pub sequence: SequenceNumber,
    /// Whether it is locked by a receiver, and until when.
    pub locked_until: Option<Timestamp>,
    /// When it expires.
    pub expiry: Timestamp,
    /// How often it was given back.
    pub delivery_count: u8,
    /// The message.
    pub message: Stored,
}

fn unexpected() -> HubError {
    HubError::new(ErrorKind::Internal, "the device's machine gave an answer of another kind")
}

impl Hub {
    /// Sends a cloud-to-device message: to a device or, better than Azure, to a module. It is
    /// durable when this returns. Dropping the future may or may not send it.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound` (also for a disabled device), `QueueFull`,
    /// `TooLarge`, `InvalidExpiry`, `ArgumentInvalid`.
    pub async fn send(&self, to: &Address, message: Message) -> Result<SentMessage, HubError> {
        self.sent(to, Request::Send(message)).await
    }

    /// The same, in one with another change: both happen or neither.
    pub(super) async fn send_with(
        &self,
        to: &Address,
        message: Message,
        also: Change,
    ) -> Result<SentMessage, HubError> {
        self.sent(to, Request::SendWith(message, Box::new(also))).await
    }

    async fn sent(&self, to: &Address, request: Request) -> Result<SentMessage, HubError> {
        let within = self.limits().call_timeout;
        let counted = Counted::new(&self.core().meter, Meter::message_sent);
        let answered = counted.end(self.ask_whole(to, request, within).await)?;
        match (answered.answer, answered.outcome) {
            (Answer::Sent(Sent { sequence, expiry }), Some(outcome)) => {
                Ok(SentMessage { sequence, expiry, outcome })
            }
            _ => Err(unexpected()),
        }
    }

    /// Removes all messages of a queue, locked ones too. Returns how many.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub async fn purge(&self, of: &Address) -> Result<u64, HubError> {
        self.registry().get(of).await?;
        match self.ask(of, Request::Purge, self.limits().call_timeout).await? {
            Answer::Purged(count) => Ok(count),
            _ => Err(unexpected()),
        }
    }

    /// How many messages a queue holds, locked ones included.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn queue_depth(&self, of: &Address) -> Result<u32, HubError> {
        let ask = Ask::Depth(QueueId::mailbox(of));
        match self.core().store.read(&[ask]).await?.into_iter().next().flatten() {
            Some(Record::Depth(depth)) => Ok(depth),
            _ => Ok(0),
        }
    }

    /// Looks at a queue without taking anything: messages in order after `after`, at most `limit`.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn peek(
        &self,
        of: &Address,
        after: Option<SequenceNumber>,
        limit: u32,
    ) -> Result<Vec<QueuedMessage>, HubError> {
        let after = after.unwrap_or_default();
        let limit = limit.min(self.limits().list_page_max);
        let ask = Ask::Items(QueueId::mailbox(of), after, limit);
        let now = self.now();
        let items = match self.core().store.read(&[ask]).await?.into_iter().next().flatten() {
            Some(Record::Items(items)) => items,
            _ => Vec::new(),
        };
        let queued = items.iter().filter_map(|item| {
            let (offered, message) = Offered::from_item(item, self.limits())?;
            Some(QueuedMessage {
                sequence: item.at.sequence(),
                locked_until: (item.visible > now).then_some(item.visible),
                expiry: item.deadline,
                delivery_count: offered.delivery_count,
                message,
            })
        });
        Ok(queued.collect())
    }

    /// Receives one message on behalf of a device, locked for `lock`; `None` if there is none.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached; `Throttled` by the device's quotas.
    pub async fn receive(
        &self,
        of: &Address,
        lock: Duration,
    ) -> Result<Option<Box<Delivery>>, HubError> {
        self.has_turn(throttle::one(Operation::MessageReceive, of)).await?;
        let lock = u64::try_from(lock.as_millis()).unwrap_or(u64::MAX).max(1);
        match self.ask(of, Request::Receive(lock), self.limits().call_timeout).await? {
            Answer::Received(delivery) => Ok(delivery),
            _ => Err(unexpected()),
        }
    }

    /// Settles a message that was received.
    ///
    /// # Errors
    /// `MessageLockLost` if the token is not the latest of its message, or its lock has ended.
    pub async fn settle(
        &self,
        of: &Address,
        token: LockToken,
        disposition: Disposition,
    ) -> Result<(), HubError> {
        let request = Request::Settle(token, disposition);
        match self.ask(of, request, self.limits().call_timeout).await? {
            Answer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Calls a direct method and waits for its one end. Dropping the future takes the call back if
    /// it was not dispatched yet; else its answer is dropped.
    ///
    /// # Errors
    /// Never dispatched: `DeviceNotFound`, `ModuleNotFound`, `DeviceNotOnline`, `TooManyMethods`,
    /// `Throttled`, `ArgumentInvalid`, `TooLarge`. Dispatched, without an answer: `MethodTimeout`,
    /// `DeviceDisconnected`. Answered, and of no use: `BadDeviceResponse`.
    /// [`Dispatched::of`](crate::method::Dispatched::of) tells these apart.
    pub async fn invoke(
        &self,
        target: &Address,
        call: MethodCall,
    ) -> Result<MethodReply, HubError> {
        let counted = Counted::new(&self.core().meter, Meter::method);
        counted.end(self.call(target, call).await)
    }

    async fn call(&self, target: &Address, call: MethodCall) -> Result<MethodReply, HubError> {
        let call = call.checked(self.limits())?;
        let _slot = match call.connect_timeout.is_zero() {
            true => None,
            false => Some(self.core().patient_calls.take().ok_or_else(|| {
                let message = "too many calls wait for their devices";
                HubError::new(ErrorKind::Throttled, message)
            })?),
        };
        // The machine ends the call; this bound only catches a store that never answers.
        let within = call
            .response_timeout
            .saturating_add(call.connect_timeout)
            .saturating_add(self.limits().call_timeout);
        match self.ask(target, Request::Invoke(call), within).await? {
            Answer::Method(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    /// Merges into tags and desired properties, if the twin has this etag (`None` or `*`: any).
    /// A connected device that listens is told.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `PreconditionFailed`, `ArgumentInvalid`,
    /// `TwinTooLarge`, `Busy`.
    pub async fn patch_twin(
        &self,
        of: &Address,
        patch: ServicePatch,
        if_match: Option<&str>,
    ) -> Result<Twin, HubError> {
        let request = Request::PatchTwin(patch, if_match.map(str::to_owned));
        self.write_twin(of, request).await
    }

    /// The same, in one with another change: both happen or neither.
    pub(super) async fn patch_twin_with(
        &self,
        of: &Address,
        patch: ServicePatch,
        if_match: Option<String>,
        also: Change,
    ) -> Result<Twin, HubError> {
        self.write_twin(of, Request::PatchTwinWith(patch, if_match, Box::new(also))).await
    }

    /// Replaces tags and desired properties, else as [`Hub::patch_twin`].
    ///
    /// # Errors
    /// As [`Hub::patch_twin`].
    pub async fn replace_twin(
        &self,
        of: &Address,
        content: ServicePatch,
        if_match: Option<&str>,
    ) -> Result<Twin, HubError> {
        let request = Request::ReplaceTwin(content, if_match.map(str::to_owned));
        self.write_twin(of, request).await
    }

    /// Changes the digital twin of a device: its desired properties, as a JSON patch names them; else
    /// as [`Hub::patch_twin`].
    ///
    /// # Errors
    /// As [`Hub::patch_twin`]; also `DigitalTwinPathInvalid` for what is not there.
    pub async fn patch_digital_twin(
        &self,
        of: &Address,
        patch: DigitalPatch,
        if_match: Option<&str>,
    ) -> Result<Twin, HubError> {
        let request = Request::PatchDigitalTwin(patch, if_match.map(str::to_owned));
        self.write_twin(of, request).await
    }

    /// The same, in one with another change: both happen or neither.
    pub(super) async fn replace_twin_with(
        &self,
        of: &Address,
        content: ServicePatch,
        if_match: Option<String>,
        also: Change,
    ) -> Result<Twin, HubError> {
        self.write_twin(of, Request::ReplaceTwinWith(content, if_match, Box::new(also))).await
    }

    async fn write_twin(&self, of: &Address, request: Request) -> Result<Twin, HubError> {
        let counted = Counted::new(&self.core().meter, Meter::twin_written);
        match counted.end(self.ask(of, request, self.limits().call_timeout).await)? {
            Answer::Twin(twin) => Ok(*twin),
            _ => Err(unexpected()),
        }
    }

    /// Appends a device's events, for request-response protocols; durable when this returns. They
    /// stay in the batch unless they go to the store. Waits for the device's turn, if it has quotas.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached; `Throttled` when too much waits for it, and with
    /// `QuotaExceeded` by the device's quotas.
    pub async fn publish(&self, from: &Address, events: &mut EventBatch) -> Result<(), HubError> {
        if events.is_empty() {
            return Ok(());
        }
        if let Some(throttle) = &self.core().throttle {
            let blocks = events.sizes().map(quota::blocks).sum();
            throttle.pass(throttle::telemetry(from, events.len(), blocks)).await?;
        }
        let shard: &Arc<_> = self.shard(from)?;
        if shard.committer.is_full() {
            shard.throttled.fetch_add(1, Ordering::Relaxed);
            self.core().meter.request_refused(ErrorKind::Throttled);
            return Err(HubError::new(ErrorKind::Throttled, "too much waits for the store"));
        }
        if !self.core().router.is_plain() {
            return self.publish_routed(from, events.take()).await;
        }
        let change = Device::append(shard.partition, self.now(), events.take());
        match self.commit(from, change).await? {
            Outcome::Committed(_) => Ok(()),
            _ => Err(HubError::new(ErrorKind::Internal, "an append was refused")),
        }
    }
}
