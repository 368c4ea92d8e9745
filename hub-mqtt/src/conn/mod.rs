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

use self::driver::Driver;
use self::handshake::establish;
use crate::metrics::Counters;

/// How long a connection that is over may take to be told so.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one peer until it or the hub ends the connection.
///
/// `deadline` is when the peer must have authenticated. When the future is dropped, the connection
/// is closed, and the hub sees it as lost.
pub(crate) async fn serve<IO>(
    io: IO,
    peer: Peer,
    hub: Hub,
    shutdown: Shutdown,
    counters: Arc<Counters>,
    deadline: tokio::time::Instant,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    // The introduction holds buffers and futures that an established connection, which may be idle
    // for days, has no use for. In a box of its own it is gone when it is over.
    let established = Box::pin(establish(io, peer, hub, shutdown, counters, deadline)).await;
    if let Some(established) = established {
        let mut driver = Driver::new(established);
        driver.run().await;
        let mut io = driver.into_io();
        // Sends what TLS sends at the end. There is nobody to report a failure to.
        let _ = tokio::time::timeout(FAREWELL, io.shutdown()).await;
    }
}
