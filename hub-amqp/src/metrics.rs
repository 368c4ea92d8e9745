//! Counters of an AMQP transport.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What an AMQP transport has counted since it was made.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Metrics {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters themselves, shared by all connections of a transport.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Metrics {
                Metrics { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

            $(
                pub(crate) fn $name(&self) {
                    self.$name.fetch_add(1, Ordering::Relaxed);
                }
            )*
        }
    };
}

counters! {
    /// Connections taken from a listener or handed over as a byte stream.
    connections,
    /// Connections closed unheard, because there were too many.
    over_limit,
    /// TLS handshakes that failed.
    tls_failed,
    /// Connections that did not authenticate in time.
    handshake_timeouts,
    /// Connections that speak another protocol, or did not pass the security layer.
    refused,
    /// Tokens and certificates that were let in.
    tokens_accepted,
    /// Tokens that were refused.
    tokens_refused,
    /// Links accepted.
    links_accepted,
    /// Links refused.
    links_refused,
    /// Readers of the log that lost their place to another epoch.
    readers_evicted,
    /// Connections ended by the peer's close.
    ended_clean,
    /// Connections that were lost.
    ended_lost,
    /// Connections ended by silence.
    ended_silent,
    /// Connections ended because the peer broke the protocol.
    ended_protocol,
    /// Connections ended because the peer takes too little of what it is sent.
    ended_stuck,
    /// Connections ended by the hub.
    ended_by_hub,
}
