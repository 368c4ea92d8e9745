//! WebSockets: other protocols of the hub over the port of HTTP.
//!
//! The sub-protocol of the handshake says which. Binary frames are flattened to a stream of bytes:
//! a frame may hold several packets of the protocol within, or a part of one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf as _, Bytes};
use futures::{Sink, Stream};
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use hub_core::transport::{Peer, StreamHandler};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::call::Call;
use crate::problem::{Code, Problem};
use crate::route::{Answer, Content, Parameter, Route, Verb, header};

const HANDSHAKE: &[Parameter] =
    &[header("Sec-WebSocket-Protocol", "The sub-protocol: `mqtt` or `AMQPWSB10`.")];

const SWITCHED: &[(u16, &str, Content)] = &[(101, "A WebSocket from here on.", Content::Nothing)];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Get,
        "/$iothub/websocket",
        "openWebSocket",
        "Opens a WebSocket for another protocol.",
        |call| Box::pin(open(call)),
    )
    .with(HANDSHAKE)
    .gives(SWITCHED),
    Route::new(
        Verb::Get,
        "/$servicebus/websocket",
        "openServiceBusWebSocket",
        "Opens a WebSocket for another protocol, at the path that Event Hubs clients ask for.",
        |call| Box::pin(open(call)),
    )
    .with(HANDSHAKE)
    .gives(SWITCHED),
];

/// Largest message of a WebSocket, and largest frame. A packet within may span several.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Buffer of each direction.
const BUFFER_BYTES: usize = 16 * 1024;

async fn open(mut call: Call) -> Answer {
    let key = check_handshake(&call.parts.headers)?;
    let (handler, name) = choose(&call.api.sockets, &call.parts.headers)?;
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = call
        .parts
        .extensions
        .remove::<OnUpgrade>()
        .ok_or_else(|| Problem::argument("the connection cannot be upgraded"))?;
    let shutdown = call.hub().shutdown_signal();
    let hub = call.hub().clone();
    let peer = match &call.arrival {
        Some(arrival) => arrival.seat.peer.clone(),
        None => call.parts.extensions.get::<Peer>().cloned().unwrap_or_default(),
    };
    let work = async move {
        match upgrade.await {
            Ok(upgraded) => {
                let stream = ByteFrames::new(TokioIo::new(upgraded)).await;
                handler.handle(hub, Box::new(stream), peer, shutdown).await;
            }
            Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
        }
    };
    match &call.arrival {
        Some(arrival) => arrival.seat.then(Box::pin(work)),
        // Somebody else's server has the connection; it lives as long as the hub.
        None => drop(tokio::spawn(work)),
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, name);
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(response)
}

/// Checks what a handshake must have. Gives its key.
fn check_handshake(headers: &HeaderMap) -> Result<String, Problem> {
    if !has_word(headers, &UPGRADE, "websocket") || !has_word(headers, &CONNECTION, "upgrade") {
        let problem = Problem::new(Code::UPGRADE_REQUIRED, "the path is for WebSockets");
        return Err(problem.with_header(UPGRADE, "websocket").with_header(CONNECTION, "Upgrade"));
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if text(SEC_WEBSOCKET_VERSION) != Some("13") {
        let problem = Problem::new(Code::UPGRADE_REQUIRED, "the WebSocket version must be 13");
        return Err(problem.with_header(SEC_WEBSOCKET_VERSION, "13"));
    }
    match text(SEC_WEBSOCKET_KEY) {
        // The base64 of 16 bytes.
        Some(key) if key.len() == 24 => Ok(key.to_owned()),
        _ => Err(Problem::argument("the handshake has no key")),
    }
}

/// The words of a list that may be spread over several headers.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).map(str::trim)
}

fn has_word(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted))
}

/// The first sub-protocol offered that the hub speaks, spelled as the peer does.
fn choose(
    handlers: &[Arc<dyn StreamHandler>],
    headers: &HeaderMap,
) -> Result<(Arc<dyn StreamHandler>, HeaderValue), Problem> {
    words(headers, &SEC_WEBSOCKET_PROTOCOL)
        .find_map(|offered| {
            let handler = handlers
                .iter()
                .find(|handler| handler.subprotocol().eq_ignore_ascii_case(offered))?;
            Some((handler.clone(), HeaderValue::from_str(offered).ok()?))
        })
        .ok_or_else(|| Problem::argument("none of the sub-protocols offered is served"))
}

/// The bytes in the binary messages of a WebSocket.
struct ByteFrames<S> {
    socket: WebSocketStream<S>,
    /// What is left of the message that is being read.
    left: Bytes,
    /// Whether something may not be written yet.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteFrames<S> {
    async fn new(stream: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            // Each write goes out by itself: its sender has gathered what goes together.
            .write_buffer_size(0)
            .max_write_buffer_size(2 * MESSAGE_BYTES_MAX)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        Self { socket, left: Bytes::new(), unflushed: false }
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteFrames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Whoever writes to a socket need not flush. What the kernel did not take at once goes
        // out while the peer is waited for.
        if self.unflushed
            && let Poll::Ready(Err(error)) = self.as_mut().poll_flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        loop {
            if !self.left.is_empty() {
                let count = self.left.len().min(buffer.remaining());
                buffer.put_slice(self.left.get(..count).unwrap_or(&[]));
                self.left.advance(count);
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.left = bytes,
                Some(Ok(Message::Text(_))) => {
                    let error = "a text message where only binary ones are expected";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
                Some(Ok(Message::Close(_)))
                | None
                | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                    return Poll::Ready(Ok(()));
                }
                // Pings are answered below, by the next read or write.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteFrames<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(broken)?;
        let bytes = bytes.get(..bytes.len().min(MESSAGE_BYTES_MAX)).unwrap_or(bytes);
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.socket).start_send(message).map_err(broken)?;
        self.unflushed = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(broken)?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use futures::{SinkExt as _, StreamExt as _};
    use hub_core::engine::{Hub, Shutdown};
    use hub_core::transport::ByteStream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    struct Named(&'static str);

    #[async_trait]
    impl StreamHandler for Named {
        fn subprotocol(&self) -> &'static str {
            self.0
        }

        async fn handle(&self, _: Hub, _: Box<dyn ByteStream>, _: Peer, _: Shutdown) {}
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_sub_protocol_is_echoed_as_it_was_offered() {
        let handlers: Vec<Arc<dyn StreamHandler>> =
            vec![Arc::new(Named("AMQPWSB10")), Arc::new(Named("mqtt"))];
        let chosen = |offered: &'static str| {
            let headers = headers(&[("sec-websocket-protocol", offered)]);
            choose(&handlers, &headers).map(|(handler, name)| (handler.subprotocol(), name)).ok()
        };
        let named = |name| HeaderValue::from_static(name);
        assert_eq!(chosen("MQTT"), Some(("mqtt", named("MQTT"))));
        assert_eq!(chosen("x, AMQPWSB10"), Some(("AMQPWSB10", named("AMQPWSB10"))));
        assert_eq!(chosen("mqttv3.1"), None);
        assert_eq!(choose(&handlers, &HeaderMap::new()).err().unwrap().code().0, 400_004);
    }

    #[test]
    fn a_handshake_is_told_from_a_request() {
        let good = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let code = |pairs: &[(&'static str, &'static str)]| {
            check_handshake(&headers(pairs)).map_err(|problem| problem.code().0)
        };
        assert_eq!(code(&good), Ok("dGhlIHNhbXBsZSBub25jZQ==".to_owned()));
        assert_eq!(code(&[]), Err(426_000));
        let mut old = good;
        old[2].1 = "8";
        assert_eq!(code(&old), Err(426_000));
        let mut keyless = good;
        keyless[3].1 = "short";
        assert_eq!(code(&keyless), Err(400_004));
    }

    async fn pair()
    -> (ByteFrames<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
        let (ours, theirs) = tokio::io::duplex(64);
        let client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        (ByteFrames::new(ours).await, client)
    }

    #[tokio::test]
    async fn messages_are_one_stream_of_bytes() {
        let (mut stream, mut client) = pair().await;
        let peer = tokio::spawn(async move {
            for part in [&b"ab"[..], b"", b"c", b"defgh"] {
                client.send(Message::Binary(Bytes::from_static(part))).await.unwrap();
            }
            client.send(Message::Ping(Bytes::new())).await.unwrap();
            let mut got = Vec::new();
            while got.len() < 1000 {
                if let Message::Binary(bytes) = client.next().await.unwrap().unwrap() {
                    got.extend_from_slice(&bytes);
                }
            }
            client.close(None).await.unwrap();
            got
        });
        let mut read = [0; 5];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"abcde");
        // More than the pipe holds, and never flushed: reading must push it out.
        for _ in 0..10 {
            stream.write_all(&[7; 100]).await.unwrap();
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"fgh");
        assert_eq!(peer.await.unwrap(), [7; 1000]);
    }

    #[tokio::test]
    async fn text_is_refused_and_a_large_message_too() {
        let (mut stream, mut client) = pair().await;
        client.send(Message::text("hello")).await.unwrap();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let (mut stream, mut client) = pair().await;
        let peer = tokio::spawn(async move {
            let large = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
            // Breaks off in the middle: the hub does not read on.
            let _ = client.send(Message::Binary(large)).await;
        });
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(stream);
        peer.await.unwrap();
    }
}
