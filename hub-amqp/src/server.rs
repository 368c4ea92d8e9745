//! Listening, and the transport itself.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hub_core::transport::{ByteStream, Peer, StreamHandler, Transport, TransportError};
use hub_core::{Hub, Shutdown};
use hub_tls::TlsSettings;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::conn::{self, Opening, Shared};
use crate::limits::AmqpLimits;
use crate::metrics::Metrics;

/// Connections that the operating system holds until they are taken.
const BACKLOG: u32 = 4096;
/// Wait after a failure to take a connection, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves AMQP 1.0 over TCP and TLS.
///
/// Its sockets are bound when it is built, so that their addresses are known before it serves.
pub struct AmqpTransport {
    listeners: Vec<Listener>,
    shared: Arc<Shared>,
}

struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    tls: Option<TlsSettings>,
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
    listeners: Vec<(SocketAddr, Option<TlsSettings>)>,
    limits: AmqpLimits,
}

impl AmqpTransportBuilder {
    /// Listens here without TLS. Tokens and messages are readable on the way: for Event Hubs
    /// clients with `UseDevelopmentEmulator=true`, for tests, and behind something that does TLS.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listeners.push((addr, None));
        self
    }

    /// Listens here with TLS.
    pub fn listen_tls(mut self, addr: SocketAddr, tls: TlsSettings) -> Self {
        self.listeners.push((addr, Some(tls)));
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
        let listeners = self.listeners.into_iter().map(|(addr, tls)| {
            let (socket, addr) = bind(addr).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}"))
            })?;
            Ok(Listener { socket, addr, tls })
        });
        let listeners = listeners.collect::<io::Result<_>>()?;
        Ok(AmqpTransport { listeners, shared: Arc::new(Shared::new(self.limits)) })
    }
}

fn bind(addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted hub need not wait for connections of the last one to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    let socket = socket.listen(BACKLOG)?;
    let addr = socket.local_addr()?;
    Ok((socket, addr))
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
        self.listeners.iter().map(|listener| listener.addr).collect()
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
        let places = Arc::new(Semaphore::new(hub.limits().connections_max));
        let mut listeners = JoinSet::new();
        for listener in self.listeners {
            let (hub, shutdown) = (hub.clone(), shutdown.clone());
            let (shared, places) = (self.shared.clone(), places.clone());
            listeners.spawn(accept(listener, hub, shutdown, shared, places));
        }
        while listeners.join_next().await.is_some() {}
        Ok(())
    }
}

/// Takes connections until told to stop, then waits for them to end.
async fn accept(
    listener: Listener,
    hub: Hub,
    shutdown: Shutdown,
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
) {
    let mut connections = JoinSet::new();
    let mut stop = shutdown.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.requested() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "amqp connection failed");
                }
                continue;
            }
            accepted = listener.socket.accept() => accepted,
        };
        let (socket, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "amqp cannot take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        shared.counters.connections();
        let Ok(place) = places.clone().try_acquire_owned() else {
            shared.counters.over_limit();
            continue;
        };
        // What is written is gathered before; waiting for more would only delay it.
        let _ = socket.set_nodelay(true);
        let opening = opening(hub.clone(), shutdown.clone(), shared.clone());
        match listener.tls.clone() {
            None => connections.spawn(serve_plain(socket, addr, opening, place)),
            Some(tls) => connections.spawn(serve_tls(socket, addr, tls, opening, place)),
        };
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn opening(hub: Hub, shutdown: Shutdown, shared: Arc<Shared>) -> Opening {
    let deadline = Instant::now() + hub.limits().handshake_timeout;
    Opening { hub, shutdown, shared, deadline }
}

async fn serve_plain(
    socket: TcpStream,
    addr: SocketAddr,
    opening: Opening,
    place: OwnedSemaphorePermit,
) {
    let peer = Peer { addr: Some(addr), certificate: None };
    conn::serve(socket, peer, opening).await;
    drop(place);
}

async fn serve_tls(
    socket: TcpStream,
    addr: SocketAddr,
    tls: TlsSettings,
    mut opening: Opening,
    place: OwnedSemaphorePermit,
) {
    let counters = &opening.shared.counters;
    let stream = tokio::select! {
        biased;
        () = opening.shutdown.requested() => return,
        accepted = TlsAcceptor::from(tls.config()).accept(socket) => match accepted {
            Ok(stream) => stream,
            Err(error) => {
                counters.tls_failed();
                debug!(peer = %addr, %error, "tls handshake failed");
                return;
            }
        },
        () = tokio::time::sleep_until(opening.deadline) => {
            counters.handshake_timeouts();
            return;
        }
    };
    let certificate = tls.client_certificate(stream.get_ref().1);
    // In a box: what a TLS connection needs is several times what everything else does.
    conn::serve(Box::new(stream), Peer { addr: Some(addr), certificate }, opening).await;
    drop(place);
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
        self.shared.counters.connections();
        conn::serve(io, peer, opening(hub, shutdown, self.shared.clone())).await;
    }
}
