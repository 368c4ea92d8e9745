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
use hub_tls::{Addresses, Incident, Listeners, Protocol, Terms, TlsSettings, WhenFull};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::api::{Api, Settings};
use crate::wire::{Heads, Wire};

/// Largest head of a request. The properties of a message are in it.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// How long a TCP connection may be silent before it is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Sets an HTTP server up. Without an address it serves nobody.
#[derive(Default)]
pub struct HttpTransportBuilder {
    addresses: Addresses,
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
        self.addresses.add(address, None);
        self
    }

    /// Adds an address to listen on with TLS. Port 0 takes a free one.
    #[must_use]
    pub fn listen_tls(mut self, address: SocketAddr, tls: TlsSettings) -> Self {
        self.addresses.add(address, Some(tls));
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
        Ok(HttpTransport {
            listeners: self.addresses.bind()?,
            sockets: self.sockets,
            others: self.others,
            operations: self.operations,
            settings: self.settings,
            connections_max: self.connections_max,
            idle_timeout: self.idle_timeout.unwrap_or(Duration::from_secs(120)),
        })
    }
}

/// An HTTP server that has its addresses, and waits for [`Hub::serve`].
pub struct HttpTransport {
    listeners: Listeners,
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
        self.listeners.local_addrs()
    }
}

/// What the connections of a server share.
struct Shared {
    api: Arc<Api>,
    shutdown: Shutdown,
    idle_timeout: Duration,
}

#[async_trait]
impl Transport for HttpTransport {
    fn name(&self) -> &'static str {
        "http"
    }

    async fn serve(self: Box<Self>, hub: Hub, shutdown: Shutdown) -> Result<(), TransportError> {
        let limits = hub.limits();
        let terms = Terms {
            connections_max: self.connections_max.unwrap_or(limits.connections_max),
            when_full: WhenFull::Wait,
            handshake_timeout: limits.handshake_timeout,
            keepalive: Some(KEEPALIVE),
        };
        let mut api = Api::new(hub);
        api.sockets = self.sockets;
        api.others = self.others;
        api.operations = self.operations;
        api.settings = self.settings;
        let stop = shutdown.clone();
        let http = Shared { api: Arc::new(api), shutdown, idle_timeout: self.idle_timeout };
        self.listeners.serve(Http(Arc::new(http)), terms, stop).await;
        Ok(())
    }
}

#[derive(Clone)]
struct Http(Arc<Shared>);

impl Protocol for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    /// Counts nothing: what is asked for is counted, not who comes.
    fn note(&self, _incident: Incident) {}

    fn serve<IO, O>(self, open: O) -> impl Future<Output = ()> + Send + 'static
    where
        IO: ByteStream,
        O: Future<Output = Option<(IO, Peer)>> + Send + 'static,
    {
        // In a box, so that a handshake takes no room once it is over.
        let open = Box::pin(open);
        async move {
            if let Some((stream, peer)) = open.await {
                talk(stream, peer, self.0).await;
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
