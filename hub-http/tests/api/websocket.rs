//! Other protocols over WebSockets.

use std::sync::Arc;
use std::time::Duration;

use crate::client::server_with;
use async_trait::async_trait;
use futures::{SinkExt as _, StreamExt as _};
use hub_core::engine::{Hub, Shutdown};
use hub_core::transport::{ByteStream, Peer, StreamHandler};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Says where the peer comes from, then sends back what it gets.
struct Echo;

#[async_trait]
impl StreamHandler for Echo {
    fn subprotocol(&self) -> &'static str {
        "mqtt"
    }

    async fn handle(&self, _: Hub, io: Box<dyn ByteStream>, peer: Peer, mut shutdown: Shutdown) {
        let (mut read, mut write) = tokio::io::split(io);
        write.write_all(peer.addr.unwrap().to_string().as_bytes()).await.unwrap();
        let echo = async {
            let mut buffer = [0; 100];
            while let Ok(count) = read.read(&mut buffer).await {
                if count == 0 {
                    break;
                }
                write.write_all(&buffer[..count]).await.unwrap();
            }
        };
        tokio::select! {
            () = echo => {}
            () = shutdown.requested() => {}
        }
    }
}

/// Sends a handshake; gives the answer's head, and the connection.
async fn handshake(
    address: std::net::SocketAddr,
    path: &str,
    protocol: &str,
) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: hub.test:443\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Origin: https://hub.test\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (String::from_utf8(head).unwrap(), stream)
}

#[tokio::test]
async fn a_byte_stream_goes_over_a_websocket() {
    let server = server_with(|hub| hub, |http| http.websocket(Arc::new(Echo))).await;
    for (path, protocol) in [
        ("/$iothub/websocket", "mqtt"),
        ("/%24iothub/WebSocket?iothub-no-client-cert=true", "MQTT"),
        ("/$servicebus/websocket/", "other, mqtt"),
    ] {
        let (head, stream) = handshake(server.address, path, protocol).await;
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        let header = |name: &str| {
            let found =
                head.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| *n == name));
            found.map(|(_, value)| value)
        };
        assert_eq!(header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let echoed = protocol.rsplit(", ").next();
        assert_eq!(header("sec-websocket-protocol"), echoed);
        assert_eq!(header("sec-websocket-extensions"), None);
        let own = stream.local_addr().unwrap().to_string();
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let first = socket.next().await.unwrap().unwrap();
        assert_eq!(first, Message::binary(own.into_bytes()));
        for part in ["a", "bc", "def"] {
            socket.send(Message::binary(part.as_bytes().to_vec())).await.unwrap();
            let echo = socket.next().await.unwrap().unwrap();
            assert_eq!(echo, Message::binary(part.as_bytes().to_vec()));
        }
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let server = server_with(|hub| hub, |http| http.websocket(Arc::new(Echo))).await;
    let (head, _) = handshake(server.address, "/$iothub/websocket", "AMQPWSB10").await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let reply = server.anonymous().get("/$iothub/websocket").await;
    let reply = reply.refuses(426, "UpgradeRequired");
    assert_eq!(reply.header("upgrade"), Some("websocket"));
}

#[tokio::test]
async fn the_server_waits_for_its_websockets() {
    let server = server_with(|hub| hub, |http| http.websocket(Arc::new(Echo))).await;
    let (_, stream) = handshake(server.address, "/$iothub/websocket", "mqtt").await;
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    socket.next().await.unwrap().unwrap();
    let report = server.hub.shutdown(Duration::from_secs(5)).await;
    assert!(report.transports_ended);
    // The hub is gone, be it with a word or without.
    while let Some(Ok(_)) = socket.next().await {}
}
