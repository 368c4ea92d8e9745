//! A file from a device to a back end: an address, the file itself, a notification.
//!
//! The device is a bare HTTP client. The files lie in a directory, which the hub's own server serves.

use std::sync::Arc;
use std::time::Duration;

use hub_blob_directory::{BlobDirectory, BlobDirectoryConfig};
use hub_core::Hub;
use hub_core::frame::Disposition;
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use hub_core::security::{Authentication, KeyForm, sign};
use hub_http::HttpTransport;
use hub_store_memory::MemoryStore;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The server first: the addresses that devices are given name its port.
    let http = HttpTransport::builder().listen("127.0.0.1:0".parse()?).bind()?;
    let port = http.local_addrs().first().ok_or("no address")?.port();
    let place = std::env::temp_dir().join(format!("file-upload-{}", std::process::id()));
    let url = format!("http://localhost:{port}");
    let files = BlobDirectory::open(&place, BlobDirectoryConfig::new(url))?;
    let http = http.routes(files.router());
    let hub = Hub::builder(MemoryStore::new()).host_name("localhost").blobs(Arc::new(files));
    let hub = hub.start()?;
    hub.serve(http);

    let identity = hub.registry().put(&IdentitySpec::new(Address::parse("cam")?), None).await?;
    let Authentication::Sas { primary, .. } = identity.authentication() else {
        return Err("a new identity has keys".into());
    };
    let until = hub.now().after(Duration::from_secs(3600));
    let token = sign("localhost/devices/cam", primary, KeyForm::Decoded, until, None);
    let token = format!("Authorization: {token}\r\n");

    // The device asks, writes, and tells. The stock SDKs do the same.
    let version = "?api-version=2021-04-12";
    let wanted = json!({"blobName": "door/1.jpg"}).to_string();
    let ask = format!("POST /devices/cam/files{version}");
    let (status, ticket) = request(port, &ask, &token, &wanted).await?;
    let ticket: Value = serde_json::from_str(&ticket)?;
    let part = |name: &str| ticket.get(name).and_then(Value::as_str).unwrap_or_default();
    println!("device    asks: {status}, it may write {}", part("blobName"));
    let path = format!("/{}/{}{}", part("containerName"), part("blobName"), part("sasToken"));
    let kind = "x-ms-blob-type: BlockBlob\r\n";
    let (status, _) = request(port, &format!("PUT {path}"), kind, "not really a picture").await?;
    println!("device    writes: {status}");
    let done =
        json!({"correlationId": part("correlationId"), "isSuccess": true, "statusCode": 200});
    let tell = format!("POST /devices/cam/files/notifications{version}");
    let (status, _) = request(port, &tell, &token, &done.to_string()).await?;
    println!("device    tells: {status}");

    // The back end hears of it, and finds the file.
    let receiver = hub.file_notifications();
    let received = receiver.receive().await?;
    let told = &received.notification;
    println!("back end  hears of {} with {} bytes", told.blob, told.size);
    let mut reader = hub.blobs().ok_or("no files")?.read(&told.blob, None).await?;
    while let Some(piece) = reader.next().await? {
        println!("back end  reads {:?}", String::from_utf8_lossy(&piece));
    }
    receiver.settle(received.token, Disposition::Complete).await?;

    hub.shutdown(Duration::from_secs(2)).await;
    std::fs::remove_dir_all(place)?;
    Ok(())
}

/// One HTTP request by hand: the status, and the text of the answer.
async fn request(
    port: u16,
    what: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<(String, String)> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = format!("{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let text = answer.split_once("\r\n\r\n").map_or("", |(_, text)| text).to_owned();
    Ok((status, text))
}
