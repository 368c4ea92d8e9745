//! A hub on the memory store, and a device that speaks MQTT by hand.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use hub_core::device::LifecycleKind;
use hub_core::engine::{EventReader, Lifecycle, LifecycleEvent, LifecycleEvents, Position};
use hub_core::envelope::Event;
use hub_core::error::DisconnectCause;
use hub_core::id::Address;
use hub_core::registry::{AuthenticationSpec, IdentitySpec};
use hub_core::security::{KeyForm, SymmetricKey, sign};
use hub_core::{Hub, HubBuilder, Limits, Timestamp};
use hub_mqtt::codec::{
    self, Connect, ConnectCode, Decoded, Packet, PacketId, Publish, Qos, REMAINING_MAX, decode,
};
use hub_mqtt::{MqttMetrics, MqttTransport};
use hub_store_memory::MemoryStore;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Long enough for a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(10);
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A token of an identity, signed with the key that all identities of the tests have.
pub fn token(identity: &str) -> String {
    let resource = match identity.split_once('/') {
        None => format!("localhost/devices/{identity}"),
        Some((device, module)) => format!("localhost/devices/{device}/modules/{module}"),
    };
    let expiry = Timestamp::from_millis(4_102_444_800_000);
    sign(&resource, &SymmetricKey::from_base64(KEY).unwrap(), KeyForm::Decoded, expiry, None)
}

/// A running hub with an MQTT listener.
pub struct Running {
    pub hub: Hub,
    pub addr: SocketAddr,
    pub metrics: MqttMetrics,
}

pub async fn start() -> Running {
    start_with(|_| {}).await
}

pub async fn start_with(change: impl FnOnce(&mut Limits)) -> Running {
    let mut limits = Limits::default();
    change(&mut limits);
    start_on(Hub::builder(MemoryStore::new()).limits(limits)).await
}

/// Starts the hub, with the device `d1` and its module `d1/m1` if they are not there.
pub async fn start_on(builder: HubBuilder) -> Running {
    let hub = builder.start().unwrap();
    for identity in ["d1", "d1/m1"] {
        if hub.registry().get(&address(identity)).await.is_err() {
            register(&hub, identity).await;
        }
    }
    let loopback = "127.0.0.1:0".parse().unwrap();
    let transport = MqttTransport::builder().listen(loopback).bind().unwrap();
    let (addr, metrics) = (transport.local_addrs()[0], transport.metrics());
    hub.serve(transport);
    Running { hub, addr, metrics }
}

pub async fn register(hub: &Hub, identity: &str) {
    let key = SymmetricKey::from_base64(KEY).unwrap();
    let mut spec = IdentitySpec::new(address(identity));
    spec.authentication = Some(AuthenticationSpec::Sas { primary: Some(key), secondary: None });
    hub.registry().put(&spec, None).await.unwrap();
}

impl Running {
    /// A TCP connection that has said nothing.
    pub async fn dial(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.addr).await.unwrap())
    }

    /// A connection with a persistent session.
    pub async fn connect(&self, identity: &str) -> Client<TcpStream> {
        let mut client = self.dial().await;
        client.introduce(identity).await;
        client.expect_connack(ConnectCode::Accepted).await;
        client
    }

    pub async fn reader(&self) -> EventReader {
        let partition = address("d1").partition(self.hub.partitions());
        self.hub.reader(partition, Position::Earliest).await.unwrap()
    }
}

/// The next events, at least `count`.
pub async fn events(reader: &mut EventReader, count: usize) -> Vec<Event> {
    let mut found = Vec::new();
    while found.len() < count {
        let more = tokio::time::timeout(PATIENCE, reader.read(100)).await;
        found.extend(more.expect("events in time").unwrap());
    }
    found
}

/// The next lifecycle event that `wanted` makes something of.
pub async fn lifecycle<T>(
    events: &mut LifecycleEvents,
    wanted: impl Fn(&LifecycleEvent) -> Option<T>,
) -> T {
    let wait = async {
        loop {
            match events.next().await {
                Some(Lifecycle::Event(event)) => {
                    if let Some(found) = wanted(&event) {
                        return found;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a lifecycle event in time")
}

/// How a connection ended, if that is what an event tells.
pub fn disconnected(event: &LifecycleEvent) -> Option<DisconnectCause> {
    match event.kind {
        LifecycleKind::Disconnected(_, cause) => Some(cause),
        _ => None,
    }
}

/// A packet of the hub, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    ConnAck(bool, ConnectCode),
    PubAck(u16),
    SubAck(u16, Vec<u8>),
    UnsubAck(u16),
    PingResp,
    Publish(Message),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: String,
    pub id: Option<u16>,
    pub dup: bool,
}

impl From<Packet<'_>> for Got {
    fn from(packet: Packet<'_>) -> Self {
        match packet {
            Packet::ConnAck(present, code) => Self::ConnAck(present, code),
            Packet::PubAck(id) => Self::PubAck(id.get()),
            Packet::SubAck(id, codes) => Self::SubAck(id.get(), codes.to_vec()),
            Packet::UnsubAck(id) => Self::UnsubAck(id.get()),
            Packet::PingResp => Self::PingResp,
            Packet::Publish(p) => Self::Publish(Message {
                topic: p.topic.to_owned(),
                payload: String::from_utf8(p.payload.to_vec()).unwrap(),
                id: p.id.map(PacketId::get),
                dup: p.dup,
            }),
            other => panic!("a hub does not send {other:?}"),
        }
    }
}

/// A device.
pub struct Client<S> {
    pub io: S,
    read: Vec<u8>,
    last_id: u16,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn new(io: S) -> Self {
        Self { io, read: Vec::new(), last_id: 0 }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
        self.io.flush().await.unwrap();
    }

    fn id(&mut self) -> PacketId {
        self.last_id += 1;
        PacketId::new(self.last_id).unwrap()
    }

    /// Sends a CONNECT as stock SDKs do.
    pub async fn introduce(&mut self, identity: &str) {
        let token = token(identity);
        self.introduce_with(identity, Some(&token), |_| {}).await;
    }

    /// Sends a CONNECT that `change` has changed.
    pub async fn introduce_with(
        &mut self,
        identity: &str,
        password: Option<&str>,
        change: impl FnOnce(&mut Connect<'_>),
    ) {
        let username = format!("localhost/{identity}/?api-version=2021-04-12");
        let mut connect = Connect {
            clean_session: false,
            keep_alive: 60,
            client_id: identity,
            will: None,
            username: Some(&username),
            password: password.map(str::as_bytes),
        };
        change(&mut connect);
        let mut bytes = Vec::new();
        codec::connect(&mut bytes, &connect).unwrap();
        self.send(&bytes).await;
    }

    #[track_caller]
    pub fn expect_connack(&mut self, code: ConnectCode) -> impl Future<Output = bool> + use<'_, S> {
        let caller = std::panic::Location::caller();
        async move {
            match self.next().await {
                Got::ConnAck(present, found) => {
                    assert_eq!(found, code, "{caller}");
                    present
                }
                other => panic!("{caller}: {other:?}"),
            }
        }
    }

    /// The next packet of the hub.
    pub async fn next(&mut self) -> Got {
        loop {
            if let Decoded::Packet(packet, length) = decode(&self.read, REMAINING_MAX).unwrap() {
                let got = Got::from(packet);
                self.read.drain(..length);
                return got;
            }
            let read = tokio::time::timeout(PATIENCE, self.io.read_buf(&mut self.read)).await;
            match read.expect("a packet in time") {
                Ok(n) if n > 0 => {}
                other => panic!("the hub has closed: {other:?}"),
            }
        }
    }

    pub async fn next_message(&mut self) -> Message {
        match self.next().await {
            Got::Publish(message) => message,
            other => panic!("{other:?}"),
        }
    }

    /// The hub sends nothing more and closes.
    #[track_caller]
    pub fn expect_closed(&mut self) -> impl Future<Output = ()> + use<'_, S> {
        let caller = std::panic::Location::caller();
        async move {
            loop {
                let read = tokio::time::timeout(PATIENCE, self.io.read_buf(&mut self.read)).await;
                match read {
                    Err(_) => panic!("{caller}: still open"),
                    Ok(Ok(0) | Err(_)) => break,
                    Ok(Ok(_)) => {}
                }
            }
            assert_eq!(self.read, b"", "{caller}");
        }
    }

    /// The hub has said all it had to say, in order, up to now.
    pub async fn expect_silence(&mut self) {
        self.send(b"\xc0\x00").await;
        assert_eq!(self.next().await, Got::PingResp);
    }

    /// Publishes with QoS 1 and returns the packet id.
    pub async fn publish(&mut self, topic: &str, payload: &str) -> u16 {
        let id = self.id();
        let mut bytes = Vec::new();
        write_publish(&mut bytes, id, topic, payload.as_bytes());
        self.send(&bytes).await;
        id.get()
    }

    /// Publishes with QoS 1 and waits for the PUBACK, which must be next.
    pub async fn publish_acked(&mut self, topic: &str, payload: &str) {
        let id = self.publish(topic, payload).await;
        assert_eq!(self.next().await, Got::PubAck(id));
    }

    /// Subscribes and returns what was granted, which must be the hub's next packet.
    pub async fn subscribe(&mut self, filters: &[(&str, Qos)]) -> Vec<u8> {
        let id = self.id();
        let mut bytes = Vec::new();
        codec::subscribe(&mut bytes, id, filters).unwrap();
        self.send(&bytes).await;
        match self.next().await {
            Got::SubAck(found, codes) if found == id.get() => codes,
            other => panic!("{other:?}"),
        }
    }

    pub async fn puback(&mut self, id: Option<u16>) {
        let mut bytes = Vec::new();
        codec::puback(&mut bytes, PacketId::new(id.unwrap()).unwrap());
        self.send(&bytes).await;
    }
}

pub fn write_publish(out: &mut Vec<u8>, id: PacketId, topic: &str, payload: &[u8]) {
    let publish =
        Publish { dup: false, qos: Qos::One, retain: false, id: Some(id), topic, payload };
    codec::publish(out, &publish).unwrap();
}
