//! Listening, and the transport itself.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hub_core::transport::{ByteStream, Peer, StreamHandler, Transport, TransportError};
use hub_core::{Hub, Shutdown};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::conn::{self, Opening};
use crate::metrics::{Counters, Metrics};
use hub_tls::TlsSettings;

/// Connections that the operating system holds until they are taken.
const BACKLOG: u32 = 4096;
/// Wait after a failure to take a connection, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves MQTT 3.1.1 over TCP and TLS.
///
/// Its sockets are bound when it is built, so that their addresses are known before it serves.
pub struct MqttTransport {
    listeners: Vec<Listener>,
    counters: Arc<Counters>,
}

struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    tls: Option<TlsSettings>,
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
    listeners: Vec<(SocketAddr, Option<TlsSettings>)>,
}

impl MqttTransportBuilder {
    /// Listens here without TLS. Tokens and messages are readable on the way: for tests, and
    /// behind something that does TLS.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listeners.push((addr, None));
        self
    }

    /// Listens here with TLS.
    pub fn listen_tls(mut self, addr: SocketAddr, tls: TlsSettings) -> Self {
        self.listeners.push((addr, Some(tls)));
        self
    }

    /// Binds all addresses. Port 0 lets the operating system choose. Must be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// What the operating system says when an address cannot be bound, and which.
    pub fn bind(self) -> io::Result<MqttTransport> {
        let listeners = self.listeners.into_iter().map(|(addr, tls)| {
            let (socket, addr) = bind(addr).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}"))
            })?;
            Ok(Listener { socket, addr, tls })
        });
        let listeners = listeners.collect::<io::Result<_>>()?;
        Ok(MqttTransport { listeners, counters: Arc::default() })
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
        self.listeners.iter().map(|listener| listener.addr).collect()
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
        let places = Arc::new(Semaphore::new(hub.limits().connections_max));
        let mut listeners = JoinSet::new();
        for listener in self.listeners {
            let (hub, shutdown) = (hub.clone(), shutdown.clone());
            let (counters, places) = (self.counters.clone(), places.clone());
            listeners.spawn(accept(listener, hub, shutdown, counters, places));
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
    counters: Arc<Counters>,
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
                    warn!(%error, "mqtt connection failed");
                }
                continue;
            }
            accepted = listener.socket.accept() => accepted,
        };
        let (socket, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "mqtt cannot take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        counters.connection();
        let Ok(place) = places.clone().try_acquire_owned() else {
            counters.over_limit();
            continue;
        };
        // Answers are small and written once per turn; waiting for more would only delay them.
        let _ = socket.set_nodelay(true);
        let opening = opening(hub.clone(), shutdown.clone(), counters.clone());
        match listener.tls.clone() {
            None => connections.spawn(serve_plain(socket, addr, opening, place)),
            Some(tls) => connections.spawn(serve_tls(socket, addr, tls, opening, place)),
        };
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn opening(hub: Hub, shutdown: Shutdown, counters: Arc<Counters>) -> Opening {
    let deadline = Instant::now() + hub.limits().handshake_timeout;
    Opening { hub, shutdown, counters, deadline }
}

fn serve_plain(
    socket: TcpStream,
    addr: SocketAddr,
    opening: Opening,
    place: OwnedSemaphorePermit,
) -> impl Future<Output = ()> + Send {
    let peer = Peer { addr: Some(addr), certificate: None };
    let serving = conn::serve(async move { Some((socket, peer)) }, opening);
    async move {
        serving.await;
        drop(place);
    }
}

fn serve_tls(
    socket: TcpStream,
    addr: SocketAddr,
    tls: TlsSettings,
    opening: Opening,
    place: OwnedSemaphorePermit,
) -> impl Future<Output = ()> + Send {
    let mut shutdown = opening.shutdown.clone();
    let (counters, deadline) = (opening.counters.clone(), opening.deadline);
    let open = async move {
        let stream = tokio::select! {
            biased;
            () = shutdown.requested() => return None,
            accepted = TlsAcceptor::from(tls.config()).accept(socket) => match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    counters.tls_failed();
                    debug!(peer = %addr, %error, "tls handshake failed");
                    return None;
                }
            },
            () = tokio::time::sleep_until(deadline) => {
                counters.handshake_timeout();
                return None;
            }
        };
        let certificate = tls.client_certificate(stream.get_ref().1);
        // In a box: what a TLS connection needs is several times what everything else does.
        Some((Box::new(stream), Peer { addr: Some(addr), certificate }))
    };
    let serving = conn::serve(open, opening);
    async move {
        serving.await;
        drop(place);
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
        self.counters.connection();
        let opening = opening(hub, shutdown, self.counters.clone());
        conn::serve(async move { Some((io, peer)) }, opening).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task_size<A, B, C, D, F: Future>(_: fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// There may be a hundred thousand of them, most of them idle.
    #[test]
    fn the_task_of_a_plain_connection_is_small() {
        let size = task_size(serve_plain);
        assert!(size <= 448, "{size}");
    }
}
