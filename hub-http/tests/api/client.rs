//! A hub with an HTTP server, and a client of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hub_core::engine::{Hub, HubBuilder, ManualClock};
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use hub_core::security::{Authentication, KeyForm, SymmetricKey, sign};
use hub_core::time::Timestamp;
use hub_http::{HttpTransport, HttpTransportBuilder};
use hub_store_memory::MemoryStore;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) const VERSION: &str = "api-version=2021-04-12";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A running hub and the address of its HTTP server.
pub(crate) struct Server {
    pub(crate) hub: Hub,
    pub(crate) address: SocketAddr,
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) async fn server() -> Server {
    server_with(|hub| hub, |http| http).await
}

pub(crate) async fn server_at(clock: Arc<ManualClock>) -> Server {
    server_with(|hub| hub.clock(clock), |http| http).await
}

pub(crate) async fn server_with(
    hub: impl FnOnce(HubBuilder) -> HubBuilder,
    http: impl FnOnce(HttpTransportBuilder) -> HttpTransportBuilder,
) -> Server {
    let hub = hub(Hub::builder(MemoryStore::new()).host_name("hub.test")).start().unwrap();
    let builder = http(HttpTransport::builder().listen(any_port()));
    let transport = builder.bind().unwrap();
    let address = transport.local_addrs()[0];
    hub.serve(transport);
    Server { hub, address }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {} {:?}", self.status, self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The name of the error, empty if there is none.
    pub(crate) fn error(&self) -> &str {
        self.header("iothub-errorcode").unwrap_or("")
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} {:?}", self.error(), self.body);
        self
    }

    /// Expects an error with this status, name and a consistent body.
    #[track_caller]
    pub(crate) fn refuses(self, status: u16, name: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.error()), (status, name), "{:?}", self.body);
        let message = self.json()["Message"].as_str().unwrap().to_owned();
        let classic = message.starts_with(&format!("ErrorCode:{name};"));
        let nested = serde_json::from_str::<Value>(&message)
            .is_ok_and(|inner| inner["errorCode"].as_u64().unwrap() / 1000 == u64::from(status));
        assert!(classic || nested, "{message}");
        assert!(self.headers.contains_key("x-ms-request-id"));
        self
    }
}

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) token: Option<String>,
}

impl Server {
    /// A back end with all rights.
    pub(crate) fn owner(&self) -> Client {
        self.policy("iothubowner")
    }

    /// A back end with a policy's token.
    pub(crate) fn policy(&self, name: &str) -> Client {
        self.policy_for(name, "hub.test")
    }

    /// A back end with a policy's token for a resource.
    pub(crate) fn policy_for(&self, name: &str, resource: &str) -> Client {
        let policies = self.hub.policies();
        let key = policies.get(name).unwrap().primary();
        self.with_token(&sign(resource, key, KeyForm::Decoded, self.in_an_hour(), Some(name)))
    }

    pub(crate) fn with_token(&self, token: &str) -> Client {
        Client { address: self.address, token: Some(token.to_owned()) }
    }

    pub(crate) fn anonymous(&self) -> Client {
        Client { address: self.address, token: None }
    }

    pub(crate) fn in_an_hour(&self) -> Timestamp {
        self.hub.now().after(HOUR)
    }

    /// Registers a device or module.
    pub(crate) async fn register(&self, address: &str) -> Address {
        let address = Address::parse(address).unwrap();
        self.hub.registry().put(&IdentitySpec::new(address.clone()), None).await.unwrap();
        address
    }

    pub(crate) async fn key(&self, address: &str) -> SymmetricKey {
        let address = Address::parse(address).unwrap();
        let found = self.hub.registry().get(&address).await.unwrap();
        match found.identity.authentication() {
            Authentication::Sas { primary, .. } => primary.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// A registered device or module with its own token.
    pub(crate) async fn device(&self, address: &str) -> Client {
        let key = self.key(address).await;
        let path = address.replacen('/', "/modules/", 1);
        let resource = format!("hub.test/devices/{path}");
        self.with_token(&sign(&resource, &key, KeyForm::Decoded, self.in_an_hour(), None))
    }
}

impl Client {
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::POST, path, &[], body).await
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::PUT, path, &[], body).await
    }

    pub(crate) async fn put_if(&self, path: &str, etag: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::PUT, path, &[("if-match", etag)], body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::PATCH, path, &[], body).await
    }

    /// Sends a request on a connection of its own. A path without a query gets a version.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let response = self.start(method, path, headers, Full::new(body.into())).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request, and gives the answer with its body still to come.
    pub(crate) async fn start<B>(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: B,
    ) -> http::Response<hyper::body::Incoming>
    where
        B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let path = if path.contains('?') { path.to_owned() } else { format!("{path}?{VERSION}") };
        let mut request = Request::builder().method(method).uri(path).header("host", "hub.test");
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sender.send_request(request.body(body).unwrap()).await.unwrap()
    }
}
