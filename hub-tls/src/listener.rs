//! Listening: addresses that are bound before they are served, and the loop that takes connections.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hub_core::Shutdown;
use hub_core::transport::{ByteStream, Peer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::{TlsSettings, TlsStream};

/// Connections that the operating system holds until they are taken.
const BACKLOG: u32 = 4096;
/// Wait after a failure to take a connection, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where to listen, each with TLS or without.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Addresses(Vec<(SocketAddr, Option<TlsSettings>)>);

impl Addresses {
    /// Adds an address; without settings, what is said there can be read on the way.
    pub fn add(&mut self, addr: SocketAddr, tls: Option<TlsSettings>) {
        self.0.push((addr, tls));
    }

    /// Binds all of them. Port 0 lets the operating system choose. Must be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// What the operating system says when an address cannot be bound, and which.
    pub fn bind(self) -> io::Result<Listeners> {
        let listeners = self.0.into_iter().map(|(addr, tls)| {
            let (socket, addr) = bind(addr).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}"))
            })?;
            Ok(Listener { socket, addr, tls })
        });
        Ok(Listeners(listeners.collect::<io::Result<_>>()?))
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

/// What becomes of a peer that comes when all places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It is closed unheard, and [`Incident::Full`] is noted.
    Refuse,
    /// It waits in the operating system's queue until another goes.
    Wait,
}

/// How connections are taken.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Most connections at once, over all addresses.
    pub connections_max: usize,
    /// What becomes of those beyond.
    pub when_full: WhenFull,
    /// Longest time that a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a connection may be silent before the operating system asks whether the peer is
    /// still there; never, if absent.
    pub keepalive: Option<Duration>,
}

/// What happens before a peer is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incident {
    /// A connection was taken.
    Taken,
    /// It was closed unheard: there are too many.
    Full,
    /// Its TLS handshake failed.
    NoTls,
    /// Its TLS handshake took too long.
    TooSlow,
}

/// What is spoken on the connections that are taken. Cloned for each of them.
pub trait Protocol: Clone + Send + Sync + 'static {
    /// Its name, for the log.
    fn name(&self) -> &'static str;

    /// Hears of an incident, to count it.
    fn note(&self, incident: Incident);

    /// Serves one peer until it or the hub ends the connection.
    ///
    /// `open` gives its stream once there is one to talk over, and what is known of the peer, or
    /// nothing when there is no such. It may be large and is of no use afterwards: who keeps many
    /// connections puts it in a box.
    fn serve<IO, O>(self, open: O) -> impl Future<Output = ()> + Send + 'static
    where
        IO: ByteStream,
        O: Future<Output = Option<(IO, Peer)>> + Send + 'static;
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    tls: Option<TlsSettings>,
}

/// Bound addresses: peers may connect already, and are taken when they are served.
#[derive(Debug)]
pub struct Listeners(Vec<Listener>);

impl Listeners {
    /// The addresses, in the order they were added, with the ports that were chosen.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|listener| listener.addr).collect()
    }

    /// Takes connections until told to stop, then waits for them to end. Dropping the future ends
    /// them.
    pub async fn serve(self, protocol: impl Protocol, terms: Terms, shutdown: Shutdown) {
        let places = terms.connections_max.min(Semaphore::MAX_PERMITS);
        let door = Arc::new(Door { places: Arc::new(Semaphore::new(places)), terms });
        let mut listening = JoinSet::new();
        for listener in self.0 {
            listening.spawn(accept(listener, protocol.clone(), door.clone(), shutdown.clone()));
        }
        while listening.join_next().await.is_some() {}
    }
}

/// What all listeners share.
struct Door {
    places: Arc<Semaphore>,
    terms: Terms,
}

impl Door {
    /// The next connection, and its place if there is one.
    async fn next(
        &self,
        socket: &TcpListener,
    ) -> io::Result<(TcpStream, SocketAddr, Option<OwnedSemaphorePermit>)> {
        let place = match self.terms.when_full {
            // Never closed, so there always is a place in the end.
            WhenFull::Wait => self.places.clone().acquire_owned().await.ok(),
            WhenFull::Refuse => None,
        };
        let (stream, addr) = socket.accept().await?;
        let place = place.or_else(|| self.places.clone().try_acquire_owned().ok());
        // What is written is gathered before; waiting for more would only delay it. There is
        // nothing to be done about a failure of either, and a peer is served all the same.
        let _ = stream.set_nodelay(true);
        if let Some(silence) = self.terms.keepalive {
            let keepalive = TcpKeepalive::new().with_time(silence).with_interval(silence / 4);
            let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        }
        Ok((stream, addr, place))
    }
}

async fn accept<P: Protocol>(listener: Listener, protocol: P, door: Arc<Door>, stop: Shutdown) {
    let Listener { socket, tls, .. } = listener;
    let mut connections = JoinSet::new();
    let mut stopped = stop.clone();
    loop {
        let taken = tokio::select! {
            biased;
            () = stopped.requested() => break,
            Some(ended) = connections.join_next() => {
                door.places.add_permits(1);
                if let Err(error) = ended {
                    warn!(protocol = protocol.name(), %error, "a connection failed");
                }
                continue;
            }
            taken = door.next(&socket) => taken,
        };
        let (stream, addr, place) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                warn!(protocol = protocol.name(), %error, "a connection cannot be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        protocol.note(Incident::Taken);
        let Some(place) = place else {
            protocol.note(Incident::Full);
            continue;
        };
        // Given back above. A task that held it would be larger for as long as it lives.
        place.forget();
        let peer = Peer { addr: Some(addr), certificate: None };
        let serving = protocol.clone();
        match tls.clone() {
            None => connections.spawn(serving.serve(ready(Some((stream, peer))))),
            Some(tls) => {
                let within = door.terms.handshake_timeout;
                let open = shake_hands(protocol.clone(), stream, peer, tls, within, stop.clone());
                connections.spawn(serving.serve(open))
            }
        };
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

async fn shake_hands(
    protocol: impl Protocol,
    stream: TcpStream,
    mut peer: Peer,
    tls: TlsSettings,
    within: Duration,
    mut stop: Shutdown,
) -> Option<(Box<TlsStream<TcpStream>>, Peer)> {
    let accepted = tokio::select! {
        biased;
        () = stop.requested() => return None,
        accepted = tls.accept(stream, within) => accepted,
    };
    match accepted {
        Ok((stream, certificate)) => {
            peer.certificate = certificate;
            // In a box: what a TLS connection needs is several times what everything else does.
            Some((Box::new(stream), peer))
        }
        Err(error) => {
            let late = error.kind() == io::ErrorKind::TimedOut;
            protocol.note(if late { Incident::TooSlow } else { Incident::NoTls });
            debug!(protocol = protocol.name(), peer = ?peer.addr, %error, "no TLS handshake");
            None
        }
    }
}
