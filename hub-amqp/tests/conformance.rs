//! The kit for transports, spoken to by a device that does AMQP by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]
#![allow(clippy::indexing_slicing, reason = "tests fail by panicking")]

mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hub_amqp::AmqpTransport;
use hub_amqp::codec::{self, Body, Message, MessageProperties, MessageWriter, Value, Write as _};
use hub_core::conformance::transport::{
    Desired, Dispositions, Fixture, Heard, Hearing, Introduced, Lasting, Login, Messages, Methods,
    Pipelined, Probe, Refused, Twins,
};
use hub_core::frame::{Disposition, Interest};
use hub_core::{Address, Hub, Store};
use hub_store_memory::MemoryStore;
use tokio::io::AsyncWriteExt as _;

use common::{
    ACCEPTED, Client, Gone, Outcome, REJECTED, RELEASED, Said, Wishes, compound, described, symbol,
    text,
};

hub_core::transport_tests!(AmqpFixture { addr: None });

struct AmqpFixture {
    addr: Option<SocketAddr>,
}

impl Introduced for AmqpFixture {
    fn addr(&self) -> SocketAddr {
        self.addr.unwrap()
    }
}

#[async_trait]
impl Fixture for AmqpFixture {
    type Probe = AmqpProbe;

    fn store(&mut self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }

    async fn serve(&mut self, hub: &Hub) {
        let loopback = "127.0.0.1:0".parse().unwrap();
        let transport = AmqpTransport::builder().listen(loopback).bind().unwrap();
        self.addr = transport.local_addrs().first().copied();
        hub.serve(transport);
    }

    async fn connect(&mut self, login: &Login) -> Result<AmqpProbe, Refused> {
        let mut client = Client::open(self.addr.unwrap()).await.map_err(gone)?;
        client.cbs().await.map_err(gone)?;
        match client.put_token(&login.token).await.map_err(gone)? {
            200 => {}
            status => return Err(Refused(status.to_string())),
        }
        let mut probe = AmqpProbe {
            client,
            base: base(&login.address),
            limit: 0,
            sent: 0,
            settled: VecDeque::new(),
            heard: VecDeque::new(),
            answers: VecDeque::new(),
            settled_back: VecDeque::new(),
            twin: false,
            asked: 0,
        };
        let events = format!("{}/messages/events", probe.base);
        let attached = probe.client.sender(EVENTS, &events).await.map_err(gone)?;
        match attached {
            Said::Attach { refused: false, .. } => Ok(probe),
            other => Err(Refused(format!("{other:?}"))),
        }
    }
}

const EVENTS: u32 = 0;
const MESSAGES: u32 = 1;
const METHODS: u32 = 2;
const METHOD_ANSWERS: u32 = 3;
const TWIN: u32 = 4;
const TWIN_QUESTIONS: u32 = 5;

fn base(address: &Address) -> String {
    match address.module_str() {
        Some(module) => format!("/devices/{}/modules/{module}", address.device_str()),
        None => format!("/devices/{}", address.device_str()),
    }
}

fn gone(_: Gone) -> Refused {
    Refused("the connection is gone".to_owned())
}

/// An answer about the twin: its id, a status, a version and a body.
struct Answer {
    id: String,
    status: i64,
    version: Option<u64>,
    body: Bytes,
}

struct AmqpProbe {
    client: Client,
    base: String,
    /// How many events may have been sent in all, and how many were.
    limit: u32,
    sent: u32,
    settled: VecDeque<(u32, u32, Outcome)>,
    heard: VecDeque<Heard>,
    answers: VecDeque<Answer>,
    settled_back: VecDeque<(u32, Outcome)>,
    twin: bool,
    asked: u64,
}

fn message(properties: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut pairs = Vec::new();
    for (name, value) in properties {
        pairs.extend([text(name), text(value)]);
    }
    if !pairs.is_empty() {
        let pairs: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
        out.extend(described(0x74, &compound(0xd1, &pairs)));
    }
    MessageWriter::new(&mut out).data(body);
    out
}

fn body(message: &Message<'_>) -> Bytes {
    match &message.body {
        Body::Data(parts) => parts.concat().into(),
        other => panic!("{other:?}"),
    }
}

fn id(raw: Option<&[u8]>) -> Option<String> {
    codec::read(&mut { raw? }).unwrap().as_text().map(str::to_owned)
}

impl AmqpProbe {
    /// Takes the next thing the hub says to where it belongs.
    async fn step(&mut self) -> Result<(), Refused> {
        match self.client.next().await.map_err(gone)? {
            Said::Flow { handle: Some(EVENTS), limit, .. } => self.limit = limit,
            Said::Flow { .. } | Said::Heartbeat | Said::Attach { .. } => {}
            Said::Settled(first, last, outcome) => self.settled.push_back((first, last, outcome)),
            Said::SettledBack(delivery, outcome) => {
                self.settled_back.push_back((delivery, outcome))
            }
            Said::Transfer { handle, delivery, payload, more, .. } => {
                let mut payload = payload;
                let mut more = more;
                while more {
                    match self.client.next().await.map_err(gone)? {
                        Said::Transfer { payload: part, more: left, .. } => {
                            payload.extend(part);
                            more = left;
                        }
                        other => panic!("{other:?}"),
                    }
                }
                self.take(handle, delivery, &payload);
            }
            over => return Err(Refused(format!("{over:?}"))),
        }
        Ok(())
    }

    fn take(&mut self, handle: u32, delivery: u32, payload: &[u8]) {
        let message = Message::read(payload).unwrap();
        match handle {
            MESSAGES => {
                let mut properties = Vec::new();
                let mut items = message.application;
                while let Some((name, value)) = items.take_pair().unwrap() {
                    let value = value.as_text().unwrap_or("").to_owned();
                    properties.push((name.as_text().unwrap().to_owned(), value));
                }
                self.heard.push_back(Heard::Message {
                    handle: delivery.to_string(),
                    message_id: id(message.properties.message_id),
                    body: body(&message),
                    properties,
                });
            }
            METHODS => {
                let name = message.application.find("IoThub-methodname").unwrap().unwrap();
                self.heard.push_back(Heard::Method {
                    handle: id(message.properties.correlation_id).unwrap(),
                    name: name.as_text().unwrap().to_owned(),
                    payload: body(&message),
                });
            }
            TWIN => {
                let number =
                    |name: &str| message.annotations.find(name).unwrap().and_then(Value::as_i64);
                let version = number("version").and_then(|version| u64::try_from(version).ok());
                match id(message.properties.correlation_id) {
                    Some(id) => self.answers.push_back(Answer {
                        id,
                        status: number("status").unwrap(),
                        version,
                        body: body(&message),
                    }),
                    None => self.heard.push_back(Heard::Desired {
                        version: version.unwrap(),
                        patch: body(&message),
                    }),
                }
            }
            other => panic!("a message on link {other}"),
        }
    }

    /// Attaches a link and keeps what comes meanwhile.
    async fn attach(&mut self, handle: u32, path: &str, receives: bool) {
        let address = format!("{}/{path}", self.base);
        let wishes = Wishes { rcv_settle_mode: 1, ..Wishes::default() };
        let attached = if receives {
            let attached = self.client.receiver(handle, &address, wishes).await;
            self.client.credit(handle, 0, 1000).await;
            attached
        } else {
            self.client.sender(handle, &address).await
        };
        assert_eq!(attached, Ok(Said::Attach { handle, refused: false }));
    }

    async fn attach_twin(&mut self) {
        if !std::mem::replace(&mut self.twin, true) {
            self.attach(TWIN, "twin", true).await;
            self.attach(TWIN_QUESTIONS, "twin", false).await;
        }
    }

    async fn ask_twin(
        &mut self,
        operation: &str,
        resource: &str,
        body: &[u8],
    ) -> Result<Answer, Refused> {
        self.attach_twin().await;
        self.asked += 1;
        let asked = format!("question {}", self.asked);
        let mut out = Vec::new();
        let pairs = [symbol("operation"), text(operation), symbol("resource"), text(resource)];
        let pairs: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
        out.extend(described(0x72, &compound(0xd1, &pairs)));
        let mut writer = MessageWriter::new(&mut out);
        let id = text(&asked);
        writer.properties(&MessageProperties {
            correlation_id: Some(&id),
            ..MessageProperties::default()
        });
        writer.data(body);
        self.client.send(TWIN_QUESTIONS, &out).await;
        loop {
            if let Some(answer) = self.answers.pop_front() {
                assert_eq!(answer.id, asked);
                if answer.status >= 300 {
                    return Err(Refused(String::from_utf8_lossy(&answer.body).into_owned()));
                }
                return Ok(answer);
            }
            self.step().await?;
        }
    }
}

#[async_trait]
impl Probe for AmqpProbe {
    async fn publish(&mut self, body: &[u8], properties: &[(&str, &str)]) -> Result<(), Refused> {
        while self.sent >= self.limit {
            self.step().await?;
        }
        self.sent += 1;
        let mine = self.client.send(EVENTS, &message(properties, body)).await;
        loop {
            while let Some((first, last, outcome)) = self.settled.pop_front() {
                if (first..=last).contains(&mine) {
                    return match outcome {
                        Outcome::Accepted => Ok(()),
                        other => Err(Refused(format!("{other:?}"))),
                    };
                }
            }
            self.step().await?;
        }
    }

    async fn babble(&mut self) {
        self.client
            .write(b"\x00\x00\x00\x10\x02\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff")
            .await;
    }

    async fn vanish(self) {
        drop(self);
    }
}

#[async_trait]
impl Lasting for AmqpProbe {
    async fn closed(&mut self) {
        while self.step().await.is_ok() {}
    }

    async fn goodbye(mut self) {
        self.client.perform(0, 0x18, &[], b"").await;
        while self.step().await.is_ok() {}
        let _ = self.client.stream.shutdown().await;
    }
}

#[async_trait]
impl Pipelined for AmqpProbe {
    async fn write(&mut self, body: &[u8]) -> Result<(), Refused> {
        while self.sent >= self.limit {
            self.step().await?;
        }
        self.sent += 1;
        self.client.send(EVENTS, &message(&[], body)).await;
        Ok(())
    }

    async fn acknowledged(&mut self, count: usize) -> Result<(), Refused> {
        let mut left = count;
        loop {
            while left > 0 {
                let Some((first, last, outcome)) = self.settled.pop_front() else { break };
                assert_eq!(outcome, Outcome::Accepted);
                let run = usize::try_from(last - first + 1).unwrap();
                if run > left {
                    let first = first + u32::try_from(left).unwrap();
                    self.settled.push_front((first, last, outcome));
                }
                left -= run.min(left);
            }
            if left == 0 {
                return Ok(());
            }
            self.step().await?;
        }
    }

    fn stall(&mut self) {}
}

#[async_trait]
impl Hearing for AmqpProbe {
    async fn listen(&mut self, interest: Interest) {
        match interest {
            Interest::Messages => self.attach(MESSAGES, "messages/devicebound", true).await,
            Interest::Methods => {
                self.attach(METHODS, "methods/devicebound", true).await;
                self.attach(METHOD_ANSWERS, "methods/devicebound", false).await;
            }
            Interest::TwinResponses => self.attach_twin().await,
            Interest::DesiredProperties => {
                let resource = "/notifications/twin/properties/desired";
                self.ask_twin("PUT", resource, b" ").await.unwrap();
            }
            Interest::Inputs => {}
        }
    }

    async fn next(&mut self) -> Result<Heard, Refused> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            self.step().await?;
        }
    }
}

#[async_trait]
impl Messages for AmqpProbe {
    async fn complete(&mut self, handle: &str) {
        self.client.dispose(handle.parse().unwrap(), true, ACCEPTED).await;
    }
}

#[async_trait]
impl Dispositions for AmqpProbe {
    async fn settle(&mut self, handle: &str, disposition: Disposition) -> Result<(), Refused> {
        let delivery: u32 = handle.parse().unwrap();
        let (state, want) = match disposition {
            Disposition::Complete => (ACCEPTED, Outcome::Accepted),
            Disposition::Abandon => (RELEASED, Outcome::Released),
            Disposition::Reject => (REJECTED, Outcome::Rejected(None)),
        };
        self.client.dispose(delivery, false, state).await;
        loop {
            if let Some((settled, outcome)) = self.settled_back.pop_front() {
                assert_eq!(settled, delivery);
                return if outcome == want { Ok(()) } else { Err(Refused(format!("{outcome:?}"))) };
            }
            self.step().await?;
        }
    }
}

#[async_trait]
impl Methods for AmqpProbe {
    async fn reply(&mut self, handle: &str, status: i32, payload: &[u8]) {
        let mut out = Vec::new();
        let id = text(handle);
        MessageWriter::new(&mut out).properties(&MessageProperties {
            correlation_id: Some(&id),
            ..MessageProperties::default()
        });
        let mut number = Vec::new();
        number.int(status);
        let pairs: [&[u8]; 2] = [&text("IoThub-status"), &number];
        out.extend(described(0x74, &compound(0xd1, &pairs)));
        MessageWriter::new(&mut out).data(payload);
        self.client.send(METHOD_ANSWERS, &out).await;
    }
}

impl Desired for AmqpProbe {}

#[async_trait]
impl Twins for AmqpProbe {
    async fn twin(&mut self) -> Result<Bytes, Refused> {
        self.ask_twin("GET", "", b" ").await.map(|answer| answer.body)
    }

    async fn report(&mut self, patch: &[u8]) -> Result<u64, Refused> {
        let answer = self.ask_twin("PATCH", "/properties/reported", patch).await?;
        answer.version.ok_or_else(|| Refused("no version".to_owned()))
    }
}
