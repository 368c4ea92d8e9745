//! CONNECT and CONNACK: from a packet to a [`Hello`], and from a refusal to a return code.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hub_core::hello::{CertificateInfo, Credentials, Hello, Refusal, SessionMode};
use hub_core::transport::Peer;

use crate::codec::{Connect, ConnectCode, DecodeError, Packet};
use crate::topics::Topics;
use crate::username::{Username, UsernameError};

/// A CONNECT that makes sense. Whether it is granted is the hub's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// For the hub.
    pub hello: Hello,
    /// Longest silence the client allows itself; `None` is no promise.
    pub keep_alive: Option<Duration>,
    /// What to publish when the client goes without a goodbye.
    pub will: Option<Box<LastWill>>,
    /// Whether it had a will for a topic that is not its telemetry topic. Such a will is ignored,
    /// as the service's own gateway does.
    pub will_ignored: bool,
}

/// What to publish when the client goes without a goodbye: a telemetry message.
#[derive(Clone, PartialEq, Eq)]
pub struct LastWill {
    /// Its property bag, still encoded.
    pub bag: String,
    /// Its body.
    pub payload: Vec<u8>,
    /// Whether it asks to be retained.
    pub retain: bool,
}

impl fmt::Debug for LastWill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastWill")
            .field("bytes", &self.payload.len())
            .field("retain", &self.retain)
            .finish_non_exhaustive()
    }
}

/// Why a first packet is no introduction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// It could not be read.
    #[error("first packet is malformed")]
    Decode(#[from] DecodeError),
    /// It is no CONNECT.
    #[error("first packet is not CONNECT")]
    NotConnect,
    /// There is no user name, or it says nothing.
    #[error("user name is missing or malformed")]
    Username(#[source] Option<UsernameError>),
    /// The password is not text.
    #[error("password is not text")]
    Password,
    /// The client id is not the identity of the user name.
    #[error("client id is not the identity of the user name")]
    ClientId,
}

impl ConnectError {
    /// What to answer before closing; `None` is to close without a word, because the peer does not
    /// speak MQTT.
    ///
    /// Code 5 is for whatever a person must put right: stock SDKs give up on it. The codes for a
    /// client id and a malformed user name are not documented; 5 is what the service's own edge
    /// gateway answers.
    #[must_use]
    pub fn code(&self) -> Option<ConnectCode> {
        match self {
            Self::Decode(DecodeError::Level(_)) => Some(ConnectCode::BadProtocolLevel),
            Self::Decode(_) | Self::NotConnect => None,
            Self::Username(_) | Self::Password | Self::ClientId => Some(ConnectCode::NotAuthorized),
        }
    }
}

/// The return code of a refusal by the hub. Whatever may pass is 3, which every SDK tries again.
/// So is a disabled device, as the service does.
#[must_use]
pub fn refusal_code(refusal: &Refusal) -> ConnectCode {
    match refusal {
        Refusal::Unauthorized(_)
        | Refusal::Unknown(_)
        | Refusal::Malformed(_)
        | Refusal::Denied => ConnectCode::NotAuthorized,
        _ => ConnectCode::ServerUnavailable,
    }
}

impl Introduction {
    /// Reads the first packet of a connection.
    ///
    /// # Errors
    /// [`ConnectError`] when it is no CONNECT or contradicts itself.
    pub fn read(packet: &Packet<'_>, peer: Peer) -> Result<Self, ConnectError> {
        let Packet::Connect(connect) = packet else {
            return Err(ConnectError::NotConnect);
        };
        let username = connect.username.ok_or(ConnectError::Username(None))?;
        let username =
            Username::parse(username).map_err(|error| ConnectError::Username(Some(error)))?;
        // Ordinal: ids are case-sensitive.
        if connect.client_id != username.address.as_str() {
            return Err(ConnectError::ClientId);
        }
        let will = last_will(connect, &Topics::new(&username.address));
        let will_ignored = connect.will.is_some() && will.is_none();
        let hello = Hello {
            credentials: credentials(connect, peer.certificate)?,
            address: username.address,
            host: Some(username.host),
            session: if connect.clean_session {
                SessionMode::Clean
            } else {
                SessionMode::Persistent
            },
            model: username.model,
            client: username.client,
            protocol: "mqtt",
            peer: peer.addr,
        };
        let keep_alive = connect.keep_alive;
        let keep_alive = (keep_alive > 0).then(|| Duration::from_secs(keep_alive.into()));
        Ok(Self { hello, keep_alive, will, will_ignored })
    }
}

/// A password is a token. Clients with a certificate send none, or an empty one. A client that
/// shows a certificate and sends a token is judged by the token, since some TLS stacks show a
/// certificate without being asked by their user.
fn credentials(
    connect: &Connect<'_>,
    certificate: Option<CertificateInfo>,
) -> Result<Credentials, ConnectError> {
    let password = connect.password.unwrap_or(b"");
    let token = std::str::from_utf8(password).map_err(|_| ConnectError::Password)?;
    Ok(match certificate {
        _ if !token.is_empty() => Credentials::Token(Arc::from(token)),
        Some(certificate) => Credentials::Certificate(certificate),
        None => Credentials::Absent,
    })
}

fn last_will(connect: &Connect<'_>, topics: &Topics) -> Option<Box<LastWill>> {
    let will = connect.will?;
    let bag = topics.will_bag(will.topic)?.to_owned();
    Some(Box::new(LastWill { bag, payload: will.payload.to_vec(), retain: will.retain }))
}

#[cfg(test)]
mod tests {
    use hub_core::id::Address;
    use hub_core::time::Timestamp;

    use super::*;
    use crate::codec::{Qos, Will};

    fn connect() -> Connect<'static> {
        Connect {
            clean_session: false,
            keep_alive: 60,
            client_id: "d1",
            will: None,
            username: Some(
                "h/d1/?api-version=2019-10-01&DeviceClientType=py&model-id=dtmi%3Ax%3B1",
            ),
            password: Some(b"SharedAccessSignature sr=x"),
        }
    }

    fn read(connect: Connect<'_>) -> Result<Introduction, ConnectError> {
        Introduction::read(&Packet::Connect(connect), Peer::default())
    }

    #[test]
    fn a_stock_connect_becomes_a_hello() {
        let peer = Peer { addr: "127.0.0.1:5".parse().ok(), certificate: None };
        let found = Introduction::read(&Packet::Connect(connect()), peer).unwrap();
        let want = Hello {
            address: Address::parse("d1").unwrap(),
            credentials: Credentials::Token("SharedAccessSignature sr=x".into()),
            host: Some("h".into()),
            session: SessionMode::Persistent,
            model: Some("dtmi:x;1".into()),
            client: Some("py".into()),
            protocol: "mqtt",
            peer: "127.0.0.1:5".parse().ok(),
        };
        assert_eq!(found.hello, want);
        assert_eq!((found.keep_alive, found.will), (Some(Duration::from_secs(60)), None));
    }

    #[test]
    fn what_is_asked_for_arrives() {
        let found = read(Connect { clean_session: true, keep_alive: 0, ..connect() }).unwrap();
        assert_eq!((found.hello.session, found.keep_alive), (SessionMode::Clean, None));
        let module = Connect { client_id: "d1/m1", username: Some("h/d1/m1/?x=y"), ..connect() };
        assert_eq!(read(module).unwrap().hello.address.as_str(), "d1/m1");
        let topic = "devices/d1/messages/events/a=b";
        let will = Will { topic, payload: b"gone", qos: Qos::One, retain: true };
        let found = read(Connect { will: Some(will), ..connect() }).unwrap();
        let want = LastWill { bag: "a=b".into(), payload: b"gone".to_vec(), retain: true };
        assert_eq!((found.will, found.will_ignored), (Some(Box::new(want)), false));
        let elsewhere = Will { topic: "a/b", ..will };
        let found = read(Connect { will: Some(elsewhere), ..connect() }).unwrap();
        assert_eq!((found.will, found.will_ignored), (None, true));
    }

    #[test]
    fn a_certificate_counts_when_there_is_no_token() {
        let certificate = CertificateInfo {
            sha1: [1; 20],
            sha256: [2; 32],
            common_name: Some("d1".into()),
            not_before: Timestamp::ZERO,
            not_after: Timestamp::MAX,
            chains_to_authority: true,
        };
        let peer = || Peer { addr: None, certificate: Some(certificate.clone()) };
        let given = |password, peer| {
            let packet = Packet::Connect(Connect { password, ..connect() });
            Introduction::read(&packet, peer).unwrap().hello.credentials
        };
        let shown = Credentials::Certificate(certificate.clone());
        assert_eq!(given(None, peer()), shown);
        assert_eq!(given(Some(b""), peer()), shown);
        assert_eq!(given(Some(b"t"), peer()), Credentials::Token("t".into()));
        assert_eq!(given(None, Peer::default()), Credentials::Absent);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let cases = [
            (Connect { client_id: "D1", ..connect() }, ConnectError::ClientId),
            (Connect { client_id: "", ..connect() }, ConnectError::ClientId),
            (Connect { client_id: "d1/m1", ..connect() }, ConnectError::ClientId),
            (Connect { username: None, ..connect() }, ConnectError::Username(None)),
            (
                Connect { username: Some("x"), ..connect() },
                ConnectError::Username(Some(UsernameError::Shape)),
            ),
            (Connect { password: Some(b"\xff"), ..connect() }, ConnectError::Password),
        ];
        for (connect, want) in cases {
            assert_eq!(want.code(), Some(ConnectCode::NotAuthorized));
            assert_eq!(read(connect), Err(want));
        }
        let ping = Introduction::read(&Packet::PingReq, Peer::default());
        assert_eq!(ping, Err(ConnectError::NotConnect));
        assert_eq!(ConnectError::NotConnect.code(), None);
        assert_eq!(ConnectError::Decode(DecodeError::Protocol).code(), None);
        let level = ConnectError::Decode(DecodeError::Level(3)).code();
        assert_eq!(level, Some(ConnectCode::BadProtocolLevel));
    }

    #[test]
    fn codes_tell_what_may_pass_from_what_does_not() {
        let address = Address::parse("d1").unwrap();
        let [fatal, passing] = [ConnectCode::NotAuthorized, ConnectCode::ServerUnavailable];
        for (refusal, code) in [
            (Refusal::Unauthorized("x"), fatal),
            (Refusal::Unknown(address.clone()), fatal),
            (Refusal::Malformed("x"), fatal),
            (Refusal::Denied, fatal),
            (Refusal::Disabled(address), passing),
            (Refusal::Unavailable("x"), passing),
            (Refusal::Throttled(Duration::from_secs(1)), passing),
        ] {
            assert_eq!(refusal_code(&refusal), code, "{refusal}");
        }
    }
}
