//! A server that acknowledges a message when the test lets it, by a clock that the test moves.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hub_core::endpoint::{Endpoint as _, Failure, FailureKind, Outgoing};
use hub_core::envelope::{Event, EventSource, Properties};
use hub_core::id::{Address, Partition, SequenceNumber};
use hub_core::time::Timestamp;
use hub_endpoint_nats::{NatsEndpoint, NatsEndpointConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};

/// So much of a NATS server as one publisher needs.
#[derive(Clone)]
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    published: Arc<AtomicUsize>,
    acknowledgements: Arc<Semaphore>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            published: Arc::default(),
            acknowledgements: Arc::new(Semaphore::new(0)),
        };
        let this = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                this.connections.fetch_add(1, Ordering::SeqCst);
                let this = this.clone();
                // A client that lets go is no error.
                tokio::spawn(async move { this.serve(stream).await.ok() });
            }
        });
        server
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        write
            .write_all(b"INFO {\"version\":\"2.10.0\",\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n")
            .await?;
        let (mut line, mut subscription, mut stored) = (String::new(), String::new(), 0);
        while read.read_line(&mut line).await? > 0 {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["PING"] => write.write_all(b"PONG\r\n").await?,
                ["SUB", _, id] => subscription = (*id).to_owned(),
                ["HPUB", _, reply, _, length] => {
                    let mut message = vec![0; length.parse::<usize>().unwrap() + 2];
                    read.read_exact(&mut message).await?;
                    self.published.fetch_add(1, Ordering::SeqCst);
                    self.acknowledgements.acquire().await.unwrap().forget();
                    stored += 1;
                    let kept = format!("{{\"stream\":\"S\",\"seq\":{stored}}}");
                    let length = kept.len();
                    let answer = format!("MSG {reply} {subscription} {length}\r\n{kept}\r\n");
                    write.write_all(answer.as_bytes()).await?;
                }
                _ => {}
            }
            line.clear();
        }
        Ok(())
    }

    fn endpoint(&self, timeout: Duration) -> Arc<NatsEndpoint> {
        let address = format!("nats://127.0.0.1:{}", self.port);
        let config = NatsEndpointConfig::new(&address, "iot").timeout(timeout);
        Arc::new(NatsEndpoint::new(config).unwrap())
    }

    fn acknowledge(&self, messages: usize) {
        self.acknowledgements.add_permits(messages);
    }

    /// Waits until so many messages were sent.
    async fn published(&self, messages: usize) {
        let began = Instant::now();
        while self.published.load(Ordering::SeqCst) < messages {
            assert!(began.elapsed() < LONG, "message {messages} does not come");
            yield_now().await;
        }
    }
}

/// Keeps the clock where it is for as long as it lives. A paused clock would otherwise move
/// whenever all tasks wait, for a socket too; but not while a thread of the runtime is at work.
fn still() -> mpsc::Sender<()> {
    let (moves, stands) = mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || stands.recv());
    moves
}

const WITHIN: Duration = Duration::from_secs(27);
/// Longest wait for something by a real clock, which the paused one is not.
const LONG: Duration = Duration::from_secs(60);

fn batch(sequences: std::ops::Range<u64>) -> Outgoing {
    let event = |sequence| Event {
        partition: Partition(1),
        sequence: SequenceNumber(sequence),
        enqueued: Timestamp::from_millis(1_700_000_000_000),
        source: EventSource::Telemetry,
        sender: Address::parse("d1").unwrap(),
        generation: "1".into(),
        auth: None,
        model: None,
        properties: Properties::default(),
        body: Bytes::from_static(b"x"),
    };
    let events = sequences.map(event).collect();
    Outgoing::new("my-hub", "nats", Partition(1), events).within(WITHIN)
}

fn deliver(endpoint: &Arc<NatsEndpoint>, batch: Outgoing) -> JoinHandle<Result<(), Failure>> {
    let endpoint = endpoint.clone();
    tokio::spawn(async move { endpoint.deliver(&batch).await })
}

#[tokio::test(start_paused = true)]
async fn what_is_never_acknowledged_is_left_when_the_time_of_the_batch_ends() {
    let _still = still();
    let server = Server::start().await;
    let endpoint = server.endpoint(Duration::from_secs(3600));
    server.acknowledge(1);
    let delivery = deliver(&endpoint, batch(1..4));
    server.published(2).await;
    tokio::time::advance(WITHIN).await;
    let failure = delivery.await.unwrap().unwrap_err();
    assert_eq!((failure.kind, failure.taken), (FailureKind::Timeout, 1), "{failure}");
    // What might still be on its way must not come after what is sent next: the connection is let go.
    server.acknowledge(9);
    deliver(&endpoint, batch(2..4)).await.unwrap().unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_ends_between_two_events_if_there_is_no_time_for_another() {
    let _still = still();
    let server = Server::start().await;
    let endpoint = server.endpoint(WITHIN);
    let delivery = deliver(&endpoint, batch(1..9));
    // After the third there is less than a quarter of the time left.
    for sent in 1..=3 {
        server.published(sent).await;
        tokio::time::advance(Duration::from_secs(7)).await;
        server.acknowledge(1);
    }
    let failure = delivery.await.unwrap().unwrap_err();
    assert_eq!((failure.kind, failure.taken), (FailureKind::Timeout, 3), "{failure}");
    assert_eq!(server.published.load(Ordering::SeqCst), 3);
    server.acknowledge(5);
    deliver(&endpoint, batch(4..9)).await.unwrap().unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}
