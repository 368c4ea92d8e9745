//! MQTT 3.1.1 control packets, to and from bytes.
//!
//! Decoding borrows from the bytes it reads and allocates nothing. Both directions are complete, so
//! that a test can be a client. What the hub thinks of a packet is decided in [`crate::session`];
//! here only the encoding rules of the standard are checked.
//!
//! Source: MQTT Version 3.1.1, OASIS Standard.

mod decode;
mod encode;

use std::num::NonZeroU16;

pub use self::decode::{DecodeError, Decoded, Filters, FiltersIter, decode};
pub use self::encode::{
    EncodeError, connack, connect, puback, publish, simple, suback, subscribe, unsuback,
    unsubscribe,
};

/// Names a packet until it is acknowledged. Never zero.
pub type PacketId = NonZeroU16;

/// Largest packet body that the encoding of its length can express.
pub const REMAINING_MAX: usize = 268_435_455;

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    /// At most once.
    Zero = 0,
    /// At least once.
    One = 1,
    /// Exactly once. The hub does not do this.
    Two = 2,
}

impl Qos {
    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Zero),
            1 => Some(Self::One),
            2 => Some(Self::Two),
            _ => None,
        }
    }
}

/// The return code of a CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectCode {
    /// Welcome.
    Accepted = 0,
    /// The protocol level is not served.
    BadProtocolLevel = 1,
    /// The client id is not allowed.
    IdentifierRejected = 2,
    /// Not now; every SDK tries again.
    ServerUnavailable = 3,
    /// The user name or password is malformed.
    BadCredentials = 4,
    /// The credentials are wrong. The Python SDK gives up for good.
    NotAuthorized = 5,
}

impl ConnectCode {
    fn from_bits(bits: u8) -> Option<Self> {
        [
            Self::Accepted,
            Self::BadProtocolLevel,
            Self::IdentifierRejected,
            Self::ServerUnavailable,
            Self::BadCredentials,
            Self::NotAuthorized,
        ]
        .into_iter()
        .find(|code| *code as u8 == bits)
    }
}

/// A control packet. Texts and payloads are borrowed from the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A client introduces itself.
    Connect(Connect<'a>),
    /// The answer to it: whether a session was present, and the code.
    ConnAck(bool, ConnectCode),
    /// A message.
    Publish(Publish<'a>),
    /// A message of QoS 1 has arrived.
    PubAck(PacketId),
    /// First step of QoS 2.
    PubRec(PacketId),
    /// Second step of QoS 2.
    PubRel(PacketId),
    /// Third step of QoS 2.
    PubComp(PacketId),
    /// Asks for messages of some topics.
    Subscribe(PacketId, Filters<'a>),
    /// The answer to it: one code per filter.
    SubAck(PacketId, &'a [u8]),
    /// Ends subscriptions.
    Unsubscribe(PacketId, Filters<'a>),
    /// The answer to it.
    UnsubAck(PacketId),
    /// Is anybody there?
    PingReq,
    /// Yes.
    PingResp,
    /// Goodbye.
    Disconnect,
}

/// How a client introduces itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Whether an old session is dropped and none is kept.
    pub clean_session: bool,
    /// Longest silence the client allows itself, in seconds; 0 is no promise.
    pub keep_alive: u16,
    /// The client id.
    pub client_id: &'a str,
    /// What to publish when the client goes without a goodbye.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub username: Option<&'a str>,
    /// The password.
    pub password: Option<&'a [u8]>,
}

/// Never prints the password.
impl std::fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("clean_session", &self.clean_session)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will.is_some())
            .field("username", &self.username)
            .field("password", &self.password.map(|_| "..."))
            .finish()
    }
}

/// What is published when a client goes without a goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where to.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// How surely.
    pub qos: Qos,
    /// Whether it asks to be retained.
    pub retain: bool,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether it was sent before.
    pub dup: bool,
    /// How surely it is delivered.
    pub qos: Qos,
    /// Whether it asks to be retained.
    pub retain: bool,
    /// Its name until it is acknowledged; present exactly when the QoS is not 0.
    pub id: Option<PacketId>,
    /// Where to. May hold `#` and `+`, which the standard forbids in topics but which are legal
    /// in the hub's device ids.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
}

#[cfg(test)]
mod tests;
