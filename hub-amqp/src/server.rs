//! Listening, and the transport itself.

use std::fmt;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use hub_core::transport::{ByteStream, Peer, StreamHandler, Transport, TransportError};
use hub_core::{Hub, Shutdown};
use hub_tls::{Addresses, Incident, Listeners, Protocol, Terms, TlsSettings, WhenFull};
use tokio::time::Instant;

use crate::conn::{self, Opening, Shared};
use crate::limits::AmqpLimits;
use crate::metrics::Metrics;

/// Serves AMQP 1.0 over TCP and TLS.
///
/// Its sockets are bound when it is built, so that their addresses are known before it serves.
pub struct AmqpTransport {
    listeners: Listeners,
    shared: Arc<Shared>,
}

impl fmt::Debug for AmqpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpTransport").field("local_addrs", &self.local_addrs()).finish()
    }
}

/// Says where and how an [`AmqpTransport`] listens.
#[derive(Debug, Default)]
#[must_use]
pub struct AmqpTransportBuilder {
    addresses: Addresses,
    limits: AmqpLimits,
}

impl AmqpTransportBuilder {
    /// Listens here without TLS. Tokens and messages are readable on the way: for Event Hubs
    /// clients with `UseDevelopmentEmulator=true`, for tests, and behind something that does TLS.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.addresses.add(addr, None);
        self
    }

    /// Listens here with TLS.
    pub fn listen_tls(mut self, addr: SocketAddr, tls: TlsSettings) -> Self {
        self.addresses.add(addr, Some(tls));
        self
    }

    /// Replaces the bounds on what a connection may hold.
    pub fn limits(mut self, limits: AmqpLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Binds all addresses; there may be none, if only WebSockets are served. Port 0 lets the
    /// operating system choose. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// What the operating system says when an address cannot be bound, and which.
    pub fn bind(self) -> io::Result<AmqpTransport> {
        let listeners = self.addresses.bind()?;
        Ok(AmqpTransport { listeners, shared: Arc::new(Shared::new(self.limits)) })
    }
}

/// Reads the counters of a transport, also while it serves.
#[derive(Debug, Clone)]
pub struct AmqpMetrics(Arc<Shared>);

impl AmqpMetrics {
    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Metrics {
        self.0.counters.snapshot()
    }
}

impl AmqpTransport {
    /// Says where and how to listen.
    pub fn builder() -> AmqpTransportBuilder {
        AmqpTransportBuilder::default()
    }

    /// The addresses it is bound to, in the order they were given.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.local_addrs()
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> AmqpMetrics {
        AmqpMetrics(self.shared.clone())
    }

    /// Serves the same over WebSockets that another transport has opened. Epochs and counters are
    /// shared with this transport.
    #[must_use]
    pub fn stream_handler(&self) -> AmqpStreamHandler {
        AmqpStreamHandler { shared: self.shared.clone() }
    }
}

#[async_trait]
impl Transport for AmqpTransport {
    fn name(&self) -> &'static str {
        "amqp"
    }

    async fn serve(self: Box<Self>, hub: Hub, shutdown: Shutdown) -> Result<(), TransportError> {
        let terms = Terms {
            connections_max: hub.limits().connections_max,
            when_full: WhenFull::Refuse,
            handshake_timeout: hub.limits().handshake_timeout,
            keepalive: None,
        };
        let amqp = Amqp { hub, shutdown: shutdown.clone(), shared: self.shared };
        self.listeners.serve(amqp, terms, shutdown).await;
        Ok(())
    }
}

/// What each connection is given.
#[derive(Clone)]
struct Amqp {
    hub: Hub,
    shutdown: Shutdown,
    shared: Arc<Shared>,
}

impl Amqp {
    /// For a connection that begins now.
    fn opening(self) -> Opening {
        let Self { hub, shutdown, shared } = self;
        let deadline = Instant::now() + hub.limits().handshake_timeout;
        Opening { hub, shutdown, shared, deadline }
    }
}

impl Protocol for Amqp {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn note(&self, incident: Incident) {
        let counters = &self.shared.counters;
        match incident {
            Incident::Taken => counters.connections(),
            Incident::Full => counters.over_limit(),
            Incident::NoTls => counters.tls_failed(),
            Incident::TooSlow => counters.handshake_timeouts(),
        }
    }

    fn serve<IO, O>(self, open: O) -> impl Future<Output = ()> + Send + 'static
    where
        IO: ByteStream,
        O: Future<Output = Option<(IO, Peer)>> + Send + 'static,
    {
        conn::serve(open, self.opening())
    }
}

/// Serves AMQP over streams that another transport has opened: WebSockets with the sub-protocol
/// `AMQPWSB10`. Made by [`AmqpTransport::stream_handler`].
#[derive(Debug, Clone)]
pub struct AmqpStreamHandler {
    shared: Arc<Shared>,
}

#[async_trait]
impl StreamHandler for AmqpStreamHandler {
    fn subprotocol(&self) -> &'static str {
        "AMQPWSB10"
    }

    async fn handle(&self, hub: Hub, io: Box<dyn ByteStream>, peer: Peer, shutdown: Shutdown) {
        let amqp = Amqp { hub, shutdown, shared: self.shared.clone() };
        amqp.note(Incident::Taken);
        amqp.serve(ready(Some((io, peer)))).await;
    }
}
