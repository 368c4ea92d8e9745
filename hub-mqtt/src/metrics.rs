//! Counters of an MQTT transport.

use std::sync::atomic::{AtomicU64, Ordering};

use hub_core::error::DisconnectCause;

use crate::codec::ConnectCode;
use crate::session::End;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What an MQTT transport has counted since it was made.
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
    /// Connections whose first packet was no CONNECT, or that closed before one.
    not_connected,
    /// Sessions begun.
    accepted,
    /// CONNACK 1: wrong protocol level.
    refused_level,
    /// CONNACK 3: something that may pass, or a disabled device.
    refused_unavailable,
    /// CONNACK 5: not authorized.
    refused_unauthorized,
    /// Wills for a topic that is not served.
    wills_ignored,
    /// Sessions ended by DISCONNECT.
    ended_clean,
    /// Sessions ended by a lost connection.
    ended_lost,
    /// Sessions ended by silence beyond the keep-alive.
    ended_keep_alive,
    /// Sessions ended because the device broke the protocol.
    ended_protocol,
    /// Sessions ended because the device takes too little of what it is sent.
    ended_stuck,
    /// Sessions ended by the hub.
    ended_by_hub,
    /// Cloud-to-device messages rejected because no topic can carry their properties.
    undeliverable,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn connection(&self) {
        add(&self.connections, 1);
    }

    pub(crate) fn over_limit(&self) {
        add(&self.over_limit, 1);
    }

    pub(crate) fn tls_failed(&self) {
        add(&self.tls_failed, 1);
    }

    pub(crate) fn handshake_timeout(&self) {
        add(&self.handshake_timeouts, 1);
    }

    pub(crate) fn accepted(&self) {
        add(&self.accepted, 1);
    }

    pub(crate) fn will_ignored(&self) {
        add(&self.wills_ignored, 1);
    }

    pub(crate) fn undeliverable(&self, messages: u64) {
        if messages > 0 {
            add(&self.undeliverable, messages);
        }
    }

    /// A connection that had no session; `None` if it was not answered.
    pub(crate) fn refused(&self, code: Option<ConnectCode>) {
        let counter = match code {
            None => &self.not_connected,
            Some(ConnectCode::BadProtocolLevel) => &self.refused_level,
            Some(ConnectCode::ServerUnavailable) => &self.refused_unavailable,
            Some(_) => &self.refused_unauthorized,
        };
        add(counter, 1);
    }

    pub(crate) fn ended(&self, end: End) {
        let counter = match (end, end.cause()) {
            (End::Stuck | End::Unacknowledged, _) => &self.ended_stuck,
            (_, DisconnectCause::Clean) => &self.ended_clean,
            (_, DisconnectCause::ConnectionLost) => &self.ended_lost,
            (_, DisconnectCause::KeepAlive) => &self.ended_keep_alive,
            (_, DisconnectCause::Protocol) => &self.ended_protocol,
            _ => &self.ended_by_hub,
        };
        add(counter, 1);
    }
}
