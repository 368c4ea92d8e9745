//! A device in the same process: for tests, and for applications that are a device themselves.

use bytes::Bytes;

use super::hub::Hub;
use super::link::Link;
use crate::envelope::{EventBatch, Property};
use crate::error::{CloseReason, DisconnectCause, ErrorKind, HubError};
use crate::frame::{
    Delivery, Disposition, Guarantee, Inbound, Interest, LockToken, MethodRef, Outbound,
};
use crate::hello::{Credentials, Hello, Refusal, SessionMode};
use crate::id::{Address, Tag};

/// Something a device hears without having asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEvent {
    /// A cloud-to-device message, to be settled.
    Message(Box<Delivery>),
    /// A direct method: what to answer it with, its name and its payload as JSON text.
    Method(MethodRef, String, Bytes),
    /// Desired properties changed: their version and the patch as JSON text.
    Desired(u64, Bytes),
    /// The connection is over.
    Closed(CloseReason),
}

/// A device in this process, trusted without a credential. It waits for each answer before it
/// returns, and keeps what it hears meanwhile.
#[derive(Debug)]
pub struct DeviceClient {
    link: Link,
    limit: usize,
    last_tag: u64,
    heard: std::collections::VecDeque<DeviceEvent>,
}

impl Hub {
    /// Connects a device or module of this process, with a persistent session.
    ///
    /// # Errors
    /// [`Refusal`], as for any connection.
    pub async fn device(&self, address: &Address) -> Result<DeviceClient, Refusal> {
        let hello = Hello {
            address: address.clone(),
            credentials: Credentials::InProcess,
            host: None,
            session: SessionMode::Persistent,
            model: None,
            client: None,
            protocol: "in-process",
            peer: None,
        };
        let link = self.connect(hello).await?;
        Ok(DeviceClient {
            link,
            limit: self.limits().telemetry_bytes_max,
            last_tag: 0,
            heard: std::collections::VecDeque::new(),
        })
    }
}

fn closed(reason: CloseReason) -> HubError {
    HubError::new(ErrorKind::Unavailable, format!("the connection was closed: {reason}"))
}

impl DeviceClient {
    async fn request(&mut self, frame: impl FnOnce(Tag) -> Inbound) -> Result<Outbound, HubError> {
        self.last_tag += 1;
        let tag = Tag(self.last_tag);
        self.link.up.ready().await.send(frame(tag));
        loop {
            match self.link.down.next().await {
                Some(Outbound::Refused(t, error)) if t == tag => return Err(error),
                Some(Outbound::Receipt(t)) if t == tag => return Ok(Outbound::Receipt(t)),
                Some(Outbound::Twin(t, text)) if t == tag => return Ok(Outbound::Twin(t, text)),
                Some(Outbound::Reported(t, v)) if t == tag => return Ok(Outbound::Reported(t, v)),
                Some(other) => self.keep(other),
                None => return Err(closed(CloseReason::Internal)),
            }
            if let Some(DeviceEvent::Closed(reason)) = self.heard.back() {
                return Err(closed(*reason));
            }
        }
    }

    fn keep(&mut self, outbound: Outbound) {
        let event = match outbound {
            Outbound::Offer(delivery) => DeviceEvent::Message(delivery),
            Outbound::Call(call, name, payload) => {
                DeviceEvent::Method(call, name.to_string(), payload)
            }
            Outbound::Desired(version, patch) => DeviceEvent::Desired(version, patch),
            Outbound::Close(reason) => DeviceEvent::Closed(reason),
            // Answers to what was given up meanwhile.
            _ => return,
        };
        self.heard.push_back(event);
    }

    /// Sends one telemetry message; it is durable when this returns.
    ///
    /// # Errors
    /// `TooLarge`; `Unavailable` once the connection is closed; `Throttled` and `QuotaExceeded` by its
    /// quotas.
    pub async fn send(&mut self, body: &[u8], properties: &[Property<'_>]) -> Result<(), HubError> {
        let mut batch = EventBatch::new();
        batch
            .push(self.link.up.stamp(), properties.iter().copied(), body, self.limit)
            .map_err(|error| HubError::new(ErrorKind::TooLarge, error.to_string()))?;
        let events = batch.take();
        self.request(|tag| Inbound::Telemetry(tag, events)).await.map(drop)
    }

    /// Listens for something, at least once.
    ///
    /// # Errors
    /// `Unavailable` once the connection is closed.
    pub async fn subscribe(&mut self, interest: Interest) -> Result<(), HubError> {
        let add = vec![(interest, Guarantee::AtLeastOnce)];
        self.request(|tag| Inbound::Subscribe(tag, add)).await.map(drop)
    }

    /// The twin as a device sees it, as JSON text. Listens for twin answers if it did not.
    ///
    /// # Errors
    /// `Unavailable` once the connection is closed.
    pub async fn twin(&mut self) -> Result<Bytes, HubError> {
        self.subscribe(Interest::TwinResponses).await?;
        match self.request(Inbound::GetTwin).await? {
            Outbound::Twin(_, text) => Ok(text),
            _ => Err(HubError::new(ErrorKind::Internal, "no twin came")),
        }
    }

    /// Patches the reported properties with JSON text. Returns their new version.
    ///
    /// # Errors
    /// `ArgumentInvalid`, `TwinTooLarge`; `Unavailable` once the connection is closed.
    pub async fn report(&mut self, patch: impl Into<Bytes>) -> Result<u64, HubError> {
        self.subscribe(Interest::TwinResponses).await?;
        let patch = patch.into();
        match self.request(|tag| Inbound::Report(tag, patch, None)).await? {
            Outbound::Reported(_, version) => Ok(version),
            _ => Err(HubError::new(ErrorKind::Internal, "no version came")),
        }
    }

    /// Settles a message.
    ///
    /// # Errors
    /// `MessageLockLost`; `Unavailable` once the connection is closed.
    pub async fn settle(
        &mut self,
        token: LockToken,
        disposition: Disposition,
    ) -> Result<(), HubError> {
        self.request(|tag| Inbound::Settle(Some(tag), token, disposition)).await.map(drop)
    }

    /// Answers a direct method with a status and JSON text.
    pub async fn reply(&mut self, call: MethodRef, status: i32, payload: impl Into<Bytes>) {
        self.link.up.ready().await.send(Inbound::Reply(call, status, payload.into()));
    }

    /// Waits for the next thing it hears. Dropping the future loses nothing.
    pub async fn next(&mut self) -> DeviceEvent {
        loop {
            if let Some(event) = self.heard.pop_front() {
                if let DeviceEvent::Desired(version, _) = &event {
                    self.link.up.send(Inbound::Heard(*version));
                }
                return event;
            }
            match self.link.down.next().await {
                Some(outbound) => self.keep(outbound),
                None => return DeviceEvent::Closed(CloseReason::Internal),
            }
        }
    }

    /// Says goodbye.
    pub fn disconnect(mut self) {
        self.link.up.leave(DisconnectCause::Clean);
    }
}
