//! The port to devices and back ends: what a protocol adapter implements.
//!
//! # The contract
//!
//! The conformance kit (feature `conformance`) has cases for every sentence, named after it.
//!
//! - **T1** Nothing is acknowledged to the peer before its receipt ([`Outbound::Receipt`],
//!   [`Outbound::Reported`]) has come.
//! - **T2** Offers, calls and notices are sent to the peer in the order given.
//! - **T3** A lock token goes back exactly as it came.
//! - **T4** After [`Outbound::Close`] the peer is closed within five seconds.
//! - **T5** Without room ([`Uplink::ready`]) nothing is read from the peer.
//! - **T6** Malformed input ends this link only.
//! - **T7** Credentials and payloads never reach a log.
//! - **T8** After the shutdown signal no new peer is served, and `serve` returns when the last
//!   connection has ended. When the hub is dropped, every connection ends.
//! - **T9** A peer is served as the identity that it proved to be. Whoever the hub refuses is told so
//!   in the protocol's words, or closed, and leaves no trace.
//! - **T10** What is handed on either way arrives whole: bodies byte for byte, names and values of
//!   properties as they were, each thing once, what one side says in the order in which it says it.
//! - **T11** The end of a connection reaches the hub at once: a goodbye as [`DisconnectCause::Clean`],
//!   what broke as [`DisconnectCause::ConnectionLost`].
//! - **T12** What the hub refuses ([`Outbound::Refused`]) is never told as done. It is told in the
//!   protocol's words; a protocol that has none for it closes the connection.
//! - **T13** A peer that has not said who it is within `Limits::handshake_timeout` is closed.
//! - **T14** The hub gives the receipts of a link's telemetry in the order in which the link sent it,
//!   and the peer has its acknowledgements in that order.
//!
//! [`Outbound::Receipt`]: crate::frame::Outbound::Receipt
//! [`Outbound::Reported`]: crate::frame::Outbound::Reported
//! [`Outbound::Close`]: crate::frame::Outbound::Close
//! [`Outbound::Refused`]: crate::frame::Outbound::Refused
//! [`DisconnectCause::Clean`]: crate::error::DisconnectCause::Clean
//! [`DisconnectCause::ConnectionLost`]: crate::error::DisconnectCause::ConnectionLost
//! [`Uplink::ready`]: crate::engine::Uplink::ready

use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::engine::{Hub, Shutdown};
use crate::hello::CertificateInfo;

/// Why a transport ended other than by being told to.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct TransportError {
    what: &'static str,
    #[source]
    source: Option<std::io::Error>,
}

impl TransportError {
    /// An error of the operating system, and what was being done.
    #[must_use]
    pub fn io(what: &'static str, source: std::io::Error) -> Self {
        Self { what, source: Some(source) }
    }
}

/// A protocol that devices or back ends speak.
#[async_trait]
pub trait Transport: Send + 'static {
    /// Its name, for logs and metrics.
    fn name(&self) -> &'static str;

    /// Serves until told to stop; then refuses new peers, lets connections end, returns.
    ///
    /// # Errors
    /// [`TransportError`] when it cannot go on.
    async fn serve(self: Box<Self>, hub: Hub, shutdown: Shutdown) -> Result<(), TransportError>;
}

/// Bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// What is known of a peer before it says anything.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Where it connects from.
    pub addr: Option<SocketAddr>,
    /// The certificate it showed.
    pub certificate: Option<CertificateInfo>,
}

/// Speaks a protocol over a byte stream that somebody else accepted: how one adapter offers its
/// protocol over the WebSockets of another, while neither knows the other.
#[async_trait]
pub trait StreamHandler: Send + Sync + 'static {
    /// The WebSocket sub-protocol by which it is chosen, compared without regard to case.
    fn subprotocol(&self) -> &'static str;

    /// Serves one peer until it is gone or the shutdown signal is given.
    async fn handle(&self, hub: Hub, io: Box<dyn ByteStream>, peer: Peer, shutdown: Shutdown);
}
