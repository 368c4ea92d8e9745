//! A connection of a device over MQTT, packet by packet, so that every acknowledgement is seen.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use mqttbytes::QoS;
use mqttbytes::v4::{
    Connect, ConnectReturnCode, Packet, PubAck, Publish, Subscribe, SubscribeFilter, read,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::{HOST, PATIENCE};

/// The largest packet that a hub may send.
const PACKET_MAX: usize = 1 << 20;
/// Seconds between signs of life; runs are shorter.
const KEEP_ALIVE: u16 = 1100;

/// What a hub said to a device that came.
#[derive(Debug)]
pub(crate) enum Welcome {
    /// Come in.
    Accepted { session_present: bool },
    /// The device is not known, or its token is wrong.
    Unauthorized,
    /// Not now.
    Unavailable,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    inbox: BytesMut,
    outbox: BytesMut,
}

impl Connection {
    /// Connects with a persistent session.
    pub(crate) async fn open(
        address: SocketAddr,
        device: &str,
        token: &str,
    ) -> io::Result<(Self, Welcome)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, inbox: BytesMut::new(), outbox: BytesMut::new() };
        let mut connect = Connect::new(device);
        connect.clean_session = false;
        connect.keep_alive = KEEP_ALIVE;
        connect.set_login(format!("{HOST}/{device}/?api-version=2021-04-12"), token.to_owned());
        connect.write(&mut connection.outbox).map_err(bad)?;
        connection.flush().await?;
        let first = timeout(PATIENCE, connection.next()).await;
        let welcome = match first.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
            Packet::ConnAck(ack) => match ack.code {
                ConnectReturnCode::Success => {
                    Welcome::Accepted { session_present: ack.session_present }
                }
                ConnectReturnCode::ServiceUnavailable => Welcome::Unavailable,
                _ => Welcome::Unauthorized,
            },
            other => return Err(io::Error::other(format!("not CONNACK: {other:?}"))),
        };
        Ok((connection, welcome))
    }

    /// The next packet. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<Packet> {
        loop {
            match read(&mut self.inbox, PACKET_MAX) {
                Ok(packet) => return Ok(packet),
                Err(mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(bad(error)),
            }
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(crate) fn publish(
        &mut self,
        topic: &str,
        packet_id: u16,
        again: bool,
        body: Vec<u8>,
    ) -> io::Result<()> {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, body);
        (publish.pkid, publish.dup) = (packet_id, again);
        publish.write(&mut self.outbox).map(drop).map_err(bad)
    }

    pub(crate) fn acknowledge(&mut self, packet_id: u16) -> io::Result<()> {
        PubAck::new(packet_id).write(&mut self.outbox).map(drop).map_err(bad)
    }

    pub(crate) fn subscribe(&mut self, packet_id: u16, filters: &[String]) -> io::Result<()> {
        let filter = |path: &String| SubscribeFilter::new(path.clone(), QoS::AtLeastOnce);
        let mut subscribe = Subscribe::new_many(filters.iter().map(filter));
        subscribe.pkid = packet_id;
        subscribe.write(&mut self.outbox).map(drop).map_err(bad)
    }

    /// Sends what was written.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.outbox).await?;
        self.outbox.clear();
        Ok(())
    }
}

fn bad(error: mqttbytes::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{error:?}"))
}
