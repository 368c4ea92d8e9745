//! Webhooks: events that go to an HTTP server.
//!
//! A batch of events is one POST, whose body is a JSON array of events in the form of
//! [`write_event`]. A status of 2xx says that all of them are kept.
//!
//! | answer | what it means |
//! |---|---|
//! | 2xx | kept, all of them |
//! | 413, 422 | one of them is not acceptable: they are sent again one by one, and what is refused alone is dropped and counted |
//! | 401, 403, 407 | the hub's credentials are not accepted; tried again |
//! | 408 | too late; tried again |
//! | 429 | too much; tried again, after `Retry-After` if it says so |
//! | 5xx | not now; tried again, after `Retry-After` if it says so |
//! | 3xx | not followed: whoever can redirect a webhook gets what was meant for another; tried again |
//! | all others, and what is no HTTP | wrong; tried again |
//!
//! Everything is bounded: the time to connect, the time of an exchange, the time of a batch (what the
//! hub gives, `Limits::endpoint_timeout`; three quarters of it for the batch as a whole), and what is
//! read of an answer. Connections are kept and used again. Each request has a header `idempotency-key`, made
//! of the endpoint, the partition and the sequence numbers of the first and last event, which is
//! the same when the same batch is sent again.
//!
//! ```no_run
//! use hub_endpoint_http::{HttpEndpoint, HttpEndpointConfig};
//!
//! let config = HttpEndpointConfig::new("https://example.net/events")
//!     .header("authorization", "Bearer …");
//! let endpoint = HttpEndpoint::new(config)?;
//! # Ok::<(), hub_endpoint_http::ConfigError>(())
//! ```

mod answer;
mod config;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hub_core::endpoint::{Endpoint, Failure, FailureKind, Outgoing, write_event};
use hub_core::envelope::Event;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::Instant;

pub use self::config::{ConfigError, HttpEndpointConfig};

/// Longest idle time of a connection that is kept.
const IDLE: Duration = Duration::from_secs(60);
/// Most bytes of the head of an answer.
const HEAD_MAX: usize = 64 * 1024;

/// An HTTP server that events go to.
pub struct HttpEndpoint {
    config: HttpEndpointConfig,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl fmt::Debug for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEndpoint").field("config", &self.config).finish_non_exhaustive()
    }
}

impl HttpEndpoint {
    /// An endpoint. Connects only when there is something to send.
    ///
    /// # Errors
    /// [`ConfigError`] for settings that cannot work.
    pub fn new(config: HttpEndpointConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| ConfigError::Tls)?
            .with_root_certificates(config.roots()?)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(config.connect_timeout));
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .http1_max_buf_size(HEAD_MAX)
            .build(connector);
        Ok(Self { config, client })
    }

    /// Sends some events in one request, which ends within the time of an exchange and this one.
    async fn send(
        &self,
        batch: &Outgoing,
        events: &[Event],
        within: Duration,
    ) -> Result<(), Failure> {
        let request = self.request(batch, events)?;
        let exchange = self.exchange(request);
        match tokio::time::timeout(within.min(self.config.timeout), exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(FailureKind::Timeout, "the server did not answer in time")),
        }
    }

    fn request(&self, batch: &Outgoing, events: &[Event]) -> Result<Request<Full<Bytes>>, Failure> {
        let mut body = vec![b'['];
        for (index, event) in events.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            write_event(&mut body, event);
        }
        body.push(b']');
        let number = |event: Option<&Event>| event.map_or(0, |event| event.sequence.0);
        let key = format!(
            "{}/{}/{}/{}-{}",
            batch.hub,
            batch.endpoint,
            batch.partition,
            number(events.first()),
            number(events.last())
        );
        let broken = |_| Failure::new(FailureKind::Internal, "the request cannot be made");
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.config.uri.clone())
            .body(Full::new(Bytes::from(body)))
            .map_err(broken)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        // Names of hubs and endpoints have no characters that a header could not have.
        if let Ok(key) = HeaderValue::from_str(&key) {
            headers.insert("idempotency-key", key);
        }
        for (name, value) in &self.config.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(request)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(), Failure> {
        let response =
            self.client.request(request).await.map_err(|error| answer::no_answer(&error))?;
        let (head, body) = response.into_parts();
        // What it says is not looked at; read to its end, the connection can be used again. One
        // that says too much is cut off, and has said all that counts in its head.
        let _ = Limited::new(body, self.config.answer_bytes_max).collect().await;
        answer::judge(head.status, &head.headers)
    }

    /// The batch was refused for one of its events. Which one shows when each goes alone.
    async fn send_each(&self, batch: &Outgoing, began: Instant) -> Result<(), Failure> {
        for (taken, event) in batch.events.iter().enumerate() {
            let left = batch.within.saturating_sub(began.elapsed());
            if left.is_zero() {
                let slow = "the server takes longer than there is for a batch, event by event";
                return Err(Failure::new(FailureKind::Timeout, slow).after(taken));
            }
            let alone = self.send(batch, std::slice::from_ref(event), left).await;
            alone.map_err(|failure| failure.after(taken))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Endpoint for HttpEndpoint {
    fn kind(&self) -> &'static str {
        "http"
    }

    async fn deliver(&self, batch: &Outgoing) -> Result<(), Failure> {
        let began = Instant::now();
        let several = batch.events.len() > 1;
        // The rest of the time is for the events one by one: some go, however late the refusal came.
        let whole = if several { batch.within / 4 * 3 } else { batch.within };
        match self.send(batch, &batch.events, whole).await {
            Err(failure) if failure.kind.is_of_one_event() && several => {
                self.send_each(batch, began).await
            }
            answer => answer,
        }
    }
}

/// Whether an answer is about what was sent, and not about the server.
fn is_about_the_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY)
}
