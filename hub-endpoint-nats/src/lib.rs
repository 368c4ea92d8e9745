//! NATS JetStream: events that go to a stream of a NATS server.
//!
//! An event is one message, in the form of [`write_event`], on the
//! subject of its device: a prefix, a dot, and the device's id, in which `.`, `*`, `>`, `$` and `%` are
//! written as `%2E`, `%2A`, `%3E`, `%24` and `%25`. A stream with the subjects `prefix.>` must be
//! there; the endpoint makes none, because how long it keeps what, and on how many servers, is its
//! owner's to say.
//!
//! A message is sent when the one before it is acknowledged, so that the stream has the order of the
//! hub whatever fails. Each has a `Nats-Msg-Id` made of the endpoint and the event's place, by which
//! the stream drops what comes twice within its window for duplicates.
//!
//! A batch is left when of the time that the hub gives for it (`Limits::endpoint_timeout`) there is
//! less than an acknowledgement may take, or a quarter; the rest comes with the next.
//!
//! ```no_run
//! use hub_endpoint_nats::{NatsEndpoint, NatsEndpointConfig};
//!
//! let endpoint = NatsEndpoint::new(NatsEndpointConfig::new("nats://127.0.0.1:4222", "iot.events"))?;
//! # Ok::<(), hub_endpoint_nats::ConfigError>(())
//! ```

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, HeaderMap, ServerAddr};
use async_trait::async_trait;
use hub_core::endpoint::{Endpoint, Failure, FailureKind, Outgoing, write_event};
use hub_core::envelope::Event;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Why an endpoint cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not the address of a NATS server.
    #[error("the address is none of a NATS server")]
    Address,
    /// Not a subject: parts of ASCII letters, digits, `-` and `_`, with dots between.
    #[error("{0:?} is no subject")]
    Subject(String),
    /// The time for an acknowledgement is zero.
    #[error("the time for an acknowledgement must not be zero")]
    Timeout,
}

/// Which server, and which subject.
#[derive(Clone)]
pub struct NatsEndpointConfig {
    address: String,
    subject: String,
    token: Option<String>,
    user: Option<(String, String)>,
    authorities: Option<PathBuf>,
    tls: bool,
    timeout: Duration,
}

/// The address may hold credentials, so it is not shown.
impl fmt::Debug for NatsEndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsEndpointConfig")
            .field("subject", &self.subject)
            .field("tls", &self.tls)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl NatsEndpointConfig {
    /// A server by its address (`nats://host:4222`, or `tls://…`), and the beginning of subjects. Each
    /// message is to be acknowledged within 5 seconds.
    #[must_use]
    pub fn new(address: &str, subject: &str) -> Self {
        Self {
            address: address.to_owned(),
            subject: subject.to_owned(),
            token: None,
            user: None,
            authorities: None,
            tls: false,
            timeout: Duration::from_secs(5),
        }
    }

    /// With a token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// With a user and a password.
    #[must_use]
    pub fn user(self, user: &str, password: &str) -> Self {
        Self { user: Some((user.to_owned(), password.to_owned())), ..self }
    }

    /// Over TLS and in no other way. `authorities` is a PEM file of those whose certificates are
    /// accepted besides the installed ones.
    #[must_use]
    pub fn tls(self, authorities: Option<PathBuf>) -> Self {
        Self { tls: true, authorities, ..self }
    }

    /// Longest time to connect, and to wait for each acknowledgement.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

/// A stream of a NATS server.
pub struct NatsEndpoint {
    config: NatsEndpointConfig,
    address: ServerAddr,
    /// Kept from batch to batch. One that failed is let go, and with it what it had not sent yet:
    /// that must not come after what is sent later.
    connection: Mutex<Option<Context>>,
}

impl fmt::Debug for NatsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsEndpoint").field("config", &self.config).finish_non_exhaustive()
    }
}

impl NatsEndpoint {
    /// An endpoint. Connects only when there is something to send.
    ///
    /// # Errors
    /// [`ConfigError`] for settings that cannot work.
    pub fn new(config: NatsEndpointConfig) -> Result<Self, ConfigError> {
        let address = config.address.parse().map_err(|_| ConfigError::Address)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let part = |part: &str| !part.is_empty() && part.chars().all(legal);
        if !config.subject.split('.').all(part) {
            return Err(ConfigError::Subject(config.subject));
        }
        if config.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        Ok(Self { config, address, connection: Mutex::default() })
    }

    async fn connect(&self, name: &str) -> Result<Context, Failure> {
        let config = &self.config;
        let mut options = ConnectOptions::new()
            .name(name)
            .connection_timeout(config.timeout)
            .max_reconnects(1)
            .require_tls(config.tls);
        if let Some(token) = &config.token {
            options = options.token(token.clone());
        }
        if let Some((user, password)) = &config.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(authorities) = &config.authorities {
            options = options.add_root_certificates(authorities.clone());
        }
        let client = options.connect(self.address.clone()).await.map_err(|e| no_connection(&e))?;
        let mut context = async_nats::jetstream::new(client);
        context.set_timeout(config.timeout);
        Ok(context)
    }

    async fn send(&self, to: &Context, batch: &Outgoing, event: &Event) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        let id = format!("{}/{}/{}/{}", batch.hub, batch.endpoint, batch.partition, event.sequence);
        headers.insert("Nats-Msg-Id", id.as_str());
        let mut body = Vec::with_capacity(event.body.len() + 512);
        write_event(&mut body, event);
        let subject = format!("{}.{}", self.config.subject, escaped(event.sender.device_str()));
        let sent = to.publish_with_headers(subject, headers, body.into()).await;
        sent.map_err(|error| not_kept(&error))?.await.map_err(|error| not_kept(&error))?;
        Ok(())
    }
}

#[async_trait]
impl Endpoint for NatsEndpoint {
    fn kind(&self) -> &'static str {
        "nats"
    }

    async fn deliver(&self, batch: &Outgoing) -> Result<(), Failure> {
        // Taken out while it is used: if the future is dropped, so is the connection.
        let kept = self.connection.lock().await.take();
        let began = Instant::now();
        let left = || batch.within.saturating_sub(began.elapsed());
        // One that is cut off costs the connection, so none is begun without time for it.
        let needed = self.config.timeout.min(batch.within / 4);
        let connection = match kept {
            Some(connection) => connection,
            None => within(left(), self.connect(&batch.hub)).await?,
        };
        for (taken, event) in batch.events.iter().enumerate() {
            if taken > 0 && left() < needed {
                *self.connection.lock().await = Some(connection);
                return Err(late().after(taken));
            }
            if let Err(failure) = within(left(), self.send(&connection, batch, event)).await {
                if failure.kind.is_of_one_event() {
                    *self.connection.lock().await = Some(connection);
                }
                return Err(failure.after(taken));
            }
        }
        *self.connection.lock().await = Some(connection);
        Ok(())
    }
}

/// Leaves what takes longer than this.
async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(late()))
}

fn late() -> Failure {
    Failure::new(FailureKind::Timeout, "the server takes longer than there is for a batch")
}

/// A device's id as one part of a subject.
fn escaped(device: &str) -> String {
    let mut part = String::with_capacity(device.len());
    for c in device.chars() {
        match c {
            '.' => part.push_str("%2E"),
            '*' => part.push_str("%2A"),
            '>' => part.push_str("%3E"),
            '$' => part.push_str("%24"),
            '%' => part.push_str("%25"),
            c => part.push(c),
        }
    }
    part
}

fn no_connection(error: &ConnectError) -> Failure {
    let kind = match error.kind() {
        ConnectErrorKind::Authentication
        | ConnectErrorKind::AuthorizationViolation
        | ConnectErrorKind::Tls => FailureKind::Unauthorized,
        ConnectErrorKind::TimedOut => FailureKind::Timeout,
        _ => FailureKind::Transient,
    };
    Failure::new(kind, format!("cannot connect: {error}"))
}

fn not_kept(error: &PublishError) -> Failure {
    let kind = match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => FailureKind::TooLarge,
        PublishErrorKind::TimedOut => FailureKind::Timeout,
        PublishErrorKind::MaxAckPending => FailureKind::Throttled,
        _ => FailureKind::Transient,
    };
    Failure::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(config: NatsEndpointConfig) -> ConfigError {
        NatsEndpoint::new(config).unwrap_err()
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let config = |subject| NatsEndpointConfig::new("nats://127.0.0.1:4222", subject);
        assert_eq!(refused(NatsEndpointConfig::new("http://x", "a")), ConfigError::Address);
        for subject in ["", ".", "a.", "a..b", "a b", "a.*", ">", "é", "$JS"] {
            assert_eq!(refused(config(subject)), ConfigError::Subject(subject.into()), "{subject}");
        }
        assert_eq!(refused(config("a").timeout(Duration::ZERO)), ConfigError::Timeout);
        assert!(NatsEndpoint::new(config("iot.events_1")).is_ok());
    }

    #[test]
    fn credentials_are_never_printed() {
        let config = NatsEndpointConfig::new("nats://user:secret1@127.0.0.1:4222", "a")
            .token("secret2")
            .user("user", "secret3");
        let shown = format!("{:?}", NatsEndpoint::new(config).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    proptest! {
        #[test]
        fn each_device_has_one_subject_of_its_own(
            one in "[a-zA-Z0-9:.+%_#*?!(),=@;$'-]{1,20}",
            other in "[a-zA-Z0-9:.+%_#*?!(),=@;$'-]{1,20}",
        ) {
            prop_assert_eq!(one == other, escaped(&one) == escaped(&other));
            prop_assert!(!escaped(&one).contains(['.', '*', '>', '$', ' ']));
        }
    }
}
