//! The routes inside of an application's own server, and the operator's routes.

use crate::client::{Client, server_with};
use axum::Router;
use axum::routing::get;
use http::Method;
use hub_core::engine::Hub;
use hub_core::security::{KeyForm, sign};
use hub_core::transport::Peer;
use hub_store_memory::MemoryStore;

async fn serve(router: Router, hub: &Hub) -> Client {
    let listener = tokio::net::TcpListener::bind(crate::client::any_port()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let policies = hub.policies();
    let key = policies.get("iothubowner").unwrap().primary();
    let expiry = hub.now().after(crate::client::HOUR);
    let token = sign("localhost", key, KeyForm::Decoded, expiry, Some("iothubowner"));
    Client { address, token: Some(token) }
}

#[tokio::test]
async fn the_router_merges_with_routes_of_the_application() {
    let hub = Hub::builder(MemoryStore::new()).start().unwrap();
    let router = Router::new()
        .route("/hello", get(|| async { "mine" }))
        .nest("/operator", hub_http::operations_router(hub.clone()))
        .merge(hub_http::router(hub.clone()));
    let client = serve(router, &hub).await;
    assert_eq!(&client.get("/hello").await.expect(200).body[..], b"mine");
    client.put("/Devices/d1", "{}").await.expect(200);
    client.get("/devices/d1/").await.expect(200);
    client.get("/nothing").await.refuses(404, "GenericNotFound");
    assert_eq!(client.get("/operator/healthz").await.expect(200).json()["status"], "ok");
}

#[tokio::test]
async fn the_router_nests_below_a_path() {
    let hub = Hub::builder(MemoryStore::new()).start().unwrap();
    let router = Router::new().nest("/iot", hub_http::router(hub.clone()));
    let client = serve(router, &hub).await;
    client.put("/iot/devices/d1", "{}").await.expect(200);
    assert_eq!(client.get("/iot/twins/d1").await.expect(200).json()["version"], 2);
    client.get("/iot/nothing").await.refuses(404, "GenericNotFound");
    assert_eq!(client.get("/devices/d1").await.status, 404);
}

#[tokio::test]
async fn the_application_says_who_the_peer_is() {
    use hub_core::hello::CertificateInfo;
    use hub_core::registry::{AuthenticationSpec, IdentitySpec};
    use hub_core::security::Thumbprint;
    let hub = Hub::builder(MemoryStore::new()).start().unwrap();
    let mut spec = IdentitySpec::new("d1".parse().unwrap());
    let primary = Some(Thumbprint::new(&"ab".repeat(20)).unwrap());
    spec.authentication = Some(AuthenticationSpec::SelfSigned { primary, secondary: None });
    hub.registry().put(&spec, None).await.unwrap();
    let certificate = CertificateInfo {
        sha1: [0xab; 20],
        sha256: [0; 32],
        common_name: None,
        not_before: hub.now(),
        not_after: hub.now().after(crate::client::HOUR),
        chains_to_authority: false,
    };
    let peer = Peer { addr: None, certificate: Some(certificate) };
    let router = hub_http::router(hub.clone()).layer(axum::Extension(peer));
    let mut client = serve(router, &hub).await;
    client.token = None;
    client.post("/devices/d1/messages/events", "x").await.expect(204);
}

#[tokio::test]
async fn operators_ask_how_the_hub_is() {
    let mine = Router::new().route("/hello", get(|| async { "mine" }));
    let server = server_with(|hub| hub, |http| http.operations().routes(mine)).await;
    let anyone = server.anonymous();
    assert_eq!(anyone.get("/healthz").await.expect(200).json()["status"], "ok");
    assert_eq!(&anyone.get("/hello").await.expect(200).body[..], b"mine");
    anyone.get("/devices").await.refuses(401, "IotHubUnauthorizedAccess");
    assert_eq!(anyone.get("/nothing").await.status, 404);
    server.register("d1").await;
    let _device = server.hub.device(&"d1".parse().unwrap()).await.unwrap();
    let metrics = anyone.get("/metrics").await.expect(200);
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    for line in [
        "hub_healthy 1",
        "hub_connections 1",
        "# TYPE hub_changes_total counter",
        "hub_http_requests_total{status=\"4xx\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(!name.is_empty() && value.parse::<f64>().is_ok(), "{line}");
    }
    let head = anyone.send(Method::HEAD, "/healthz", &[], "").await.expect(200);
    assert!(head.body.is_empty());
}
