//! Imports and exports of the registry, with the files behind the same server.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use hub_blob_directory::{BlobDirectory, BlobDirectoryConfig};
use serde_json::{Value, json};

use crate::client::{Client, Reply, Server, server, server_with};

const FILES: &str = "https://files.test:8443";

struct World {
    server: Server,
    owner: Client,
    /// The address of the folder `backup`.
    container: String,
    _place: tempfile::TempDir,
}

async fn world() -> World {
    let place = tempfile::tempdir().unwrap();
    let files = BlobDirectory::open(place.path(), BlobDirectoryConfig::new(FILES)).unwrap();
    let router = files.router();
    let server = server_with(|hub| hub.blobs(Arc::new(files)), |http| http.routes(router)).await;
    let owner = server.policy("registryReadWrite");
    let path = "/files/container?api-version=2021-04-12&name=backup";
    let found = owner.get(path).await.expect(200).json();
    let container = found["uri"].as_str().unwrap().to_owned();
    World { server, owner, container, _place: place }
}

impl World {
    /// The path of a file in the folder, as storage clients make it.
    fn path(&self, file: &str) -> String {
        let (url, right) = self.container.split_once('?').unwrap();
        format!("{}/{file}?{right}", url.strip_prefix(FILES).unwrap())
    }

    async fn put(&self, file: &str, text: String) -> Reply {
        let headers = [("x-ms-blob-type", "BlockBlob")];
        self.server.anonymous().send(Method::PUT, &self.path(file), &headers, text).await
    }

    async fn get(&self, file: &str) -> Reply {
        self.server.anonymous().get(&self.path(file)).await
    }

    async fn create(&self, job: Value) -> Value {
        self.owner.post("/jobs/create", job.to_string()).await.expect(200).json()
    }

    async fn over(&self, job: &Value) -> Value {
        let path = format!("/jobs/{}", job["jobId"].as_str().unwrap());
        let look = async {
            loop {
                let job = self.owner.get(&path).await.expect(200).json();
                if !["enqueued", "running"].contains(&job["status"].as_str().unwrap()) {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), look).await.unwrap()
    }
}

#[tokio::test]
async fn the_registry_goes_out_and_in() {
    let world = world().await;
    assert!(world.container.starts_with(&format!("{FILES}/uploads/~service/backup?sv=")));
    let lines =
        "{\"id\":\"d1\",\"tags\":{\"a\":1}}\r\n{\"id\":\"d1\",\"importMode\":\"create\"}\r\n";
    world.put("devices.txt", lines.to_owned()).await.expect(201);
    let asked = world
        .create(json!({
            "type": "import", "inputBlobContainerUri": world.container,
            "outputBlobContainerUri": world.container,
        }))
        .await;
    let done = world.over(&asked).await;
    let bare = world.container.split('?').next().unwrap();
    let want = json!({
        "jobId": asked["jobId"], "type": "import", "status": "completed", "progress": 100,
        "startTimeUtc": done["startTimeUtc"], "endTimeUtc": done["endTimeUtc"],
        "inputBlobContainerUri": bare, "inputBlobName": "devices.txt",
        "outputBlobContainerUri": bare, "storageAuthenticationType": "keyBased",
        "includeConfigurations": false, "failureReason": null,
    });
    assert_eq!(done, want);
    let log = world.get("importErrors.log").await.expect(200);
    let want = "{\"deviceId\":\"d1\",\"errorCode\":409001,\"errorStatus\":\"d1\"}\r\n";
    assert_eq!(log.body, want);

    let asked = world
        .create(json!({
            "type": "export", "outputBlobContainerUri": world.container,
            "outputBlobName": "all.txt", "excludeKeysInExport": true,
        }))
        .await;
    let done = world.over(&asked).await;
    assert_eq!(
        (&done["status"], &done["excludeKeysInExport"]),
        (&json!("completed"), &json!(true))
    );
    assert_eq!(done["outputBlobName"], "all.txt");
    let file = world.get("all.txt").await.expect(200);
    let line = std::str::from_utf8(&file.body).unwrap().strip_suffix("\r\n").unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["id"], &line["tags"]), (&json!("d1"), &json!({"a": 1})));
    assert_eq!(line["authentication"]["symmetricKey"]["primaryKey"], Value::Null);

    let listed = world.owner.get("/jobs").await.expect(200).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(listed.as_array().unwrap().contains(&done));
    assert!(!listed.to_string().contains("sig="), "rights are shown");
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_name() {
    let world = world().await;
    let (owner, good) = (&world.owner, world.container.as_str());
    let bare = good.split('?').next().unwrap();
    let azure = "https://account.blob.core.windows.net/box?sv=2020-12-06&sr=c&sig=x";
    for (job, name) in [
        (json!({"type": "export"}), "ArgumentNull"),
        (json!({"outputBlobContainerUri": good}), "ArgumentNull"),
        (json!({"type": "import", "outputBlobContainerUri": good}), "ArgumentNull"),
        (json!({"type": "backup", "outputBlobContainerUri": good}), "ArgumentInvalid"),
        (json!({"type": "export", "outputBlobContainerUri": 7}), "ArgumentInvalid"),
        (
            json!({"type": "export", "outputBlobContainerUri": good, "includeConfigurations": true}),
            "ArgumentInvalid",
        ),
        (
            json!({"type": "export", "outputBlobContainerUri": good, "outputBlobName": "../x"}),
            "ArgumentInvalid",
        ),
        (
            json!({"type": "export", "outputBlobContainerUri": bare,
                "storageAuthenticationType": "magic"}),
            "ArgumentInvalid",
        ),
        (json!({"type": "export", "outputBlobContainerUri": bare}), "BlobContainerValidationError"),
        (
            json!({"type": "export", "outputBlobContainerUri": azure}),
            "BlobContainerValidationError",
        ),
        // The file is not there.
        (
            json!({"type": "import", "inputBlobContainerUri": good, "outputBlobContainerUri": good}),
            "BlobContainerValidationError",
        ),
    ] {
        owner.post("/jobs/create", job.to_string()).await.refuses(400, name);
    }
    owner.get("/jobs/none").await.refuses(404, "JobNotFound");
    owner.delete("/jobs/none").await.refuses(404, "JobNotFound");
    owner.get("/files/container?name=..%2Fd1").await.refuses(400, "ArgumentInvalid");
    assert_eq!(owner.get("/jobs").await.expect(200).json(), json!([]));
    // With the hub's own credentials no right has to be in the address.
    let job = json!({"type": "export", "outputBlobContainerUri": bare,
        "storageAuthenticationType": "IdentityBased"});
    let done = world.over(&world.create(job).await).await;
    assert_eq!(done["storageAuthenticationType"], "identityBased");
    world.get("devices.txt").await.expect(200);
    // One that is over stays as it is.
    let path = format!("/jobs/{}", done["jobId"].as_str().unwrap());
    owner.delete(&path).await.expect(204);
    assert_eq!(owner.get(&path).await.json()["status"], "completed");
}

#[tokio::test]
async fn files_of_back_ends_are_for_those_who_may_change_the_registry() {
    let world = world().await;
    world.put("devices.txt", "{}".to_owned()).await.expect(201);
    let service = world.server.policy("service");
    let path = "/files/address?blobName=~service/backup/devices.txt";
    service.get(path).await.refuses(400, "ArgumentInvalid");
    service.get("/files/container").await.refuses(401, "IotHubUnauthorizedAccess");
    // A device cannot name such a file, whatever it asks for.
    world.server.register("d1").await;
    let device = world.server.device("d1").await;
    let body = json!({"blobName": "../~service/backup/devices.txt"}).to_string();
    device.post("/devices/d1/files", body).await.refuses(400, "ArgumentInvalid");
}

#[tokio::test]
async fn one_import_or_export_at_a_time() {
    let world = world().await;
    let lines: String = (0..30_000).map(|n| format!("{{\"id\":\"d{n}\"}}\r\n")).collect();
    world.put("devices.txt", lines).await.expect(201);
    let import = json!({
        "type": "import", "inputBlobContainerUri": world.container,
        "outputBlobContainerUri": world.container,
    });
    let asked = world.create(import.clone()).await;
    let second = world.owner.post("/jobs/create", import.to_string()).await;
    second.refuses(403, "JobQuotaExceeded");
    let path = format!("/jobs/{}", asked["jobId"].as_str().unwrap());
    world.owner.delete(&path).await.expect(204);
    let done = world.over(&asked).await;
    assert_eq!(done["status"], "cancelled");
    // Now there is room.
    world.create(json!({"type": "export", "outputBlobContainerUri": world.container})).await;
}

#[tokio::test]
async fn a_hub_without_files_has_no_such_jobs() {
    let server = server().await;
    let owner = server.owner();
    let job = json!({"type": "export", "outputBlobContainerUri": "https://h/c?sig=x"});
    let refused = owner.post("/jobs/create", job.to_string()).await;
    refused.refuses(400, "DefaultStorageEndpointNotConfigured");
    owner.get("/files/container").await.refuses(400, "DefaultStorageEndpointNotConfigured");
}
