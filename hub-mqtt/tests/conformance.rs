//! The kit for transports, spoken to by a device that does MQTT by hand.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use hub_core::conformance::transport::{
    Desired, Fixture, Heard, Hearing, Introduced, Lasting, Login, Messages, Methods, Pipelined,
    Probe, Refused, Twins,
};
use hub_core::envelope::{Property, SystemProperty};
use hub_core::frame::Interest;
use hub_core::hello::SessionMode;
use hub_core::{Hub, Store};
use hub_mqtt::MqttTransport;
use hub_mqtt::bag::Bag;
use hub_mqtt::codec::{
    self, Connect, ConnectCode, Decoded, Packet, PacketId, Publish, Qos, decode,
};
use hub_store_memory::MemoryStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

hub_core::transport_tests!(MqttFixture { addr: None }, without: dispositions);

struct MqttFixture {
    addr: Option<SocketAddr>,
}

impl Introduced for MqttFixture {
    fn addr(&self) -> SocketAddr {
        self.addr.unwrap()
    }
}

#[async_trait]
impl Fixture for MqttFixture {
    type Probe = MqttProbe;

    fn store(&mut self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }

    async fn serve(&mut self, hub: &Hub) {
        let loopback = "127.0.0.1:0".parse().unwrap();
        let transport = MqttTransport::builder().listen(loopback).bind().unwrap();
        self.addr = transport.local_addrs().first().copied();
        hub.serve(transport);
    }

    async fn connect(&mut self, login: &Login) -> Result<MqttProbe, Refused> {
        let stream = TcpStream::connect(self.addr.unwrap()).await.map_err(refused)?;
        let address = login.address.as_str();
        let mut probe = MqttProbe {
            stream,
            base: match address.split_once('/') {
                None => format!("devices/{address}"),
                Some((device, module)) => format!("devices/{device}/modules/{module}"),
            },
            buffer: BytesMut::new(),
            last_id: 0,
            heard: VecDeque::new(),
            written: VecDeque::new(),
            acknowledged: VecDeque::new(),
            answers: VecDeque::new(),
            hears_answers: false,
        };
        let username = format!("{}/{address}/?api-version=2021-04-12", login.host);
        let connect = Connect {
            clean_session: login.session == SessionMode::Clean,
            keep_alive: 60,
            client_id: address,
            will: None,
            username: Some(&username),
            password: Some(login.token.as_bytes()),
        };
        let mut bytes = Vec::new();
        codec::connect(&mut bytes, &connect).unwrap();
        probe.say(&bytes).await?;
        match probe.packet().await? {
            Said::Connected(ConnectCode::Accepted) => Ok(probe),
            other => Err(Refused(format!("{other:?}"))),
        }
    }
}

fn refused(why: impl std::fmt::Display) -> Refused {
    Refused(why.to_string())
}

/// What the hub says, as far as it matters here.
#[derive(Debug)]
enum Said {
    Connected(ConnectCode),
    Acknowledged(u16),
    Granted,
    Heard(Heard),
    /// An answer to a twin request: status, version and body.
    Answer(u32, Option<u64>, Bytes),
}

struct MqttProbe {
    stream: TcpStream,
    base: String,
    buffer: BytesMut,
    last_id: u16,
    heard: VecDeque<Heard>,
    /// Ids of messages that are to be acknowledged, in this order.
    written: VecDeque<u16>,
    acknowledged: VecDeque<u16>,
    answers: VecDeque<(u32, Option<u64>, Bytes)>,
    hears_answers: bool,
}

impl MqttProbe {
    async fn say(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.stream.write_all(bytes).await.map_err(refused)
    }

    fn id(&mut self) -> PacketId {
        self.last_id = self.last_id % u16::MAX + 1;
        PacketId::new(self.last_id).unwrap()
    }

    async fn send(&mut self, topic: &str, payload: &[u8]) -> Result<u16, Refused> {
        let id = self.id();
        let publish =
            Publish { dup: false, qos: Qos::One, retain: false, id: Some(id), topic, payload };
        let mut bytes = Vec::new();
        codec::publish(&mut bytes, &publish).unwrap();
        self.say(&bytes).await?;
        Ok(id.get())
    }

    /// The next packet of the hub. Acknowledges what need not be settled by hand.
    async fn packet(&mut self) -> Result<Said, Refused> {
        loop {
            let found = match decode(&self.buffer, 1 << 20).unwrap() {
                Decoded::Incomplete(_) => None,
                Decoded::Packet(packet, length) => Some((self.read(packet), length)),
            };
            if let Some(((said, puback), length)) = found {
                self.buffer.advance(length);
                if let Some(id) = puback {
                    let mut bytes = Vec::new();
                    codec::puback(&mut bytes, id);
                    self.say(&bytes).await?;
                }
                return Ok(said);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(refused("closed")),
                Ok(_) => {}
                Err(error) => return Err(refused(error)),
            }
        }
    }

    fn read(&self, packet: Packet<'_>) -> (Said, Option<PacketId>) {
        let publish = match packet {
            Packet::ConnAck(_, code) => return (Said::Connected(code), None),
            Packet::PubAck(id) => return (Said::Acknowledged(id.get()), None),
            Packet::SubAck(..) => return (Said::Granted, None),
            Packet::Publish(publish) => publish,
            other => panic!("{other:?}"),
        };
        let body = Bytes::copy_from_slice(publish.payload);
        let desired = "$iothub/twin/PATCH/properties/desired/?$version=";
        let devicebound = format!("{}/messages/devicebound/", self.base);
        let said = if let Some(bag) = publish.topic.strip_prefix(&devicebound) {
            return (Said::Heard(message(publish.id, bag, body)), None);
        } else if let Some(version) = publish.topic.strip_prefix(desired) {
            Said::Heard(Heard::Desired { version: version.parse().unwrap(), patch: body })
        } else if let Some(rest) = publish.topic.strip_prefix("$iothub/methods/POST/") {
            let (name, handle) = rest.split_once("/?$rid=").unwrap();
            let (name, handle) = (name.to_owned(), handle.to_owned());
            Said::Heard(Heard::Method { handle, name, payload: body })
        } else if let Some(rest) = publish.topic.strip_prefix("$iothub/twin/res/") {
            let (status, query) = rest.split_once("/?$rid=r").unwrap();
            let version = query.split_once("&$version=").map(|(_, v)| v.parse().unwrap());
            Said::Answer(status.parse().unwrap(), version, body)
        } else {
            panic!("{}", publish.topic)
        };
        (said, publish.id)
    }

    /// Reads one packet and files it.
    async fn hear(&mut self) -> Result<(), Refused> {
        match self.packet().await? {
            Said::Acknowledged(id) => self.acknowledged.push_back(id),
            Said::Heard(heard) => self.heard.push_back(heard),
            Said::Answer(status, version, body) => self.answers.push_back((status, version, body)),
            said @ (Said::Connected(_) | Said::Granted) => panic!("{said:?}"),
        }
        Ok(())
    }

    async fn subscribe(&mut self, filter: &str) -> Result<(), Refused> {
        let mut bytes = Vec::new();
        codec::subscribe(&mut bytes, self.id(), &[(filter, Qos::One)]).unwrap();
        self.say(&bytes).await?;
        match self.packet().await? {
            Said::Granted => Ok(()),
            other => Err(Refused(format!("{other:?}"))),
        }
    }

    /// Asks for or about the twin and waits for the answer.
    async fn ask(&mut self, topic: &str, payload: &[u8]) -> Result<(Option<u64>, Bytes), Refused> {
        if !self.hears_answers {
            self.subscribe("$iothub/twin/res/#").await?;
            self.hears_answers = true;
        }
        let id = self.send(&format!("{topic}?$rid=r{}", self.last_id), payload).await?;
        while self.answers.is_empty() {
            self.hear().await?;
        }
        self.wait_for_puback(id).await?;
        match self.answers.pop_front().unwrap() {
            (200..300, version, body) => Ok((version, body)),
            (status, _, body) => Err(Refused(format!("{status} {body:?}"))),
        }
    }

    async fn wait_for_puback(&mut self, id: u16) -> Result<(), Refused> {
        while self.acknowledged.is_empty() {
            self.hear().await?;
        }
        assert_eq!(self.acknowledged.pop_front(), Some(id), "acknowledgements are in order");
        Ok(())
    }
}

fn message(id: Option<PacketId>, bag: &str, body: Bytes) -> Heard {
    let (mut message_id, mut properties) = (None, Vec::new());
    for property in Bag::new().parse(bag) {
        match property {
            Property::System(SystemProperty::MessageId, id) => message_id = Some(id.to_owned()),
            Property::System(..) => {}
            Property::Application(name, value) => {
                properties.push((name.to_owned(), value.unwrap().to_owned()));
            }
        }
    }
    Heard::Message { handle: id.unwrap().to_string(), message_id, body, properties }
}

/// Percent-encodes everything but letters and digits.
fn encode(text: &str) -> String {
    let byte = |b: u8| match b {
        b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[async_trait]
impl Probe for MqttProbe {
    async fn publish(&mut self, body: &[u8], properties: &[(&str, &str)]) -> Result<(), Refused> {
        let pairs = properties.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v)));
        let bag = pairs.collect::<Vec<_>>().join("&");
        let id = self.send(&format!("{}/messages/events/{bag}", self.base), body).await?;
        self.wait_for_puback(id).await
    }

    async fn babble(&mut self) {
        // Refused if the hub has closed meanwhile.
        let _ = self.say(b"\0\xff nonsense\r\n\r\n").await;
    }

    async fn vanish(self) {}
}

#[async_trait]
impl Lasting for MqttProbe {
    async fn closed(&mut self) {
        while self.packet().await.is_ok() {}
    }

    async fn goodbye(mut self) {
        self.say(b"\xe0\x00").await.unwrap();
        self.closed().await;
    }
}

#[async_trait]
impl Pipelined for MqttProbe {
    async fn write(&mut self, body: &[u8]) -> Result<(), Refused> {
        let id = self.send(&format!("{}/messages/events/", self.base), body).await?;
        self.written.push_back(id);
        Ok(())
    }

    async fn acknowledged(&mut self, count: usize) -> Result<(), Refused> {
        while self.acknowledged.len() < count {
            self.hear().await?;
        }
        let found: Vec<_> = self.acknowledged.drain(..count).collect();
        let wanted: Vec<_> = self.written.drain(..count).collect();
        if found == wanted { Ok(()) } else { Err(refused("another order of acknowledgements")) }
    }

    fn stall(&mut self) {}
}

#[async_trait]
impl Hearing for MqttProbe {
    async fn listen(&mut self, interest: Interest) {
        let filter = match interest {
            Interest::Messages => format!("{}/messages/devicebound/#", self.base),
            Interest::Methods => "$iothub/methods/POST/#".to_owned(),
            Interest::DesiredProperties => "$iothub/twin/PATCH/properties/desired/#".to_owned(),
            Interest::TwinResponses => "$iothub/twin/res/#".to_owned(),
            Interest::Inputs => format!("{}/inputs/#", self.base),
        };
        self.subscribe(&filter).await.unwrap();
    }

    async fn next(&mut self) -> Result<Heard, Refused> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            self.hear().await?;
        }
    }
}

#[async_trait]
impl Messages for MqttProbe {
    async fn complete(&mut self, handle: &str) {
        let mut bytes = Vec::new();
        codec::puback(&mut bytes, handle.parse().unwrap());
        self.say(&bytes).await.unwrap();
    }
}

#[async_trait]
impl Methods for MqttProbe {
    async fn reply(&mut self, handle: &str, status: i32, payload: &[u8]) {
        let topic = format!("$iothub/methods/res/{status}/?$rid={handle}");
        let id = self.send(&topic, payload).await.unwrap();
        self.wait_for_puback(id).await.unwrap();
    }
}

impl Desired for MqttProbe {}

#[async_trait]
impl Twins for MqttProbe {
    async fn twin(&mut self) -> Result<Bytes, Refused> {
        self.ask("$iothub/twin/GET/", b" ").await.map(|(_, body)| body)
    }

    async fn report(&mut self, patch: &[u8]) -> Result<u64, Refused> {
        let answer = self.ask("$iothub/twin/PATCH/properties/reported/", patch).await;
        answer.map(|(version, _)| version.unwrap())
    }
}
