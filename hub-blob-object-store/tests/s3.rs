//! Files in S3, on a real server (`s3s`), which checks every signature; and what addresses of Azure
//! Blob Storage look like.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hub_blob_object_store::ObjectStoreBlobs;
use hub_core::Hub;
use hub_core::blob::{BlobAccess, BlobAddress, BlobErrorKind, BlobName, BlobStore};
use hub_core::engine::UploadReport;
use hub_core::error::ErrorKind;
use hub_core::id::{Address, DeviceId};
use hub_core::registry::IdentitySpec;
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;
use hyper_util::rt::TokioIo;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::{TcpListener, TcpStream};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// The least that the object store's client needs: one connection for each request, without TLS.
#[derive(Debug)]
struct Plain;

impl HttpConnector for Plain {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Self))
    }
}

#[async_trait]
impl HttpService for Plain {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            HttpError::new_boxed(HttpErrorKind::Connect, error)
        };
        let authority = request.uri().authority().unwrap().clone();
        let stream = TcpStream::connect(authority.as_str()).await.map_err(|e| failed(e.into()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (mut parts, body) = request.into_parts();
        parts.headers.entry("host").or_insert(authority.as_str().parse().unwrap());
        parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
        let response = sender.send_request(Request::from_parts(parts, body)).await;
        let response = response.map_err(|error| failed(error.into()))?;
        Ok(response.map(|body| {
            HttpResponseBody::new(
                body.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error)),
            )
        }))
    }
}

/// A server with one bucket, and its folder.
struct Server {
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

async fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single("id", "secret"));
    let service = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    Server { address, _folder: folder }
}

impl Server {
    fn bucket(&self, secret: &str) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.address))
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name("bucket")
            .with_access_key_id("id")
            .with_secret_access_key(secret)
            .with_http_connector(Plain)
            .build()
            .unwrap()
    }

    fn blobs(&self) -> ObjectStoreBlobs<AmazonS3> {
        ObjectStoreBlobs::new(self.bucket("secret"))
    }
}

/// What a device does with an address, and nothing else: the hub is not on the way.
async fn send(method: Method, url: &str, body: &'static str) -> (StatusCode, Bytes) {
    let (_, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let stream = TcpStream::connect(host).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(format!("/{path}"))
        .header("host", host)
        .header("content-length", body.len())
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    (parts.status, body.collect().await.unwrap().to_bytes())
}

fn blob(name: &str) -> BlobName {
    BlobName::parse(name).unwrap()
}

async fn address(blobs: &impl BlobStore, name: &str, access: BlobAccess) -> BlobAddress {
    blobs.address(&blob(name), access, NOW, HOUR).await.unwrap()
}

/// The address as the SDKs of devices put it together, from the parts that they are told.
fn joined(address: &BlobAddress) -> String {
    let (host, container) = (address.host(), address.container());
    format!("http://{host}/{container}/{}{}", address.encoded_name(), address.query())
}

async fn read(blobs: &impl BlobStore, name: &str, range: Option<std::ops::Range<u64>>) -> String {
    let mut reader = blobs.read(&blob(name), range).await.unwrap();
    let mut text = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_device_writes_to_the_service_itself() {
    let server = server().await;
    let hub = Hub::builder(MemoryStore::new()).blobs(Arc::new(server.blobs())).start().unwrap();
    let device = DeviceId::new("d1").unwrap();
    hub.registry().put(&IdentitySpec::new(Address::from(&device)), None).await.unwrap();
    let ticket = hub.begin_upload(&device, "a b/c+é%.txt").await.unwrap();
    assert_eq!(ticket.address.host(), server.address.to_string());
    assert_eq!(ticket.address.container(), "bucket");
    let id = ticket.correlation.to_string();
    let early = hub.finish_upload(&device, &id, UploadReport::success()).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::BlobNotFound);
    let (status, body) = send(Method::PUT, &joined(&ticket.address), "hello").await;
    assert_eq!(status, 200, "{body:?}");
    let told = hub.finish_upload(&device, &id, UploadReport::success()).await.unwrap().unwrap();
    assert_eq!((told.blob.as_str(), told.size), ("d1/a b/c+é%.txt", 5));
    assert_eq!(told.url, ticket.address.without_right());
    let (address, _) = hub.file_address(&told.blob).await.unwrap();
    let (status, body) = send(Method::GET, address.as_str(), "").await;
    assert_eq!((status.as_u16(), &body[..]), (200, &b"hello"[..]));
}

#[tokio::test]
async fn an_address_is_for_one_object_and_one_method() {
    let server = server().await;
    let blobs = server.blobs();
    let mine = address(&blobs, "d1/a", BlobAccess::Upload).await;
    let url = mine.as_str();
    assert_eq!(send(Method::PUT, url, "one").await.0, 200);
    let other = url.replace("/d1/a?", "/d2/a?");
    assert_eq!(send(Method::PUT, &other, "x").await.0, 403);
    assert_eq!(send(Method::GET, url, "").await.0, 403);
    assert_eq!(send(Method::DELETE, url, "").await.0, 403);
    let read_only = address(&blobs, "d1/a", BlobAccess::Download).await;
    assert_eq!(send(Method::PUT, read_only.as_str(), "x").await.0, 403);
    // More time than was signed.
    let longer = url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200");
    assert_ne!(longer, url);
    assert_eq!(send(Method::PUT, &longer, "x").await.0, 403);
    assert_eq!(read(&blobs, "d1/a", None).await, "one");
    assert!(!format!("{mine:?}").contains("Signature="), "{mine:?}");
}

#[tokio::test]
async fn files_are_read_and_deleted() {
    let server = server().await;
    let blobs = server.blobs();
    assert_eq!(blobs.stat(&blob("d1/a")).await.unwrap(), None);
    let missing = blobs.read(&blob("d1/a"), None).await.err().unwrap();
    assert_eq!(missing.kind(), BlobErrorKind::NotFound);
    assert!(!blobs.delete(&blob("d1/a")).await.unwrap());
    let url = address(&blobs, "d1/a", BlobAccess::Upload).await;
    assert_eq!(send(Method::PUT, url.as_str(), "0123456789").await.0, 200);
    let info = blobs.stat(&blob("d1/a")).await.unwrap().unwrap();
    assert_eq!(info.size, 10);
    assert_eq!(info.url, format!("http://{}/bucket/d1/a", server.address));
    assert_eq!(read(&blobs, "d1/a", None).await, "0123456789");
    assert_eq!(read(&blobs, "d1/a", Some(2..5)).await, "234");
    assert_eq!(read(&blobs, "d1/a", Some(8..99)).await, "89");
    assert_eq!(read(&blobs, "d1/a", Some(50..99)).await, "");
    assert!(blobs.delete(&blob("d1/a")).await.unwrap());
    assert_eq!(blobs.stat(&blob("d1/a")).await.unwrap(), None);
    assert_eq!(blobs.sweep(NOW).await.unwrap(), 0);
}

#[tokio::test]
async fn wrong_credentials_are_a_matter_of_settings() {
    let server = server().await;
    let blobs = ObjectStoreBlobs::new(server.bucket("another secret"));
    let refused = blobs.stat(&blob("d1/a")).await.unwrap_err();
    assert_eq!(refused.kind(), BlobErrorKind::Refused, "{refused:?}");
    let url = address(&blobs, "d1/a", BlobAccess::Upload).await;
    assert_eq!(send(Method::PUT, url.as_str(), "x").await.0, 403);
}

#[tokio::test]
async fn azure_s_addresses_are_those_that_the_sdks_know() {
    let container = MicrosoftAzureBuilder::new()
        .with_account("account")
        .with_container_name("uploads")
        .with_access_key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        .with_http_connector(Plain)
        .build()
        .unwrap();
    let blobs = ObjectStoreBlobs::new(container);
    let upload = address(&blobs, "d1/a b", BlobAccess::Upload).await;
    assert_eq!(upload.host(), "account.blob.core.windows.net");
    assert_eq!((upload.container(), upload.encoded_name()), ("uploads", "d1/a%20b"));
    assert!(upload.query().contains("sr=b"), "{}", upload.query());
    let download = address(&blobs, "d1/a b", BlobAccess::Download).await;
    assert_ne!(upload.query(), download.query());
}
