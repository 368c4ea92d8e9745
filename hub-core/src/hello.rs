//! How a peer introduces itself, and what it is granted.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::envelope::AuthMethod;
use crate::id::{Address, Epoch, LinkId};
use crate::time::Timestamp;

/// What a transport learned from a client certificate. Chain and validity of the handshake are the
/// transport's work; what they mean for an identity is decided in [`crate::security`].
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// SHA-1 of the leaf's DER form.
    pub sha1: [u8; 20],
    /// SHA-256 of the leaf's DER form.
    pub sha256: [u8; 32],
    /// The leaf's subject common name.
    pub common_name: Option<String>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Whether the chain leads to one of the certificate authorities the transport was given.
    pub chains_to_authority: bool,
}

impl fmt::Debug for CertificateInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateInfo")
            .field("common_name", &self.common_name)
            .field("not_after", &self.not_after)
            .field("chains_to_authority", &self.chains_to_authority)
            .finish_non_exhaustive()
    }
}

/// What a peer offers to prove who it is.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// The text of a shared access signature.
    Token(Arc<str>),
    /// A client certificate of the transport's handshake.
    Certificate(CertificateInfo),
    /// The application that embeds the hub connects in process; it is trusted.
    InProcess,
    /// Nothing.
    Absent,
}

/// Never prints a secret (T7).
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(\"...\")",
            Self::Certificate(_) => "Certificate(...)",
            Self::InProcess => "InProcess",
            Self::Absent => "Absent",
        })
    }
}

/// What happens to the session when the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionMode {
    /// Subscriptions are kept for the next connection (MQTT: CleanSession 0).
    Persistent,
    /// A stored session is dropped at connect, and nothing is kept (MQTT: CleanSession 1).
    Clean,
}

/// A peer's introduction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Who it says it is.
    pub address: Address,
    /// How it proves that.
    pub credentials: Credentials,
    /// The host name it addressed, if the protocol carries one: must be one of the hub's names.
    pub host: Option<String>,
    /// What becomes of its session.
    pub session: SessionMode,
    /// The model it announced.
    pub model: Option<String>,
    /// What client it says it is.
    pub client: Option<String>,
    /// The transport's name, for events and metrics.
    pub protocol: &'static str,
    /// Where it connects from.
    pub peer: Option<SocketAddr>,
}

/// What an authenticated device may do, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// How it was authenticated.
    pub auth: AuthMethod,
    /// When the credential expires; [`Timestamp::MAX`] is never.
    pub expires: Timestamp,
    /// The generation id of the identity it was checked against.
    pub generation: u64,
    /// Names the credential, so that a change of the identity's credentials can be noticed: which
    /// key or thumbprint matched, hashed. Empty for policies.
    pub credential: CredentialMark,
}

/// Which of an identity's credentials was used: a fingerprint of it, never the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CredentialMark(pub u64);

/// Why a connection was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Missing, wrong, foreign or expired credentials. The text says which, for logs and for
    /// protocols that can tell.
    #[error("not authorized: {0}")]
    Unauthorized(&'static str),
    /// No such identity.
    #[error("no identity {0}")]
    Unknown(Address),
    /// The identity is disabled.
    #[error("identity {0} is disabled")]
    Disabled(Address),
    /// The introduction itself is wrong.
    #[error("bad introduction: {0}")]
    Malformed(&'static str),
    /// A hook of the application said no.
    #[error("denied by the application")]
    Denied,
    /// More connections come than may, of this identity or of all; there is room after this time.
    #[error("throttled: try again in {} ms", .0.as_millis())]
    Throttled(Duration),
    /// Not now: too many connections, the store is away, or the hub shuts down.
    #[error("try again later: {0}")]
    Unavailable(&'static str),
}

/// What a link is given at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The link's name.
    pub link: LinkId,
    /// The epoch of this connection.
    pub epoch: Epoch,
    /// Whether a stored session was found.
    pub session_present: bool,
    /// What the stored session is subscribed to.
    pub subscriptions: crate::frame::Subscriptions,
    /// What it was granted.
    pub grant: Grant,
}
