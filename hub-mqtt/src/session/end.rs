//! How a session ends.

use hub_core::error::{CloseReason, DisconnectCause, ErrorKind};

use crate::codec::DecodeError;
use crate::topics::TopicError;

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum End {
    /// The device said DISCONNECT.
    #[error("disconnected by the device")]
    Goodbye,
    /// The connection broke, or was closed without DISCONNECT.
    #[error("connection lost")]
    Lost,
    /// The device was silent for longer than its keep-alive allows.
    #[error("keep-alive timed out")]
    Silent,
    /// Bytes that are no packet.
    #[error("malformed packet")]
    Malformed(#[source] DecodeError),
    /// A packet that a device may not send, or not now: a second CONNECT, an answer to something
    /// the hub does not do.
    #[error("unexpected packet")]
    Unexpected,
    /// A publish of QoS 2.
    #[error("QoS 2 is not served")]
    QosTwo,
    /// A publish to a topic that means nothing.
    #[error("bad topic")]
    Topic(#[source] TopicError),
    /// A subscription to a filter that means nothing.
    #[error("bad topic filter")]
    Filter,
    /// More filters in one SUBSCRIBE than a session may have subscriptions.
    #[error("too many topic filters")]
    TooManyFilters,
    /// A message larger than the limit.
    #[error("message of {0} bytes is too large")]
    TooLarge(usize),
    /// More publishes to the device than the limit wait for their PUBACK.
    #[error("too many publishes are unacknowledged")]
    Unacknowledged,
    /// The device takes too little of what it is sent.
    #[error("peer does not read")]
    Stuck,
    /// The hub refused what has no negative answer in MQTT 3.1.1.
    #[error("refused by the hub: {0:?}")]
    Refused(ErrorKind),
    /// The hub closed the link.
    #[error("closed by the hub: {0}")]
    Closed(CloseReason),
}

impl End {
    /// As the hub reports it.
    #[must_use]
    pub fn cause(&self) -> DisconnectCause {
        match self {
            Self::Goodbye => DisconnectCause::Clean,
            Self::Lost => DisconnectCause::ConnectionLost,
            Self::Silent => DisconnectCause::KeepAlive,
            Self::Malformed(_)
            | Self::Unexpected
            | Self::QosTwo
            | Self::Topic(_)
            | Self::Filter
            | Self::TooManyFilters
            | Self::TooLarge(_)
            | Self::Refused(ErrorKind::ArgumentInvalid | ErrorKind::TooLarge) => {
                DisconnectCause::Protocol
            }
            Self::Unacknowledged | Self::Stuck => DisconnectCause::Closed(CloseReason::PeerStuck),
            Self::Refused(ErrorKind::Forbidden | ErrorKind::Unauthorized) => {
                DisconnectCause::Closed(CloseReason::Denied)
            }
            Self::Refused(ErrorKind::Throttled | ErrorKind::QuotaExceeded) => {
                DisconnectCause::Closed(CloseReason::Throttled)
            }
            Self::Refused(_) => DisconnectCause::Closed(CloseReason::Internal),
            Self::Closed(reason) => DisconnectCause::Closed(*reason),
        }
    }

    /// Whether the will is published.
    ///
    /// It is when the device went away or broke the protocol. It is not when the hub ended a
    /// healthy connection: after a takeover the device is there, on its new connection; one that
    /// is disabled or deleted may not send; and a hub that shuts down knows nothing of the device.
    #[must_use]
    pub fn publishes_will(&self) -> bool {
        !matches!(self, Self::Goodbye | Self::Refused(_) | Self::Closed(_))
    }
}
