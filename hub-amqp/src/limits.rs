//! The adapter's own bounds. What AMQP shares with other protocols is in [`hub_core::Limits`].

use std::time::Duration;

/// How much of AMQP one connection may hold.
///
/// A peer that reaches a bound is refused the session or link, or loses it, with the condition
/// `amqp:resource-limit-exceeded` or the standard's own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AmqpLimits {
    /// Largest frame, both ways. 64 KiB.
    pub frame_bytes_max: u32,
    /// Highest channel: one less than the most sessions of a connection. 1,023.
    pub channel_max: u16,
    /// Most links of a connection, over all sessions. 8,192: a gateway's thousand devices with
    /// eight links each.
    pub links_max: usize,
    /// Most tokens of a connection. 1,024.
    pub tokens_max: usize,
    /// Most transfers of a session that the peer may send before the hub widens the window. 2,048.
    pub incoming_window: u32,
    /// Most bytes of unfinished messages, over all links. 4 MiB.
    pub partial_bytes_max: usize,
    /// Most messages that the peer may send on a link before the hub answers them. 256.
    pub link_credit: u32,
    /// Most requests of one connection that are being worked on. 1,024.
    pub requests_max: usize,
    /// Most batches of feedback and file notifications that a link holds locked. 64.
    pub locked_max: usize,
    /// What the peer is told to bear of silence; after twice as long without a word of it, it is
    /// taken for gone. 240 s, as the service says.
    pub idle_timeout: Duration,
    /// Most readers of one partition in one consumer group, if none of them has an epoch; those of
    /// other nodes are not counted. 5.
    pub readers_max: usize,
}

impl Default for AmqpLimits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 64 * 1024,
            channel_max: 1023,
            links_max: 8192,
            tokens_max: 1024,
            incoming_window: 2048,
            partial_bytes_max: 4 * 1024 * 1024,
            link_credit: 256,
            requests_max: 1024,
            locked_max: 64,
            idle_timeout: Duration::from_secs(240),
            readers_max: 5,
        }
    }
}
