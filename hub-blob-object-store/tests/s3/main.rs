//! Files in S3, on a real server (`s3s`), which checks every signature; and what addresses of Azure
//! Blob Storage look like.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod kit;
mod server;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use hub_blob_object_store::ObjectStoreBlobs;
use hub_core::Hub;
use hub_core::blob::{
    BlobAccess, BlobAddress, BlobErrorKind, BlobFolder, BlobName, BlobStore, FolderProof,
};
use hub_core::engine::{ExportJobSpec, ImportJobSpec, UploadReport};
use hub_core::error::ErrorKind;
use hub_core::id::{Address, DeviceId, JobId};
use hub_core::registry::IdentitySpec;
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;
use object_store::azure::MicrosoftAzureBuilder;

use self::server::{Plain, send, server};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn blob(name: &str) -> BlobName {
    BlobName::parse(name).unwrap()
}

async fn address(blobs: &impl BlobStore, name: &str, access: BlobAccess) -> BlobAddress {
    blobs.address(&blob(name), access, NOW, HOUR).await.unwrap()
}

/// The address as the SDKs of devices put it together, from the parts that they are told.
fn joined(address: &BlobAddress) -> String {
    let (host, container) = (address.host(), address.container());
    format!("http://{host}/{container}/{}{}", address.encoded_name(), address.query())
}

async fn read(blobs: &impl BlobStore, name: &str, range: Option<std::ops::Range<u64>>) -> String {
    let mut reader = blobs.read(&blob(name), range).await.unwrap();
    let mut text = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_device_writes_to_the_service_itself() {
    let server = server().await;
    let hub = Hub::builder(MemoryStore::new()).blobs(Arc::new(server.blobs())).start().unwrap();
    let device = DeviceId::new("d1").unwrap();
    hub.registry().put(&IdentitySpec::new(Address::from(&device)), None).await.unwrap();
    let ticket = hub.begin_upload(&device, "a b/c+é%.txt").await.unwrap();
    assert_eq!(ticket.address.host(), server.address.to_string());
    assert_eq!(ticket.address.container(), "bucket");
    let id = ticket.correlation.to_string();
    let early = hub.finish_upload(&device, &id, UploadReport::success()).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::BlobNotFound);
    let (status, body) = send(Method::PUT, &joined(&ticket.address), "hello").await;
    assert_eq!(status, 200, "{body:?}");
    let told = hub.finish_upload(&device, &id, UploadReport::success()).await.unwrap().unwrap();
    assert_eq!((told.blob.as_str(), told.size), ("d1/a b/c+é%.txt", 5));
    assert_eq!(told.url, ticket.address.without_right());
    let (address, _) = hub.file_address(&told.blob).await.unwrap();
    let (status, body) = send(Method::GET, address.as_str(), "").await;
    assert_eq!((status.as_u16(), &body[..]), (200, &b"hello"[..]));
}

#[tokio::test]
async fn an_address_is_for_one_object_and_one_method() {
    let server = server().await;
    let blobs = server.blobs();
    let mine = address(&blobs, "d1/a", BlobAccess::Upload).await;
    let url = mine.as_str();
    assert_eq!(send(Method::PUT, url, "one").await.0, 200);
    let other = url.replace("/d1/a?", "/d2/a?");
    assert_eq!(send(Method::PUT, &other, "x").await.0, 403);
    assert_eq!(send(Method::GET, url, "").await.0, 403);
    assert_eq!(send(Method::DELETE, url, "").await.0, 403);
    let read_only = address(&blobs, "d1/a", BlobAccess::Download).await;
    assert_eq!(send(Method::PUT, read_only.as_str(), "x").await.0, 403);
    // More time than was signed.
    let longer = url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200");
    assert_ne!(longer, url);
    assert_eq!(send(Method::PUT, &longer, "x").await.0, 403);
    assert_eq!(read(&blobs, "d1/a", None).await, "one");
    assert!(!format!("{mine:?}").contains("Signature="), "{mine:?}");
}

#[tokio::test]
async fn files_are_read_and_deleted() {
    let server = server().await;
    let blobs = server.blobs();
    assert_eq!(blobs.stat(&blob("d1/a")).await.unwrap(), None);
    let missing = blobs.read(&blob("d1/a"), None).await.err().unwrap();
    assert_eq!(missing.kind(), BlobErrorKind::NotFound);
    assert!(!blobs.delete(&blob("d1/a")).await.unwrap());
    let url = address(&blobs, "d1/a", BlobAccess::Upload).await;
    assert_eq!(send(Method::PUT, url.as_str(), "0123456789").await.0, 200);
    let info = blobs.stat(&blob("d1/a")).await.unwrap().unwrap();
    assert_eq!(info.size, 10);
    assert_eq!(info.url, format!("http://{}/bucket/d1/a", server.address));
    assert_eq!(read(&blobs, "d1/a", None).await, "0123456789");
    assert_eq!(read(&blobs, "d1/a", Some(2..5)).await, "234");
    assert_eq!(read(&blobs, "d1/a", Some(8..99)).await, "89");
    assert_eq!(read(&blobs, "d1/a", Some(50..99)).await, "");
    assert!(blobs.delete(&blob("d1/a")).await.unwrap());
    assert_eq!(blobs.stat(&blob("d1/a")).await.unwrap(), None);
    assert_eq!(blobs.sweep(NOW).await.unwrap(), 0);
}

#[tokio::test]
async fn wrong_credentials_are_a_matter_of_settings() {
    let server = server().await;
    let blobs = ObjectStoreBlobs::new(server.bucket("another secret"));
    let refused = blobs.stat(&blob("d1/a")).await.unwrap_err();
    assert_eq!(refused.kind(), BlobErrorKind::Refused, "{refused:?}");
    let url = address(&blobs, "d1/a", BlobAccess::Upload).await;
    assert_eq!(send(Method::PUT, url.as_str(), "x").await.0, 403);
}

#[tokio::test]
async fn azure_s_addresses_are_those_that_the_sdks_know() {
    let container = MicrosoftAzureBuilder::new()
        .with_account("account")
        .with_container_name("uploads")
        .with_access_key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        .with_http_connector(Plain)
        .build()
        .unwrap();
    let blobs = ObjectStoreBlobs::new(container);
    let upload = address(&blobs, "d1/a b", BlobAccess::Upload).await;
    assert_eq!(upload.host(), "account.blob.core.windows.net");
    assert_eq!((upload.container(), upload.encoded_name()), ("uploads", "d1/a%20b"));
    assert!(upload.query().contains("sr=b"), "{}", upload.query());
    let download = address(&blobs, "d1/a b", BlobAccess::Download).await;
    assert_ne!(upload.query(), download.query());
}

#[tokio::test]
async fn a_folder_of_back_ends_is_a_prefix_of_the_bucket() {
    let server = server().await;
    let blobs = server.blobs();
    let folder = BlobFolder::new("backup").unwrap();
    let address = blobs.folder_address(&folder, NOW, HOUR).await.unwrap();
    let url = format!("http://{}/bucket/~service/backup", server.address);
    assert_eq!(address.as_str(), url);
    // Whatever credentials back ends have in it: the hub uses its own.
    let signed = format!("{url}/?X-Amz-Signature=x");
    for proof in [FolderProof::Signature, FolderProof::Hub] {
        assert_eq!(blobs.folder(&signed, proof, NOW).await.unwrap(), Some(folder.clone()));
    }
    let elsewhere = url.replace("/bucket/", "/other/");
    assert_eq!(blobs.folder(&elsewhere, FolderProof::Hub, NOW).await.unwrap(), None);
    let mut writer = blobs.write(&folder.blob("devices.txt").unwrap()).await.unwrap();
    writer.write("{}".into()).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(read(&blobs, "~service/backup/devices.txt", None).await, "{}");
}

#[tokio::test]
async fn the_registry_goes_out_and_in_through_the_bucket() {
    let server = server().await;
    let start =
        || Hub::builder(MemoryStore::new()).blobs(Arc::new(server.blobs())).start().unwrap();
    let (here, there) = (start(), start());
    for n in 0..120 {
        let device = Address::parse(&format!("d{n}")).unwrap();
        here.registry().put(&IdentitySpec::new(device), None).await.unwrap();
    }
    let (folder, _) = here.folder_address(&BlobFolder::new("backup").unwrap()).await.unwrap();
    let ended = async |hub: &Hub, id: &JobId| loop {
        let job = hub.registry_jobs().get(id).await.unwrap();
        if job.ended().is_some() {
            break (job.status(), job.progress().succeeded);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let job = here.registry_jobs().export(ExportJobSpec::new(folder.clone())).await.unwrap();
    assert_eq!(ended(&here, &job.id).await, ("completed", 120));
    let file = read(&server.blobs(), "~service/backup/devices.txt", None).await;
    assert_eq!(file.lines().count(), 120);
    let job =
        there.registry_jobs().import(ImportJobSpec::new(folder.clone(), folder)).await.unwrap();
    assert_eq!(ended(&there, &job.id).await, ("completed", 120));
    let device = Address::parse("d7").unwrap();
    let keys = async |hub: &Hub| {
        hub.registry().get(&device).await.unwrap().identity.authentication().clone()
    };
    assert_eq!(keys(&there).await, keys(&here).await);
}
