//! Who asks: tokens and certificates of devices, tokens of back ends.
//!
//! Every request is authenticated anew. A token costs a few microseconds to verify, less than a
//! cache of verified tokens would be worth: without one, a removed policy or a disabled device is
//! noticed by the very next request, and no table of secrets is kept.

use http::header::AUTHORIZATION;
use http::request::Parts;
use hub_core::Hub;
use hub_core::engine::{Action, Actor};
use hub_core::hello::{Credentials, Grant, Hello, SessionMode};
use hub_core::id::Address;
use hub_core::security::{Principal, Right, Who};
use hub_core::transport::Peer;

use crate::problem::{Code, Problem};

const MISSING: &str = "Authorization header missing";

fn token(parts: &Parts) -> Result<Option<&str>, Problem> {
    let Some(value) = parts.headers.get(AUTHORIZATION) else { return Ok(None) };
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Problem::new(Code::UNAUTHORIZED, "malformed token: not ASCII")),
    }
}

/// Authenticates a device or module: by its token, or else by the certificate of its connection.
///
/// The application's hook is asked about [`Action::Connect`], as of any connection: each request
/// is one of its own.
pub(crate) async fn device(
    hub: &Hub,
    parts: &Parts,
    address: &Address,
    peer: Option<&Peer>,
) -> Result<Grant, Problem> {
    let certificate = peer.and_then(|peer| peer.certificate.clone());
    let credentials = match (token(parts)?, certificate) {
        (Some(token), _) => Credentials::Token(token.into()),
        (None, Some(certificate)) => Credentials::Certificate(certificate),
        (None, None) => return Err(Problem::new(Code::UNAUTHORIZED, MISSING)),
    };
    let agent = parts.headers.get(http::header::USER_AGENT).and_then(|text| text.to_str().ok());
    let hello = Hello {
        address: address.clone(),
        credentials,
        // The host that counts is the one in the token: a request may come by a proxy or gateway,
        // whose name is in the header.
        host: None,
        session: SessionMode::Clean,
        model: None,
        client: agent.map(str::to_owned),
        protocol: "http",
        peer: peer.and_then(|peer| peer.addr),
    };
    let grant = hub.authenticate(&hello).await?;
    hub.authorize(Actor::Device(address), Action::Connect(&hello)).await?;
    Ok(grant)
}

/// Authenticates a back end.
pub(crate) async fn service(hub: &Hub, parts: &Parts) -> Result<Principal, Problem> {
    let token = token(parts)?.ok_or_else(|| Problem::new(Code::UNAUTHORIZED, MISSING))?;
    Ok(hub.authenticate_service(token).await?)
}

/// Whether a back end has a right on a path of the hub, without a slash at its front.
pub(crate) fn check(principal: &Principal, right: Right, path: &str) -> Result<(), Problem> {
    if principal.may(right, path) {
        return Ok(());
    }
    let name = match principal.who() {
        Who::Policy(name) => name,
        _ => "of the caller",
    };
    let message =
        format!("Authorization rule '{name}' does not allow access for '{}'", right.as_str());
    Err(Problem::new(Code::UNAUTHORIZED, message))
}
