//! A device that speaks the line protocol, and what the kit needs to meet it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use hub_core::conformance::transport::{
    Desired, Dispositions, Fixture, Heard, Hearing, Introduced, Lasting, Login, Messages, Methods,
    Pipelined, Probe, Refused, Twins,
};
use hub_core::engine::Hub;
use hub_core::frame::{Disposition, Interest};
use hub_core::store::Store;
use hub_store_memory::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::line::{FromDevice, FromHub, LineTransport};
use crate::planted::Bug;

pub(crate) struct LineFixture {
    bug: Bug,
    addr: Option<SocketAddr>,
}

impl LineFixture {
    pub(crate) fn new(bug: Bug) -> Self {
        Self { bug, addr: None }
    }
}

#[async_trait]
impl Fixture for LineFixture {
    type Probe = LineProbe;

    fn store(&mut self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }

    async fn serve(&mut self, hub: &Hub) {
        let transport = LineTransport::bind("127.0.0.1:0", self.bug).await.unwrap();
        self.addr = Some(transport.local_addr().unwrap());
        hub.serve(transport);
    }

    async fn connect(&mut self, login: &Login) -> Result<LineProbe, Refused> {
        let stream = TcpStream::connect(self.addr.unwrap()).await;
        let stream = stream.map_err(|error| Refused(error.to_string()))?;
        let mut probe = LineProbe {
            stream,
            buffer: BytesMut::new(),
            last_tag: 0,
            written: VecDeque::new(),
            heard: VecDeque::new(),
        };
        let hello = FromDevice::Hello {
            host: login.host.clone(),
            address: login.address.to_string(),
            token: login.token.to_string(),
        };
        probe.say(&hello).await?;
        match probe.line().await? {
            FromHub::Welcome => Ok(probe),
            other => Err(Refused(format!("{other:?}"))),
        }
    }
}

impl Introduced for LineFixture {
    fn addr(&self) -> SocketAddr {
        self.addr.unwrap()
    }
}

/// A fixture and a device without any ability: what is the least that can be tried.
pub(crate) struct LittleFixture(pub(crate) LineFixture);

pub(crate) struct LittleProbe(LineProbe);

#[async_trait]
impl Fixture for LittleFixture {
    type Probe = LittleProbe;

    fn store(&mut self) -> Arc<dyn Store> {
        self.0.store()
    }

    async fn serve(&mut self, hub: &Hub) {
        self.0.serve(hub).await;
    }

    async fn connect(&mut self, login: &Login) -> Result<LittleProbe, Refused> {
        self.0.connect(login).await.map(LittleProbe)
    }
}

#[async_trait]
impl Probe for LittleProbe {
    async fn publish(&mut self, body: &[u8], properties: &[(&str, &str)]) -> Result<(), Refused> {
        self.0.publish(body, properties).await
    }

    async fn babble(&mut self) {
        self.0.babble().await;
    }

    async fn vanish(self) {}
}

pub(crate) struct LineProbe {
    stream: TcpStream,
    buffer: BytesMut,
    last_tag: u64,
    /// Tags of messages that are to be acknowledged, in this order.
    written: VecDeque<u64>,
    heard: VecDeque<FromHub>,
}

impl LineProbe {
    async fn say(&mut self, said: &FromDevice) -> Result<(), Refused> {
        let mut line = serde_json::to_vec(said).unwrap();
        line.push(b'\n');
        self.stream.write_all(&line).await.map_err(|error| Refused(error.to_string()))
    }

    async fn line(&mut self) -> Result<FromHub, Refused> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                return match serde_json::from_slice(&line).unwrap() {
                    FromHub::Goaway { why } => Err(Refused(why)),
                    said => Ok(said),
                };
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(Refused("closed".into())),
                Ok(_) => {}
                Err(error) => return Err(Refused(error.to_string())),
            }
        }
    }

    /// Says something and waits for its answer, keeping what else comes.
    async fn ask(&mut self, said: impl FnOnce(u64) -> FromDevice) -> Result<FromHub, Refused> {
        self.last_tag += 1;
        let wanted = self.last_tag;
        self.say(&said(wanted)).await?;
        loop {
            match self.line().await? {
                FromHub::Refused { tag, why } if tag == wanted => return Err(Refused(why)),
                answer @ (FromHub::Done { tag }
                | FromHub::Twin { tag, .. }
                | FromHub::Reported { tag, .. })
                    if tag == wanted =>
                {
                    return Ok(answer);
                }
                other => self.heard.push_back(other),
            }
        }
    }
}

#[async_trait]
impl Probe for LineProbe {
    async fn publish(&mut self, body: &[u8], properties: &[(&str, &str)]) -> Result<(), Refused> {
        let properties =
            properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let body = body.to_vec();
        self.ask(|tag| FromDevice::Publish { tag, body, properties }).await.map(drop)
    }

    async fn babble(&mut self) {
        // Refused if the hub has closed meanwhile.
        let _ = self.stream.write_all(b"\0\xff nonsense\r\n\r\n").await;
    }

    async fn vanish(self) {}
}

#[async_trait]
impl Lasting for LineProbe {
    async fn closed(&mut self) {
        while self.line().await.is_ok() {}
    }

    async fn goodbye(mut self) {
        self.say(&FromDevice::Bye).await.unwrap();
        self.closed().await;
    }
}

#[async_trait]
impl Pipelined for LineProbe {
    async fn write(&mut self, body: &[u8]) -> Result<(), Refused> {
        self.last_tag += 1;
        let (tag, body) = (self.last_tag, body.to_vec());
        self.written.push_back(tag);
        self.say(&FromDevice::Publish { tag, body, properties: Vec::new() }).await
    }

    async fn acknowledged(&mut self, count: usize) -> Result<(), Refused> {
        for _ in 0..count {
            match self.line().await? {
                FromHub::Done { tag } if self.written.pop_front() == Some(tag) => {}
                other => return Err(Refused(format!("{other:?}"))),
            }
        }
        Ok(())
    }

    fn stall(&mut self) {
        // It reads only when it is asked to.
    }
}

#[async_trait]
impl Hearing for LineProbe {
    async fn listen(&mut self, interest: Interest) {
        let to = match interest {
            Interest::Messages => "messages",
            Interest::Methods => "methods",
            Interest::DesiredProperties => "desired",
            Interest::TwinResponses => "twin",
            Interest::Inputs => return,
        };
        self.ask(|tag| FromDevice::Listen { tag, to: to.into() }).await.unwrap();
    }

    async fn next(&mut self) -> Result<Heard, Refused> {
        loop {
            let said = match self.heard.pop_front() {
                Some(said) => said,
                None => self.line().await?,
            };
            match said {
                FromHub::Message { token, id, body, properties } => {
                    let (handle, body) = (token, Bytes::from(body));
                    return Ok(Heard::Message { handle, message_id: id, body, properties });
                }
                FromHub::Call { call, name, payload } => {
                    let (handle, payload) = (call.to_string(), Bytes::from(payload));
                    return Ok(Heard::Method { handle, name, payload });
                }
                FromHub::Desired { version, patch } => {
                    return Ok(Heard::Desired { version, patch: Bytes::from(patch) });
                }
                // Answers to settlements that were not waited for.
                _ => {}
            }
        }
    }
}

fn settle(tag: u64, handle: &str, disposition: Disposition) -> FromDevice {
    let how = match disposition {
        Disposition::Complete => "complete",
        Disposition::Abandon => "abandon",
        Disposition::Reject => "reject",
    };
    FromDevice::Settle { tag, token: handle.into(), how: how.into() }
}

#[async_trait]
impl Messages for LineProbe {
    async fn complete(&mut self, handle: &str) {
        self.last_tag += 1;
        let said = settle(self.last_tag, handle, Disposition::Complete);
        self.say(&said).await.unwrap();
    }
}

#[async_trait]
impl Dispositions for LineProbe {
    async fn settle(&mut self, handle: &str, disposition: Disposition) -> Result<(), Refused> {
        self.ask(|tag| settle(tag, handle, disposition)).await.map(drop)
    }
}

#[async_trait]
impl Methods for LineProbe {
    async fn reply(&mut self, handle: &str, status: i32, payload: &[u8]) {
        let call = handle.parse().unwrap();
        let payload = String::from_utf8_lossy(payload).into_owned();
        self.say(&FromDevice::Reply { call, status, payload }).await.unwrap();
    }
}

impl Desired for LineProbe {}

#[async_trait]
impl Twins for LineProbe {
    async fn twin(&mut self) -> Result<Bytes, Refused> {
        self.listen(Interest::TwinResponses).await;
        match self.ask(|tag| FromDevice::Twin { tag }).await? {
            FromHub::Twin { twin, .. } => Ok(Bytes::from(twin)),
            other => Err(Refused(format!("{other:?}"))),
        }
    }

    async fn report(&mut self, patch: &[u8]) -> Result<u64, Refused> {
        self.listen(Interest::TwinResponses).await;
        let patch = String::from_utf8_lossy(patch).into_owned();
        match self.ask(|tag| FromDevice::Report { tag, patch }).await? {
            FromHub::Reported { version, .. } => Ok(version),
            FromHub::Done { .. } => Ok(0),
            other => Err(Refused(format!("{other:?}"))),
        }
    }
}
