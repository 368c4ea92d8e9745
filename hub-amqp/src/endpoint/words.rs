//! What the machine says to whoever drives it.

#[cfg(doc)]
use super::Endpoint;
use super::LinkKey;

/// What one look at the bytes gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes were taken.
    Bytes(usize),
    /// So many bytes are needed before any can be taken.
    Needs(usize),
    /// Nothing can be taken now: the hub is to decide first, or the connection is over.
    Nothing,
}

/// What a peer has said of itself in the security layer.
#[derive(Clone, PartialEq, Eq)]
pub enum SaslChoice {
    /// Nothing: a token or certificate will tell.
    Open,
    /// A name and a token.
    Plain {
        /// Who it says it is.
        name: String,
        /// Its token.
        token: String,
    },
}

/// Never prints a secret (T7).
impl std::fmt::Debug for SaslChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Plain { .. } => "Plain(\"...\")",
        })
    }
}

/// What a peer says became of a message that it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposed {
    /// Taken.
    Accepted,
    /// Never to be taken.
    Rejected,
    /// Given back.
    Released,
}

/// Something for whoever drives the machine.
#[derive(Debug, PartialEq, Eq)]
pub enum Happening {
    /// The peer has chosen a mechanism; [`Endpoint::sasl_decided`] is waited for.
    Sasl(SaslChoice),
    /// The peer asks for a link; [`Endpoint::accept`] or [`Endpoint::refuse`] is waited for.
    Asked(LinkKey),
    /// A message is complete.
    Message {
        /// On which link.
        link: LinkKey,
        /// Its number in its session, to settle it by.
        delivery: u32,
        /// Whether its sender has forgotten it already.
        settled: bool,
        /// Its sections.
        payload: Vec<u8>,
    },
    /// The link may send, or is asked to use up its credit.
    Sendable(LinkKey),
    /// The peer says what became of a message.
    Disposed {
        /// On which link.
        link: LinkKey,
        /// Its number in its session.
        delivery: u32,
        /// What became of it.
        outcome: Disposed,
        /// Whether the peer waits for [`Endpoint::settle_sent`].
        wants_answer: bool,
    },
    /// The link is gone.
    Gone(LinkKey),
    /// The connection is over. Nothing follows.
    Over(Over),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The peer has closed it.
    Goodbye,
    /// The hub has closed it, and the peer has answered.
    Answered,
    /// The peer broke the protocol, and was told so.
    Violation,
    /// The peer speaks another protocol, or did not pass the security layer.
    Refused,
}

/// Where the machine puts what it wants done.
#[derive(Debug, Default)]
pub struct Turn {
    /// Bytes for the peer.
    pub wire: Vec<u8>,
    /// What has happened, in order.
    pub happened: Vec<Happening>,
}
