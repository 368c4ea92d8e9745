//! An S3 server with one bucket, and clients of it.

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hub_blob_object_store::ObjectStoreBlobs;
use hyper_util::rt::TokioIo;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::{TcpListener, TcpStream};

/// The least that the object store's client needs: one connection for each request, without TLS.
#[derive(Debug)]
pub(crate) struct Plain;

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
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

pub(crate) async fn server() -> Server {
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
    pub(crate) fn bucket(&self, secret: &str) -> AmazonS3 {
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

    pub(crate) fn blobs(&self) -> ObjectStoreBlobs<AmazonS3> {
        ObjectStoreBlobs::new(self.bucket("secret"))
    }
}

/// What a device does with an address, and nothing else: the hub is not on the way.
pub(crate) async fn send(method: Method, url: &str, body: impl Into<Bytes>) -> (StatusCode, Bytes) {
    let body = body.into();
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
        .body(Full::new(body))
        .unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    (parts.status, body.collect().await.unwrap().to_bytes())
}
