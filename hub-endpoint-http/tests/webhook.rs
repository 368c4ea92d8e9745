//! Webhooks against servers that do as they should, and servers that do not.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hub_core::endpoint::{Endpoint as _, Failure, FailureKind, Outgoing};
use hub_core::envelope::{Event, EventSource, Properties};
use hub_core::id::{Address, Partition, SequenceNumber};
use hub_core::time::Timestamp;
use hub_endpoint_http::{HttpEndpoint, HttpEndpointConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a server does with a request.
#[derive(Clone)]
enum Script {
    /// Answers so, and goes on reading.
    Says(String),
    /// Answers so, and closes.
    SaysAndCloses(String),
    Hangs,
    /// Never stops.
    Babbles(String),
    /// Refuses requests that contain this with the first answer, and takes others.
    Picky(&'static str, String),
    /// The same, and answers nothing more after so many requests.
    Tires(&'static str, String, usize),
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<(String, String)>>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    async fn start(script: Script, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let this = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *this.connections.lock().unwrap() += 1;
                let (this, script, tls) = (this.clone(), script.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => this.serve(stream, script).await,
                        Some(tls) => {
                            // A client that refuses the certificate is gone here.
                            if let Ok(stream) = tls.accept(stream).await {
                                this.serve(stream, script).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Script) {
        while let Some((head, body)) = request(&mut stream).await {
            self.requests.lock().unwrap().push((head, body.clone()));
            let seen = self.requests().len();
            let answer = match &script {
                Script::Says(answer) | Script::SaysAndCloses(answer) | Script::Babbles(answer) => {
                    answer.clone()
                }
                Script::Tires(_, _, most) if seen > *most => return std::future::pending().await,
                Script::Picky(word, answer) | Script::Tires(word, answer, _)
                    if body.contains(word) =>
                {
                    answer.clone()
                }
                Script::Picky(..) | Script::Tires(..) => OK.to_owned(),
                Script::Hangs => return std::future::pending().await,
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            if matches!(script, Script::Babbles(_)) {
                while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
                return;
            }
            if matches!(script, Script::SaysAndCloses(_)) {
                return;
            }
        }
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for so many requests, by a real clock where that of the runtime stands still.
    async fn asked(&self, requests: usize) {
        let began = Instant::now();
        while self.requests().len() < requests {
            assert!(began.elapsed() < Duration::from_secs(60), "request {requests} does not come");
            tokio::task::yield_now().await;
        }
    }

    fn endpoint(&self) -> HttpEndpoint {
        self.endpoint_with(|config| config)
    }

    fn endpoint_with(
        &self,
        set_up: impl FnOnce(HttpEndpointConfig) -> HttpEndpointConfig,
    ) -> HttpEndpoint {
        let url = format!("http://{}/hook?a=b", self.address);
        HttpEndpoint::new(set_up(HttpEndpointConfig::new(&url))).unwrap()
    }
}

const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 2\r\nretry-after: 9\r\n\r\nno")
}

/// Reads one request: its head and its body.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, String)> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1)?;
            let length: usize = length.split("\r\n").next()?.parse().ok()?;
            if body.len() >= length {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

fn batch(bodies: &[&str]) -> Outgoing {
    let event = |(index, body): (usize, &&str)| Event {
        partition: Partition(2),
        sequence: SequenceNumber(10 + index as u64),
        enqueued: Timestamp::from_millis(1_700_000_000_000),
        source: EventSource::Telemetry,
        sender: Address::parse("d1").unwrap(),
        generation: "1".into(),
        auth: None,
        model: None,
        properties: Properties::default(),
        body: Bytes::from(body.to_string()),
    };
    let events = bodies.iter().enumerate().map(event).collect();
    Outgoing::new("my-hub", "hook", Partition(2), events)
}

async fn failure(script: Script) -> Failure {
    let server = Server::start(script, None).await;
    let endpoint = server.endpoint_with(|config| config.timeout(Duration::from_millis(500)));
    endpoint.deliver(&batch(&["a"])).await.unwrap_err()
}

#[tokio::test]
async fn a_batch_is_one_post_and_a_2xx_takes_it() {
    let server = Server::start(Script::Says(OK.to_owned()), None).await;
    let endpoint = server.endpoint_with(|config| config.header("authorization", "Bearer t"));
    endpoint.deliver(&batch(&["a", "b"])).await.unwrap();
    endpoint.deliver(&batch(&["c"])).await.unwrap();
    let requests = server.requests();
    assert_eq!((requests.len(), *server.connections.lock().unwrap()), (2, 1));
    let (head, body) = &requests[0];
    assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
    for header in [
        "content-type: application/json",
        "authorization: Bearer t",
        "idempotency-key: my-hub/hook/2/10-11",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    let events: Value = serde_json::from_str(body).unwrap();
    assert_eq!(events.as_array().unwrap().len(), 2);
    assert_eq!((&events[1]["Body"], &events[1]["SequenceNumber"]), (&"Yg==".into(), &11.into()));
    assert_eq!(events[0]["SystemProperties"]["connectionDeviceId"], "d1");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::start(Script::Says(OK.to_owned()), None).await;
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        other.address
    );
    let failure = failure(Script::Says(answer)).await;
    assert_eq!((failure.kind, failure.taken), (FailureKind::InvalidAnswer, 0));
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn a_server_that_hangs_is_left_in_time() {
    assert_eq!(failure(Script::Hangs).await.kind, FailureKind::Timeout);
}

#[tokio::test]
async fn garbage_is_no_answer() {
    for garbage in ["hello there\r\n\r\n", "HTTP/1.1 banana\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let failure = failure(Script::SaysAndCloses(garbage.to_owned())).await;
        assert_eq!(failure.kind, FailureKind::InvalidAnswer, "{garbage:?}: {failure}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(200 * 1024));
    let failure = failure(Script::Babbles(endless)).await;
    assert_eq!(failure.kind, FailureKind::InvalidAnswer, "{failure}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_and_its_status_counts() {
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_owned();
    let server = Server::start(Script::Babbles(endless), None).await;
    server.endpoint().deliver(&batch(&["a"])).await.unwrap();
    let endless = "HTTP/1.1 500 No\r\ncontent-length: 99999999999\r\n\r\n".to_owned();
    assert_eq!(failure(Script::Babbles(endless)).await.kind, FailureKind::Transient);
}

#[tokio::test]
async fn a_connection_that_breaks_or_is_refused_is_tried_again() {
    assert_eq!(failure(Script::SaysAndCloses(String::new())).await.kind, FailureKind::Transient);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let endpoint = HttpEndpoint::new(HttpEndpointConfig::new(&url)).unwrap();
    let failure = endpoint.deliver(&batch(&["a"])).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
}

#[tokio::test]
async fn a_server_that_has_too_much_to_do_says_how_long() {
    let failure = failure(Script::Says(status("429 Too Many Requests"))).await;
    let nine = Some(Duration::from_secs(9));
    assert_eq!((failure.kind, failure.retry_after), (FailureKind::Throttled, nine));
}

#[tokio::test]
async fn one_bad_event_is_found_among_many() {
    // "bad" in base64.
    let server = Server::start(Script::Picky("YmFk", status("422 No")), None).await;
    let endpoint = server.endpoint();
    let failure = endpoint.deliver(&batch(&["a", "b", "bad", "c"])).await.unwrap_err();
    assert_eq!((failure.kind, failure.taken), (FailureKind::Refused, 2));
    assert_eq!(server.requests().len(), 1 + 3);
    let server = Server::start(Script::Picky("YmFk", status("413 No")), None).await;
    let failure = server.endpoint().deliver(&batch(&["bad"])).await.unwrap_err();
    assert_eq!((failure.kind, failure.taken), (FailureKind::TooLarge, 0));
    assert_eq!(server.requests().len(), 1);
}

/// Keeps the clock where it is for as long as it lives. A paused clock would otherwise move
/// whenever all tasks wait, for a socket too; but not while a thread of the runtime is at work.
fn still() -> mpsc::Sender<()> {
    let (moves, stands) = mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || stands.recv());
    moves
}

/// The time of the batch and no constant ends it, and the answer says how far it came.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_sent_one_by_one_ends_in_its_time() {
    let _still = still();
    // More than one event is refused, the first alone is taken, the second waits in vain.
    let server = Server::start(Script::Tires("},{", status("422 No"), 2), None).await;
    let endpoint = server.endpoint_with(|config| config.timeout(Duration::from_secs(3600)));
    let batch = batch(&["a", "b", "c"]).within(Duration::from_secs(40));
    let delivery = tokio::spawn(async move { endpoint.deliver(&batch).await });
    server.asked(3).await;
    tokio::time::advance(Duration::from_secs(40)).await;
    let failure = delivery.await.unwrap().unwrap_err();
    assert_eq!((failure.kind, failure.taken), (FailureKind::Timeout, 1), "{failure}");
}

/// However late a batch is refused, there is time to look for the event that is not acceptable.
#[tokio::test(start_paused = true)]
async fn a_batch_that_hangs_as_a_whole_leaves_a_quarter_of_its_time() {
    let _still = still();
    let server = Server::start(Script::Hangs, None).await;
    let endpoint = server.endpoint_with(|config| config.timeout(Duration::from_secs(3600)));
    let batch = batch(&["a", "b"]).within(Duration::from_secs(40));
    let delivery = tokio::spawn(async move { endpoint.deliver(&batch).await });
    server.asked(1).await;
    tokio::time::advance(Duration::from_secs(30)).await;
    let failure = delivery.await.unwrap().unwrap_err();
    assert_eq!((failure.kind, failure.taken), (FailureKind::Timeout, 0), "{failure}");
}

/// A server with a certificate, and the PEM text of its authority.
async fn secure() -> (Server, String) {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    (Server::start(Script::Says(OK.to_owned()), Some(acceptor)).await, pem)
}

#[tokio::test]
async fn certificates_are_checked() {
    let (server, pem) = secure().await;
    let (_, other) = secure().await;
    let url = format!("https://{}/", server.address);
    let endpoint = |pem: &str| {
        let config = HttpEndpointConfig::new(&url).authorities(pem.as_bytes());
        HttpEndpoint::new(config).unwrap()
    };
    endpoint(&pem).deliver(&batch(&["a"])).await.unwrap();
    let failure = endpoint(&other).deliver(&batch(&["a"])).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unauthorized, "{failure}");
    assert_eq!(server.requests().len(), 1);
}
