//! One request, once it is known which route it is for and who asks.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, IF_MATCH};
use http::request::Parts;
use http_body_util::BodyExt as _;
use hub_core::Hub;
use hub_core::engine::{Action, Actor};
use hub_core::hello::Grant;
use hub_core::id::{Address, DeviceId, ModuleId};
use hub_core::limits::Limits;
use hub_core::registry::IfMatch;
use hub_core::security::Principal;

use crate::api::Api;
use crate::path::Query;
use crate::problem::{Code, Problem};
use crate::route::Values;
use crate::server::Arrival;

/// Who asks.
#[derive(Debug)]
pub(crate) enum Caller {
    /// Nobody in particular.
    Anyone,
    /// A device or module, as itself.
    Device(Address, Grant),
    /// A back end.
    Service(Principal),
}

/// A request.
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    pub(crate) parts: Parts,
    pub(crate) values: Values,
    pub(crate) caller: Caller,
    /// Never locked: the mutex makes a call something that tasks may share, which a body is not.
    pub(crate) body: Mutex<Body>,
    /// How it came, where the hub's own server took it.
    pub(crate) arrival: Option<Arrival>,
}

impl Call {
    pub(crate) fn hub(&self) -> &Hub {
        &self.api.hub
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.api.hub.limits()
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query(self.parts.uri.query().unwrap_or(""))
    }

    /// A variable of the path.
    pub(crate) fn value(&self, name: &str) -> Result<&str, Problem> {
        self.values.get(name).ok_or_else(|| Problem::internal("a route lacks a variable"))
    }

    /// The device or module that the path names.
    pub(crate) fn address(&self) -> Result<Address, Problem> {
        address(&self.values)
    }

    /// The device or module that asks, with what it was granted.
    pub(crate) fn device(&self) -> Result<(&Address, &Grant), Problem> {
        match &self.caller {
            Caller::Device(address, grant) => Ok((address, grant)),
            _ => Err(Problem::internal("a device's route was reached by somebody else")),
        }
    }

    /// Asks the application's hook whether the caller may do this, and waits for its turn.
    pub(crate) async fn allow(&self, action: Action<'_>) -> Result<(), Problem> {
        self.allow_bytes(action, 0).await
    }

    /// The same for something that carries so many bytes.
    pub(crate) async fn allow_bytes(
        &self,
        action: Action<'_>,
        bytes: usize,
    ) -> Result<(), Problem> {
        let actor = match &self.caller {
            Caller::Anyone => return Ok(()),
            Caller::Device(address, _) => Actor::Device(address),
            Caller::Service(principal) => Actor::Service(principal),
        };
        Ok(self.api.hub.authorize_bytes(actor, action, bytes).await?)
    }

    /// A header as text.
    pub(crate) fn header(
        &self,
        name: impl http::header::AsHeaderName,
    ) -> Result<Option<&str>, Problem> {
        let Some(value) = self.parts.headers.get(name) else { return Ok(None) };
        match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(Problem::argument("a header is not UTF-8")),
        }
    }

    /// The head as it was sent; empty if that is not known.
    pub(crate) fn head(&self) -> &[u8] {
        self.arrival.as_ref().map_or(&[], |arrival| &arrival.head)
    }

    /// The condition of the request.
    pub(crate) fn if_match(&self) -> Result<Option<IfMatch>, Problem> {
        Ok(self.header(IF_MATCH)?.map(IfMatch::parse))
    }

    /// A whole number in the query.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.query().get(name) else { return Ok(None) };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Problem::argument(format!("{name} is not a whole number"))),
        }
    }

    /// The body, of at most `limit` bytes. It is taken: a second time there is none.
    pub(crate) async fn read_body(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let too_large =
            || Problem::new(Code::TOO_LARGE, format!("the body is larger than {limit} bytes"));
        let announced = self
            .parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut body = std::mem::take(body);
        if announced == Some(0) || announced.is_none() && http_body::Body::is_end_stream(&body) {
            return Ok(Bytes::new());
        }
        let within = self.api.settings.body_timeout;
        let read = tokio::time::timeout(within, async {
            if announced.is_some_and(|length| length > as_u64(limit)) {
                drain(&mut body, announced).await;
                return Err(too_large());
            }
            let mut first = Bytes::new();
            let mut whole = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame =
                    frame.map_err(|_| Problem::argument("the body was cut off").closing())?;
                let Ok(data) = frame.into_data() else { continue };
                if first.len() + whole.len() + data.len() > limit {
                    drain(&mut body, None).await;
                    return Err(too_large());
                }
                if first.is_empty() && whole.is_empty() {
                    // One frame is the common case, and is not copied.
                    first = data;
                } else {
                    if !first.is_empty() {
                        whole.reserve(first.len() + data.len());
                        whole.extend_from_slice(&std::mem::take(&mut first));
                    }
                    whole.extend_from_slice(&data);
                }
            }
            Ok(if whole.is_empty() { first } else { whole.freeze() })
        });
        match read.await {
            Ok(read) => read,
            Err(_) => {
                Err(Problem::new(Code::REQUEST_TIMEOUT, "the body did not come in time").closing())
            }
        }
    }
}

/// Most bytes of a refused body that are read and dropped. Without that, the connection would be
/// reset while the client still writes, and the client would never see the answer.
const DRAIN_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads and drops what is left of a body, unless that is too much.
pub(crate) async fn drain(body: &mut Body, announced: Option<u64>) {
    if announced.is_some_and(|length| length > DRAIN_BYTES_MAX) {
        return;
    }
    let mut left = DRAIN_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(as_u64(length)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn as_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The device or module that a path names.
pub(crate) fn address(values: &Values) -> Result<Address, Problem> {
    let text =
        |name: &str| values.get(name).ok_or_else(|| Problem::internal("a route lacks a variable"));
    let bad = |error: hub_core::id::IdError| Problem::argument(error.to_string());
    let device = DeviceId::new(text("deviceId")?).map_err(bad)?;
    match values.get("moduleId") {
        None => Ok(Address::from(device)),
        Some(module) => Ok(Address::module(&device, &ModuleId::new(module).map_err(bad)?)),
    }
}
