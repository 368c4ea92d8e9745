//! A client of the hub's HTTP interface: one connection, kept while it works.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::{HOST, PATIENCE};

/// The interface's version that requests name.
const VERSION: &str = "api-version=2021-04-12";

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What an answer means for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It was done.
    Done,
    /// It was not done.
    Refused,
    /// It may have been done.
    Unknown,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn meaning(&self) -> Meaning {
        match self.status.as_u16() {
            200..=299 => Meaning::Done,
            400..=499 => Meaning::Refused,
            _ => Meaning::Unknown,
        }
    }
}

/// Somebody with a token.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    token: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        Self { address, token: token.to_owned(), connection: None }
    }

    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// Sends a request; an error if no answer comes.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> io::Result<Reply> {
        let asked = self.ask(method, path, headers, body.into());
        let reply = timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(slow()));
        if reply.is_err() {
            self.connection = None;
        }
        reply
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> io::Result<Reply> {
        let mut connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
                tokio::spawn(driver);
                sender
            }
        };
        connection.ready().await.map_err(broken)?;
        let mark = if path.contains('?') { '&' } else { '?' };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{path}{mark}{VERSION}"))
            .header("host", HOST)
            .header("authorization", &self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        let (parts, body) = connection.send_request(request).await.map_err(broken)?.into_parts();
        let body = body.collect().await.map_err(broken)?.to_bytes();
        self.connection = Some(connection);
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }
}

fn broken(error: hyper::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, error)
}

fn slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}
