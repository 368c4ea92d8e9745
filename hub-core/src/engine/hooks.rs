//! Where an application decides who may come and who may do what.

use std::sync::Arc;

use async_trait::async_trait;

use super::hub::Hub;
use crate::blob::BlobName;
use crate::frame::{Inbound, Interest};
use crate::hello::{Grant, Hello, Refusal};
use crate::id::{Address, ConfigurationId, JobId};
use crate::security::{Principal, admit_device, admit_service};
use crate::store::{Ask, Key, Record};

/// Decides whether a peer is who it says it is.
///
/// The default is [`RegistryAuthenticator`]. One of your own can ask it first, or instead of it.
/// Dropping its future refuses nobody and admits nobody: the connection ends.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Admits a device or module.
    ///
    /// # Errors
    /// [`Refusal`], which each protocol answers in its own code.
    async fn device(&self, hub: &Hub, hello: &Hello) -> Result<Grant, Refusal>;

    /// Admits a back end by the text of its token.
    ///
    /// # Errors
    /// [`Refusal`], which each protocol answers in its own code.
    async fn service(&self, hub: &Hub, token: &str) -> Result<Principal, Refusal>;
}

/// One that is shared: with the application that goes on talking to it, or between hubs.
#[async_trait]
impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    async fn device(&self, hub: &Hub, hello: &Hello) -> Result<Grant, Refusal> {
        (**self).device(hub, hello).await
    }

    async fn service(&self, hub: &Hub, token: &str) -> Result<Principal, Refusal> {
        (**self).service(hub, token).await
    }
}

/// Admits who is in the registry and proves it by a key, a policy or a certificate: see
/// [`admit_device`] and [`admit_service`].
#[derive(Debug, Clone, Copy, Default)]
pub struct RegistryAuthenticator;

#[async_trait]
impl Authenticator for RegistryAuthenticator {
    async fn device(&self, hub: &Hub, hello: &Hello) -> Result<Grant, Refusal> {
        let core = hub.core();
        let mut asks = vec![Ask::Document(Key::identity(&hello.address))];
        if hello.address.is_module() {
            asks.push(Ask::Document(Key::identity(&hello.address.device_id().into())));
        }
        let records = core
            .store
            .read(&asks)
            .await
            .map_err(|_| Refusal::Unavailable("the store cannot be reached"))?;
        let mut identities = records.into_iter().map(|record| match record {
            Some(Record::Document(document)) => {
                crate::registry::Identity::decode(&document.body).ok()
            }
            _ => None,
        });
        let identity = identities.next().flatten();
        let device = identities.next().flatten();
        admit_device(
            hello,
            identity.as_ref(),
            device.as_ref(),
            &core.policies(),
            &core.names,
            core.clock.now(),
            &core.limits,
        )
    }

    async fn service(&self, hub: &Hub, token: &str) -> Result<Principal, Refusal> {
        let core = hub.core();
        admit_service(token, &core.policies(), &core.names, core.clock.now(), &core.limits)
    }
}

/// Who wants to do something.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Actor<'a> {
    /// A connected or authenticated device or module.
    Device(&'a Address),
    /// A back end.
    Service(&'a Principal),
}

/// What somebody wants to do. Asked after authentication and rights, before anything happens.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Connect.
    Connect(&'a Hello),
    /// Send so many events.
    Publish(usize),
    /// Listen for something.
    Subscribe(Interest),
    /// Answer a direct method.
    ReplyMethod,
    /// Read a twin.
    ReadTwin(&'a Address),
    /// Patch reported properties.
    ReportTwin,
    /// Settle or receive a cloud-to-device message.
    ReceiveMessages,
    /// Write tags or desired properties of this identity's twin.
    WriteTwin(&'a Address),
    /// Call a direct method of this identity.
    InvokeMethod(&'a Address, &'a str),
    /// Send a cloud-to-device message to this identity, purge its queue, or read, replay or remove its
    /// dead letters.
    SendMessage(&'a Address),
    /// Read or remove the dead letters of all identities.
    DeadLetters,
    /// Receive feedback.
    ReceiveFeedback,
    /// Ask for the address of a file with this name, without the device's id before it, to upload it.
    BeginUpload(&'a str),
    /// Say that an upload is finished.
    FinishUpload,
    /// Receive file notifications.
    ReceiveFileNotifications,
    /// Ask for the address of this file, to read it.
    ReadFile(&'a BlobName),
    /// Read the event log.
    ReadEvents,
    /// Query twins.
    QueryTwins,
    /// Look at jobs.
    ReadJobs,
    /// Ask for this job, or cancel it. What it does to each device is not asked again.
    WriteJob(&'a JobId),
    /// Look at configurations, or try their queries.
    ReadConfigurations,
    /// Make, change or remove this configuration. What it does to each twin is not asked again.
    WriteConfiguration(&'a ConfigurationId),
    /// Look at routes and endpoints, or try a route.
    ReadRouting,
    /// Read identities.
    ReadRegistry,
    /// Create, update or delete this identity.
    WriteRegistry(&'a Address),
    /// Look at imports and exports of the registry.
    ReadRegistryJobs,
    /// Import or export the registry, cancel that, or ask for the address of a folder of back ends.
    /// What an import does to each identity is not asked again.
    WriteRegistryJob,
}

/// What an authoriser says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not. HTTP answers 403, a twin request is refused, a subscription or telemetry over
    /// MQTT ends the connection: the protocol has no other answer.
    Deny,
}

/// Decides whether an authenticated peer may do something. By default all that its rights allow.
///
/// Asked per operation. While it decides, later frames of the same link wait, so order is kept.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// May `actor` do this?
    async fn authorize(&self, actor: Actor<'_>, action: Action<'_>) -> Decision;
}

/// One that is shared: with the application that goes on talking to it, or between hubs.
#[async_trait]
impl<T: Authorizer + ?Sized> Authorizer for Arc<T> {
    async fn authorize(&self, actor: Actor<'_>, action: Action<'_>) -> Decision {
        (**self).authorize(actor, action).await
    }
}

/// What a frame asks to be allowed. Settling and unsubscribing end things, and are always allowed.
pub(crate) fn actions_of<'a>(address: &'a Address, frame: &Inbound) -> Vec<Action<'a>> {
    match frame {
        Inbound::Telemetry(_, events) => vec![Action::Publish(events.len())],
        Inbound::Report(..) => vec![Action::ReportTwin],
        Inbound::GetTwin(_) => vec![Action::ReadTwin(address)],
        Inbound::Reply(..) => vec![Action::ReplyMethod],
        Inbound::Subscribe(_, add) => {
            add.iter().map(|(interest, _)| Action::Subscribe(*interest)).collect()
        }
        Inbound::Settle(..) | Inbound::Unsubscribe(..) | Inbound::Heard(_) => Vec::new(),
    }
}
