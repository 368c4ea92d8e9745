//! One connection: from its first byte to its last.

mod driver;
mod handshake;
mod reader;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use hub_core::transport::Peer;
use hub_core::{Hub, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use self::handshake::establish;
use crate::metrics::Counters;

/// How long a connection that is over may take to be told so.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection needs before it is one.
pub(crate) struct Opening {
    pub(crate) hub: Hub,
    pub(crate) shutdown: Shutdown,
    pub(crate) counters: Arc<Counters>,
    /// When the peer must have authenticated.
    pub(crate) deadline: Instant,
}

/// Serves one peer until it or the hub ends the connection. `open` gives its stream and what is
/// known of it, or nothing when there is no such.
///
/// When the future is dropped, the connection is closed, and the hub sees it as lost.
pub(crate) fn serve<IO, O>(open: O, opening: Opening) -> impl Future<Output = ()> + Send
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    O: Future<Output = Option<(IO, Peer)>> + Send,
{
    // The introduction holds buffers and futures that an established connection, which may be idle
    // for days, has no use for. In a box of its own it is gone when it is over. The box is made
    // before the future, or the future would keep room for what went into the box; for the same
    // reason the driver comes in a box.
    let established = Box::pin(async move {
        let (io, peer) = open.await?;
        establish(io, peer, opening).await
    });
    async move {
        if let Some(mut driver) = established.await {
            driver.run().await;
            // Sends what TLS sends at the end. There is nobody to report a failure to.
            let _ = tokio::time::timeout(FAREWELL, driver.io.shutdown()).await;
        }
    }
}
