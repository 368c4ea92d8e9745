//! The conformance kit for stores of files, on a directory that is served over TCP.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hub_blob_directory::{BlobDirectory, BlobDirectoryConfig};
use hub_core::conformance::blob::Fixture;
use hub_core::engine::{Clock as _, ManualClock};
use hub_core::time::Timestamp;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

/// A directory that goes with the test, and its clients.
struct Served {
    place: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Served {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
        Self { place: tempfile::tempdir().unwrap(), clock }
    }

    async fn serve(&self) -> BlobDirectory {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = BlobDirectoryConfig::new(format!("http://{address}"));
        config.clock = self.clock.clone();
        let files = BlobDirectory::open(self.place.path(), config).unwrap();
        let router = files.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        files
    }
}

/// Host and path of an address.
fn apart(address: &str) -> (&str, String) {
    let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    (host, format!("/{path}"))
}

async fn send(method: Method, address: &str, body: Bytes) -> (u16, Bytes) {
    let (host, path) = apart(address);
    let stream = TcpStream::connect(host).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("x-ms-blob-type", "BlockBlob")
        .header("content-length", body.len())
        .body(Full::new(body))
        .unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    (parts.status.as_u16(), body.collect().await.unwrap().to_bytes())
}

#[async_trait]
impl Fixture for Served {
    type Store = BlobDirectory;

    async fn open(&mut self) -> BlobDirectory {
        self.serve().await
    }

    async fn reopen(&mut self, store: BlobDirectory) -> Option<BlobDirectory> {
        drop(store);
        Some(self.serve().await)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&mut self, time: Duration) -> bool {
        self.clock.advance(time);
        true
    }

    async fn put(&mut self, address: &str, body: Bytes) -> bool {
        send(Method::PUT, address, body).await.0 == 201
    }

    async fn put_half(&mut self, address: &str, body: Bytes) {
        let (host, path) = apart(address);
        let mut stream = TcpStream::connect(host).await.unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nhost: {host}\r\nx-ms-blob-type: BlockBlob\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body.slice(..body.len() / 2)).await.unwrap();
        stream.shutdown().await.unwrap();
    }

    async fn get(&mut self, address: &str) -> Option<Bytes> {
        let (status, body) = send(Method::GET, address, Bytes::new()).await;
        (status == 200).then_some(body)
    }
}

hub_core::blob_tests!(Served::new());
