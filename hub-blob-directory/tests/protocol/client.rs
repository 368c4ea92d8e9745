//! A served directory, and a client of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hub_blob_directory::{BlobDirectory, BlobDirectoryConfig};
use hub_core::blob::{BlobAccess, BlobName, BlobStore as _};
use hub_core::engine::ManualClock;
use hub_core::time::Timestamp;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A directory that goes with the test, and its server.
pub(crate) struct Served {
    pub(crate) files: BlobDirectory,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) place: tempfile::TempDir,
    pub(crate) address: SocketAddr,
}

pub(crate) fn blob(name: &str) -> BlobName {
    BlobName::parse(name).unwrap()
}

pub(crate) async fn served() -> Served {
    served_with(|_| {}).await
}

pub(crate) async fn served_with(change: impl FnOnce(&mut BlobDirectoryConfig)) -> Served {
    let place = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = BlobDirectoryConfig::new(format!("http://{address}"));
    config.clock = clock.clone();
    change(&mut config);
    let files = BlobDirectory::open(place.path(), config).unwrap();
    let router = files.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Served { files, clock, place, address }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        let code = self.header("x-ms-error-code");
        assert_eq!(self.status, status, "{code} {:?}", self.body);
        assert_ne!(self.header("x-ms-request-id"), "");
        assert_ne!(self.header("x-ms-version"), "");
        self
    }

    /// Expects an error with this status and code, in its header and its body.
    #[track_caller]
    pub(crate) fn refuses(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.header("x-ms-error-code"), code);
        let body = String::from_utf8_lossy(&reply.body);
        assert!(body.contains(&format!("<Error><Code>{code}</Code><Message>")), "{body}");
        reply
    }
}

impl Served {
    /// The path and query of an address of a blob.
    pub(crate) async fn path(&self, name: &str, access: BlobAccess) -> String {
        let now = hub_core::engine::Clock::now(&*self.clock);
        let address = self.files.address(&blob(name), access, now, HOUR).await.unwrap();
        format!("/{}/{}{}", address.container(), address.encoded_name(), address.query())
    }

    pub(crate) async fn upload(&self, name: &str) -> String {
        self.path(name, BlobAccess::Upload).await
    }

    pub(crate) async fn download(&self, name: &str) -> String {
        self.path(name, BlobAccess::Download).await
    }

    /// Sends a request on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "files.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body: Bytes = body.into();
        if body.is_empty() {
            request = request.header("content-length", 0);
        }
        let request = request.body(Full::new(body)).unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, path, headers, "").await
    }

    pub(crate) async fn head(&self, path: &str) -> Reply {
        self.send(Method::HEAD, path, &[], "").await
    }

    /// Put Blob.
    pub(crate) async fn put(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let headers = [&[("x-ms-blob-type", "BlockBlob")], headers].concat();
        self.send(Method::PUT, path, &headers, body).await
    }

    /// Puts a blob that must be taken.
    pub(crate) async fn written(&self, name: &str, body: impl Into<Bytes>) {
        let path = self.upload(name).await;
        self.put(&path, &[], body).await.expect(201);
    }

    /// Put Block. The parameters stand before the signature, as Python has them.
    pub(crate) async fn block(&self, path: &str, id: &str, body: impl Into<Bytes>) -> Reply {
        let id = id.replace('=', "%3D").replace('+', "%2B").replace('/', "%2F");
        let path = path.replacen('?', &format!("?comp=block&blockid={id}&"), 1);
        self.send(Method::PUT, &path, &[], body).await
    }

    /// Put Block List. The parameter stands behind the signature, as Node has it.
    pub(crate) async fn commit(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        blocks: &[(&str, &str)],
    ) -> Reply {
        let list: String =
            blocks.iter().map(|(from, id)| format!("<{from}>{id}</{from}>")).collect();
        let list = format!("<?xml version=\"1.0\"?><BlockList>{list}</BlockList>");
        self.send(Method::PUT, &format!("{path}&comp=blocklist"), headers, list).await
    }

    /// The blob as it is read through its address; nothing if there is none.
    pub(crate) async fn text(&self, name: &str) -> Option<String> {
        let reply = self.get(&self.download(name).await, &[]).await;
        if reply.status == 404 {
            reply.refuses(404, "BlobNotFound");
            return None;
        }
        Some(String::from_utf8(reply.expect(200).body.to_vec()).unwrap())
    }

    /// How many files are where unfinished ones are.
    pub(crate) fn unfinished(&self) -> usize {
        std::fs::read_dir(self.place.path().join("staging/new")).unwrap().count()
    }
}
