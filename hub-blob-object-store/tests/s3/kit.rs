//! The conformance kit for stores of files, on the S3 server.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use hub_blob_object_store::ObjectStoreBlobs;
use hub_core::conformance::blob::Fixture;
use hub_core::time::Timestamp;
use object_store::aws::AmazonS3;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::NOW;
use crate::server::{Server, send, server};

/// A server that goes with the test.
struct Bucket(Server);

#[async_trait]
impl Fixture for Bucket {
    type Store = ObjectStoreBlobs<AmazonS3>;

    async fn open(&mut self) -> Self::Store {
        self.0.blobs()
    }

    async fn reopen(&mut self, store: Self::Store) -> Option<Self::Store> {
        drop(store);
        Some(self.0.blobs())
    }

    fn now(&self) -> Timestamp {
        NOW
    }

    async fn pass(&mut self, _: Duration) -> bool {
        // The server has a clock of its own.
        false
    }

    async fn put(&mut self, address: &str, body: Bytes) -> bool {
        send(Method::PUT, address, body).await.0 == 200
    }

    async fn put_half(&mut self, address: &str, body: Bytes) {
        let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let length = body.len();
        let head =
            format!("PUT /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body.slice(..length / 2)).await.unwrap();
        stream.shutdown().await.unwrap();
    }

    async fn get(&mut self, address: &str) -> Option<Bytes> {
        let (status, body) = send(Method::GET, address, "").await;
        (status == 200).then_some(body)
    }
}

hub_core::blob_tests!(Bucket(server().await));
