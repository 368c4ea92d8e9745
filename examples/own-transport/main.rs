//! A protocol of one's own: lines of text over TCP.
//!
//! Each line of the device has a number, from 1; answers name it, for they may come in any order.
//! Messages are text and have no properties: what a protocol for more than show has to carry, the
//! conformance kit for transports tells.
//!
//! | device says | hub says |
//! |---|---|
//! | `HELLO <device> <token>` | `OK 1`, or `NO 1 <why>` and the end |
//! | `SEND <text>` | `OK <n>` once the telemetry is durable |
//! | `LISTEN` | `OK <n>`, and from then on `MESSAGE <lock token> <text>` |
//! | `DONE <lock token>` | `OK <n>`, or `NO <n> <why>` |
//! | `BYE` | |

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use hub_core::envelope::{EventBatch, Message};
use hub_core::error::DisconnectCause;
use hub_core::frame::{Disposition, Guarantee, Inbound, Interest, Outbound};
use hub_core::hello::{Credentials, Hello, Refusal, SessionMode};
use hub_core::id::{Address, Tag};
use hub_core::registry::IdentitySpec;
use hub_core::security::{Authentication, KeyForm, sign};
use hub_core::{Hub, Link, Shutdown, Transport, TransportError, Uplink};
use hub_store_memory::MemoryStore;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

/// Serves the protocol on a bound socket.
struct LineTransport(TcpListener);

type Lines = Framed<TcpStream, LinesCodec>;

#[async_trait::async_trait]
impl Transport for LineTransport {
    fn name(&self) -> &'static str {
        "lines"
    }

    async fn serve(self: Box<Self>, hub: Hub, mut stop: Shutdown) -> Result<(), TransportError> {
        let mut peers = tokio::task::JoinSet::new();
        loop {
            let socket = tokio::select! {
                () = stop.requested() => break,
                accepted = self.0.accept() => match accepted {
                    Ok((socket, _)) => socket,
                    Err(error) => return Err(TransportError::io("accept", error)),
                },
            };
            // A line longer than the largest message ends the connection (T6).
            let codec = LinesCodec::new_with_max_length(hub.limits().telemetry_bytes_max);
            peers.spawn(peer(Framed::new(socket, codec), hub.clone(), stop.clone()));
        }
        // The hub closes every link as it stops, so these end by themselves (T8).
        while peers.join_next().await.is_some() {}
        Ok(())
    }
}

/// One connection. Whatever ends it, dropping the link disconnects the device.
async fn peer(mut lines: Lines, hub: Hub, mut stop: Shutdown) {
    let hello = tokio::select! {
        () = stop.requested() => return,
        () = tokio::time::sleep(hub.limits().handshake_timeout) => return,
        line = lines.next() => match line { Some(Ok(line)) => line, _ => return },
    };
    let link = match introduce(&hub, &hello).await {
        Ok(link) => link,
        Err(refusal) => return drop(lines.send(format!("NO 1 {refusal}")).await),
    };
    let Link { mut up, mut down, .. } = link;
    let mut number = 1;
    let mut goes_on = lines.send("OK 1".to_owned()).await.is_ok();
    while goes_on {
        tokio::select! {
            said = down.next() => {
                let line = match said {
                    // Only now is it durable (T1).
                    Some(Outbound::Receipt(Tag(number))) => format!("OK {number}"),
                    Some(Outbound::Refused(Tag(number), error)) => format!("NO {number} {error}"),
                    Some(Outbound::Offer(delivery)) => {
                        let text = String::from_utf8_lossy(&delivery.message.body);
                        format!("MESSAGE {} {text}", delivery.token)
                    }
                    // This protocol has no words for the rest, and never subscribes to it.
                    Some(Outbound::Close(_)) | None => return,
                    Some(_) => continue,
                };
                goes_on = lines.send(line).await.is_ok();
            }
            // A line is read only when there is room for what it asks (T5).
            line = async { up.ready().await; lines.next().await } => match line {
                Some(Ok(line)) if line == "BYE" => return up.leave(DisconnectCause::Clean),
                Some(Ok(line)) => {
                    number += 1;
                    match understand(&line, Tag(number), &hub, &up) {
                        Some(frame) => up.send(frame),
                        None => return up.leave(DisconnectCause::Protocol),
                    }
                }
                Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                    return up.leave(DisconnectCause::Protocol);
                }
                // Gone without a word: a link that is dropped says so by itself (T11).
                Some(Err(LinesCodecError::Io(_))) | None => return,
            },
        }
    }
}

async fn introduce(hub: &Hub, line: &str) -> Result<Link, Refusal> {
    let mut words = line.splitn(3, ' ');
    let (Some("HELLO"), Some(device), Some(token)) = (words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed("HELLO <device> <token>"));
    };
    hub.connect(Hello {
        address: Address::parse(device).map_err(|_| Refusal::Malformed("no device id"))?,
        credentials: Credentials::Token(token.into()),
        host: None,
        session: SessionMode::Clean,
        model: None,
        client: None,
        protocol: "lines",
        peer: None,
    })
    .await
}

/// What a line asks for.
fn understand(line: &str, tag: Tag, hub: &Hub, up: &Uplink) -> Option<Inbound> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "SEND" => {
            let mut events = EventBatch::new();
            let limit = hub.limits().telemetry_bytes_max;
            events.push(up.stamp(), [], rest.as_bytes(), limit).ok()?;
            Some(Inbound::Telemetry(tag, events.take()))
        }
        "LISTEN" => {
            Some(Inbound::Subscribe(tag, vec![(Interest::Messages, Guarantee::AtLeastOnce)]))
        }
        "DONE" => Some(Inbound::Settle(Some(tag), rest.parse().ok()?, Disposition::Complete)),
        _ => None,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::builder(MemoryStore::new()).start()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    hub.serve(LineTransport(listener));

    // A device, and a token that its key has signed.
    let pump = Address::parse("pump")?;
    let identity = hub.registry().put(&IdentitySpec::new(pump.clone()), None).await?;
    let Authentication::Sas { primary, .. } = identity.authentication() else {
        return Err("a new identity has keys".into());
    };
    let until = hub.now().after(Duration::from_secs(3600));
    let token = sign("localhost/devices/pump", primary, KeyForm::Decoded, until, None);
    let mut device: Lines = Framed::new(TcpStream::connect(address).await?, LinesCodec::new());
    for line in [format!("HELLO pump {token}"), "SEND 21.5".to_owned(), "LISTEN".to_owned()] {
        let word = line.split(' ').next().unwrap_or_default().to_owned();
        device.send(line).await?;
        println!("device: {word}, hub: {}", device.next().await.ok_or("closed")??);
    }
    let sent = hub.send(&pump, Message::new("open the valve")).await?;
    let line = device.next().await.ok_or("closed")??;
    let (lock, text) = line.trim_start_matches("MESSAGE ").split_once(' ').ok_or("no message")?;
    println!("device: got {text:?}");
    device.send(format!("DONE {lock}")).await?;
    println!("device: DONE, hub: {}", device.next().await.ok_or("closed")??);
    println!("back end: the message is {:?}", sent.await.ok_or("no outcome")?);
    device.send("BYE".to_owned()).await?;
    let report = hub.shutdown(Duration::from_secs(2)).await;
    println!("all connections ended: {}", report.transports_ended);
    Ok(())
}
