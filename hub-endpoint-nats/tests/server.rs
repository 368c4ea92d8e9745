//! Against a real server: `nats-server` of the path, or the program that `NATS_SERVER` names. Without
//! one these tests say so and try nothing.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, consumer, stream};
use bytes::Bytes;
use futures::StreamExt as _;
use hub_core::endpoint::{Endpoint as _, FailureKind, Outgoing};
use hub_core::envelope::{Event, EventSource, Properties};
use hub_core::id::{Address, Partition, SequenceNumber};
use hub_core::time::Timestamp;
use hub_endpoint_nats::{NatsEndpoint, NatsEndpointConfig};
use serde_json::Value;
use tempfile::TempDir;

/// A server on the loopback interface that ends with the test.
struct Server {
    child: Child,
    port: u16,
    directory: TempDir,
    program: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Option<Self> {
        let program = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
        if Command::new(&program).arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: there is no nats-server; NATS_SERVER can name one");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let child = spawn(&program, port, &directory);
        Some(Self { child, port, directory, program })
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = spawn(&self.program, self.port, &self.directory);
    }

    fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn endpoint(&self) -> NatsEndpoint {
        let config =
            NatsEndpointConfig::new(&self.address(), "iot").timeout(Duration::from_millis(1500));
        NatsEndpoint::new(config).unwrap()
    }

    async fn context(&self) -> jetstream::Context {
        let mut last = String::new();
        for _ in 0..200 {
            match async_nats::connect(self.address()).await {
                Ok(client) => return jetstream::new(client),
                Err(error) => last = format!("{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        unreachable!("the server does not begin: {last}")
    }

    async fn stream(&self, max_message_size: i32) -> stream::Stream {
        let config = stream::Config {
            name: "EVENTS".to_owned(),
            subjects: vec!["iot.>".to_owned()],
            max_message_size,
            ..stream::Config::default()
        };
        let context = self.context().await;
        let mut last = String::new();
        // JetStream is ready a moment after the port is open.
        for _ in 0..200 {
            match context.get_or_create_stream(config.clone()).await {
                Ok(stream) => return stream,
                Err(error) => last = format!("{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        unreachable!("there is no stream: {last}")
    }
}

fn spawn(program: &str, port: u16, directory: &TempDir) -> Child {
    let port = port.to_string();
    Command::new(program)
        .args(["--addr", "127.0.0.1", "--port", port.as_str(), "--jetstream", "--store_dir"])
        .arg(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server can be started")
}

fn event(sequence: u64, device: &str, body: Vec<u8>) -> Event {
    Event {
        partition: Partition(1),
        sequence: SequenceNumber(sequence),
        enqueued: Timestamp::from_millis(1_700_000_000_000),
        source: EventSource::Telemetry,
        sender: Address::parse(device).unwrap(),
        generation: "1".into(),
        auth: None,
        model: None,
        properties: Properties::default(),
        body: Bytes::from(body),
    }
}

fn batch(sequences: std::ops::Range<u64>) -> Outgoing {
    let events = sequences.map(|sequence| event(sequence, "d.1", b"x".to_vec())).collect();
    Outgoing::new("my-hub", "nats", Partition(1), events)
}

/// The sequence numbers of all messages of the stream, in its order.
async fn kept(stream: &mut stream::Stream) -> Vec<u64> {
    let count = stream.info().await.unwrap().state.messages;
    let config = consumer::pull::OrderedConfig::default();
    let consumer = stream.create_consumer(config).await.unwrap();
    let messages = consumer.messages().await.unwrap();
    let count = usize::try_from(count).unwrap();
    let messages: Vec<_> = messages.take(count).collect().await;
    let number = |message: Result<jetstream::Message, _>| {
        let message = message.ok().unwrap();
        assert_eq!(message.subject.as_str(), "iot.d%2E1");
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(event["SystemProperties"]["connectionDeviceId"], "d.1");
        event["SequenceNumber"].as_u64().unwrap()
    };
    messages.into_iter().map(number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_in_the_stream_in_order_and_once() {
    let Some(server) = Server::start() else { return };
    let mut stream = server.stream(-1).await;
    let endpoint = server.endpoint();
    endpoint.deliver(&batch(1..50)).await.unwrap();
    // As after a node that ended before it could note what was taken.
    endpoint.deliver(&batch(40..60)).await.unwrap();
    assert_eq!(kept(&mut stream).await, (1..60).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_is_found_again_and_nothing_is_out_of_order() {
    let Some(mut server) = Server::start() else { return };
    drop(server.stream(-1).await);
    let endpoint = server.endpoint();
    endpoint.deliver(&batch(1..10)).await.unwrap();
    server.stop();
    let failure = endpoint.deliver(&batch(10..20)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Transient | FailureKind::Timeout), "{failure}");
    assert_eq!(failure.taken, 0);
    let failure = endpoint.deliver(&batch(10..20)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
    server.start_again();
    let mut stream = server.stream(-1).await;
    endpoint.deliver(&batch(10..20)).await.unwrap();
    assert_eq!(kept(&mut stream).await, (1..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_stream_nothing_is_taken() {
    let Some(server) = Server::start() else { return };
    drop(server.context().await);
    let failure = server.endpoint().deliver(&batch(1..3)).await.unwrap_err();
    assert_eq!((failure.kind, failure.taken), (FailureKind::Transient, 0), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_too_large_for_the_server_concerns_itself_alone() {
    let Some(server) = Server::start() else { return };
    let mut stream = server.stream(-1).await;
    let endpoint = server.endpoint();
    // The server's own limit is 1 MiB.
    let mut large = batch(1..4);
    large.events[1] = event(2, "d.1", vec![b'x'; 1024 * 1024]);
    let failure = endpoint.deliver(&large).await.unwrap_err();
    assert_eq!((failure.kind, failure.taken), (FailureKind::TooLarge, 1), "{failure}");
    endpoint.deliver(&batch(3..4)).await.unwrap();
    assert_eq!(kept(&mut stream).await, [1, 3]);
}
