//! A transport in one screen: JSON objects, one a line, over TCP.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use hub_core::engine::{Hub, Link, Shutdown};
use hub_core::envelope::{EventBatch, Property};
use hub_core::error::DisconnectCause;
use hub_core::frame::{Disposition, Guarantee, Inbound, Interest, MethodRef, Outbound};
use hub_core::hello::{Credentials, Hello, SessionMode};
use hub_core::id::{Address, Tag};
use hub_core::transport::{Transport, TransportError};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::planted::Bug;

/// What a device says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(crate) enum FromDevice {
    Hello { host: String, address: String, token: String },
    Publish { tag: u64, body: Vec<u8>, properties: Vec<(String, String)> },
    Listen { tag: u64, to: String },
    Settle { tag: u64, token: String, how: String },
    Twin { tag: u64 },
    Report { tag: u64, patch: String },
    Reply { call: u64, status: i32, payload: String },
    Bye,
}

/// What a hub says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(crate) enum FromHub {
    Welcome,
    Goaway { why: String },
    Done { tag: u64 },
    Refused { tag: u64, why: String },
    Twin { tag: u64, twin: String },
    Reported { tag: u64, version: u64 },
    Message { token: String, id: Option<String>, body: Vec<u8>, properties: Vec<(String, String)> },
    Call { call: u64, name: String, payload: String },
    Desired { version: u64, patch: String },
}

/// Longest line. A device that sends a longer one is not speaking the protocol.
const LINE_MAX: usize = 2 * 1024 * 1024;
/// How long a peer may take to read why its connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Listens on a port.
#[derive(Debug)]
pub(crate) struct LineTransport {
    listener: TcpListener,
    bug: Bug,
}

impl LineTransport {
    pub(crate) async fn bind(addr: &str, bug: Bug) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(addr).await?, bug })
    }

    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[async_trait]
impl Transport for LineTransport {
    fn name(&self) -> &'static str {
        "line"
    }

    async fn serve(
        self: Box<Self>,
        hub: Hub,
        mut shutdown: Shutdown,
    ) -> Result<(), TransportError> {
        // Dropped together with this future, and every connection with it.
        let mut peers = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.requested(), if self.bug != Bug::IgnoresShutdown => break,
                Some(ended) = peers.join_next() => {
                    if ended.is_ok_and(|ended: Ended| ended == Ended::Nonsense)
                        && self.bug == Bug::EndsOnNonsense
                    {
                        return Ok(());
                    }
                }
                accepted = self.listener.accept() => {
                    let (stream, peer) = accepted.map_err(|e| TransportError::io("accept", e))?;
                    peers.spawn(serve_one(stream, peer, hub.clone(), shutdown.clone(), self.bug));
                }
            }
        }
        drop(self.listener);
        while peers.join_next().await.is_some() {}
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    ByHub,
    Lost,
    Bye,
    Nonsense,
}

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    hub: Hub,
    mut shutdown: Shutdown,
    bug: Bug,
) -> Ended {
    let (read, mut write) = stream.into_split();
    let mut lines = Lines { read, buffer: BytesMut::new() };
    let mut out = Vec::new();
    let patience = match bug {
        Bug::WaitsForHello => Duration::MAX,
        _ => hub.limits().handshake_timeout,
    };
    let introduction = tokio::select! {
        () = shutdown.requested() => return Ended::ByHub,
        said = tokio::time::timeout(patience, lines.next()) => said,
    };
    let Ok(Ok(FromDevice::Hello { host, address, token })) = introduction else {
        return Ended::Nonsense;
    };
    let Ok(address) = Address::parse(&address) else { return Ended::Nonsense };
    if bug == Bug::LogsCredentials {
        tracing::debug!(%token, "somebody comes");
    }
    let credentials = match bug {
        Bug::TrustsEverybody => Credentials::InProcess,
        _ => Credentials::Token(token.into()),
    };
    let hello = Hello {
        address,
        credentials,
        host: Some(host),
        session: SessionMode::Clean,
        model: None,
        client: None,
        protocol: "line",
        peer: Some(peer),
    };
    let ended = match hub.connect(hello).await {
        Ok(link) => {
            say(&mut out, &FromHub::Welcome);
            let mut connection =
                Connection { link, hub, bug, batch: EventBatch::new(), held: None };
            let ended = connection.run(&mut lines, &mut write, &mut out).await;
            // The peer's goodbye is told from a lost connection; without this it would be one.
            connection.link.up.leave(match ended {
                Ended::Bye if bug != Bug::LosesGoodbyes => DisconnectCause::Clean,
                Ended::Nonsense => DisconnectCause::Protocol,
                _ => DisconnectCause::ConnectionLost,
            });
            ended
        }
        Err(refusal) => {
            say(&mut out, &FromHub::Goaway { why: refusal.to_string() });
            Ended::ByHub
        }
    };
    // Whoever does not listen is not told.
    let _ = tokio::time::timeout(FAREWELL, write.write_all(&out)).await;
    ended
}

struct Connection {
    link: Link,
    hub: Hub,
    bug: Bug,
    batch: EventBatch,
    /// Only for [`Bug::ReordersOffers`] and [`Bug::ReordersReceipts`].
    held: Option<Outbound>,
}

impl Connection {
    async fn run(
        &mut self,
        lines: &mut Lines,
        write: &mut tokio::net::tcp::OwnedWriteHalf,
        out: &mut Vec<u8>,
    ) -> Ended {
        loop {
            let (up, bug) = (&mut self.link.up, self.bug);
            // Room first, then the next line (T5): what is not read stays with the peer.
            let heard = async {
                if bug != Bug::ReadsWithoutRoom {
                    up.ready().await;
                }
                lines.next().await
            };
            let blocked = bug == Bug::DeafWhileWriting && !out.is_empty();
            tokio::select! {
                biased;
                // The hub is heard also while the peer takes nothing (T4).
                said = self.link.down.next(), if !blocked => match said {
                    Some(Outbound::Close(_)) | None if bug == Bug::SwallowsClose => {
                        std::future::pending().await
                    }
                    Some(Outbound::Close(reason)) => {
                        say(out, &FromHub::Goaway { why: reason.to_string() });
                        return Ended::ByHub;
                    }
                    None => return Ended::ByHub,
                    Some(outbound) => self.tell(outbound, out),
                },
                written = write.write(out), if !out.is_empty() => match written {
                    Ok(written) => out.drain(..written).for_each(drop),
                    Err(_) => return Ended::Lost,
                },
                heard = heard => match heard {
                    Ok(FromDevice::Bye) => return Ended::Bye,
                    Ok(said) => match self.hand_on(said, out) {
                        Ok(()) => {}
                        Err(Nonsense) => return Ended::Nonsense,
                    },
                    Err(ended) => return ended,
                },
            }
            if out.len() > self.hub.limits().peer_write_bytes_max && !blocked {
                return Ended::Lost;
            }
        }
    }

    /// From the device's words to the hub's.
    fn hand_on(&mut self, said: FromDevice, out: &mut Vec<u8>) -> Result<(), Nonsense> {
        let inbound = match said {
            FromDevice::Publish { tag, body, properties } => {
                let texts = properties.iter();
                let properties = texts.map(|(k, v)| Property::Application(k, Some(v)));
                let limit = self.hub.limits().telemetry_bytes_max;
                let stamp = self.link.up.stamp();
                if let Err(large) = self.batch.push(stamp, properties, &body, limit) {
                    say(out, &FromHub::Refused { tag, why: large.to_string() });
                    return Ok(());
                }
                if self.bug == Bug::AcknowledgesEarly {
                    say(out, &FromHub::Done { tag });
                }
                Inbound::Telemetry(Tag(tag), self.batch.take())
            }
            FromDevice::Listen { tag, to } => {
                let interest = match to.as_str() {
                    "messages" => Interest::Messages,
                    "methods" => Interest::Methods,
                    "desired" => Interest::DesiredProperties,
                    "twin" => Interest::TwinResponses,
                    _ => return Err(Nonsense),
                };
                Inbound::Subscribe(Tag(tag), vec![(interest, Guarantee::AtLeastOnce)])
            }
            FromDevice::Settle { tag, token, how } => {
                let disposition = match how.as_str() {
                    "complete" => Disposition::Complete,
                    "abandon" => Disposition::Abandon,
                    "reject" => Disposition::Reject,
                    _ => return Err(Nonsense),
                };
                let token = token.parse().map_err(|_| Nonsense)?;
                if self.bug == Bug::AcknowledgesEarly {
                    say(out, &FromHub::Done { tag });
                }
                Inbound::Settle(Some(Tag(tag)), token, disposition)
            }
            FromDevice::Twin { tag } => Inbound::GetTwin(Tag(tag)),
            FromDevice::Report { tag, patch } => {
                if self.bug == Bug::LogsPayloads {
                    tracing::trace!(%patch, "a device reports");
                }
                Inbound::Report(Tag(tag), patch.into(), None)
            }
            FromDevice::Reply { call, status, payload } => {
                Inbound::Reply(MethodRef(call), status, payload.into())
            }
            FromDevice::Hello { .. } | FromDevice::Bye => return Err(Nonsense),
        };
        self.link.up.send(inbound);
        Ok(())
    }

    /// From the hub's words to the device's.
    fn tell(&mut self, outbound: Outbound, out: &mut Vec<u8>) {
        let outbound = match (self.bug, outbound, self.held.take()) {
            (Bug::ReordersOffers, first @ Outbound::Offer(_), None)
            | (Bug::ReordersReceipts, first @ Outbound::Receipt(_), None) => {
                self.held = Some(first);
                return;
            }
            (_, outbound, Some(held)) => {
                say(out, &line_of(outbound, self.bug));
                held
            }
            (_, outbound, None) => outbound,
        };
        let done = matches!(outbound, Outbound::Receipt(_));
        if !(done && self.bug == Bug::AcknowledgesEarly) {
            say(out, &line_of(outbound, self.bug));
        }
    }
}

fn line_of(outbound: Outbound, bug: Bug) -> FromHub {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match outbound {
        Outbound::Receipt(Tag(tag)) => FromHub::Done { tag },
        Outbound::Refused(Tag(tag), _) if bug == Bug::SwallowsErrors => FromHub::Done { tag },
        Outbound::Refused(Tag(tag), error) => FromHub::Refused { tag, why: error.to_string() },
        Outbound::Twin(Tag(tag), twin) => FromHub::Twin { tag, twin: text(&twin) },
        Outbound::Reported(Tag(tag), version) => FromHub::Reported { tag, version },
        Outbound::Offer(mut delivery) => {
            if bug == Bug::ForgetsTokens {
                delivery.token.sequence.0 = 1;
            }
            let properties = &delivery.message.properties;
            let owned = |(k, v): (&str, Option<&str>)| (k.into(), v.unwrap_or("").into());
            FromHub::Message {
                token: delivery.token.to_string(),
                id: properties
                    .system(hub_core::envelope::SystemProperty::MessageId)
                    .map(str::to_owned),
                body: delivery.message.body.to_vec(),
                properties: properties.application().into_iter().map(owned).collect(),
            }
        }
        Outbound::Call(MethodRef(call), name, payload) => {
            FromHub::Call { call, name: name.to_string(), payload: text(&payload) }
        }
        Outbound::Desired(version, patch) => FromHub::Desired { version, patch: text(&patch) },
        Outbound::Close(reason) => FromHub::Goaway { why: reason.to_string() },
    }
}

fn say(out: &mut Vec<u8>, line: &FromHub) {
    out.extend(serde_json::to_vec(line).unwrap_or_default());
    out.push(b'\n');
}

struct Nonsense;

/// Reads line by line. Dropping a future of `next` loses nothing.
struct Lines {
    read: OwnedReadHalf,
    buffer: BytesMut,
}

impl Lines {
    async fn next(&mut self) -> Result<FromDevice, Ended> {
        let mut seen = 0;
        loop {
            if let Some(end) = self.buffer[seen..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(seen + end);
                self.buffer.advance(1);
                return serde_json::from_slice(&line).map_err(|_| Ended::Nonsense);
            }
            seen = self.buffer.len();
            if seen > LINE_MAX {
                return Err(Ended::Nonsense);
            }
            match self.read.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Ended::Lost),
                Ok(_) => {}
            }
        }
    }
}
