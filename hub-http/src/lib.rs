//! HTTP adapter of the IoT hub.
//!
//! [`router`] gives the routes to an application that has a server; [`HttpTransport`] is a server of
//! its own.

mod api;
mod auth;
mod call;
mod device;
mod headers;
mod json;
mod openapi;
mod operations;
mod path;
mod problem;
mod respond;
mod route;
mod schemas;
mod server;
mod service;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use hub_core::Hub;

pub use hub_tls::{TlsError, TlsSettings};

pub use self::operations::operations_router;
pub use self::server::{HttpTransport, HttpTransportBuilder};

use self::api::Api;
use self::route::Route;

/// All routes, in the order in which they are searched.
fn routes() -> impl Iterator<Item = &'static Route> {
    [
        device::ROUTES,
        service::registry::ROUTES,
        service::bulk::ROUTES,
        service::twin::ROUTES,
        service::method::ROUTES,
        service::c2d::ROUTES,
        service::feedback::ROUTES,
        service::events::ROUTES,
        websocket::ROUTES,
        openapi::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// The hub's routes as an `axum` router, to be nested in or merged into the application's own.
///
/// Stock SDKs know no path before the hub's: for them the router must be at the root. The router
/// keeps the hub alive.
///
/// The router answers all that it is given: a path that is none of the hub's is a 404 of the
/// hub's. An application that puts a [`Peer`](hub_core::transport::Peer) into a request's
/// extensions says by that who the peer is and what certificate it showed.
pub fn router(hub: Hub) -> Router {
    let api = Arc::new(Api::new(hub));
    Router::new().fallback(move |request: Request| {
        let api = api.clone();
        async move { api.handle(request, None).await }
    })
}
