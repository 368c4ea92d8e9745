//! A device's side of MQTT 3.1.1: as much of it as a load needs, and no more, so that most of what a
//! run costs is the server's.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use hub_core::security::{KeyForm, SymmetricKey, sign};
use hub_core::time::Timestamp;
use hub_mqtt::codec::{self, Connect, ConnectCode, Decoded, Packet, PacketId, Publish, Qos};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest packet that is read.
const PACKET_MAX: usize = 512 * 1024;
/// The host name that tokens are made for.
pub const HOST: &str = "localhost";

/// A device, and the key it proves that with.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// Its key.
    pub key: SymmetricKey,
}

impl Device {
    /// The device of this number. Its key depends on nothing else, so a server can be given the
    /// same.
    #[must_use]
    pub fn numbered(number: usize) -> Self {
        let mut random = crate::Random::new(number as u64);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&random.bytes(32));
        Self { id: format!("device-{number:06}"), key: SymmetricKey::generate(&bytes) }
    }

    /// Where it sends telemetry.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("devices/{}/messages/events/", self.id)
    }

    fn username(&self) -> String {
        format!("{HOST}/{}/?api-version=2021-04-12", self.id)
    }

    fn token(&self) -> String {
        let resource = format!("{HOST}/devices/{}", self.id);
        // In the year 2100: no run is that long.
        let expiry = Timestamp::from_millis(4_102_444_800_000);
        sign(&resource, &self.key, KeyForm::Decoded, expiry, None)
    }
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
    topic: String,
    next: u16,
}

impl Client {
    /// Connects a device with a clean session. A broker that knows no devices takes the same.
    ///
    /// # Errors
    /// What the operating system says, or that the server refused.
    pub async fn connect(to: SocketAddr, device: &Device) -> io::Result<Self> {
        let socket = TcpStream::connect(to).await?;
        socket.set_nodelay(true)?;
        // Small at first: a run may hold ten thousand of these.
        let (input, output) = (BytesMut::with_capacity(256), Vec::new());
        let mut client = Self { socket, input, output, topic: device.topic(), next: 0 };
        let (username, token) = (device.username(), device.token());
        let connect = Connect {
            clean_session: true,
            keep_alive: 0,
            client_id: &device.id,
            will: None,
            username: Some(&username),
            password: Some(token.as_bytes()),
        };
        codec::connect(&mut client.output, &connect).map_err(io::Error::other)?;
        client.flush().await?;
        client.output = Vec::new();
        let mut code = None;
        while code.is_none() {
            client
                .read(|packet| {
                    if let Packet::ConnAck(_, answer) = packet {
                        code = Some(answer);
                    }
                })
                .await?;
        }
        match code {
            Some(ConnectCode::Accepted) => Ok(client),
            other => Err(io::Error::other(format!("the server refused: {other:?}"))),
        }
    }

    /// Sends so many messages of QoS 1 in one write.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn publish(&mut self, count: usize, payload: &[u8]) -> io::Result<()> {
        for _ in 0..count {
            self.next = self.next.checked_add(1).unwrap_or(1);
            let publish = Publish {
                dup: false,
                qos: Qos::One,
                retain: false,
                id: PacketId::new(self.next),
                topic: &self.topic,
                payload,
            };
            codec::publish(&mut self.output, &publish).map_err(io::Error::other)?;
        }
        self.flush().await
    }

    /// Waits for acknowledgements: at least one, and all that are there.
    ///
    /// # Errors
    /// What the operating system says, or that the server closed or sent something else.
    pub async fn acknowledged(&mut self) -> io::Result<usize> {
        let mut count = 0;
        while count == 0 {
            self.read(|packet| count += usize::from(matches!(packet, Packet::PubAck(_)))).await?;
        }
        Ok(count)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    /// Reads once, and looks at all packets that are whole.
    async fn read(&mut self, mut look: impl FnMut(Packet<'_>)) -> io::Result<()> {
        if self.socket.read_buf(&mut self.input).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed"));
        }
        loop {
            match codec::decode(&self.input, PACKET_MAX).map_err(io::Error::other)? {
                Decoded::Packet(packet, length) => {
                    look(packet);
                    self.input.advance(length);
                }
                Decoded::Incomplete(_) => return Ok(()),
            }
        }
    }
}
