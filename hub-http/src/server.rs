//! The hub's own HTTP server.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use futures::future::BoxFuture;
use http::{Request, StatusCode};
use hub_core::engine::{Hub, Shutdown};
use hub_core::transport::{ByteStream, Peer, StreamHandler, Transport, TransportError};
use hub_tls::TlsSettings;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::api::{Api, Settings};
use crate::wire::{Heads, Wire};

/// Largest head of a request. The properties of a message are in it.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// How long a TCP connection may be silent before it is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Connections that the operating system holds until they are taken.
const BACKLOG: u32 = 4096;

/// How long to wait before accepting again after the operating system could not.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Sets an HTTP server up. Without an address it serves nobody.
#[derive(Default)]
pub struct HttpTransportBuilder {
    addresses: Vec<(SocketAddr, Option<TlsSettings>)>,
    sockets: Vec<Arc<dyn StreamHandler>>,
    others: Option<axum::Router>,
    operations: bool,
    settings: Settings,
    connections_max: Option<usize>,
    idle_timeout: Option<Duration>,
}

impl fmt::Debug for HttpTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransportBuilder")
            .field("addresses", &self.addresses)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl HttpTransportBuilder {
    /// Adds an address to listen on without TLS. Port 0 takes a free one. Tokens are sent in clear
    /// text there: for loopback, and behind a proxy.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.addresses.push((address, None));
        self
    }

    /// Adds an address to listen on with TLS. Port 0 takes a free one.
    #[must_use]
    pub fn listen_tls(mut self, address: SocketAddr, tls: TlsSettings) -> Self {
        self.addresses.push((address, Some(tls)));
        self
    }

    /// Serves the operator's routes too, see [`operations_router`](crate::operations_router).
    #[must_use]
    pub fn operations(mut self) -> Self {
        self.operations = true;
        self
    }

    /// Serves routes of the application's own, where the hub has none.
    #[must_use]
    pub fn routes(mut self, router: axum::Router) -> Self {
        self.others = Some(router);
        self
    }

    /// Serves another protocol over WebSockets, on `/$iothub/websocket` and
    /// `/$servicebus/websocket`. Of several with the same sub-protocol the first is taken.
    #[must_use]
    pub fn websocket(mut self, handler: Arc<dyn StreamHandler>) -> Self {
        self.sockets.push(handler);
        self
    }

    /// Sets how many connections there may be at once; beyond it, peers wait to be accepted. The
    /// default is `Limits::connections_max`.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = Some(connections);
        self
    }

    /// Sets the longest time from one request's end to the end of the next one's head; the default
    /// is two minutes. The first request of a connection has `Limits::handshake_timeout`.
    #[must_use]
    pub fn idle_timeout(mut self, wait: Duration) -> Self {
        self.idle_timeout = Some(wait);
        self
    }

    /// Sets the longest time from the end of a request's head to the end of its body; the default
    /// is one minute.
    #[must_use]
    pub fn body_timeout(mut self, wait: Duration) -> Self {
        self.settings.body_timeout = wait;
        self
    }

    /// Binds all addresses. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says when an address cannot be had, and which address that is.
    pub fn bind(self) -> io::Result<HttpTransport> {
        let mut listeners = Vec::with_capacity(self.addresses.len());
        for (wanted, tls) in self.addresses {
            let (socket, address) = listen(wanted).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {wanted}: {error}"))
            })?;
            listeners.push(Listener { socket, address, tls });
        }
        Ok(HttpTransport {
            listeners,
            sockets: self.sockets,
            others: self.others,
            operations: self.operations,
            settings: self.settings,
            connections_max: self.connections_max,
            idle_timeout: self.idle_timeout.unwrap_or(Duration::from_secs(120)),
        })
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted hub need not wait for connections of the last one to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let socket = socket.listen(BACKLOG)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsSettings>,
}

/// An HTTP server that has its addresses, and waits for [`Hub::serve`].
pub struct HttpTransport {
    listeners: Vec<Listener>,
    sockets: Vec<Arc<dyn StreamHandler>>,
    others: Option<axum::Router>,
    operations: bool,
    settings: Settings,
    connections_max: Option<usize>,
    idle_timeout: Duration,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("local_addrs", &self.local_addrs())
            .finish_non_exhaustive()
    }
}

impl HttpTransport {
    /// Begins to set a server up.
    #[must_use]
    pub fn builder() -> HttpTransportBuilder {
        HttpTransportBuilder::default()
    }

    /// Serves routes of the application's own, as [`HttpTransportBuilder::routes`] does: for those
    /// that have to know where the server listens.
    #[must_use]
    pub fn routes(mut self, router: axum::Router) -> Self {
        self.others = Some(router);
        self
    }

    /// The addresses it listens on, in the order they were added.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.address).collect()
    }
}

/// What the connections of a server share.
struct Shared {
    api: Arc<Api>,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
    idle_timeout: Duration,
}

#[async_trait]
impl Transport for HttpTransport {
    fn name(&self) -> &'static str {
        "http"
    }

    async fn serve(self: Box<Self>, hub: Hub, shutdown: Shutdown) -> Result<(), TransportError> {
        let places = self.connections_max.unwrap_or(hub.limits().connections_max);
        let mut api = Api::new(hub);
        api.sockets = self.sockets;
        api.others = self.others;
        api.operations = self.operations;
        api.settings = self.settings;
        let shared = Arc::new(Shared {
            api: Arc::new(api),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            shutdown,
            idle_timeout: self.idle_timeout,
        });
        let mut listening = JoinSet::new();
        for listener in self.listeners {
            listening.spawn(accept(listener, shared.clone()));
        }
        while listening.join_next().await.is_some() {}
        Ok(())
    }
}

/// Accepts until the hub stops, then waits for the connections. Dropping the future ends them.
async fn accept(listener: Listener, shared: Arc<Shared>) {
    let Listener { socket, tls, .. } = listener;
    let mut shutdown = shared.shutdown.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => break,
            Some(_) = connections.join_next() => {}
            accepted = next(&socket, &shared.places) => match accepted {
                Ok((stream, address, place)) => {
                    let (shared, tls) = (shared.clone(), tls.clone());
                    connections.spawn(async move {
                        connection(stream, address, tls, shared).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // A peer that went away already, or no file descriptors left for now.
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

async fn next(
    socket: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, Option<tokio::sync::OwnedSemaphorePermit>)> {
    // Never closed, so there always is a place in the end.
    let place = places.clone().acquire_owned().await.ok();
    let (stream, address) = socket.accept().await?;
    Ok((stream, address, place))
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsSettings>,
    shared: Arc<Shared>,
) {
    // Answers are short and somebody waits for each: none may linger for the next.
    let _ = stream.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let mut peer = Peer { addr: Some(address), certificate: None };
    match tls {
        None => talk(stream, peer, shared).await,
        Some(tls) => {
            let within = shared.api.hub.limits().handshake_timeout;
            match tls.accept(stream, within).await {
                Ok((stream, certificate)) => {
                    peer.certificate = certificate;
                    talk(stream, peer, shared).await;
                }
                Err(error) => tracing::debug!(peer = %address, %error, "no TLS handshake"),
            }
        }
    }
}

/// A connection, as the routes see it.
pub(crate) struct Seat {
    /// Who is at its other end.
    pub(crate) peer: Peer,
    heads: Arc<Heads>,
    started: AtomicBool,
    /// What becomes of the connection once HTTP is over.
    afterwards: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Seat {
    /// Runs this in the connection's place when HTTP has let go of it.
    pub(crate) fn then(&self, work: BoxFuture<'static, ()>) {
        *self.afterwards.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    }

    fn take(&self) -> Option<BoxFuture<'static, ()>> {
        self.afterwards.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How a request came, where the hub's own server took it.
pub(crate) struct Arrival {
    pub(crate) seat: Arc<Seat>,
    /// Its head as it was sent.
    pub(crate) head: Vec<u8>,
}

async fn talk<S: ByteStream>(stream: S, peer: Peer, shared: Arc<Shared>) {
    let heads = Arc::new(Heads::new(HEAD_BYTES_MAX));
    let stream = Wire::new(stream, heads.clone(), shared.api.hub.limits().silence_max);
    let seat = Arc::new(Seat {
        peer,
        heads,
        started: AtomicBool::new(false),
        afterwards: Mutex::new(None),
    });
    let service = {
        let (api, seat) = (shared.api.clone(), seat.clone());
        service_fn(move |request: Request<Incoming>| {
            seat.started.store(true, Ordering::Relaxed);
            let (api, seat) = (api.clone(), seat.clone());
            let arrival = Arrival { seat: seat.clone(), head: seat.heads.take() };
            async move {
                let response = api.handle(request.map(Body::new), Some(arrival)).await;
                // Behind a switch of protocols there are no heads.
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    seat.heads.resume();
                }
                Ok::<_, Infallible>(response)
            }
        })
    };
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.idle_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut http = std::pin::pin!(http);
    let mut shutdown = shared.shutdown.clone();
    let mut stopping = false;
    let first = tokio::time::sleep(shared.api.hub.limits().handshake_timeout);
    let mut first = std::pin::pin!(first);
    let mut waited = false;
    loop {
        tokio::select! {
            ended = http.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                break;
            }
            () = shutdown.requested(), if !stopping => {
                stopping = true;
                http.as_mut().graceful_shutdown();
            }
            () = first.as_mut(), if !waited => {
                waited = true;
                if !seat.started.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
    if let Some(work) = seat.take() {
        work.await;
    }
}
