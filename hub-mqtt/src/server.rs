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

use crate::conn::{self, Opening};
use crate::metrics::{Counters, Metrics};

/// Serves MQTT 3.1.1 over TCP and TLS.
///
/// Its sockets are bound when it is built, so that their addresses are known before it serves.
pub struct MqttTransport {
    listeners: Listeners,
    counters: Arc<Counters>,
}

impl fmt::Debug for MqttTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttTransport").field("local_addrs", &self.local_addrs()).finish()
    }
}

/// Says where and how an [`MqttTransport`] listens.
#[derive(Debug, Default)]
#[must_use]
pub struct MqttTransportBuilder {
    addresses: Addresses,
}

impl MqttTransportBuilder {
    /// Listens here without TLS. Tokens and messages are readable on the way: for tests, and
    /// behind something that does TLS.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.addresses.add(addr, None);
        self
    }

    /// Listens here with TLS.
    pub fn listen_tls(mut self, addr: SocketAddr, tls: TlsSettings) -> Self {
        self.addresses.add(addr, Some(tls));
        self
    }

    /// Binds all addresses. Port 0 lets the operating system choose. Must be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// What the operating system says when an address cannot be bound, and which.
    pub fn bind(self) -> io::Result<MqttTransport> {
        Ok(MqttTransport { listeners: self.addresses.bind()?, counters: Arc::default() })
    }
}

/// Reads the counters of a transport, also while it serves.
#[derive(Debug, Clone)]
pub struct MqttMetrics(Arc<Counters>);

impl MqttMetrics {
    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Metrics {
        self.0.snapshot()
    }
}

impl MqttTransport {
    /// Says where and how to listen.
    pub fn builder() -> MqttTransportBuilder {
        MqttTransportBuilder::default()
    }

    /// The addresses it is bound to, in the order they were given.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.local_addrs()
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> MqttMetrics {
        MqttMetrics(self.counters.clone())
    }
}

#[async_trait]
impl Transport for MqttTransport {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    async fn serve(self: Box<Self>, hub: Hub, shutdown: Shutdown) -> Result<(), TransportError> {
        let terms = Terms {
            connections_max: hub.limits().connections_max,
            when_full: WhenFull::Refuse,
            handshake_timeout: hub.limits().handshake_timeout,
            // The protocol has its own, which a device on a metered line chooses.
            keepalive: None,
        };
        let mqtt = Mqtt { hub, shutdown: shutdown.clone(), counters: self.counters };
        self.listeners.serve(mqtt, terms, shutdown).await;
        Ok(())
    }
}

/// What each connection is given.
#[derive(Clone)]
struct Mqtt {
    hub: Hub,
    shutdown: Shutdown,
    counters: Arc<Counters>,
}

impl Mqtt {
    /// For a connection that begins now.
    fn opening(self) -> Opening {
        let Self { hub, shutdown, counters } = self;
        let deadline = Instant::now() + hub.limits().handshake_timeout;
        Opening { hub, shutdown, counters, deadline }
    }
}

impl Protocol for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn note(&self, incident: Incident) {
        match incident {
            Incident::Taken => self.counters.connection(),
            Incident::Full => self.counters.over_limit(),
            Incident::NoTls => self.counters.tls_failed(),
            Incident::TooSlow => self.counters.handshake_timeout(),
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

/// Serves MQTT over streams that another transport has opened: WebSockets with the sub-protocol
/// `mqtt`.
#[derive(Debug, Clone, Default)]
pub struct MqttStreamHandler {
    counters: Arc<Counters>,
}

impl MqttStreamHandler {
    /// A handler with counters of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> MqttMetrics {
        MqttMetrics(self.counters.clone())
    }
}

#[async_trait]
impl StreamHandler for MqttStreamHandler {
    fn subprotocol(&self) -> &'static str {
        "mqtt"
    }

    async fn handle(&self, hub: Hub, io: Box<dyn ByteStream>, peer: Peer, shutdown: Shutdown) {
        let mqtt = Mqtt { hub, shutdown, counters: self.counters.clone() };
        mqtt.note(Incident::Taken);
        mqtt.serve(ready(Some((io, peer)))).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Ready;

    use tokio::net::TcpStream;

    use super::*;

    fn task_size<A, B, F: Future>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// There may be a hundred thousand of them, most of them idle.
    #[test]
    fn the_task_of_a_plain_connection_is_small() {
        let size = task_size(Mqtt::serve::<TcpStream, Ready<Option<(TcpStream, Peer)>>>);
        assert!(size <= 448, "{size}");
    }
}
