//! A client that speaks AMQP by hand: it writes what it is told to, also what it should not.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "not every test needs all of it, and tests fail by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use hub_amqp::codec::{
    self, Decoded, FrameBody, Message, MessageProperties, MessageWriter, Performative, Role, State,
    Write as _, decode,
};
use hub_amqp::{AmqpLimits, AmqpStreamHandler, AmqpTransport};
use hub_core::engine::HubBuilder;
use hub_core::registry::IdentitySpec;
use hub_core::security::{Authentication, KeyForm, Policies, Policy, Rights, SymmetricKey, sign};
use hub_core::transport::{ByteStream, Peer, StreamHandler as _};
use hub_core::{Address, Hub};
use hub_store_memory::MemoryStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const NULL: &[u8] = b"\x40";
pub(crate) const TRUE: &[u8] = b"\x41";
pub(crate) const FALSE: &[u8] = b"\x42";
pub(crate) const ACCEPTED: &[u8] = b"\x00\x53\x24\x45";
pub(crate) const REJECTED: &[u8] = b"\x00\x53\x25\x45";
pub(crate) const RELEASED: &[u8] = b"\x00\x53\x26\x45";

pub(crate) fn uint(number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.uint(number);
    out
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.text(text);
    out
}

pub(crate) fn symbol(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.symbol(text);
    out
}

/// A compound: 0xd0 is a list, 0xd1 a map.
pub(crate) fn compound(code: u8, items: &[&[u8]]) -> Vec<u8> {
    let inner = items.concat();
    let mut out = vec![code];
    out.extend(u32::try_from(inner.len() + 4).unwrap().to_be_bytes());
    out.extend(u32::try_from(items.len()).unwrap().to_be_bytes());
    out.extend(inner);
    out
}

pub(crate) fn described(code: u8, value: &[u8]) -> Vec<u8> {
    [&[0, 0x53, code][..], value].concat()
}

/// A source (0x28) or target (0x29), with filters if they are given.
pub(crate) fn terminus(code: u8, address: &str, filter: &[u8]) -> Vec<u8> {
    let address = text(address);
    let fields: [&[u8]; 8] = [&address, NULL, NULL, NULL, NULL, NULL, NULL, filter];
    described(code, &compound(0xd0, &fields))
}

/// The filter of a selector.
pub(crate) fn selector(expression: &str) -> Vec<u8> {
    let name = symbol("apache.org:selector-filter:string");
    let value = [&[0][..], &name, &text(expression)].concat();
    compound(0xd1, &[&name, &value])
}

pub(crate) fn frame(kind: u8, channel: u16, code: u8, fields: &[&[u8]], payload: &[u8]) -> Vec<u8> {
    let body = [described(code, &compound(0xd0, fields)), payload.to_vec()].concat();
    let mut out = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
    out.extend([2, kind]);
    out.extend(channel.to_be_bytes());
    out.extend(body);
    out
}

/// What the hub says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Header([u8; 8]),
    Sasl(Vec<u8>),
    Heartbeat,
    Open {
        idle: Option<u32>,
    },
    Begin(u16),
    Attach {
        handle: u32,
        refused: bool,
    },
    /// How many may have been sent in all, before the credit is used up.
    Flow {
        handle: Option<u32>,
        limit: u32,
        drain: bool,
    },
    Transfer {
        handle: u32,
        delivery: u32,
        settled: bool,
        more: bool,
        payload: Vec<u8>,
    },
    /// The hub settles what it received.
    Settled(u32, u32, Outcome),
    /// The hub settles what it sent.
    SettledBack(u32, Outcome),
    Detach(u32, Option<String>),
    End(Option<String>),
    Close(Option<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Released,
    /// With the condition, if there is one.
    Rejected(Option<String>),
}

/// The connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

pub(crate) struct Client {
    pub(crate) stream: Box<dyn ByteStream>,
    buffer: BytesMut,
    pub(crate) channel: u16,
    next_delivery: u32,
}

/// Longest wait for anything.
pub(crate) const SOON: Duration = Duration::from_secs(20);

impl Client {
    /// A connection of which nothing was said.
    pub(crate) async fn bare(addr: SocketAddr) -> Result<Self, Gone> {
        let stream = TcpStream::connect(addr).await.map_err(|_| Gone)?;
        stream.set_nodelay(true).map_err(|_| Gone)?;
        Ok(Self::over(Box::new(stream)))
    }

    /// The same over a stream that is there.
    fn over(stream: Box<dyn ByteStream>) -> Self {
        Self { stream, buffer: BytesMut::new(), channel: 1, next_delivery: 0 }
    }

    /// A connection with a session, without a security layer.
    pub(crate) async fn open(addr: SocketAddr) -> Result<Self, Gone> {
        let mut client = Self::bare(addr).await?;
        client.begin(&[&text("peer")]).await?;
        Ok(client)
    }

    /// Opens with these fields, and begins a session with a wide window.
    pub(crate) async fn begin(&mut self, open: &[&[u8]]) -> Result<(), Gone> {
        self.write(b"AMQP\x00\x01\x00\x00").await;
        self.perform(0, 0x10, open, b"").await;
        let window = uint(100_000);
        self.perform(self.channel, 0x11, &[NULL, &uint(0), &window, &window], b"").await;
        assert_eq!(self.next().await?, Said::Header(*b"AMQP\x00\x01\x00\x00"));
        assert!(matches!(self.next().await?, Said::Open { .. }));
        assert_eq!(self.next_word().await?, Said::Begin(self.channel));
        Ok(())
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The hub may have closed: what is read next tells.
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn perform(
        &mut self,
        channel: u16,
        code: u8,
        fields: &[&[u8]],
        payload: &[u8],
    ) {
        self.write(&frame(0, channel, code, fields, payload)).await;
    }

    /// The next thing the hub says.
    pub(crate) async fn next(&mut self) -> Result<Said, Gone> {
        tokio::time::timeout(SOON, self.wait()).await.expect("the hub says nothing")
    }

    async fn wait(&mut self) -> Result<Said, Gone> {
        loop {
            if let Some(header) = self.buffer.first_chunk::<8>().copied()
                && header.starts_with(b"AMQP")
            {
                self.buffer.advance(8);
                return Ok(Said::Header(header));
            }
            if let Ok(Decoded::Frame(frame)) = decode(&self.buffer, 1 << 24) {
                let (said, length) = (said(frame.body), frame.length);
                self.buffer.advance(length);
                return Ok(said);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Gone),
                Ok(_) => {}
            }
        }
    }

    /// The next thing that is no flow and no sign of life.
    pub(crate) async fn next_word(&mut self) -> Result<Said, Gone> {
        loop {
            match self.next().await? {
                Said::Flow { .. } | Said::Heartbeat => {}
                said => return Ok(said),
            }
        }
    }

    /// Attaches a link on which this end sends.
    pub(crate) async fn sender(&mut self, handle: u32, address: &str) -> Result<Said, Gone> {
        let (name, target) = (text(&format!("s{handle}")), terminus(0x29, address, NULL));
        let source = terminus(0x28, "here", NULL);
        let fields: [&[u8]; 7] = [&name, &uint(handle), FALSE, NULL, NULL, &source, &target];
        self.perform(self.channel, 0x12, &fields, b"").await;
        self.next_word().await
    }

    /// Attaches a link on which this end receives. `wishes`: what is different from the usual.
    pub(crate) async fn receiver(
        &mut self,
        handle: u32,
        address: &str,
        wishes: Wishes,
    ) -> Result<Said, Gone> {
        let name = text(&format!("r{handle}"));
        let source = terminus(0x28, address, &wishes.filter);
        let target = terminus(0x29, &wishes.reply_to, NULL);
        let mode = [0x50, wishes.rcv_settle_mode];
        let fields: [&[u8]; 14] = [
            &name,
            &uint(handle),
            TRUE,
            NULL,
            &mode,
            &source,
            &target,
            NULL,
            NULL,
            NULL,
            NULL,
            NULL,
            &wishes.capabilities,
            &wishes.properties,
        ];
        self.perform(self.channel, 0x12, &fields, b"").await;
        self.next_word().await
    }

    /// Grants credit, counted from the link's beginning.
    pub(crate) async fn credit(&mut self, handle: u32, count: u32, credit: u32) {
        let window = uint(100_000);
        let fields: [&[u8]; 7] =
            [&uint(0), &window, &uint(0), &window, &uint(handle), &uint(count), &uint(credit)];
        self.perform(self.channel, 0x13, &fields, b"").await;
    }

    /// Sends a message in as many frames as it needs. Gives its number.
    pub(crate) async fn send(&mut self, handle: u32, payload: &[u8]) -> u32 {
        let delivery = self.next_delivery;
        self.next_delivery += 1;
        let tag = [&[0xa0, 4][..], &delivery.to_be_bytes()].concat();
        let mut rest = payload;
        loop {
            let (part, later) = rest.split_at_checked(60_000).unwrap_or((rest, &[]));
            let more = if later.is_empty() { FALSE } else { TRUE };
            let fields: [&[u8]; 6] = [&uint(handle), &uint(delivery), &tag, NULL, FALSE, more];
            self.perform(self.channel, 0x14, &fields, part).await;
            if later.is_empty() {
                return delivery;
            }
            rest = later;
        }
    }

    /// Says what became of a message.
    pub(crate) async fn dispose(&mut self, delivery: u32, settled: bool, state: &[u8]) {
        let settled = if settled { TRUE } else { FALSE };
        let fields: [&[u8]; 5] = [TRUE, &uint(delivery), NULL, settled, state];
        self.perform(self.channel, 0x15, &fields, b"").await;
    }

    pub(crate) async fn detach(&mut self, handle: u32) {
        self.perform(self.channel, 0x16, &[&uint(handle), TRUE], b"").await;
    }

    /// Attaches to `$cbs`: 90 sends, 91 hears.
    pub(crate) async fn cbs(&mut self) -> Result<(), Gone> {
        let attached = self.sender(90, "$cbs").await?;
        assert_eq!(attached, Said::Attach { handle: 90, refused: false });
        let attached = self.receiver(91, "$cbs", Wishes::default()).await?;
        assert_eq!(attached, Said::Attach { handle: 91, refused: false });
        self.credit(91, 0, 1000).await;
        Ok(())
    }

    /// Puts a token. Gives the status of the answer.
    pub(crate) async fn put_token(&mut self, token: &str) -> Result<i64, Gone> {
        self.ask(
            90,
            "put-token",
            &[("type", "servicebus.windows.net:sastoken"), ("name", "x")],
            token,
        )
        .await
        .map(|answer| answer.0)
    }

    /// Asks a question and waits for the answer: its status and payload.
    pub(crate) async fn ask(
        &mut self,
        handle: u32,
        operation: &str,
        properties: &[(&str, &str)],
        body: &str,
    ) -> Result<(i64, Vec<u8>), Gone> {
        let mut payload = Vec::new();
        let mut message = MessageWriter::new(&mut payload);
        let properties_of = MessageProperties {
            message_id: Some(b"\x80\0\0\0\0\0\0\x01\x02"),
            ..Default::default()
        };
        message.properties(&properties_of);
        let mut pairs = vec![text("operation"), text(operation)];
        for (name, value) in properties {
            pairs.extend([text(name), text(value)]);
        }
        let pairs: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
        payload.extend(described(0x74, &compound(0xd1, &pairs)));
        payload.extend(described(0x77, &text(body)));
        self.send(handle, &payload).await;
        loop {
            if let Said::Transfer { payload, .. } = self.next_word().await? {
                let message = Message::read(&payload).unwrap();
                assert_eq!(
                    message.properties.correlation_id,
                    Some(&b"\x80\0\0\0\0\0\0\x01\x02"[..])
                );
                let status = message.application.find("status-code").unwrap();
                return Ok((status.and_then(codec::Value::as_i64).unwrap(), payload));
            }
        }
    }
}

/// What is different about a receiver.
pub(crate) struct Wishes {
    pub(crate) filter: Vec<u8>,
    pub(crate) properties: Vec<u8>,
    pub(crate) capabilities: Vec<u8>,
    pub(crate) reply_to: String,
    pub(crate) rcv_settle_mode: u8,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            filter: NULL.to_vec(),
            properties: NULL.to_vec(),
            capabilities: NULL.to_vec(),
            reply_to: "there".to_owned(),
            rcv_settle_mode: 0,
        }
    }
}

fn said(body: FrameBody<'_>) -> Said {
    let (channel, body) = match body {
        FrameBody::Sasl(body) => return Said::Sasl(body.to_vec()),
        FrameBody::Amqp(_, []) => return Said::Heartbeat,
        FrameBody::Amqp(channel, body) => (channel, body),
    };
    let own = |condition: Option<&str>| condition.map(str::to_owned);
    match codec::performative(body).unwrap() {
        Performative::Open(open) => Said::Open { idle: open.idle_time_out },
        Performative::Begin(_) => Said::Begin(channel),
        Performative::Attach(attach) => {
            let attach = attach.read().unwrap();
            let own_end = match attach.role {
                Role::Sender => attach.source,
                Role::Receiver => attach.target,
            };
            Said::Attach { handle: attach.handle, refused: own_end.is_none() }
        }
        Performative::Flow(flow) => Said::Flow {
            handle: flow.handle,
            limit: flow.delivery_count.unwrap_or(0).wrapping_add(flow.link_credit.unwrap_or(0)),
            drain: flow.drain,
        },
        Performative::Transfer(transfer, payload) => Said::Transfer {
            handle: transfer.handle,
            delivery: transfer.delivery_id.unwrap(),
            settled: transfer.settled.unwrap_or(false),
            more: transfer.more,
            payload: payload.to_vec(),
        },
        Performative::Disposition(disposition) => {
            let outcome = match disposition.state {
                State::Rejected(why) => Outcome::Rejected(own(why.map(|(condition, _)| condition))),
                State::Released => Outcome::Released,
                State::Accepted => Outcome::Accepted,
                other => panic!("{other:?}"),
            };
            assert!(disposition.settled);
            match disposition.role {
                Role::Receiver => Said::Settled(disposition.first, disposition.last, outcome),
                Role::Sender => Said::SettledBack(disposition.first, outcome),
            }
        }
        Performative::Detach(detach) => Said::Detach(detach.handle, own(detach.condition)),
        Performative::End(end) => Said::End(own(end.condition)),
        Performative::Close(close) => Said::Close(own(close.condition)),
    }
}

/// A hub over AMQP on a port of its own.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) addr: SocketAddr,
    pub(crate) key: SymmetricKey,
    handler: AmqpStreamHandler,
}

pub(crate) const HOST: &str = "hub.test";

impl World {
    pub(crate) async fn open() -> Self {
        Self::with(|hub| hub, AmqpLimits::default()).await
    }

    pub(crate) async fn with(
        build: impl FnOnce(HubBuilder) -> HubBuilder,
        limits: AmqpLimits,
    ) -> Self {
        Self::on(MemoryStore::new(), build, limits).await
    }

    pub(crate) async fn on(
        store: MemoryStore,
        build: impl FnOnce(HubBuilder) -> HubBuilder,
        limits: AmqpLimits,
    ) -> Self {
        let key = SymmetricKey::generate(&[7; 32]);
        let mut policies = Policies::none();
        let other = SymmetricKey::generate(&[8; 32]);
        let owner = Policy::new("iothubowner", key.clone(), other, Rights::ALL).unwrap();
        policies.insert(owner).unwrap();
        let builder = Hub::builder(store).host_name(HOST).policies(policies);
        let hub = build(builder).start().unwrap();
        let loopback = "127.0.0.1:0".parse().unwrap();
        let transport = AmqpTransport::builder().limits(limits).listen(loopback).bind().unwrap();
        let (addr, handler) = (transport.local_addrs()[0], transport.stream_handler());
        hub.serve(transport);
        Self { hub, addr, key, handler }
    }

    /// A token of the owner's policy for a resource, good for this many seconds.
    pub(crate) fn token(&self, resource: &str, form: KeyForm, seconds: u64) -> String {
        let ends = self.hub.now().after(Duration::from_secs(seconds));
        sign(resource, &self.key, form, ends, Some("iothubowner"))
    }

    /// A connection of the owner's.
    pub(crate) async fn service(&self) -> Client {
        self.introduced(Client::open(self.addr).await.unwrap()).await
    }

    /// A connection of the owner's through a pipe that holds so many bytes each way.
    pub(crate) async fn piped(&self, bytes: usize) -> Client {
        let (near, far) = tokio::io::duplex(bytes);
        let (handler, hub) = (self.handler.clone(), self.hub.clone());
        tokio::spawn(async move {
            let shutdown = hub.shutdown_signal();
            handler.handle(hub, Box::new(far), Peer::default(), shutdown).await;
        });
        let mut client = Client::over(Box::new(near));
        client.begin(&[&text("peer")]).await.unwrap();
        self.introduced(client).await
    }

    async fn introduced(&self, mut client: Client) -> Client {
        client.cbs().await.unwrap();
        let token = self.token(HOST, KeyForm::Decoded, 3600);
        assert_eq!(client.put_token(&token).await, Ok(200));
        client
    }

    /// Registers a device or module. Gives its token.
    pub(crate) async fn register(&self, id: &str) -> String {
        let address = Address::parse(id).unwrap();
        let spec = IdentitySpec::new(address.clone());
        let registered = self.hub.registry().put(&spec, None).await.unwrap();
        let Authentication::Sas { primary, .. } = registered.authentication() else { panic!() };
        let ends = self.hub.now().after(Duration::from_secs(3600));
        let path = match address.module_str() {
            Some(module) => format!("devices/{}/modules/{module}", address.device_str()),
            None => format!("devices/{id}"),
        };
        sign(&format!("{HOST}/{path}"), primary, KeyForm::Decoded, ends, None)
    }
}
