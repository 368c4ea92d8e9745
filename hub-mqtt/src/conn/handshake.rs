//! The introduction: CONNECT, the hub's decision, CONNACK.

use bytes::{Buf as _, BytesMut};
use hub_core::transport::Peer;
use hub_core::{Hub, Link, Shutdown};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tracing::debug;

use super::driver::Driver;
use super::reader::Reader;
use super::writer::Writer;
use super::{FAREWELL, Opening};
use crate::codec::{ConnectCode, Decoded, connack, decode};
use crate::connect::{ConnectError, Introduction, refusal_code};
use crate::metrics::Counters;
use crate::session::{Session, Turn};

/// Largest CONNECT. A will's payload has at most 65535 bytes, everything else in it is short. The
/// sender is not known yet, so it may not make the hub keep much.
const CONNECT_MAX: usize = 80 * 1024;

/// How an introduction failed.
enum Failed {
    /// With this answer, if any.
    Refused(Option<ConnectCode>),
    /// The peer took too long.
    Timeout,
}

/// Reads the CONNECT, asks the hub, and prepares the CONNACK. `None` when it was refused; then the
/// peer was told so.
pub(super) async fn establish<IO>(
    mut io: IO,
    peer: Peer,
    opening: Opening,
) -> Option<Box<Driver<IO>>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Opening { hub, shutdown, counters, deadline } = opening;
    let mut buffer = BytesMut::new();
    let mut stop = shutdown.clone();
    let introduced = tokio::select! {
        biased;
        () = stop.requested() => Err(Failed::Refused(Some(ConnectCode::ServerUnavailable))),
        introduced = introduce(&mut io, &mut buffer, peer, &hub, &shutdown, &counters) => introduced,
        () = tokio::time::sleep_until(deadline) => Err(Failed::Timeout),
    };
    match introduced {
        Ok((introduction, link)) => {
            counters.accepted();
            let mut turn = Turn::new();
            let session =
                Session::begin(introduction, &link.welcome, hub.limits(), hub.now(), &mut turn);
            // Bytes may have come behind the CONNECT: a client need not wait for its CONNACK.
            let (reader, writer) = (Reader::new(buffer.into()), Writer::new(turn.wire));
            let driver = Driver::new(io, hub, link, session, counters, (reader, writer));
            Some(Box::new(driver))
        }
        Err(Failed::Timeout) => {
            counters.handshake_timeout();
            None
        }
        Err(Failed::Refused(code)) => {
            counters.refused(code);
            if let Some(code) = code {
                refuse(&mut io, code).await;
            }
            None
        }
    }
}

async fn introduce<IO>(
    io: &mut IO,
    buffer: &mut BytesMut,
    peer: Peer,
    hub: &Hub,
    shutdown: &Shutdown,
    counters: &Counters,
) -> Result<(Introduction, Link), Failed>
where
    IO: AsyncRead + Unpin,
{
    let addr = peer.addr;
    let introduction = read_connect(io, buffer, peer).await.map_err(|error| {
        let code = error.as_ref().and_then(ConnectError::code);
        if let Some(error) = error {
            debug!(peer = ?addr, ?code, %error, "mqtt connect refused");
        }
        Failed::Refused(code)
    })?;
    let address = introduction.hello.address.clone();
    if introduction.will_ignored {
        counters.will_ignored();
        debug!(%address, "mqtt will ignored: its topic is not served");
    }
    let link = hub.connect(introduction.hello.clone()).await.map_err(|refusal| {
        let code = refusal_code(&refusal);
        debug!(peer = ?addr, %address, ?code, %refusal, "mqtt connect refused");
        Failed::Refused(Some(code))
    })?;
    if shutdown.is_requested() {
        // The hub may have closed its links before this one was among them.
        return Err(Failed::Refused(Some(ConnectCode::ServerUnavailable)));
    }
    debug!(peer = ?addr, %address, "mqtt connected");
    Ok((introduction, link))
}

/// Reads the first packet and leaves what follows it in `buffer`. Fails without an error when the
/// peer goes before it has said anything.
async fn read_connect<IO>(
    io: &mut IO,
    buffer: &mut BytesMut,
    peer: Peer,
) -> Result<Introduction, Option<ConnectError>>
where
    IO: AsyncRead + Unpin,
{
    let mut needs = 1;
    loop {
        while buffer.len() < needs {
            buffer.reserve(512);
            match io.read_buf(buffer).await {
                Ok(0) | Err(_) => return Err(None),
                Ok(_) => {}
            }
        }
        let (introduction, length) =
            match decode(buffer, CONNECT_MAX).map_err(ConnectError::from)? {
                Decoded::Incomplete(more) => {
                    needs = more;
                    continue;
                }
                Decoded::Packet(packet, length) => (Introduction::read(&packet, peer)?, length),
            };
        buffer.advance(length);
        return Ok(introduction);
    }
}

/// Answers, and gives the peer time to read the answer: closing a socket with unread bytes in it
/// would destroy the answer on its way.
async fn refuse<IO>(io: &mut IO, code: ConnectCode)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Vec::with_capacity(4);
    connack(&mut wire, false, code);
    let farewell = async {
        io.write_all(&wire).await?;
        io.shutdown().await?;
        let mut rest = [0; 512];
        let mut left = CONNECT_MAX / rest.len();
        while left > 0 && io.read(&mut rest).await? > 0 {
            left -= 1;
        }
        std::io::Result::Ok(())
    };
    // Who does not listen is not told.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}
