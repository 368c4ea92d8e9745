//! File uploads: addresses, the file itself through the same server, notifications.

use std::sync::Arc;

use http::Method;
use hub_blob_directory::{BlobDirectory, BlobDirectoryConfig};
use hub_core::engine::ManualClock;
use hub_core::time::Timestamp;
use serde_json::{Value, json};

use crate::client::{Client, HOUR, Reply, Server, server, server_with};

const NOTIFICATIONS: &str = "/messages/serviceBound/fileNotifications";

/// A hub with a directory of files behind the same server, and the device `d1`.
struct World {
    server: Server,
    clock: Arc<ManualClock>,
    device: Client,
    _place: tempfile::TempDir,
}

async fn world() -> World {
    let place = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    let mut config = BlobDirectoryConfig::new("https://files.test:8443");
    config.clock = clock.clone();
    let files = BlobDirectory::open(place.path(), config).unwrap();
    let router = files.router();
    let server = server_with(
        |hub| hub.clock(clock.clone()).blobs(Arc::new(files)),
        |http| http.routes(router),
    )
    .await;
    server.register("d1").await;
    let device = server.device("d1").await;
    World { server, clock, device, _place: place }
}

impl World {
    async fn begin(&self, name: &str) -> Value {
        let body = json!({ "blobName": name }).to_string();
        self.device.post("/devices/d1/files", body).await.expect(200).json()
    }

    /// Writes the file as a storage client does: without a token, to the address alone.
    async fn write(&self, ticket: &Value, text: &'static str) -> Reply {
        let part = |name: &str| ticket[name].as_str().unwrap().to_owned();
        let name = part("blobName").replace(' ', "%20");
        let path = format!("/{}/{name}{}", part("containerName"), part("sasToken"));
        let headers = [("x-ms-blob-type", "BlockBlob")];
        self.server.anonymous().send(Method::PUT, &path, &headers, text).await
    }

    async fn finish(&self, ticket: &Value, success: bool) -> Reply {
        let body = json!({
            "correlationId": ticket["correlationId"],
            "isSuccess": success,
            "statusCode": 200,
            "statusDescription": "OK",
        });
        self.device.post("/devices/d1/files/notifications", body.to_string()).await
    }
}

#[tokio::test]
async fn a_file_goes_from_the_device_to_the_back_end() {
    let world = world().await;
    let ticket = world.begin("a b/c.txt").await;
    assert_eq!(ticket["hostName"], "files.test:8443");
    assert_eq!(ticket["containerName"], "uploads");
    assert_eq!(ticket["blobName"], "d1/a b/c.txt");
    assert!(ticket["sasToken"].as_str().unwrap().starts_with("?sv="));
    world.write(&ticket, "hello").await.expect(201);
    world.finish(&ticket, true).await.expect(204);

    let service = world.server.policy("service");
    let received = service.get(NOTIFICATIONS).await.expect(200);
    let told = received.json();
    assert_eq!(told["deviceId"], "d1");
    assert_eq!(told["blobName"], "d1/a b/c.txt");
    assert_eq!(told["blobUri"], "https://files.test:8443/uploads/d1/a%20b/c.txt");
    assert_eq!(told["blobSizeInBytes"], 5);
    assert_eq!(told["enqueuedTimeUtc"], "2027-01-15T08:00:00.0000000Z");
    assert_eq!(received.header("iothub-deliverycount"), Some("0"));
    service.get(NOTIFICATIONS).await.expect(204);

    let found = service.get("/files/address?blobName=d1/a%20b%2Fc.txt").await.expect(200).json();
    let uri = found["uri"].as_str().unwrap().to_owned();
    let path = uri.strip_prefix("https://files.test:8443").unwrap();
    let reader = world.server.anonymous();
    assert_eq!(&reader.get(path).await.expect(200).body[..], b"hello");
    let write = reader.send(Method::PUT, path, &[("x-ms-blob-type", "BlockBlob")], "x").await;
    assert_eq!(write.status, 403);
    world.clock.advance(HOUR);
    assert_eq!(reader.get(path).await.status, 403);
}

#[tokio::test]
async fn a_notification_is_given_back_and_removed() {
    let world = world().await;
    let ticket = world.begin("a").await;
    world.write(&ticket, "x").await.expect(201);
    world.finish(&ticket, true).await.expect(204);
    let service = world.server.policy("service");
    let token = |reply: &Reply| reply.header("etag").unwrap().trim_matches('"').to_owned();
    let first = token(&service.get(NOTIFICATIONS).await.expect(200));
    service.post(&format!("{NOTIFICATIONS}/{first}/abandon"), "").await.expect(204);
    let lost = service.delete(&format!("{NOTIFICATIONS}/{first}")).await;
    lost.refuses(412, "DeviceMessageLockLost");
    let again = service.get("/Messages/ServiceBound/FileNotifications").await.expect(200);
    assert_eq!(again.header("iothub-deliverycount"), Some("1"));
    service.delete(&format!("{NOTIFICATIONS}/{}", token(&again))).await.expect(204);
    service.get(NOTIFICATIONS).await.expect(204);
}

/// Node names the upload in the path; the C SDK has a slash before the query.
#[tokio::test]
async fn the_forms_that_clients_use_are_taken() {
    let world = world().await;
    let version = "?api-version=2016-11-14";
    let begin = format!("/devices/d1/files/{version}");
    for form in 0..3 {
        let ticket = world.device.post(&begin, r#"{"blobName":"a"}"#).await.expect(200).json();
        world.write(&ticket, "x").await.expect(201);
        let id = ticket["correlationId"].as_str().unwrap();
        let (path, body) = match form {
            0 => (format!("/devices/d1/files/notifications/{id}"), json!({"isSuccess": true})),
            1 => (
                format!("/devices/d1/files/notifications/{version}"),
                json!({"isSuccess": true, "correlationId": id}),
            ),
            _ => (
                format!("/devices/d1/files/notifications/{id}"),
                json!({"isSuccess": false, "statusCode": 500, "statusDescription": null}),
            ),
        };
        world.device.post(&path, body.to_string()).await.expect(204);
        let told = world.server.policy("service").get(NOTIFICATIONS).await.status;
        assert_eq!(told, if form < 2 { 200 } else { 204 }, "form {form}");
    }
}

#[tokio::test]
async fn refusals_have_azure_s_names() {
    let world = world().await;
    let begin = |body: &'static str| world.device.post("/devices/d1/files", body);
    begin("").await.refuses(400, "ArgumentInvalid");
    begin("{}").await.refuses(400, "ArgumentNull");
    begin(r#"{"blobName":""}"#).await.refuses(400, "ArgumentNull");
    begin(r#"{"blobName":7}"#).await.refuses(400, "ArgumentInvalid");
    for name in ["../d2/x", "/x", "a//b", "a\\\\b", "a\\u0000"] {
        let body = format!("{{\"blobName\":\"{name}\"}}");
        let reply = world.device.post("/devices/d1/files", body).await;
        reply.refuses(400, "ArgumentInvalid");
    }
    let ticket = world.begin("a").await;
    world.finish(&ticket, true).await.refuses(400, "InvalidStorageEndpointOrBlob");
    let notify = |body: String| world.device.post("/devices/d1/files/notifications", body);
    let unknown = json!({"correlationId": "MjAy", "isSuccess": true, "statusCode": 200});
    notify(unknown.to_string()).await.refuses(400, "InvalidFileUploadCorrelationId");
    notify(json!({"isSuccess": true}).to_string()).await.refuses(400, "ArgumentNull");
    let vague = json!({"correlationId": ticket["correlationId"], "statusCode": 200});
    notify(vague.to_string()).await.refuses(400, "InvalidFileUploadCompletionStatus");
    notify("nothing".to_owned()).await.refuses(400, "ArgumentInvalid");
    for _ in 1..10 {
        world.begin("b").await;
    }
    let full = begin(r#"{"blobName":"c"}"#).await;
    let full = full.refuses(403, "DeviceMaximumActiveFileUploadLimitExceeded");
    let message = full.json()["Message"].as_str().unwrap().to_owned();
    assert!(message.contains("Number of active file upload requests cannot exceed 10"));
    world.clock.advance(HOUR);
    // The device's token has expired with it.
    let again = world.server.device("d1").await;
    let body = json!({"correlationId": ticket["correlationId"], "isSuccess": true});
    let late = again.post("/devices/d1/files/notifications", body.to_string()).await;
    late.refuses(400, "ExpiredFileUploadCorrelationId");
    let missing = world.server.policy("service").get("/files/address?blobName=d1/z").await;
    missing.refuses(404, "GenericNotFound");
    let bad = world.server.policy("service").get("/files/address?blobName=d1/../key").await;
    bad.refuses(400, "ArgumentInvalid");
}

#[tokio::test]
async fn a_device_uploads_for_itself_only() {
    let world = world().await;
    world.server.register("d2").await;
    world.server.register("d1/m1").await;
    let ticket = world.begin("a").await;
    world.write(&ticket, "x").await.expect(201);
    let other = world.server.device("d2").await;
    let stolen = other.post("/devices/d1/files", r#"{"blobName":"a"}"#).await;
    stolen.refuses(401, "IotHubUnauthorizedAccess");
    let id = ticket["correlationId"].as_str().unwrap();
    let path = format!("/devices/d2/files/notifications/{id}");
    let claimed = other.post(&path, r#"{"isSuccess":true}"#).await;
    claimed.refuses(400, "InvalidFileUploadCorrelationId");
    let module = world.server.device("d1/m1").await;
    let module = module.post("/devices/d1/files", r#"{"blobName":"a"}"#).await;
    module.refuses(401, "IotHubUnauthorizedAccess");
    world.finish(&ticket, true).await.expect(204);
}

#[tokio::test]
async fn a_hub_without_a_store_of_files_says_so() {
    let server = server().await;
    server.register("d1").await;
    let device = server.device("d1").await;
    let reply = device.post("/devices/d1/files", r#"{"blobName":"a"}"#).await;
    reply.refuses(400, "DefaultStorageEndpointNotConfigured");
    server.policy("service").get(NOTIFICATIONS).await.expect(204);
}
