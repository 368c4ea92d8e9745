//! HTTP adapter of the IoT hub.
//!
//! [`HttpTransport`] is a server of its own, which the hub runs; [`router`] gives the same routes to
//! an application that has a server already. [`operations_router`] has what operators ask.
//!
//! ```
//! use hub_core::Hub;
//! use hub_http::HttpTransport;
//! use hub_store_memory::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::builder(MemoryStore::new()).host_name("hub.example").start()?;
//! let http = HttpTransport::builder().listen("127.0.0.1:0".parse()?).operations().bind()?;
//! for address in http.local_addrs() {
//!     println!("http://{address}/openapi.json");
//! }
//! hub.serve(http);
//! # hub.shutdown(std::time::Duration::from_secs(1)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Routes
//!
//! `GET /openapi.json` describes all of them, and is made of the table that serves them.
//!
//! | who | what | whose |
//! |---|---|---|
//! | devices, modules | telemetry, one message or a batch; receive, complete, reject and abandon messages | Azure's |
//! | devices | ask for an address to upload a file to, say that it is uploaded | Azure's |
//! | back ends | identity registry: devices, modules, bulk, statistics | Azure's |
//! | | twins: read, patch, replace, query | Azure's |
//! | | direct methods | Azure's |
//! | | purge a device's queue | Azure's |
//! | | jobs, imports and exports of the registry, configurations, digital twins | Azure's |
//! | | routing, dead letters, the history of twins, addresses of folders | ours |
//! | | send to devices and modules, look at their queues, purge a module's | ours |
//! | | receive and settle feedback and file notifications, addresses to read files by | ours |
//! | | read the event log: pages, a live stream, cursors | ours |
//! | anyone | WebSockets for other protocols | Azure's |
//!
//! Ours is what Azure IoT Hub offers over AMQP only or not at all; the description marks those
//! operations with `x-iothub-own`. Literal segments of paths are matched without regard to case, and
//! a slash at the end is ignored, because clients differ in both.
//!
//! # What to know
//!
//! - Devices and back ends authenticate with each request, by a token in `Authorization`, devices also
//!   by the certificate of the connection. Nothing is cached: a key that is taken away is refused by
//!   the very next request.
//! - Errors have Azure's status, the name in `iothub-errorcode`, and the body that SDKs take apart. Bad
//!   input is never a 5xx.
//! - A 204 for telemetry and a 201 for a message mean that the store has it.
//! - A direct method is given up for 200 ms before the time that the caller asked for, since the Node
//!   SDK waits exactly that long.
//! - Application properties are headers `iothub-app-{name}`. Sent to [`HttpTransport`] they keep the case
//!   of their names; through [`router`], and towards devices, they are in lower case.
//! - Every wait and every size has a bound: the hub's [`Limits`](hub_core::Limits), and the settings of
//!   [`HttpTransportBuilder`].

mod api;
mod auth;
mod call;
mod device;
mod files;
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
mod wire;

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
        files::ROUTES,
        service::query::ROUTES,
        service::jobs::ROUTES,
        service::configurations::ROUTES,
        service::registry::ROUTES,
        service::registry_jobs::ROUTES,
        service::bulk::ROUTES,
        service::twin::ROUTES,
        service::history::ROUTES,
        service::method::ROUTES,
        service::digital_twins::ROUTES,
        service::c2d::ROUTES,
        service::letters::ROUTES,
        service::feedback::ROUTES,
        service::files::ROUTES,
        service::events::ROUTES,
        service::routing::ROUTES,
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
