//! One connection: from its first byte to its last.
//!
//! A *broker* knows what each link of an endpoint is for and what is being waited for; it does no
//! I/O. The *driver* moves bytes between a socket and the broker.

mod broker;
mod device;
mod driver;
mod events;
mod links;
mod log;
mod online;
mod outlet;
mod service;
mod tokens;
mod work;

use std::sync::Arc;
use std::time::Duration;

use hub_core::transport::Peer;
use hub_core::{Hub, Shutdown, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use self::broker::Broker;
use self::driver::Driver;
use crate::limits::AmqpLimits;
use crate::metrics::Counters;
use crate::readers::Readers;

/// How long a connection that is over may take to be told so.
const FAREWELL: Duration = Duration::from_secs(1);

/// What all connections of a transport share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Arc<AmqpLimits>,
    pub(crate) counters: Counters,
    pub(crate) readers: Arc<Readers>,
}

impl Shared {
    pub(crate) fn new(limits: AmqpLimits) -> Self {
        Self { limits: Arc::new(limits), counters: Counters::default(), readers: Arc::default() }
    }
}

/// What a connection needs before it is one.
pub(crate) struct Opening {
    pub(crate) hub: Hub,
    pub(crate) shutdown: Shutdown,
    pub(crate) shared: Arc<Shared>,
    /// When the peer must have authenticated.
    pub(crate) deadline: Instant,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer said goodbye.
    Goodbye,
    /// The stream broke.
    Lost,
    /// The peer broke the protocol.
    Protocol,
    /// It speaks another protocol, or did not pass the security layer.
    Refused,
    /// It did not say who it is in time.
    Unknown,
    /// It was silent for too long.
    Silent,
    /// It takes too little of what it is sent.
    Stuck,
    /// The hub closed it.
    Closed,
}

/// Serves one peer until it or the hub ends the connection. `open` gives its stream and what is
/// known of it, or nothing when there is no such.
///
/// When the future is dropped, the connection is closed, and the hub sees its devices as lost.
pub(crate) fn serve<IO, O>(open: O, opening: Opening) -> impl Future<Output = ()> + Send
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    O: Future<Output = Option<(IO, Peer)>> + Send,
{
    // A TLS handshake is several times what an idle connection needs. In a box of its own it is gone
    // when it is over; the box is made before the future, or the future would keep room for it.
    let open = Box::pin(open);
    async move {
        let Some((io, peer)) = open.await else { return };
        let Opening { hub, shutdown, shared, deadline } = opening;
        let addr = peer.addr;
        let broker = Box::new(Broker::new(hub, shared.clone(), peer, deadline));
        let mut driver = Driver::new(io, broker, shutdown);
        let end = driver.run().await;
        shared.counters.ended(end);
        tracing::debug!(peer = ?addr, ?end, "amqp connection ended");
        let mut io = driver.into_io();
        // Sends what TLS sends at the end. There is nobody to report a failure to.
        let _ = tokio::time::timeout(FAREWELL, io.shutdown()).await;
    }
}

impl Counters {
    fn ended(&self, end: End) {
        match end {
            End::Goodbye => self.ended_clean(),
            End::Lost => self.ended_lost(),
            End::Protocol => self.ended_protocol(),
            End::Refused => self.refused(),
            End::Unknown => self.handshake_timeouts(),
            End::Silent => self.ended_silent(),
            End::Stuck => self.ended_stuck(),
            End::Closed => self.ended_by_hub(),
        }
    }
}

/// A time of the hub's clock on the clock of timers.
fn instant(hub: &Hub, at: Timestamp) -> Instant {
    Instant::now() + at.since(hub.now())
}
