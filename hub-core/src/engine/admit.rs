//! How devices and back ends come in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::hooks::{Action, Actor, Decision};
use super::hub::Hub;
use super::line::{Bounds, Line};
use super::link::{Downlink, Link, Uplink};
use super::meter::refusal_name;
use super::throttle;
use crate::device::{Answer, Arrival, Input};
use crate::envelope::{EventSource, Stamp};
use crate::error::{ErrorKind, HubError};
use crate::hello::{Grant, Hello, Refusal};
use crate::id::Address;
use crate::quota::{Operation, Work};
use crate::security::Principal;

impl Hub {
    /// Authenticates a device or module without connecting it, for request-response protocols.
    ///
    /// # Errors
    /// [`Refusal`], as for a connection.
    pub async fn authenticate(&self, hello: &Hello) -> Result<Grant, Refusal> {
        let granted = self.grant(hello).await;
        if let Err(refusal) = &granted {
            self.refused(&hello.address, hello.protocol, hello.peer, refusal);
        }
        granted
    }

    async fn grant(&self, hello: &Hello) -> Result<Grant, Refusal> {
        if *self.inner.stop.borrow() || self.core().is_failed() {
            return Err(Refusal::Unavailable("the hub shuts down"));
        }
        let authenticator = self.core().authenticator.clone();
        authenticator.as_ref().device(self, hello).await
    }

    /// Authenticates a back end by its token.
    ///
    /// # Errors
    /// [`Refusal`], as for a connection.
    pub async fn authenticate_service(&self, token: &str) -> Result<Principal, Refusal> {
        let authenticator = self.core().authenticator.clone();
        let granted = authenticator.as_ref().service(self, token).await;
        if let Err(refusal) = &granted {
            self.core().meter.refused(refusal);
            tracing::info!(kind = refusal_name(refusal), %refusal, "back end refused");
        }
        granted
    }

    fn refused(
        &self,
        device: &Address,
        protocol: &'static str,
        peer: Option<SocketAddr>,
        refusal: &Refusal,
    ) {
        self.core().meter.refused(refusal);
        let kind = refusal_name(refusal);
        tracing::info!(%device, protocol, ?peer, kind, %refusal, "refused");
    }

    /// Asks the application's hook whether `actor` may do this; without a hook it may. Then waits
    /// until the quotas have room for it, if the hub has any.
    ///
    /// To be asked once for each operation of a back end. What a device does is counted where it is
    /// done: by its link, and by the calls that stand for one.
    ///
    /// # Errors
    /// `Forbidden`; `Throttled` when it would have to wait longer than may be, `QuotaExceeded` when
    /// the messages of the day are used up, both with [`HubError::retry_after`]; `Unavailable` when the
    /// hub stops while it waits.
    pub async fn authorize(&self, actor: Actor<'_>, action: Action<'_>) -> Result<(), HubError> {
        self.authorize_bytes(actor, action, 0).await
    }

    /// As [`Hub::authorize`], for an operation that carries so many bytes: quotas count some by
    /// the 4 KB.
    ///
    /// # Errors
    /// As [`Hub::authorize`].
    pub async fn authorize_bytes(
        &self,
        actor: Actor<'_>,
        action: Action<'_>,
        bytes: usize,
    ) -> Result<(), HubError> {
        if let Some(authorizer) = &self.core().authorizer {
            match authorizer.as_ref().authorize(actor, action).await {
                Decision::Allow => {}
                Decision::Deny => {
                    return Err(HubError::new(ErrorKind::Forbidden, "denied by the application"));
                }
            }
        }
        match throttle::work_of(actor, action, bytes) {
            Some(work) => self.has_turn(work).await,
            None => Ok(()),
        }
    }

    /// Waits until the quotas have room for an operation.
    pub(super) async fn has_turn(&self, work: Work<'_>) -> Result<(), HubError> {
        match &self.core().throttle {
            Some(throttle) => throttle.pass(work).await,
            None => Ok(()),
        }
    }

    /// Connects a device or module. A live connection of the same identity is closed: the newest
    /// wins. Dropping the future disconnects.
    ///
    /// # Errors
    /// [`Refusal`], which each protocol answers in its own code.
    pub async fn connect(&self, hello: Hello) -> Result<Link, Refusal> {
        let (address, protocol, peer) = (hello.address.clone(), hello.protocol, hello.peer);
        let connected = self.admit(hello).await;
        let core = &self.inner.core;
        match &connected {
            Ok(link) => {
                core.meter.connected(protocol);
                tracing::debug!(
                    device = %address,
                    protocol,
                    ?peer,
                    link = link.welcome.link.0,
                    epoch = link.welcome.epoch.0,
                    auth = ?link.welcome.grant.auth,
                    "connected"
                );
            }
            Err(refusal) => self.refused(&address, protocol, peer, refusal),
        }
        connected
    }

    async fn admit(&self, hello: Hello) -> Result<Link, Refusal> {
        let core = &self.inner.core;
        let place = Place::take(core).ok_or(Refusal::Unavailable("too many connections"))?;
        let grant = self.grant(&hello).await?;
        if !core.membership.is_joined() {
            return Err(Refusal::Unavailable("this node is not part of the hub"));
        }
        let actor = Actor::Device(&hello.address);
        if self.authorize(actor, Action::Connect(&hello)).await.is_err() {
            return Err(Refusal::Denied);
        }
        // Not before it is known who it is: a stranger could use up what a device may do.
        self.has_turn(throttle::one(Operation::Connect, &hello.address)).await.map_err(
            |error| {
                error
                    .retry_after()
                    .map_or(Refusal::Unavailable("the hub shuts down"), Refusal::Throttled)
            },
        )?;
        let internal = Refusal::Unavailable("no such shard");
        let shard = self.shard(&hello.address).map_err(|_| internal)?.clone();
        let bounds = Bounds::from(&*core.limits);
        let line = Arc::new(Line::new(core.next_link(), hello.address.clone(), bounds));
        let stamp = Stamp::new(
            EventSource::Telemetry,
            &hello.address,
            &grant.generation.to_string(),
            Some(grant.auth),
            hello.model.as_deref(),
        );
        shard.add_line(line.clone());
        // From here on the link is there; whatever happens, dropping it takes it away again.
        let up = Uplink::new(shard.clone(), line.clone(), stamp);
        place.keep();
        // Whoever stops the hub says so first and then closes the links there are. A link that
        // came too late for that has to see it here.
        if *self.inner.stop.borrow() || core.is_failed() {
            return Err(Refusal::Unavailable("the hub shuts down"));
        }
        let arrival = Box::new(Arrival { grant, session: hello.session, model: hello.model });
        let id = line.id;
        // If nobody waits for the answer any more, the link goes, and the call with it.
        let (_, answer) = shard.ask(&hello.address, |call| Input::Connect(call, id, arrival));
        let answer = tokio::time::timeout(core.limits.call_timeout, answer).await;
        match answer.map(|answer| answer.map(|given| given.answer)) {
            Ok(Ok(Answer::Welcome(welcome))) => {
                Ok(Link { up, down: Downlink(line), welcome: *welcome })
            }
            Ok(Ok(Answer::Refused(refusal))) => Err(refusal),
            _ => Err(Refusal::Unavailable("the store does not answer")),
        }
    }
}

/// A place among the connections, from before the peer is authenticated: otherwise many that come
/// at once would all find room.
struct Place<'a>(Option<&'a Core>);

impl<'a> Place<'a> {
    fn take(core: &'a Core) -> Option<Self> {
        let taken = core.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < core.limits.connections_max).then_some(count + 1)
        });
        if taken.is_err() {
            core.turned_away.connections.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok().then(|| Self(Some(core)))
    }

    /// The link has it now, and gives it back when it ends.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(core) = self.0 {
            core.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
