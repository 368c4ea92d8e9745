//! Stand-in for the engine, until it lands.
#![allow(missing_docs, dead_code, clippy::todo, clippy::unused_async, unused_variables)]
use std::net::SocketAddr;
use std::task::{Context, Poll};

use async_trait::async_trait;
use hub_core::envelope::Stamp;
use hub_core::error::DisconnectCause;
use hub_core::frame::{Inbound, Outbound};
use hub_core::hello::{CertificateInfo, Hello, Refusal, Welcome};
use hub_core::limits::Limits;
use hub_core::time::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};

#[derive(Clone, Debug)]
pub struct Hub;
impl Hub {
    pub async fn connect(&self, hello: Hello) -> Result<Link, Refusal> {
        todo!()
    }
    pub fn limits(&self) -> &Limits {
        todo!()
    }
    pub fn now(&self) -> Timestamp {
        todo!()
    }
}
#[derive(Debug)]
pub struct Link {
    pub up: Uplink,
    pub down: Downlink,
    pub welcome: Welcome,
}
#[derive(Debug)]
pub struct Uplink;
impl Uplink {
    pub fn stamp(&self) -> &Stamp {
        todo!()
    }
    pub fn has_room(&self) -> bool {
        todo!()
    }
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        todo!()
    }
    pub fn send(&mut self, inbound: Inbound) {
        todo!()
    }
    pub fn leave(&mut self, cause: DisconnectCause) {
        todo!()
    }
}
#[derive(Debug)]
pub struct Downlink;
impl Downlink {
    pub fn try_next(&mut self) -> Option<Outbound> {
        todo!()
    }
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outbound>> {
        todo!()
    }
}
#[derive(Clone, Debug)]
pub struct Shutdown;
impl Shutdown {
    pub async fn requested(&mut self) {
        todo!()
    }
    pub fn is_requested(&self) -> bool {
        todo!()
    }
}
#[derive(Debug)]
pub struct TransportError;
#[async_trait]
pub trait Transport: Send + 'static {
    fn name(&self) -> &'static str;
    async fn serve(self: Box<Self>, hub: Hub, shutdown: Shutdown) -> Result<(), TransportError>;
}
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
#[derive(Debug, Clone, Default)]
pub struct Peer {
    pub addr: Option<SocketAddr>,
    pub certificate: Option<CertificateInfo>,
}
#[async_trait]
pub trait StreamHandler: Send + Sync {
    fn subprotocol(&self) -> &'static str;
    async fn handle(&self, hub: Hub, io: Box<dyn ByteStream>, peer: Peer, shutdown: Shutdown);
}
