//! A hub inside a web application: the application's own routes, and the hub's beside them.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use hub_core::Hub;
use hub_core::engine::Position;
use hub_core::error::HubError;
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use hub_core::security::{Authentication, KeyForm, sign};
use hub_store_memory::MemoryStore;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A route of the application, which asks the hub it embeds.
async fn latest(State(hub): State<Hub>) -> Result<String, String> {
    let read = async {
        let pump = Address::parse("pump").map_err(|_| HubError::argument("no device id"))?;
        let partition = pump.partition(hub.partitions());
        let mut reader = hub.reader(partition, Position::Earliest).await?;
        let events = reader.try_read(100).await?;
        let last = events.last().map(|event| String::from_utf8_lossy(&event.body).into_owned());
        Ok(last.unwrap_or_else(|| "nothing yet".to_owned()))
    };
    read.await.map_err(|error: HubError| error.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::builder(MemoryStore::new()).host_name("localhost").start()?;
    // What the application does not answer itself is the hub's.
    let app = Router::new()
        .route("/latest", get(latest))
        .with_state(hub.clone())
        .merge(hub_http::router(hub.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let mut stop = hub.shutdown_signal();
    let server = axum::serve(listener, app)
        .with_graceful_shutdown(async move { stop.requested().await })
        .into_future();
    let server = tokio::spawn(server);

    let spec = IdentitySpec::new(Address::parse("pump")?);
    let identity = hub.registry().put(&spec, None).await?;
    let Authentication::Sas { primary, .. } = identity.authentication() else {
        return Err("a new identity has keys".into());
    };
    let until = hub.now().after(Duration::from_secs(3600));
    let token = sign("localhost/devices/pump", primary, KeyForm::Decoded, until, None);

    println!("application: {}", ask(port, "GET /latest", "", "").await?);
    let telemetry = "POST /devices/pump/messages/events?api-version=2020-03-13";
    println!("without a token: {}", ask(port, telemetry, "", "21.5").await?);
    let header = format!("Authorization: {token}\r\n");
    println!("with its token: {}", ask(port, telemetry, &header, "21.5").await?);
    println!("application: {}", ask(port, "GET /latest", "", "").await?);

    hub.shutdown(Duration::from_secs(2)).await;
    server.await??;
    println!("stopped");
    Ok(())
}

/// One HTTP request by hand: the status, and the text of a good answer.
async fn ask(port: u16, what: &str, headers: &str, body: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = format!("{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let text = answer.split_once("\r\n\r\n").map_or("", |(_, text)| text);
    Ok(if status == "200" { format!("{status} {text}") } else { status.to_owned() })
}
